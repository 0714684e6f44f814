//! Temporal ensembling and the Pi-model: what a model says of a row should be what it said in the epochs before, or says
//! under other dropout. Rows without labels teach that too (Laine & Aila 2017, arXiv:1610.02242).

use std::cell::RefCell;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::{At, Beginning, Begun, Entry, Regularizer, Technique};
use crate::hub::tensors::HostTensor;
use crate::lang::world::Task;
use crate::nn::models::{Head, Model};
use crate::nn::parameters::Weight;
use crate::nn::pass::site_index;
use crate::train::checkpoint::{Saved, Snapshot};
use crate::train::error::TrainError;
use crate::train::reader::wrong;
use crate::train::schedule::Warmup;
use crate::train::step::{Passed, Portion};

pub(super) const PI: Entry =
    Entry { parameters: &["regularizer", "regularizer_weight", "ramp_up"], begin: |beginning| begin(beginning, "pi") };

pub(super) const TEMPORAL: Entry = Entry {
    parameters: &["regularizer", "regularizer_weight", "ramp_up", "ensembling_momentum"],
    begin: |beginning| begin(beginning, "temporal"),
};

/// The paper's `w_max`, of the Pi-model and of temporal ensembling; its ramp of 80 epochs out of 300; its momentum.
const WEIGHTS: [f64; 2] = [100.0, 30.0];
const RAMP: f64 = 80.0 / 300.0;
const MOMENTUM: f64 = 0.6;

/// `1/|B| (sum_labelled L(z_i) + w(t) / C sum_all ||z_i - z~_i||^2)` over a batch of `B` rows (algorithms 1 and 2), `z` the
/// probabilities of `C` classes (of a regression the score), `z~` those of a second pass with other dropout, or the mean of
/// what was said of the row in the epochs before, in which case it has no gradient.
struct Temporal {
    /// The highest weight: `w_max` times the share of the rows that have labels.
    highest: f64,
    /// Steps over which the weight rises.
    ramp: u64,
    /// In this step.
    weight: f64,
    /// None for the Pi-model.
    ensemble: Option<Ensemble>,
}

fn begin(beginning: &mut Beginning, name: &str) -> Begun {
    let read = beginning.read;
    if read.name("regularizer")? != Some(name) {
        return Ok(None);
    }
    let classes = match beginning.model.head() {
        Head::Sequence(Task::Classification { labels }) => labels.len(),
        Head::Sequence(Task::Regression) => 1,
        Head::MaskedLm => return Err(wrong("regularizer", format!("`{name}`"), "one for rows with labels")),
    };
    let ensemble = match name {
        "pi" => None,
        _ => {
            let momentum = read.at_least_0("ensembling_momentum")?.unwrap_or(MOMENTUM);
            if momentum >= 1.0 {
                return Err(wrong("ensembling_momentum", momentum.to_string(), "at least 0 and below 1"));
            }
            Some(Ensemble::new(momentum, beginning.rows, classes, beginning.steps_per_epoch))
        }
    };
    let highest = read.at_least_0("regularizer_weight")?.unwrap_or(WEIGHTS[usize::from(ensemble.is_some())]);
    let ramp = read.steps_or_ratio("ramp_up")?.unwrap_or(Warmup::Ratio(RAMP));
    Ok(Some(Box::new(Temporal {
        highest: highest * beginning.labelled as f64 / beginning.rows.max(1) as f64,
        ramp: ramp.steps(beginning.steps),
        weight: 0.0,
        ensemble,
    })))
}

impl Temporal {
    /// `w(t)` after so many steps: a Gaussian that rises from `exp(-5)` of the highest. An ensemble has said nothing in the
    /// first epoch.
    fn weight_after(&self, done: u64) -> f64 {
        if self.ensemble.as_ref().is_some_and(|ensemble| done < ensemble.steps_per_epoch) {
            return 0.0;
        }
        if done >= self.ramp {
            return self.highest;
        }
        let left = 1.0 - done as f64 / self.ramp as f64;
        self.highest * (-5.0 * left * left).exp()
    }
}

impl Regularizer for Temporal {
    fn learns_without_labels(&self) -> bool {
        true
    }

