//! What running stages say while they run.
//!
//! A stage process writes one [`Event`] as a JSON line to its standard output; the scheduler adds its own; every
//! reporter (terminal, plain lines, `--json`) is only a listener. Times are seconds, rates are per second.

use serde::{Deserialize, Deserializer, Serialize};

/// One thing that happened. The `--json` output of `ftp run` is these, one object a line, in order; `docs/events.schema.json`
/// describes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan is made; the run begins.
    RunStarted { file: String, stages: usize, store: String },
    /// A stage was found in the store and will not run.
    StageHit { stage: String, key: String },
    /// A stage process starts.
    StageStarted { stage: String, key: String, reason: String },
    /// Another run computes this stage now; this one waits for its result.
    StageWaiting { stage: String, key: String, holder: String },
    /// Training progress of the running stage. `step` counts optimizer steps from 1.
    Progress {
        stage: String,
        epoch: f64,
        epochs: f64,
        step: u64,
        steps: u64,
        #[serde(deserialize_with = "number")]
        loss: f64,
        learning_rate: f64,
        #[serde(deserialize_with = "number")]
        tokens_per_second: f64,
        #[serde(deserialize_with = "number")]
        eta_seconds: f64,
    },
    /// What the stage does now when it is not stepping ("tokenising", "training the tokenizer", "saving").
    Activity { stage: String, doing: String },
    /// An evaluation ended. `metrics` are (name, value) in the order to show.
    /// `confusion` counts, of a classification with not too many labels, the rows of each label (in the task's order) by the
    /// label they were given.
    Evaluated {
        stage: String,
        split: String,
        epoch: f64,
        #[serde(deserialize_with = "number")]
        loss: f64,
        #[serde(deserialize_with = "numbers")]
        metrics: Vec<(String, f64)>,
        #[serde(default)]
        confusion: Option<Vec<Vec<u64>>>,
    },
    /// Something was dropped, truncated, guessed or ignored; shown again at the end of the run.
    Notice { stage: String, notice: Notice },
    /// The stage does not run: a race did not keep it, or a model that it takes.
    StageStopped { stage: String },
    /// The stage's result is committed.
    StageFinished { stage: String, key: String, output: String, seconds: f64 },
    /// The stage failed; `help` says how to mend it, `kept` what survives.
    StageFailed { stage: String, code: String, message: String, help: Option<String>, kept: String },
    /// The stage's process was ended by something else; it is tried again after `seconds`.
    StageRetried { stage: String, code: String, message: String, attempt: u32, seconds: f64 },
    /// A named pipeline's model was written as a Hugging Face directory.
    Published { pipeline: String, directory: String },
    /// An `expect` held or did not.
    /// `measure` as written: `small.accuracy`, `a.accuracy - b.accuracy`.
    Expectation {
        measure: String,
        #[serde(deserialize_with = "number")]
        value: f64,
        relation: String,
        bound: f64,
        holds: bool,
    },
    /// The run ended.
    RunFinished { ran: usize, hits: usize, failed: usize, skipped: usize, seconds: f64 },
}

/// JSON has no word for what is not a number; `null` stands for it.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, f64)>, D::Error> {
    let numbers: Vec<(String, Option<f64>)> = Vec::deserialize(from)?;
    Ok(numbers.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

/// Something that was not used as it stood: how many, of what, and why it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable code, e.g. `ftp::data::truncated`.
    pub code: String,
    /// A sentence with the count in it, e.g. "312 of 6,917 texts of train are longer than 128 tokens and were cut".
    pub message: String,
}

impl Notice {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}
