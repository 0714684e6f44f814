//! Models as stages see them: configuration, weights and tokenizer together, whichever artifacts they lie in.

use std::path::Path;

use burn::tensor::Device;
use indexmap::IndexSet;
use serde_json::json;

use super::bases::Bases;
use super::beside;
use super::freeze;
use super::interchange::{self, Apart};
use super::stage::Stage;
use crate::data::tokenizer::{self, Tokenizer};
use crate::event::Notice;
use crate::hub;
use crate::hub::tensors::Tensors;
use crate::lang::world::{Digest, SourceFacts, Task};
use crate::nn::models::layout::{Part, Slot};
use crate::nn::models::{self, Head, LoadReport, Model};
use crate::nn::parameters::Weight;
use crate::plan::spec::{DeltaSpec, Outcome, StageFailure};
use crate::store::{Store, StoredArtifact};

pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const DELTA: &str = "delta.safetensors";
pub(super) const CONFIG: &str = "config.json";

/// Keys of an artifact's summary: the deltas that the next stage trains, and those that were trained. One alone is an
/// object, a stack is a list.
pub(super) const ATTACHED: &str = "delta";
/// Values of parameters that the attached deltas will have.
pub(super) const PREPARED: &str = "prepared.safetensors";

pub(super) const TRAINED: &str = "trained_delta";

/// What the head of a saved delta answers.
pub(super) const TASK: &str = "task";

/// A model in host memory.
#[derive(Clone)]
pub struct Bundle {
    pub config: serde_json::Value,
    pub tensors: Tensors,
    pub tokenizer: Tokenizer,
    /// The deltas that the next training stage trains, attached by `peft`; they act in this order.
    pub deltas: Vec<DeltaSpec>,
    /// Values that parameters of these deltas begin with, instead of draws.
    pub prepared: Tensors,
    /// Output digest of the artifact it was opened from; none for a source or a fresh model.
    pub origin: Option<Digest>,
}

impl Bundle {
    /// A model that has no weights yet.
    pub fn fresh(config: serde_json::Value, tokenizer: Tokenizer) -> Self {
        Self { config, tensors: Tensors::new(), tokenizer, deltas: vec![], prepared: Tensors::new(), origin: None }
    }

    /// A model from the user's Hugging Face directory, whose files must still be those the plan was made with.
    pub fn from_source(facts: &SourceFacts) -> Result<Self, StageFailure> {
        Self::from_directory(directory_of(facts)?)
    }

    /// A model from a Hugging Face directory.
    pub fn from_directory(path: &Path) -> Result<Self, StageFailure> {
        let directory = hub::Directory::open(path)?;
        let (tensors, tokenizer) = (directory.tensors()?, Tokenizer::load(path)?);
        let (config, prepared) = (directory.config().clone(), Tensors::new());
        Ok(Self { config, tensors, tokenizer, deltas: vec![], prepared, origin: None })
    }

    /// A model from the store: the nearest whole model below the artifact, with every delta above laid over it.
    pub fn open(store: &Store, output: &Digest) -> Result<Self, StageFailure> {
        Bases::default().open(store, output)
    }

    /// Lays a delta over the model it changes: its tensors, and what is computed into the weights.
    pub(super) fn lay(&mut self, artifact: &StoredArtifact) -> Result<(), StageFailure> {
        let config = hub::read_json(&artifact.path(CONFIG)?)?;
        self.lay_over(config, hub::read_safetensors(&artifact.path(DELTA)?)?, &deltas_of(artifact, TRAINED))
    }

    /// Lays a delta over the model: the configuration and the tensors of the model with it.
    pub(super) fn lay_over(
        &mut self,
        config: serde_json::Value,
        changed: Tensors,
        specs: &[DeltaSpec],
    ) -> Result<(), StageFailure> {
        models::keep_layers(&mut self.config, &mut self.tensors, models::layers(&config)?)?;
        self.config = config;
        models::drop_head(&mut self.tensors);
        self.tensors.extend(changed);
        for spec in specs {
            if let Some(fold) = known_delta(spec)?.fold {
                fold(spec, &mut self.tensors)?;
            }
        }
        Ok(())
    }