    fn pass(&self, portion: &Portion) -> Result<Option<Passed>, TrainError> {
        let pass = portion.model.training_pass(portion.draws);
        let Some(loss) = portion.loss(&pass) else { return Ok(None) };
        let task = portion.objective.task();
        let said = answers(task, loss.logits);
        if let Some(ensemble) = &self.ensemble {
            ensemble.hear(portion.chosen, said.clone())?;
        }
        if self.weight == 0.0 {
            drop(said); // it would keep parts of the graph alive
            return Passed::of(pass, loss.sum, loss.targets).map(Some);
        }
        let other = match &self.ensemble {
            Some(ensemble) => Tensor::from_inner(ensemble.of(portion.chosen, portion.model.device())),
            None => {
                pass.vary(portion.draws.at(site_index("pi dropout")), None);
                let Some(again) = portion.loss(&pass) else { return Ok(None) };
                answers(task, again.logits)
            }
        };
        let [_, classes] = said.dims();
        let apart = (said - other).powi_scalar(2).sum() * (self.weight / classes as f64) as f32;
        Passed::of(pass, loss.sum + apart, loss.targets).map(Some)
    }
}

impl Technique for Temporal {
    fn before(&mut self, _: &mut Model, at: At) {
        self.weight = self.weight_after(at.step - 1);
    }

    fn regularizer(&self) -> Option<&dyn Regularizer> {
        Some(self)
    }

    fn updated(&mut self, _: &mut Model, at: At) {
        if let Some(ensemble) =
            self.ensemble.as_mut().filter(|ensemble| at.step.is_multiple_of(ensemble.steps_per_epoch))
        {
            ensemble.take_in();
        }
    }

    fn save(&self, to: &mut Snapshot) {
        if let Some(ensemble) = &self.ensemble {
            ensemble.save(to);
        }
    }

    fn load(&mut self, saved: &Saved, _: &mut Model) -> Option<()> {
        self.ensemble.as_mut().map_or(Some(()), |ensemble| ensemble.load(saved))
    }
}

/// What a model says of rows: logits `[B, C]` -> probabilities `[B, C]`, or the scores of a regression `[B, 1]`.
fn answers(task: Option<&Task>, logits: Tensor<2>) -> Tensor<2> {
    if task == Some(&Task::Regression) { logits } else { softmax(logits, 1) }
}

/// What was said of each row, by the row's number in the data, whatever step and pass it came in. A row has its turn once an
/// epoch.
struct Ensemble {
    momentum: f64,
    classes: usize,
    steps_per_epoch: u64,
    /// Epochs that are in the targets.
    epochs: u64,
    /// `z~`, `[rows, classes]`: the mean of the epochs' answers, one epoch's with `momentum` of the weight of the next. In the
    /// paper's terms `Z / (1 - momentum^epochs)`.
    targets: Vec<f32>,
    /// What was said in this epoch so far.
    said: RefCell<Vec<f32>>,
}

impl Ensemble {
    fn new(momentum: f64, rows: usize, classes: usize, steps_per_epoch: u64) -> Self {
        let nothing = vec![0.0; rows * classes];
        Self { momentum, classes, steps_per_epoch, epochs: 0, targets: nothing.clone(), said: RefCell::new(nothing) }
    }

    /// Remembers what is said of some rows. said `[B, C]`.
    fn hear(&self, rows: &[usize], said: Tensor<2>) -> Result<(), TrainError> {
        let values = said.try_into_vec_as::<f32>();
        let values = values.map_err(|error| TrainError::Device { message: error.to_string() })?;
        let mut all = self.said.borrow_mut();
        for (row, values) in rows.iter().zip(values.chunks(self.classes)) {
            all[row * self.classes..][..self.classes].copy_from_slice(values);
        }
        Ok(())
    }

