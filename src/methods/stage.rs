//! What a running method sees of the world: its parameters, its inputs, its directory.

use std::path::PathBuf;

use super::bundle::Bundle;
use crate::data::set::LabelledSet;
use crate::event::{Event, Notice};
use crate::lang::value::Value;
use crate::lang::world::{Digest, SourceFacts, Task};
use crate::plan::spec::{Input, StageFailure, StageSpec};
use crate::store::Store;
use crate::train::checkpoint::Place;
use crate::train::{Fitted, Surroundings, TrainError};

/// One running stage.
pub(crate) struct Stage<'a> {
    pub spec: &'a StageSpec,
    pub store: &'a Store,
    pub sink: &'a dyn Fn(Event),
}

impl Stage<'_> {
    /// Says what the stage does now.
    pub fn activity(&self, doing: impl Into<String>) {
        (self.sink)(Event::Activity { stage: self.spec.label.clone(), doing: doing.into() });
    }

    /// Who listens to this stage's training, and where its checkpoint lies: outside the attempt, so that the next one finds
    /// it. The snapshots of one training hand its state from one to the next, and a training that ends early to the whole one.
    pub fn train(&self, fit: impl FnOnce(Surroundings) -> Result<Fitted, TrainError>) -> Result<Fitted, TrainError> {
        let place =
            |key: String, draft: &str| Place { file: self.store.checkpoint(&key), draft: self.file(draft), key };
        let own = place(self.spec.key.clone(), "checkpoint");
        let whole = self.spec.whole.clone();
        let handed_on = whole.or_else(|| self.optional_int("snapshot").map(|_| self.key_of_all_snapshots()));
        let relay = handed_on.map(|key| place(key, "relay"));
        let around =
            Surroundings { stage: &self.spec.label, sink: self.sink, checkpoint: Some(&own), relay: relay.as_ref() };
        let fitted = fit(around)?;
        // The last of them leaves nothing behind.
        if let Some(relay) = relay.filter(|_| self.is_last_snapshot()) {
            let _ = std::fs::remove_file(relay.file);
        }
        Ok(fitted)
    }

    fn is_last_snapshot(&self) -> bool {
        self.spec.whole.is_none() && self.optional_int("snapshot") == self.optional_int("cycles")
    }

    /// What the snapshots of one training have in common: all this stage is told but which of them it is.
    fn key_of_all_snapshots(&self) -> String {
        let mut spec = self.spec.clone();
        spec.parameters.shift_remove("snapshot");
        let StageSpec { method, version, parameters, deltas, inputs, device, .. } = spec;
        let told = serde_json::json!([method, version, parameters, deltas, inputs, device]);
        blake3::hash(told.to_string().as_bytes()).to_hex().to_string()
    }

    /// Says what was dropped, cut, guessed or ignored. Notices are also handed over with the result.
    pub fn notice(&self, notices: &mut Vec<Notice>, notice: Notice) {
        (self.sink)(Event::Notice { stage: self.spec.label.clone(), notice: notice.clone() });
        notices.push(notice);
    }

    /// A path in the stage's own directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.spec.attempt.join(name)
    }

    /// The checker filled in every parameter of the signature, so a missing one is a fault of this program.
    fn value(&self, name: &str) -> &Value {
        self.spec.parameters.get(name).unwrap_or(&Value::None)
    }

    pub fn int(&self, name: &str) -> i64 {
        self.optional_int(name).unwrap_or_default()
    }

    pub fn optional_int(&self, name: &str) -> Option<i64> {
        self.value(name).as_int()
    }

    pub fn float(&self, name: &str) -> f64 {
        self.value(name).as_float().unwrap_or_default()
    }

    pub fn optional_name(&self, name: &str) -> Option<&str> {
        self.value(name).as_name()
    }

    pub fn bool(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    fn input(&self, slot: &str) -> Result<&Input, StageFailure> {
        self.spec.inputs.get(slot).ok_or_else(|| {
            StageFailure::new(
                "ftp::stage::missing_input",
                format!("{} was started without its input `{slot}`", self.spec.label),
            )
        })
    }

    /// The documents of a text input.
    pub fn text(&self, slot: &str) -> Result<Vec<String>, StageFailure> {
        match self.input(slot)? {
            Input::Source { parameters, facts, .. } => Ok(crate::data::read_text(parameters, facts)?),
            Input::Artifact { .. } => Err(unexpected(slot, "text")),
        }
    }

    /// A labelled input and the name it has in the file.
    pub fn labelled(&self, slot: &str) -> Result<(LabelledSet, String), StageFailure> {
        match self.input(slot)? {
            Input::Source { name, method, parameters, facts } => {
                Ok((crate::data::read_labelled(method, parameters, facts)?, name.clone()))
            }
            Input::Artifact { .. } => Err(unexpected(slot, "a labelled set")),
        }
    }

    /// The files of a source.
    pub fn source(&self, slot: &str) -> Result<&SourceFacts, StageFailure> {
        match self.input(slot)? {
            Input::Source { facts, .. } => Ok(facts),
            Input::Artifact { .. } => Err(unexpected(slot, "a source")),
        }
    }

    /// What the head of a saved delta answers that was attached to a model.
    pub fn task_of(&self, slot: &str) -> Result<Option<Task>, StageFailure> {
        match self.input(slot)? {
            Input::Source { .. } => Ok(None),
            Input::Artifact { output } => {
                let told = self.store.artifact(output)?.manifest.summary[super::bundle::TASK].clone();
                Ok(serde_json::from_value(told).unwrap_or_default())
            }
        }
    }

    /// The models of a list left of the arrow.
    pub fn model_count(&self) -> usize {
        self.spec.inputs.keys().filter(|slot| slot.starts_with("models.")).count()
    }

    /// One model of that list.
    pub fn model_of(&self, number: usize) -> Result<Bundle, StageFailure> {
        self.activity(format!("loading model {} of {}", number + 1, self.model_count()));
        match self.input(&format!("models.{number}"))? {
            Input::Source { facts, .. } => Bundle::from_source(facts),
            Input::Artifact { output } => Bundle::open(self.store, output),
        }
    }

    /// The output digest of a model of that list, and what the stage that made it found out; `None` for a model of the
    /// user's.
    pub fn result_of(&self, number: usize) -> Result<Option<(Digest, serde_json::Value)>, StageFailure> {
        match self.input(&format!("models.{number}"))? {
            Input::Source { .. } => Ok(None),
            Input::Artifact { output } => {
                let summary = self.store.artifact(output)?.manifest.summary;
                Ok(Some((output.clone(), summary)))
            }
        }
    }

    pub fn has(&self, slot: &str) -> bool {
        self.spec.inputs.contains_key(slot)
    }

    /// The model left of the arrow.
    pub fn model(&self) -> Result<Bundle, StageFailure> {
        self.model_in("model")
    }

    /// A model given as an argument.
    pub fn model_in(&self, slot: &str) -> Result<Bundle, StageFailure> {
        self.activity("loading the model");
        match self.input(slot)? {
            Input::Source { facts, .. } => Bundle::from_source(facts),
            Input::Artifact { output } => Bundle::open(self.store, output),
        }
    }
}

fn unexpected(slot: &str, wanted: &str) -> StageFailure {
    StageFailure::new("ftp::stage::unexpected_input", format!("the input `{slot}` is not {wanted}"))
}
