//! One file per method: its signature, its manual page, its run. `docs/adding-a-method.md` shows how to add one.
//!
//! From outside: [`registry`] (what the language may say), [`run`] (what a stage process does), [`bundle`] (models in
//! and out of the store).

#[cfg(feature = "train")]
pub mod bases;
#[cfg(feature = "train")]
mod beside;
#[cfg(feature = "train")]
pub mod bundle;
#[cfg(feature = "train")]
pub mod interchange;
#[cfg(feature = "train")]
mod panel;
mod parameters;
#[cfg(feature = "train")]
pub mod predict;
mod pruning;
#[cfg(feature = "train")]
mod shared;
mod stability;
#[cfg(feature = "train")]
mod stage;
#[cfg(feature = "train")]
mod supervised;
#[cfg(feature = "train")]
mod unsupervised;
#[cfg(feature = "train")]
mod virtual_tokens;

mod adapt;
mod adapter;
mod average;
mod bitfit;
mod delta;
mod diff_pruning;
mod ensemble;
mod evaluate;
mod finetune;
mod freeze;
mod fusion;
mod hf;
mod ia3;
mod intermediate;
mod intrinsic;
mod invertible;
mod labelled;
mod last_layers;
mod lora;
mod magnitude_pruning;
mod movement_pruning;
#[cfg(all(test, feature = "train"))]
mod oracle;
mod p_tuning;
mod pairs;
mod pal;
mod peft;
#[cfg(all(test, feature = "train"))]
mod peft_parity;
mod prefix;
mod pretrain;
mod prompt;
mod race;
#[cfg(feature = "train")]
mod ranking;
mod select;
mod soft_movement_pruning;
mod swap;
mod text;

use std::sync::LazyLock;

#[cfg(feature = "train")]
pub use shared::Shared;

#[cfg(feature = "train")]
use crate::hub::tensors::Tensors;
use crate::lang::signature::{Registry, Signature};
#[cfg(feature = "train")]
use crate::nn::models::Model;
#[cfg(feature = "train")]
use crate::nn::models::layout::Slot;
#[cfg(feature = "train")]
use crate::plan::spec::{DeltaSpec, StageFailure};

/// A method: what it says about itself and, for those that do something, what it does.
struct Method {
    signature: fn() -> Signature,
    #[cfg(feature = "train")]
    action: Action,
}

/// What a method does when it is its turn.
#[cfg(feature = "train")]
enum Action {
    /// Describes files; the stages that use them read them.
    Source,
    /// Runs as a stage of its own.
    Stage(Run),
    /// Decides what a training stage trains, attached by `peft`.
    Delta(Delta),
    /// Runs as a stage, which attaches a delta of its own.
    Attaching(Run, Delta),
}

#[cfg(feature = "train")]
type Run = fn(&stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure>;

/// A delta method: theta = theta_pretrained + delta, and where in the model the delta lives. New heads train in any case.
#[cfg(feature = "train")]
pub(crate) struct Delta {
    /// Adds what the delta has of its own to a model: parameters, and what happens with them at sites.
    pub attach: fn(&DeltaSpec, &mut Model, u64) -> Result<(), StageFailure>,
    /// Whether a parameter of the model trains, which has this many layers.
    pub trains: fn(&DeltaSpec, usize, &Slot) -> bool,
    /// Lays the delta's own tensors into those of the model below, so that a model without the delta's sites computes the
    /// same. Tensors that replace the model's are there already. None where no such model exists: then the delta stays beside
    /// the model, attached again wherever it is used.
    pub fold: Option<Fold>,
    /// Turns what trained into what is stored: for a delta that needs more to train than to be laid over a model. None where all
    /// that trained is stored.
    pub pack: Option<Pack>,
    /// Whether it makes sense for the new head to train alone.
    pub head_alone: bool,
}

#[cfg(feature = "train")]
type Fold = fn(&DeltaSpec, &mut Tensors) -> Result<(), StageFailure>;

#[cfg(feature = "train")]
type Pack = fn(&DeltaSpec, &Model, &mut Tensors) -> Result<Packed, StageFailure>;

/// What there is to say about a delta that was packed.
#[cfg(feature = "train")]
#[derive(Default)]
pub(crate) struct Packed {
    /// How many numbers are stored that are not the head's.
    pub numbers: usize,
    /// For the result's summary, under a name.
    pub summary: Option<(&'static str, serde_json::Value)>,
    pub notices: Vec<crate::event::Notice>,
}

#[cfg(feature = "train")]
impl Delta {
    /// A delta that adds nothing: some of the model's own parameters train.
    const fn of(trains: fn(&DeltaSpec, usize, &Slot) -> bool) -> Self {
        Self { attach: |_, _, _| Ok(()), trains, fold: Some(|_, _| Ok(())), pack: None, head_alone: false }
    }
}

/// Every method there is, in the order to list them.
const METHODS: &[Method] = &[
    text::METHOD,
    labelled::METHOD,
    pairs::METHOD,
    hf::METHOD,
    delta::METHOD,
    pretrain::METHOD,
    adapt::METHOD,
    intermediate::METHOD,
    peft::METHOD,
    finetune::METHOD,
    race::METHOD,
    select::METHOD,
    average::METHOD,
    ensemble::METHOD,
    evaluate::METHOD,
    swap::METHOD,
    fusion::METHOD,
    bitfit::METHOD,
    lora::METHOD,
    ia3::METHOD,
    adapter::METHOD,
    invertible::METHOD,
    prompt::METHOD,
    p_tuning::METHOD,
    prefix::METHOD,
    pal::METHOD,
    last_layers::METHOD,
    freeze::METHOD,
    diff_pruning::METHOD,
    movement_pruning::METHOD,
    soft_movement_pruning::METHOD,
    magnitude_pruning::METHOD,
    intrinsic::METHOD,
];

/// The signatures of all methods.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> =
        LazyLock::new(|| Registry::new(METHODS.iter().map(|method| (method.signature)())));
    &REGISTRY
}

/// Runs one stage in this process.
#[cfg(feature = "train")]
pub fn run(
    spec: &crate::plan::spec::StageSpec,
    store: &crate::store::Store,
    sink: &dyn Fn(crate::event::Event),
) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    run_among(&Shared::default(), spec, store, sink)
}

/// Runs one of several stages in this process, which share what they have in common.
#[cfg(feature = "train")]
pub fn run_among(
    shared: &Shared,
    spec: &crate::plan::spec::StageSpec,
    store: &crate::store::Store,
    sink: &dyn Fn(crate::event::Event),
) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    let found = METHODS.iter().find(|method| (method.signature)().name == spec.method);
    match found.map(|method| &method.action) {
        Some(Action::Stage(run) | Action::Attaching(run, _)) => run(&stage::Stage { spec, store, sink, shared }),
        _ => Err(crate::plan::spec::StageFailure::new(
            "ftp::stage::unknown_method",
            format!("this version of ftp has no stage named `{}`", spec.method),
        )
        .help("run the plan and its stages with the same version of ftp")),
    }
}

/// The delta method of this name.
#[cfg(feature = "train")]
pub(crate) fn delta(name: &str) -> Option<&'static Delta> {
    METHODS.iter().find(|method| (method.signature)().name == name).and_then(|method| match &method.action {
        Action::Delta(delta) | Action::Attaching(_, delta) => Some(delta),
        _ => None,
    })
}