    /// The targets of some rows, `[B, C]`.
    fn of(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let row = |row: &usize| &self.targets[row * self.classes..][..self.classes];
        let values: Vec<f32> = rows.iter().flat_map(row).copied().collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.classes]), device)
    }

    /// At the end of an epoch: `Z <- a Z + (1 - a) z` and `z~ = Z / (1 - a^t)`, in one step, whose rounding leaves `z` as it is
    /// where it is all there is.
    fn take_in(&mut self) {
        self.epochs += 1;
        let correction = 1.0 - self.momentum.powi(self.epochs.min(i32::MAX as u64) as i32);
        let share = (1.0 - self.momentum) / correction;
        for (target, said) in self.targets.iter_mut().zip(self.said.get_mut()) {
            *target = ((1.0 - share) * f64::from(*target) + share * f64::from(*said)) as f32;
        }
    }

    fn save(&self, to: &mut Snapshot) {
        to.record("ensemble", &self.epochs);
        let said = self.said.borrow();
        for (name, values) in [("targets", &self.targets), ("said", &*said)] {
            to.tensor("ensemble", name, &self.weight(values));
        }
    }

    fn load(&mut self, saved: &Saved) -> Option<()> {
        self.epochs = saved.record("ensemble")?;
        let like = self.weight(&self.targets);
        let values = |name: &str| Some(saved.like("ensemble", name, &like)?.to_host().data);
        (self.targets, self.said) = (values("targets")?, RefCell::new(values("said")?));
        Some(())
    }

    /// `[rows, classes]`
    fn weight(&self, values: &[f32]) -> Weight {
        let shape = vec![values.len() / self.classes.max(1), self.classes];
        let host = HostTensor { shape, data: values.to_vec() };
        Weight::from_host(&host, &Device::flex()).expect("it is a matrix")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three epochs of what is said of two rows, rows in another order each time.
    const SAID: [[[f32; 2]; 2]; 3] = [[[0.1, 0.9], [0.3, 0.7]], [[0.15, 0.85], [0.6, 0.4]], [[0.7, 0.3], [0.05, 0.95]]];

    fn after(momentum: f64, epochs: usize) -> Vec<f32> {
        let mut ensemble = Ensemble::new(momentum, 2, 2, 1);
        for (epoch, said) in SAID[..epochs].iter().enumerate() {
            let order = if epoch % 2 == 0 { [0, 1] } else { [1, 0] };
            let said: Vec<f32> = order.iter().flat_map(|row| said[*row]).collect();
            let said = Tensor::from_data(TensorData::new(said, [2, 2]), &Device::flex());
            ensemble.hear(&order, said).unwrap();
            ensemble.take_in();
        }
        ensemble.targets
    }

    #[test]
    fn after_one_epoch_the_targets_are_what_was_said_and_without_momentum_what_was_said_last() {
        for momentum in [0.0, 0.3, 0.6, 0.99] {
            assert_eq!(after(momentum, 1), SAID[0].concat());
        }
        assert_eq!(after(0.0, 2), SAID[1].concat());
        assert_eq!(after(0.0, 3), SAID[2].concat());
    }

    #[test]
    fn the_targets_are_the_papers() {
        for momentum in [0.3f64, 0.6, 0.99] {
            let mut sums = [0.0f64; 4];
            for (epoch, said) in SAID.iter().enumerate() {
                for (sum, said) in sums.iter_mut().zip(said.as_flattened()) {
                    *sum = momentum * *sum + (1.0 - momentum) * f64::from(*said);
                }
                let correction = 1.0 - momentum.powi(epoch as i32 + 1);
                for (found, sum) in after(momentum, epoch + 1).iter().zip(sums) {
                    assert!((f64::from(*found) - sum / correction).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn the_weight_rises_along_a_gaussian_and_there_is_none_before_anything_was_said() {
        let mut pi = Temporal { highest: 100.0 * 0.25, ramp: 80, weight: 0.0, ensemble: None };
        assert!((pi.weight_after(0) - (-5.0f64).exp() * 25.0).abs() < 1e-12);
        assert!((pi.weight_after(40) - (-1.25f64).exp() * 25.0).abs() < 1e-12);
        assert_eq!([pi.weight_after(80), pi.weight_after(1000)], [25.0; 2]);
        pi.ramp = 0;
        assert_eq!(pi.weight_after(0), 25.0);
        let ensemble = Some(Ensemble::new(0.6, 2, 2, 10));
        let temporal = Temporal { highest: 30.0, ramp: 80, weight: 0.0, ensemble };
        assert_eq!(temporal.weight_after(9), 0.0);
        assert!((temporal.weight_after(10) - (-5.0f64 * 0.875 * 0.875).exp() * 30.0).abs() < 1e-12);
    }
}
