//! The mean of the weights along the last part of a training: stochastic weight averaging (Izmailov et al. 2018,
//! arXiv:1803.05407), and the plain mean of the last epochs' weights.

use burn::tensor::Tensor;

use super::{At, Beginning, Begun, Entry, Technique, cycles};
use crate::event::Notice;
use crate::nn::models::Model;
use crate::nn::parameters::Weight;
use crate::train::checkpoint::{Saved, Snapshot};
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["average", "average_from", "average_every"], begin };

struct Average {
    /// Steps after which weights are taken.
    from: u64,
    /// When weights are taken.
    when: When,
    /// Whether the learning rate stays what it is at `from`.
    hold: bool,
    /// Weights taken so far, and their mean; none before the first.
    count: u64,
    mean: Vec<(String, Weight)>,
}

enum When {
    /// After every so many steps.
    Every(u64),
    /// After these steps.
    After(Vec<u64>),
}

fn begin(beginning: &mut Beginning) -> Begun {
    let read = beginning.read;
    let Some(kind) = read.name("average")? else { return Ok(None) };
    let share = read.number("average_from")?.unwrap_or(0.75);
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong("average_from", share.to_string(), "a share of the steps from 0 to 1"));
    }
    let when = match (read.count("average_every")?, cycles::bounds(beginning)?) {
        (Some(every), _) => When::Every(every.max(1)),
        (None, Some(bounds)) => When::After(bounds),
        (None, None) => When::Every(beginning.steps_per_epoch),
    };
    let trainable = beginning.model.parameters.iter().filter(|(_, parameter)| parameter.trainable);
    Ok(Some(Box::new(Average {
        from: (share * beginning.steps as f64 + 1e-9) as u64,
        when,
        hold: kind == "swa",
        count: 0,
        mean: trainable.map(|(name, parameter)| (name.clone(), parameter.weight.clone())).collect(),
    })))
}

impl Technique for Average {
    fn factor(&self, at: At, schedule: &dyn Fn(u64) -> f64) -> Option<f64> {
        self.hold.then(|| schedule((at.step - 1).min(self.from)))
    }

    fn updated(&mut self, model: &mut Model, at: At) {
        let due = match &self.when {
            When::Every(every) => at.step.is_multiple_of(*every),
            When::After(steps) => steps.contains(&at.step),
        };
        if at.step <= self.from || !(due || at.step == at.steps) {
            return;
        }
        self.count += 1;
        for (name, mean) in &mut self.mean {
            *mean = toward(mean, &model.parameters[name.as_str()].weight, 1.0 / self.count as f32);
        }
    }

    fn finish(&mut self, model: &mut Model, notices: &mut Vec<Notice>) -> bool {
        if self.count == 0 {
            let message = "training ended before there were weights to average: those of one step are kept";
            notices.push(Notice::new("ftp::train::nothing_to_average", message));
            return false;
        }
        for (name, mean) in std::mem::take(&mut self.mean) {
            model.parameters[name.as_str()].weight = mean;
        }
        true
    }

    fn save(&self, to: &mut Snapshot) {
        to.record("averaged", &self.count);
        for (name, mean) in self.mean.iter().filter(|_| self.count > 0) {
            to.tensor("average", name, mean);
        }
    }

    fn load(&mut self, saved: &Saved, _: &mut Model) -> Option<()> {
        self.count = saved.record("averaged")?;
        for (name, mean) in self.mean.iter_mut().filter(|_| self.count > 0) {
            *mean = saved.like("average", name, mean)?;
        }
        Some(())
    }
}

/// `mean + share (now - mean)`: with the share 1/n, the mean of n. The first one is `now` itself.
fn toward(mean: &Weight, now: &Weight, share: f32) -> Weight {
    fn mix<const D: usize>(mean: &Tensor<D>, now: &Tensor<D>, share: f32) -> Tensor<D> {
        mean.clone() + (now.clone() - mean.clone()) * share
    }
    match (mean, now) {
        _ if share >= 1.0 => now.clone(),
        (Weight::Vector(mean), Weight::Vector(now)) => Weight::Vector(mix(mean, now, share)),
        (Weight::Matrix(mean), Weight::Matrix(now)) => Weight::Matrix(mix(mean, now, share)),
        _ => unreachable!("a mean has its weight's rank"),
    }
}
