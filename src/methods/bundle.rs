//! Models as stages see them: configuration, weights and tokenizer together, whichever artifacts they lie in.

use std::path::Path;

use burn::tensor::Device;
use indexmap::IndexSet;
use serde_json::json;

use super::beside;
use super::stage::Stage;
use crate::data::tokenizer::{self, Tokenizer};
use crate::event::Notice;
use crate::hub;
use crate::hub::tensors::Tensors;
use crate::lang::world::{Digest, SourceFacts};
use crate::nn::models::layout::{Part, Slot};
use crate::nn::models::{self, Head, LoadReport, Model};
use crate::plan::spec::{DeltaSpec, Outcome, StageFailure};
use crate::store::{Store, StoredArtifact};

const WEIGHTS: &str = "model.safetensors";
const DELTA: &str = "delta.safetensors";
const CONFIG: &str = "config.json";

/// Keys of an artifact's summary: the delta method that the next stage trains, and the one that was trained.
const ATTACHED: &str = "delta";
const TRAINED: &str = "trained_delta";

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
        for file in &facts.files {
            if !crate::data::digest::file(&file.path).is_ok_and(|digest| digest == file.digest) {
                return Err(StageFailure::new(
                    "ftp::data::changed",
                    format!("{} changed after the plan was made", file.shown),
                )
                .help("run the same command again: it plans with the file as it is now"));
            }
        }
        let first = facts.files.first().and_then(|file| file.path.parent());
        let directory = first
            .ok_or_else(|| StageFailure::new("ftp::stage::empty_model", "the model's directory holds no files"))?;
        Self::from_directory(directory)
    }

    /// A model from a Hugging Face directory.
    pub fn from_directory(path: &Path) -> Result<Self, StageFailure> {
        let directory = hub::Directory::open(path)?;
        let (tensors, tokenizer) = (directory.tensors()?, Tokenizer::load(path)?);
        Ok(Self { config: directory.config().clone(), tensors, tokenizer, delta: None, origin: None })
    }

    /// A model from the store: the nearest whole model below the artifact, with every delta above laid over it.
    pub fn open(store: &Store, output: &Digest) -> Result<Self, StageFailure> {
        let artifact = store.artifact(output)?;
        let mut bundle = if artifact.has(WEIGHTS) {
            let config = hub::read_json(&artifact.path(CONFIG)?)?;
            let tensors = hub::read_safetensors(&artifact.path(WEIGHTS)?)?;
            let tokenizer = stored_tokenizer(&artifact)?;
            Self { config, tensors, tokenizer, delta: None, origin: None }
        } else {
            let base = artifact.manifest.base.clone().ok_or_else(|| {
                StageFailure::new(
                    "ftp::store::no_weights",
                    format!("the artifact {output} has neither weights nor a base"),
                )
            })?;
            Self::open(store, &base)?
        };
        if artifact.has(DELTA) {
            bundle.config = hub::read_json(&artifact.path(CONFIG)?)?;
            models::drop_head(&mut bundle.tensors);
            bundle.tensors.extend(hub::read_safetensors(&artifact.path(DELTA)?)?);
            if let Some(spec) = delta_of(&artifact, TRAINED)
                && let Some(fold) = known_delta(&spec)?.fold
            {
                fold(&spec, &mut bundle.tensors)?;
            }
        }
        bundle.delta = delta_of(&artifact, ATTACHED);
        bundle.origin = Some(output.clone());
        Ok(bundle)
    }

    /// Writes everything into a directory `transformers` loads; returns the names of the files.
    pub fn save(&self, directory: &Path) -> Result<Vec<String>, StageFailure> {
        hub::write_model(directory, &self.config, &self.tensors)?;
        let mut files = vec![CONFIG.to_owned(), WEIGHTS.to_owned()];
        self.tokenizer.save(directory)?;
        files.extend(tokenizer::FILES.into_iter().filter(|name| directory.join(name).is_file()).map(str::to_owned));
        Ok(files)
    }

    /// The same model with exactly the tensors its configuration asks for: what `transformers` would save.
    ///
    /// # Errors
    /// When a delta stays beside the model, which `transformers` would leave out without a word.
    pub fn tidy(self) -> Result<Self, StageFailure> {
        if let Some(spec) = beside::of(&self.config).first() {
            let message = format!(
                "`{}` stays beside its model: no directory that plain `transformers` loads computes the same",
                spec.method
            );
            return Err(StageFailure::new("ftp::publish::delta_beside", message).help(
                "take the `publish` of this pipeline out, or train with a delta that becomes part of the weights: `lora`, `ia3`, `bitfit`",
            ));
        }
        let Some(head) = Head::from_config(&self.config) else { return Ok(self) };
        let (model, _) = Model::new(&self.config, &self.tensors, &head, 0, &Device::flex())?;
        Ok(Self { config: model.config(), tensors: model.tensors(), ..self })
    }
}

fn delta_of(artifact: &StoredArtifact, key: &str) -> Option<DeltaSpec> {
    serde_json::from_value(artifact.manifest.summary.get(key)?.clone()).ok()
}

pub(super) fn known_delta(spec: &DeltaSpec) -> Result<&'static super::Delta, StageFailure> {
    super::delta(&spec.method).ok_or_else(|| {
        StageFailure::new(
            "ftp::stage::unknown_method",
            format!("this version of ftp has no delta method `{}`", spec.method),
        )
    })
}