    /// Takes off a saved delta that `peft` attached, with what its head answers; `None` where nothing is attached.
    pub(super) fn take_attached(&mut self, task: Option<Task>) -> Result<Option<Apart>, StageFailure> {
        if self.deltas.is_empty() {
            return Ok(None);
        }
        let specs = std::mem::take(&mut self.deltas);
        let (head, own) = std::mem::take(&mut self.prepared).into_iter().partition(|(name, _)| on_top(name));
        Ok(Some(Apart { specs, own, head, task }))
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
                "publish it `as adapter`, for `peft` or `adapters`, or train with a delta that becomes part of the weights: `lora`, `ia3`, `bitfit`",
            ));
        }
        let Some(head) = Head::from_config(&self.config) else { return Ok(self) };
        let (model, _) = Model::new(&self.config, &self.tensors, &head, 0, &Device::flex())?;
        Ok(Self { config: model.config(), tensors: model.tensors(), ..self })
    }
}

/// The directory of a source's files, which must still be those the plan was made with.
fn directory_of(facts: &SourceFacts) -> Result<&Path, StageFailure> {
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
    first.ok_or_else(|| StageFailure::new("ftp::stage::empty_model", "the directory holds no files"))
}

/// Whether a tensor that came with a saved delta stands on top of the encoder.
fn on_top(name: &str) -> bool {
    models::is_task_head(name) || name.contains(".pooler.")
}

/// A delta needs a model in the store to lie over.
pub(super) fn not_stored(what: &str) -> StageFailure {
    StageFailure::new("ftp::stage::missing_input", format!("{what} is no result of the store"))
}

pub(super) fn deltas_of(artifact: &StoredArtifact, key: &str) -> Vec<DeltaSpec> {
    let told = artifact.manifest.summary.get(key).cloned().unwrap_or_default();
    serde_json::from_value(if told.is_object() { json!([told]) } else { told }).unwrap_or_default()
}

