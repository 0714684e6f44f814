//! What a running method sees of the world: its parameters, its inputs, its directory.

use std::path::PathBuf;
use std::sync::Arc;

use super::bundle::Bundle;
use super::shared::Shared;
use crate::data::batch::Encoding;
use crate::data::set::LabelledSet;
use crate::data::tokenizer::{Encoded, Tokenizer};
use crate::event::{Event, Notice};
use crate::lang::value::Value;
use crate::lang::world::{Digest, SourceFacts, Task};
use crate::nn::models::Model;
use crate::nn::parameters::Parameters;
use crate::plan::spec::{Input, StageFailure, StageSpec};
use crate::store::Store;
use crate::train::checkpoint::Place;
use crate::train::{Fitted, States, Surroundings, TrainError};

/// The slot of the text without labels that a training also learns from.
pub(super) const UNLABELLED: &str = "unlabelled";

/// One running stage.
pub(crate) struct Stage<'a> {
    pub spec: &'a StageSpec,
    pub store: &'a Store,
    pub sink: &'a dyn Fn(Event),
    /// With the other stages of this process.
    pub shared: &'a Shared,
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
        let around = Surroundings {
            stage: &self.spec.label,
            sink: self.sink,
            checkpoint: Some(&own),
            relay: relay.as_ref(),
            turns: self.shared.turns(),
        };
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
    pub fn labelled(&self, slot: &str) -> Result<(Arc<LabelledSet>, String), StageFailure> {
        match self.input(slot)? {
            Input::Source { name, method, parameters, facts } => {
                let read = || crate::data::read_labelled(method, parameters, facts);
                Ok((self.shared.once(self.named("set", &[slot], &[]), read)?, name.clone()))
            }
            Input::Artifact { .. } => Err(unexpected(slot, "a labelled set")),
        }
    }

    /// A split of the set in a slot and, behind its rows, `texts` of [`UNLABELLED`], tokenised by the tokenizer of the model
    /// left of the arrow.
    pub fn tokenised(
        &self,
        slot: &str,
        split: &str,
        set: &LabelledSet,
        texts: &[String],
        tokenizer: &Tokenizer,
        limit: usize,
    ) -> Result<Arc<Encoded>, StageFailure> {
        let examples = set.splits.get(split).map_or(&[][..], Vec::as_slice);
        let encode = || {
            let texts = texts.iter().map(|text| (text.as_str(), None));
            let inputs: Vec<_> = examples.iter().map(Into::into).chain(texts).collect();
            tokenizer.encode_all(&inputs, limit)
        };
        self.shared.once(self.named("tokens", &["model", slot, UNLABELLED], &[split, &limit.to_string()]), encode)
    }

    /// What the fixed layers of a model, the one left of the arrow with a head of this stage, make of a split that
    /// [`Stage::tokenised`] gave.
    pub fn states(
        &self,
        slot: &str,
        split: &str,
        model: &Model,
        encodings: &[Encoding],
        limit: usize,
    ) -> Result<Arc<States>, StageFailure> {
        // What trains is above the fixed layers, and so is all that the stage draws.
        let fixed = format!("{:?} {:?}", model.fixed(), model.precision);
        let name = self.named("states", &["model", slot, UNLABELLED], &[split, &limit.to_string(), &fixed]);
        let directory = self.store.states();
        self.shared.once(name, || States::of(model, encodings, Some(&directory)))
    }

    /// Parameters that other stages of this process have with the same values lie in memory once: call before training.
    pub fn share_weights(&self, model: &mut Model) -> Result<(), StageFailure> {
        let parameters = &model.parameters;
        let first: Arc<Parameters> =
            self.shared.once(self.named("weights", &["model"], &[]), || Ok::<_, StageFailure>(parameters.clone()))?;
        model.share(&first);
        Ok(())
    }

    /// The name of something that depends on inputs of this stage and on nothing else but `others`.
    fn named(&self, kind: &str, slots: &[&str], others: &[&str]) -> String {
        let inputs: Vec<Option<&Input>> = slots.iter().map(|slot| self.spec.inputs.get(*slot)).collect();
        format!("{kind} {}", serde_json::json!([inputs, others]))
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
        let (input, store) = (self.input(slot)?, self.store);
        let open = || match input {
            Input::Source { facts, .. } => Bundle::from_source(facts),
            Input::Artifact { output } => Bundle::open(store, output),
        };
        let bundle = self.shared.once(self.named("model", &[slot], &[]), open)?;
        Ok(Arc::unwrap_or_clone(bundle))
    }
}

fn unexpected(slot: &str, wanted: &str) -> StageFailure {
    StageFailure::new("ftp::stage::unexpected_input", format!("the input `{slot}` is not {wanted}"))
}
