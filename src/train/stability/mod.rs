//! What keeps fine-tuning stable: techniques that change the rates, the gradients or the weights of a step. One file each;
//! any of them may be on together, with any delta.
//!
//! A technique is a [`Technique`] and a line in `TECHNIQUES`. It reads its own parameters, and does its part at the moments
//! the loop offers. Those that change the loss of a pass are a [`Regularizer`]; of these a training has one.

mod average;
mod cycles;
mod depth;
pub mod diff_pruning;
mod freelb;
mod layer_decay;
mod mixout;
mod noise;
mod pruning;
mod r3f;
mod smart;
mod temporal;
mod unfreeze;
mod until;

use indexmap::IndexMap;

use super::checkpoint::{Saved, Snapshot};
use super::error::TrainError;
use super::reader::Reader;
use super::step::{Passed, Portion};
use crate::event::Notice;
use crate::lang::value::Value;
use crate::nn::gradient::Gradients;
use crate::nn::models::Model;

/// Every technique: the names of its parameters, and how it begins.
const TECHNIQUES: &[Entry] = &[
    layer_decay::ENTRY,
    unfreeze::ENTRY,
    mixout::ENTRY,
    r3f::ENTRY,
    freelb::ENTRY,
    smart::ENTRY,
    temporal::PI,
    temporal::TEMPORAL,
    cycles::ENTRY,
    until::ENTRY,
    average::ENTRY,
    diff_pruning::ENTRY,
    pruning::ENTRY,
];

/// A technique as the table lists it.
struct Entry {
    /// Its parameters in the language.
    parameters: &'static [&'static str],
    /// Reads them: a technique, or `None` when they ask for none.
    begin: fn(&mut Beginning) -> Begun,
}

type Begun = Result<Option<Box<dyn Technique>>, TrainError>;

/// What a technique sees when training begins, before a checkpoint's weights are laid over the model's.
pub struct Beginning<'a> {
    pub read: Reader<'a>,
    pub model: &'a Model,
    pub seed: u64,
    /// The highest.
    pub learning_rate: f64,
    pub epochs: f64,
    pub steps: u64,
    pub steps_per_epoch: u64,
    /// All that there are, and those of them that have labels.
    pub rows: usize,
    pub labelled: usize,
    pub notices: Vec<Notice>,
}

/// A moment of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// The step that is being taken, from 1, and how many there will be.
    pub step: u64,
    pub steps: u64,
    /// Epochs before this step, the last one perhaps in part.
    pub epochs: f64,
}

/// One technique in one training. A state that steps depend on is saved and loaded with checkpoints.
pub trait Technique {
    /// The step with which training ends before its schedule does; the weights it has then are kept.
    fn end(&self) -> Option<u64> {
        None
    }

    /// What the highest learning rate is multiplied by in a step, in place of what the schedule says, which gives it after a
    /// number of steps.
    fn factor(&self, _at: At, _schedule: &dyn Fn(u64) -> f64) -> Option<f64> {
        None
    }

    /// What the learning rate of a parameter is multiplied by.
    fn rate(&self, _parameter: &str) -> f64 {
        1.0
    }

    /// Before the passes of a step.
    fn before(&mut self, _model: &mut Model, _at: At) {}

    /// The loss that takes the place of the objective's.
    fn regularizer(&self) -> Option<&dyn Regularizer> {
        None
    }

    /// Between the passes of a step and its update; gradients are sums over the step's targets, of which there are so many.
    fn differentiated(&mut self, _model: &mut Model, _gradients: &mut Gradients, _targets: f64) {}

    /// After the update of a step.
    fn updated(&mut self, _model: &mut Model, _at: At) {}

    /// Whether the weights are of the kind that training is to end with: before that, evaluations do not count for `keep` and
    /// `patience`.
    fn settled(&self) -> bool {
        true
    }

    /// After the last step; true if it put other weights in the place of those that training came to, which are then kept.
    fn finish(&mut self, _model: &mut Model, _notices: &mut Vec<Notice>) -> bool {
        false
    }

    fn save(&self, _to: &mut Snapshot) {}

    /// Takes over what `save` wrote; `None` when it is not there. What the technique did to a model that is no weight of it is
    /// done again.
    fn load(&mut self, _saved: &Saved, _model: &mut Model) -> Option<()> {
        Some(())
    }
}

