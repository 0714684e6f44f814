//! Models as stages see them: configuration, weights and tokenizer together, whichever artifacts they lie in.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::json;

use super::stage::Stage;
use crate::data::tokenizer::Tokenizer;
use crate::hub;
use crate::hub::tensors::Tensors;
use crate::lang::world::{Digest, SourceFacts};
use crate::nn::models::Model;
use crate::plan::spec::{DeltaSpec, Outcome, StageFailure};
use crate::store::Store;

const WEIGHTS: &str = "model.safetensors";
const DELTA: &str = "delta.safetensors";
const CONFIG: &str = "config.json";

/// A model in host memory.
pub struct Bundle {
    pub config: serde_json::Value,
    pub tensors: Tensors,
    pub tokenizer: Tokenizer,
    /// The delta method that the next training stage trains, attached by `peft`.
    pub delta: Option<DeltaSpec>,
    /// Output digest of the artifact it was opened from; none for a source or a fresh model.
    pub origin: Option<Digest>,
}

impl Bundle {
    /// A model that has no weights yet.
    pub fn fresh(config: serde_json::Value, tokenizer: Tokenizer) -> Self {
        Self { config, tensors: Tensors::new(), tokenizer, delta: None, origin: None }
    }

    /// A model from the user's Hugging Face directory, whose files must still be those the plan was made with.
    pub fn from_source(facts: &SourceFacts) -> Result<Self, StageFailure> {
        crate::data::verify(facts)?;
        let directory = facts.files.first().and_then(|file| file.path.parent()).ok_or_else(|| {
            StageFailure::new("ftp::stage::empty_model", "the model's directory holds no files")
        })?;
        Self::from_directory(directory)
    }

    /// A model from a Hugging Face directory.
    pub fn from_directory(directory: &Path) -> Result<Self, StageFailure> {
        let config = hub::read_config(directory)?;
        let tensors = hub::read_weights(directory, &config)?;
        Ok(Self { config, tensors, tokenizer: Tokenizer::load(directory)?, delta: None, origin: None })
    }

    /// A model from the store: the nearest whole model below the artifact, with every delta above laid over it.
    pub fn open(store: &Store, output: &Digest) -> Result<Self, StageFailure> {
        let artifact = store.artifact(output)?;
        let mut bundle = if artifact.has(WEIGHTS) {
            let config = hub::read_json(&artifact.path(CONFIG)?)?;
            let tensors = hub::read_safetensors(&artifact.path(WEIGHTS)?)?;
            let tokenizer = Tokenizer::from_file(&artifact.path("tokenizer.json")?)?;
            Self { config, tensors, tokenizer, delta: None, origin: None }
        } else {
            let base = artifact.manifest.base.clone().ok_or_else(|| {
                StageFailure::new("ftp::store::no_weights", format!("the artifact {output} has neither weights nor a base"))
            })?;
            Self::open(store, &base)?
        };
        if artifact.has(DELTA) {
            bundle.config = hub::read_json(&artifact.path(CONFIG)?)?;
            let delta = hub::read_safetensors(&artifact.path(DELTA)?)?;
            crate::nn::models::drop_head(&mut bundle.tensors);
            bundle.tensors.extend(delta);
        }
        bundle.delta = match artifact.manifest.summary.get("delta") {
            Some(delta) => serde_json::from_value(delta.clone()).ok(),
            None => None,
        };
        bundle.origin = Some(output.clone());
        Ok(bundle)
    }

    /// Writes everything as a directory `transformers` loads.
    pub fn save(&self, directory: &Path) -> Result<Vec<String>, StageFailure> {
        hub::write_json(&directory.join(CONFIG), &self.config)?;
        hub::write_safetensors(&directory.join(WEIGHTS), &self.tensors)?;
        let mut files = vec![CONFIG.to_owned(), WEIGHTS.to_owned()];
        files.extend(self.tokenizer.save(directory)?);
        Ok(files)
    }
}

/// Hands over a trained model: whole, or, when a delta method decided what trained, only what it changed.
pub(super) fn hand_over(
    stage: &Stage,
    bundle: Bundle,
    model: &Model,
    summary: serde_json::Value,
    notices: Vec<crate::event::Notice>,
) -> Result<Outcome, StageFailure> {
    stage.activity("saving");
    let Some(base) = bundle.delta.as_ref().and(bundle.origin.clone()) else {
        let whole = Bundle { config: model.config(), tensors: model.tensors(), delta: None, origin: None, ..bundle };
        let files = whole.save(&stage.spec.attempt)?;
        return Ok(Outcome { files, base: None, summary, notices });
    };
    let mut changed = model.tensors();
    changed.retain(|name, _| model.parameters.get(name).is_some_and(|parameter| parameter.trainable));
    hub::write_json(&stage.file(CONFIG), &model.config())?;
    hub::write_safetensors(&stage.file(DELTA), &changed)?;
    Ok(Outcome { files: vec![CONFIG.into(), DELTA.into()], base: Some(base), summary, notices })
}

/// Marks what trains: everything, or what the attached delta method says, and in any case what is new.
///
/// # Errors
/// When the delta method finds nothing to train in this architecture.
pub(super) fn choose_trainable(bundle: &Bundle, model: &mut Model, fresh: &[String]) -> Result<(), StageFailure> {
    let Some(spec) = &bundle.delta else {
        model.parameters.values_mut().for_each(|parameter| parameter.trainable = true);
        return Ok(());
    };
    let delta = super::delta(&spec.method).ok_or_else(|| {
        StageFailure::new("ftp::stage::unknown_method", format!("this version of ftp has no delta method `{}`", spec.method))
    })?;
    let heads = model.head_parameters();
    let mut found = 0;
    for (name, parameter) in &mut model.parameters {
        let in_delta = (delta.trains)(name);
        let new = heads.contains(name) || fresh.contains(name);
        found += usize::from(in_delta && !new);
        parameter.trainable = in_delta || new;
    }
    if found == 0 {
        return Err(StageFailure::new(
            "ftp::peft::nothing_to_train",
            format!("`{}` finds nothing to train in this model: it would train the new head only", spec.method),
        )
        .help("choose another delta method, or fine-tune all weights by leaving `peft(..)` out"));
    }
    Ok(())
}

/// The run of `peft`: the model stays where it is; the artifact only says which delta trains next. A model that comes from
/// the user's directory is taken into the store here, so that the delta can point at it for good.
pub(super) fn parametrise(stage: &Stage) -> Result<Outcome, StageFailure> {
    let spec = stage.spec.delta.clone().ok_or_else(|| {
        StageFailure::new("ftp::stage::missing_input", format!("{} was started without its delta method", stage.spec.label))
    })?;
    let bundle = stage.model()?;
    let files = match &bundle.origin {
        Some(_) => vec![],
        None => bundle.save(&stage.spec.attempt)?,
    };
    let summary = json!({ "delta": spec });
    Ok(Outcome { files, base: bundle.origin, summary, notices: vec![] })
}

/// What of a model is trained, for reports.
pub(super) fn trained_share(model: &Model) -> serde_json::Value {
    let count = |trained_only: bool| -> usize {
        model.parameters.values().filter(|p| p.trainable || !trained_only).map(|p| p.weight.count()).sum()
    };
    json!({ "trained": count(true), "total": count(false) })
}