/// The tokenizer of a whole model in the store, where files lie under their digests.
fn stored_tokenizer(artifact: &StoredArtifact) -> Result<Tokenizer, StageFailure> {
    let vocabulary = artifact.path("tokenizer.json")?;
    let bytes = std::fs::read(&vocabulary).map_err(|error| hub::HubError::reading(&vocabulary, error))?;
    let config = match artifact.has("tokenizer_config.json") {
        true => hub::read_json(&artifact.path("tokenizer_config.json")?)?.as_object().cloned().unwrap_or_default(),
        false => serde_json::Map::new(),
    };
    Ok(Tokenizer::from_bytes(&bytes, config)?)
}

/// Hands over a trained model: whole, or, when a delta method decided what trained, only what it changed.
pub(super) fn hand_over(
    stage: &Stage,
    bundle: Bundle,
    model: &Model,
    mut summary: serde_json::Value,
    notices: Vec<Notice>,
) -> Result<Outcome, StageFailure> {
    stage.activity("saving");
    let Some(base) = bundle.delta.as_ref().and(bundle.origin.clone()) else {
        let mut tensors = model.tensors();
        // What this head has no use for but the next one may: BERT's pooler under a masked-LM head.
        tensors.extend(model.carried().clone());
        let whole = Bundle { config: model.config(), tensors, ..bundle };
        let files = whole.save(&stage.spec.attempt)?;
        return Ok(Outcome { files, base: None, summary, notices });
    };
    let mut changed = model.tensors();
    changed.retain(|name, _| model.parameters.get(name).is_some_and(|parameter| parameter.trainable));
    if let Some(spec) = &bundle.delta
        && let Some(pack) = known_delta(spec)?.pack
    {
        let head = changed.keys().filter(|name| model.head_parameters().contains(&name.as_str()));
        let head: usize = head.map(|name| changed[name].data.len()).sum();
        let trained = head + pack(spec, model, &mut changed)?;
        let total = model.layout().count(|slot| slot.part != Part::Delta);
        summary["parameters"] = json!({ "trained": trained, "total": total });
    }
    summary[TRAINED] = json!(bundle.delta);
    let mut config = model.config();
    if let Some(spec) = &bundle.delta
        && known_delta(spec)?.fold.is_none()
    {
        beside::add(&mut config, spec);
    }
    hub::write_config(&stage.spec.attempt, &config)?;
    hub::write_safetensors(&stage.file(DELTA), &changed)?;
    Ok(Outcome { files: vec![CONFIG.into(), DELTA.into()], base: Some(base), summary, notices })
}

/// Says what of a model is new and what of its file has no use here.
pub(super) fn report_loading(stage: &Stage, notices: &mut Vec<Notice>, report: &LoadReport) {
    if !report.missing.is_empty() {
        let message = format!("new, drawn from the seed: {}", modules(&report.missing));
        stage.notice(notices, Notice::new("ftp::model::new_parameters", message));
    }
    if !report.unused.is_empty() {
        let message = format!("of no use here and left out: {}", modules(&report.unused));
        stage.notice(notices, Notice::new("ftp::model::unused_tensors", message));
    }
}

/// Parameter names, shortened to the modules they belong to.
fn modules(names: &[String]) -> String {
    let modules: IndexSet<&str> =
        names.iter().map(|name| name.rsplit_once('.').map_or(name.as_str(), |(module, _)| module)).collect();
    let shown: Vec<&str> = modules.iter().take(4).copied().collect();
    match modules.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Attaches the delta method and marks what trains: everything, or what the method says, and in any case what is new. New
/// parameters of the delta are drawn from `seed`.
///
/// # Errors
/// When the delta method does not fit the model or finds nothing to train in it.
pub(super) fn choose_trainable(
    bundle: &Bundle,
    model: &mut Model,
    new: &[String],
    seed: u64,
) -> Result<(), StageFailure> {
    let Some(spec) = &bundle.delta else { return Ok(()) };
    let delta = known_delta(spec)?;
    // Of deltas that stay beside the model below: they are part of what this one starts from.
    let below = model.layout().slots.iter().filter(|slot| slot.part == Part::Delta);
    let below: IndexSet<String> = below.map(|slot| slot.name.clone()).collect();
    (delta.attach)(spec, model, seed)?;
    let layers = model.layers();
    let is_new = |slot: &Slot| slot.part == Part::Head || new.contains(&slot.name);
    let trains = |slot: &Slot| !below.contains(&slot.name) && (delta.trains)(spec, layers, slot);
    if !delta.head_alone && !model.layout().slots.iter().any(|slot| trains(slot) && !is_new(slot)) {
        return Err(StageFailure::new(
            "ftp::peft::nothing_to_train",
            format!("`{}` finds nothing to train in this model: it would train the new head only", spec.method),
        )
        .help("choose another delta method, or fine-tune all weights by leaving `peft(..)` out"));
    }
    model.train_only(|slot| trains(slot) || is_new(slot));
    Ok(())
}

/// The run of `peft`: the model stays where it is; the artifact only says which delta trains next. A model that comes from
/// the user's directory is taken into the store here, so that the delta can point at it for good.
pub(super) fn parametrise(stage: &Stage) -> Result<Outcome, StageFailure> {
    let spec = stage.spec.delta.clone().ok_or_else(|| {
        StageFailure::new(
            "ftp::stage::missing_input",
            format!("{} was started without its delta method", stage.spec.label),
        )
    })?;
    let bundle = stage.model()?;
    let files = match &bundle.origin {
        Some(_) => vec![],
        None => bundle.save(&stage.spec.attempt)?,
    };
    let summary = json!({ ATTACHED: spec });
    Ok(Outcome { files, base: bundle.origin, summary, notices: vec![] })
}

/// How much of a model trained, for reports.
pub(super) fn trained_share(model: &Model) -> serde_json::Value {
    json!({ "trained": model.trainable_count(), "total": model.count() })
}