/// As [`deltas_of`] reads it.
pub(super) fn described(deltas: &[DeltaSpec]) -> serde_json::Value {
    match deltas {
        [one] => json!(one),
        several => json!(several),
    }
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
pub(super) fn stored_tokenizer(artifact: &StoredArtifact) -> Result<Tokenizer, StageFailure> {
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
    mut notices: Vec<Notice>,
) -> Result<Outcome, StageFailure> {
    stage.activity("saving");
    let Some(base) = bundle.origin.clone().filter(|_| !bundle.deltas.is_empty()) else {
        let mut tensors = model.tensors();
        // What this head has no use for but the next one may: BERT's pooler under a masked-LM head.
        tensors.extend(model.carried().clone());
        let whole = Bundle { config: model.config(), tensors, ..bundle };
        let files = whole.save(&stage.spec.attempt)?;
        return Ok(Outcome { files, base: None, summary, notices });
    };
    let mut changed = model.tensors();
    changed.retain(|name, _| model.parameters.get(name).is_some_and(|parameter| parameter.trainable));
    for spec in &bundle.deltas {
        if let Some(pack) = known_delta(spec)?.pack {
            let head = changed.keys().filter(|name| model.head_parameters().contains(&name.as_str()));
            let head: usize = head.map(|name| changed[name].data.len()).sum();
            let packed = pack(spec, model, &mut changed)?;
            let total = model.layout().count(|slot| slot.part != Part::Delta);
            summary["parameters"] = json!({ "trained": head + packed.numbers, "total": total });
            if let Some((name, more)) = packed.summary {
                summary[name] = more;
            }
            packed.notices.into_iter().for_each(|notice| stage.notice(&mut notices, notice));
        }
    }
    summary[TRAINED] = described(&bundle.deltas);
    let mut config = model.config();
    for spec in &bundle.deltas {
        if known_delta(spec)?.fold.is_none() {
            beside::add(&mut config, spec);
        }
    }
    write_delta(stage, base, &config, &changed, summary, notices)
}

/// Hands over a delta over a result in the store: only the tensors it changed.
pub(super) fn write_delta(
    stage: &Stage,
    base: Digest,
    config: &serde_json::Value,
    changed: &Tensors,
    summary: serde_json::Value,
    notices: Vec<Notice>,
) -> Result<Outcome, StageFailure> {
    hub::write_config(&stage.spec.attempt, config)?;
    hub::write_safetensors(&stage.file(DELTA), changed)?;
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

/// Attaches the deltas and marks what trains: everything, or what the methods say, and in any case what is new. New
/// parameters of deltas are drawn from `seed`.
///
/// # Errors
/// When a delta method does not fit the model or finds nothing to train in it.
pub(super) fn choose_trainable(
    bundle: &Bundle,
    model: &mut Model,
    new: &[String],
    seed: u64,
) -> Result<(), StageFailure> {
    if bundle.deltas.is_empty() {
        return Ok(());
    }
    // Of deltas that stay beside the model below: they are part of what this one starts from.
    let below = model.layout().slots.iter().filter(|slot| slot.part == Part::Delta);
    let below: IndexSet<String> = below.map(|slot| slot.name.clone()).collect();
    for spec in &bundle.deltas {
        freeze::attach(spec, model, seed)?;
    }
    // A saved delta brings its head, in whose place a new one is trained, and perhaps a pooler, which trains on.
    let mut prepared = bundle.prepared.clone();
    prepared.retain(|name, _| !on_top(name) || !models::is_task_head(name) && model.parameters.contains_key(name));
    take(model, &prepared)?;
    let layers = model.layers();
    let is_new = |slot: &Slot| slot.part == Part::Head || new.contains(&slot.name);
    let mut trained: IndexSet<String> = IndexSet::new();
    for spec in &bundle.deltas {
        let delta = known_delta(spec)?;
        let trains = |slot: &&Slot| {
            !below.contains(&slot.name) && !freeze::holds(spec, slot) && (delta.trains)(spec, layers, slot)
        };
        let own: Vec<&Slot> = model.layout().slots.iter().filter(trains).collect();
        if !delta.head_alone && own.iter().all(|slot| is_new(slot)) {
            return Err(StageFailure::new(
                "ftp::peft::nothing_to_train",
                format!("`{}` finds nothing to train in this model: it would train the new head only", spec.method),
            )
            .help("choose another delta method, or fine-tune all weights by leaving `peft(..)` out"));
        }
        trained.extend(own.into_iter().map(|slot| slot.name.clone()));
    }
    let prepared_pooler = |slot: &Slot| slot.part == Part::Pooler && prepared.contains_key(&slot.name);
    model.train_only(|slot| trained.contains(&slot.name) || is_new(slot) || prepared_pooler(slot));
    Ok(())
}

/// Gives parameters these values.
fn take(model: &mut Model, values: &Tensors) -> Result<(), StageFailure> {
    let device = model.device().clone();
    for (name, value) in values {
        let parameter = model.parameters.get_mut(name).filter(|parameter| parameter.weight.shape() == value.shape);
        let Some((parameter, weight)) = parameter.zip(Weight::from_host(value, &device)) else {
            let message = format!("the model has no place for `{name}`");
            return Err(StageFailure::new("ftp::peft::incomplete_delta", message));
        };
        parameter.weight = weight;
    }
    Ok(())
}

/// The names of the encoder's parameters in models of a configuration.
pub(super) fn encoder_names(config: &serde_json::Value) -> Result<Vec<String>, StageFailure> {
    let layout = Model::layout_of(config, &Head::MaskedLm)?;
    Ok(layout.slots.into_iter().filter(|slot| slot.part == Part::Encoder).map(|slot| slot.name).collect())
}

/// The run of `peft`: the model stays where it is; the artifact only says which delta trains next. A model that comes from
/// the user's directory is taken into the store here, so that the delta can point at it for good. A saved delta is taken
/// into the store with it.
pub(super) fn parametrise(stage: &Stage) -> Result<Outcome, StageFailure> {
    if stage.has(SAVED) {
        return attach_saved(stage);
    }
    let deltas = freeze::into_others(&stage.spec.deltas);
    if deltas.is_empty() {
        let message = format!("{} was started without its delta method", stage.spec.label);
        return Err(StageFailure::new("ftp::stage::missing_input", message));
    }
    let bundle = stage.model()?;
    let files = match &bundle.origin {
        Some(_) => vec![],
        None => bundle.save(&stage.spec.attempt)?,
    };
    let summary = json!({ ATTACHED: described(&deltas) });
    Ok(Outcome { files, base: bundle.origin, summary, notices: vec![] })
}

/// The slot of `peft` that a saved delta fills.
const SAVED: &str = "method";

fn attach_saved(stage: &Stage) -> Result<Outcome, StageFailure> {
    let bundle = stage.model()?;
    stage.activity("reading the saved delta");
    let (apart, found) = interchange::read(directory_of(stage.source(SAVED)?)?, &bundle)?;
    let mut notices = vec![];
    found.into_iter().for_each(|notice| stage.notice(&mut notices, notice));
    let mut files = match &bundle.origin {
        Some(_) => vec![],
        None => bundle.save(&stage.spec.attempt)?,
    };
    hub::write_safetensors(&stage.file(PREPARED), &apart.tensors())?;
    files.push(PREPARED.into());
    let summary = json!({ ATTACHED: described(&apart.specs), TASK: apart.task });
    Ok(Outcome { files, base: bundle.origin, summary, notices })
}

/// How much of a model trained, for reports.
pub(super) fn trained_share(model: &Model) -> serde_json::Value {
    json!({ "trained": model.trainable_count(), "total": model.count() })
}
