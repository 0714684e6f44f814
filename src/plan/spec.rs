//! What a stage process is told: everything it needs and nothing else. Written as JSON by the scheduler.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::lang::value::Value;
use crate::lang::world::{Digest, SourceFacts};

/// One stage to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageSpec {
    /// Unique in the plan, for people: `finetune(target)`.
    pub label: String,
    pub method: String,
    pub version: u32,
    /// The key its result will be stored under.
    pub key: Digest,
    /// Of a training that ends early: the key of the whole one, which goes on from where this one ends.
    pub whole: Option<Digest>,
    pub parameters: IndexMap<String, Value>,
    /// Of a `peft(..)` stage, in the order in which they act.
    pub deltas: Vec<DeltaSpec>,
    /// By slot; `model` is what stands left of the arrow.
    pub inputs: IndexMap<String, Input>,
    /// The store's root.
    pub store: PathBuf,
    /// The stage's own directory: it writes its files here and nowhere else.
    pub attempt: PathBuf,
    /// `cpu` or `cuda:0`.
    pub device: String,
}

/// A delta method of a `peft(..)` stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeltaSpec {
    pub method: String,
    pub version: u32,
    pub parameters: IndexMap<String, Value>,
}

/// The checker filled in every parameter of the signature, so a missing one is a fault of this program.
impl DeltaSpec {
    pub fn int(&self, name: &str) -> i64 {
        self.optional_int(name).unwrap_or_default()
    }

    pub fn optional_int(&self, name: &str) -> Option<i64> {
        self.parameters.get(name).and_then(Value::as_int)
    }

    pub fn float(&self, name: &str) -> f64 {
        self.parameters.get(name).and_then(Value::as_float).unwrap_or_default()
    }

    pub fn bool(&self, name: &str) -> bool {
        self.parameters.get(name) == Some(&Value::Bool(true))
    }

    /// A list of strings; `None` where the parameter is none.
    pub fn strings(&self, name: &str) -> Option<Vec<&str>> {
        match self.parameters.get(name) {
            Some(Value::List(values)) => Some(values.iter().filter_map(Value::as_string).collect()),
            _ => None,
        }
    }

    pub fn name(&self, name: &str) -> &str {
        self.parameters.get(name).and_then(Value::as_name).unwrap_or_default()
    }
}

/// Where an input comes from.
#[expect(clippy::large_enum_variant, reason = "a stage has two or three inputs")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Input {
    /// Files of the user, whose digests must still be those in `facts`.
    Source { name: String, method: String, parameters: IndexMap<String, Value>, facts: SourceFacts },
    /// Another stage's result, by its output digest.
    Artifact { output: Digest },
}

/// What a stage hands over when it is done; the commit makes a manifest of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Names of the files it wrote into its attempt directory.
    pub files: Vec<String>,
    /// Output digest of the artifact this one is a delta of, or refers to.
    pub base: Option<Digest>,
    /// What it found out: metrics, label names, counts. Part of the output digest: no times, no hosts.
    pub summary: serde_json::Value,
    /// Shown with the result, not part of its digest.
    pub notices: Vec<crate::event::Notice>,
}

/// Why a stage failed, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFailure {
    /// e.g. `ftp::train::diverged`.
    pub code: String,
    pub message: String,
    pub help: Option<String>,
}

impl StageFailure {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Every layer's errors are diagnostics; a stage that meets one fails with its code, message and help.
impl<E: miette::Diagnostic> From<E> for StageFailure {
    fn from(error: E) -> Self {
        let code = error.code().map_or_else(|| "ftp::stage::failed".to_owned(), |code| code.to_string());
        Self { code, message: error.to_string(), help: error.help().map(|help| help.to_string()) }
    }
}
