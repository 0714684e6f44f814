//! What moves in training: where it is, and how that goes into a checkpoint and comes back.

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Saved, Snapshot};
use super::error::TrainError;
use super::looping::{EpochRecord, Surroundings};
use super::optimizer::Optimizer;
use super::selection::Selection;
use super::settings::Settings;
use super::stability::Techniques;
use crate::event::Notice;
use crate::nn::models::Model;
use crate::nn::parameters::{Parameters, Weight};

/// Where training is in its data and its schedule.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// The epoch, from 0, and how many of its steps are done.
    pub epoch: u64,
    pub batch: usize,
    /// Optimizer steps done.
    pub step: u64,
    pub tokens: u64,
    pub epoch_loss: f64,
    pub epoch_targets: u64,
    pub history: Vec<EpochRecord>,
}

impl Position {
    pub fn next_epoch(self) -> Self {
        Self { epoch: self.epoch + 1, batch: 0, epoch_loss: 0.0, epoch_targets: 0, ..self }
    }
}

/// All that moves, besides the weights.
pub(super) struct State {
    pub position: Position,
    pub optimizer: Optimizer,
    pub selection: Selection,
    pub techniques: Techniques,
}

impl State {
    pub fn new(selection: Selection, techniques: Techniques, settings: &Settings) -> Self {
        Self { position: Position::default(), optimizer: Optimizer::new(settings), selection, techniques }
    }

    /// What a checkpoint holds: all of this, and the weights that train.
    pub fn snapshot(&self, parameters: &Parameters, trained: &[String]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.record("position", &self.position);
        for name in trained {
            snapshot.tensor("weights", name, &parameters[name].weight);
        }
        self.optimizer.save(&mut snapshot);
        self.selection.save(&mut snapshot);
        self.techniques.save(&mut snapshot);
        snapshot
    }

    /// Takes over what [`State::snapshot`] gathered; `None`, and no weight is changed, when it is not of this training.
    fn load(&mut self, saved: &Saved, model: &mut Model, trained: &[String], steps: u64) -> Option<()> {
        self.position = saved.record("position").filter(|position: &Position| position.step <= steps)?;
        self.optimizer.load(saved, &model.parameters)?;
        self.selection.load(saved, &model.parameters, trained)?;
        let weight = |name: &String| saved.like("weights", name, &model.parameters[name].weight);
        let weights: Vec<Weight> = trained.iter().map(weight).collect::<Option<_>>()?;
        self.techniques.load(saved, model)?;
        for (name, weight) in trained.iter().zip(weights) {
            model.parameters[name].weight = weight;
        }
        Some(())
    }
}

/// The state to begin with: that of this training's checkpoint, else the one that a part of it left at `relay`, else a `fresh`
/// one; its weights are then in the model. And what there is to say about it.
pub(super) fn find(
    fresh: impl Fn(&Model) -> Result<(State, Vec<Notice>), TrainError>,
    around: Surroundings,
    model: &mut Model,
    trained: &[String],
    steps: u64,
) -> Result<(State, Vec<Notice>), TrainError> {
    let mut ignored = Vec::new();
    for (place, whose) in
        [(around.checkpoint, "the checkpoint of an earlier attempt"), (around.relay, "the part that ran before")]
    {
        let Some(place) = place else { continue };
        let (mut state, mut notices) = fresh(model)?;
        let end = state.techniques.end().unwrap_or(steps);
        let why = match checkpoint::read(place) {
            Ok(None) => continue,
            // A later part's: this one has been there.
            Ok(Some(saved)) if saved.step > end && around.relay == Some(place) => continue,
            Ok(Some(saved)) => match state.load(&saved, model, trained, end) {
                Some(()) => {
                    let message = format!("resumed at step {} of {end}, from {whose}", saved.step);
                    notices.push(Notice::new("ftp::train::resumed", message));
                    return Ok((state, [ignored, notices].concat()));
                }
                None => "what it holds is not of this training".into(),
            },
            Err(why) => why,
        };
        let message = format!("the checkpoint {} is not used: {why}", place.file.display());
        ignored.push(Notice::new("ftp::train::checkpoint_ignored", message));
    }
    let (state, notices) = fresh(model)?;
    Ok((state, [notices, ignored].concat()))
}

pub(super) fn unwritten(why: &str) -> Notice {
    let message =
        format!("a checkpoint could not be written: {why}; an attempt after this one goes on from an earlier one");
    Notice::new("ftp::train::no_checkpoint", message)
}