/// A loss made of an objective's.
pub trait Regularizer {
    /// Whether rows without labels teach something under this loss.
    fn learns_without_labels(&self) -> bool {
        false
    }

    /// Loss and gradients of one pass's rows.
    ///
    /// # Errors
    /// When the device fails.
    fn pass(&self, portion: &Portion) -> Result<Option<Passed>, TrainError>;
}

/// The parameters of techniques among those of a stage, without those that are left at `none`.
pub(super) fn chosen(parameters: &IndexMap<String, Value>) -> IndexMap<String, Value> {
    let names: Vec<&str> = TECHNIQUES.iter().flat_map(|entry| entry.parameters).copied().collect();
    let chosen = parameters.iter().filter(|(name, value)| names.contains(&name.as_str()) && **value != Value::None);
    chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The parameters of a delta that techniques read, under the delta's name: `diff_pruning.target`.
pub(super) fn of_delta(delta: &str, parameters: &IndexMap<String, Value>) -> IndexMap<String, Value> {
    chosen(&parameters.iter().map(|(name, value)| (format!("{delta}.{name}"), value.clone())).collect())
}

/// The techniques of one training, in the order of the table.
pub struct Techniques(Vec<Box<dyn Technique>>);

impl Techniques {
    /// # Errors
    /// A parameter no training makes sense with, or none that is on reads.
    pub fn begin(beginning: &mut Beginning) -> Result<Self, TrainError> {
        let (mut techniques, mut known) = (Vec::new(), Vec::new());
        for entry in TECHNIQUES {
            if let Some(technique) = (entry.begin)(beginning)? {
                techniques.push(technique);
                known.extend(entry.parameters);
            }
        }
        let off = |name: &&String| !known.contains(&name.as_str()) && beginning.read.given(name);
        if let Some(name) = beginning.read.0.keys().find(off) {
            return Err(TrainError::Idle { name: name.clone() });
        }
        let techniques = Self(techniques);
        let learns = techniques.regularizer().is_some_and(Regularizer::learns_without_labels);
        match beginning.rows - beginning.labelled {
            rows if rows > 0 && !learns => Err(TrainError::Unlabelled { rows }),
            _ => Ok(techniques),
        }
    }

    pub fn end(&self) -> Option<u64> {
        self.0.iter().filter_map(|technique| technique.end()).min()
    }

    /// Of the highest learning rate; of several that say it the first.
    pub fn factor(&self, at: At, schedule: impl Fn(u64) -> f64) -> f64 {
        let found = self.0.iter().find_map(|technique| technique.factor(at, &schedule));
        found.unwrap_or_else(|| schedule(at.step - 1))
    }

    pub fn rate(&self, parameter: &str) -> f64 {
        self.0.iter().map(|technique| technique.rate(parameter)).product()
    }

    pub fn before(&mut self, model: &mut Model, at: At) {
        self.0.iter_mut().for_each(|technique| technique.before(model, at));
    }

    pub fn regularizer(&self) -> Option<&dyn Regularizer> {
        self.0.iter().find_map(|technique| technique.regularizer())
    }

    pub fn differentiated(&mut self, model: &mut Model, gradients: &mut Gradients, targets: f64) {
        self.0.iter_mut().for_each(|technique| technique.differentiated(model, gradients, targets));
    }

    pub fn updated(&mut self, model: &mut Model, at: At) {
        self.0.iter_mut().for_each(|technique| technique.updated(model, at));
    }

    pub fn settled(&self) -> bool {
        self.0.iter().all(|technique| technique.settled())
    }

    pub fn finish(&mut self, model: &mut Model, notices: &mut Vec<Notice>) -> bool {
        let mut replaced = false;
        for technique in &mut self.0 {
            replaced |= technique.finish(model, notices);
        }
        replaced
    }

    pub fn save(&self, to: &mut Snapshot) {
        self.0.iter().for_each(|technique| technique.save(to));
    }

    pub fn load(&mut self, saved: &Saved, model: &mut Model) -> Option<()> {
        self.0.iter_mut().try_for_each(|technique| technique.load(saved, model))
    }
}
