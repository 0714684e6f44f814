//! How many weights a pruned model still has in each step, and what presses scores down: the schedule of movement pruning (Sanh
//! et al. 2020, arXiv:2005.07683) and of gradual magnitude pruning (Zhu & Gupta 2017, arXiv:1710.01878).

use burn::tensor::activation::sigmoid;

use super::{At, Beginning, Begun, Entry, Technique};
use crate::nn::gradient::{Gradient, Gradients};
use crate::nn::models::Model;
use crate::nn::ops::Kept;
use crate::nn::parameters::Weight;
use crate::nn::pruning::{self, SCORES};
use crate::train::checkpoint::Saved;

/// The parameters of one of the deltas that prune.
struct Names {
    /// The share of weights that is kept, or the threshold of scores, in the end.
    to: &'static str,
    /// The shares of steps before and after the schedule.
    warmups: [&'static str; 2],
    /// Of scores, where there are some.
    rate: Option<&'static str>,
    /// Of the scores' sigmoids in the loss, where there is a threshold.
    weight: Option<&'static str>,
}

const MOVEMENT: Names = Names {
    to: "movement_pruning.keep",
    warmups: ["movement_pruning.initial_warmup", "movement_pruning.final_warmup"],
    rate: Some("movement_pruning.score_learning_rate"),
    weight: None,
};

const SOFT_MOVEMENT: Names = Names {
    to: "soft_movement_pruning.threshold",
    warmups: ["soft_movement_pruning.initial_warmup", "soft_movement_pruning.final_warmup"],
    rate: Some("soft_movement_pruning.score_learning_rate"),
    weight: Some("soft_movement_pruning.score_weight"),
};

const MAGNITUDE: Names = Names {
    to: "magnitude_pruning.keep",
    warmups: ["magnitude_pruning.initial_warmup", "magnitude_pruning.final_warmup"],
    rate: None,
    weight: None,
};

/// The deltas' own parameters.
pub(super) const ENTRY: Entry = Entry {
    parameters: &[
        "movement_pruning.keep",
        "movement_pruning.initial_warmup",
        "movement_pruning.final_warmup",
        "movement_pruning.score_learning_rate",
        "soft_movement_pruning.threshold",
        "soft_movement_pruning.initial_warmup",
        "soft_movement_pruning.final_warmup",
        "soft_movement_pruning.score_learning_rate",
        "soft_movement_pruning.score_weight",
        "magnitude_pruning.keep",
        "magnitude_pruning.initial_warmup",
        "magnitude_pruning.final_warmup",
    ],
    begin,
};

struct Pruning {
    schedule: Cubic,
    /// Whether the schedule is that of a threshold for scores.
    soft: bool,
    /// Learning rate of the scores relative to the others'.
    rate: f64,
    /// Of the scores' sigmoids in the loss, in the end.
    weight: f64,
    /// The weights that are pruned.
    names: Vec<String>,
    /// The step that is taken or was taken last.
    step: u64,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let read = beginning.read;
    let Some(names) = [MOVEMENT, SOFT_MOVEMENT, MAGNITUDE].into_iter().find(|names| read.0.contains_key(names.to))
    else {
        return Ok(None);
    };
    let [initial, last] = names.warmups.map(|name| read.at_least_0(name));
    let share = |warmup: f64| (warmup.min(1.0) * beginning.steps as f64 + 1e-9) as u64;
    let or_0 = |name: Option<&'static str>| name.map_or(Ok(None), |name| read.at_least_0(name));
    let soft = names.weight.is_some();
    let (begin, end) = (share(initial?.unwrap_or(0.1)), beginning.steps - share(last?.unwrap_or(0.2)));
    let to = read.at_least_0(names.to)?.unwrap_or(0.15);
    Ok(Some(Box::new(Pruning {
        schedule: Cubic { from: if soft { 0.0 } else { 1.0 }, to, begin: begin.min(end), end },
        soft,
        rate: or_0(names.rate)?.unwrap_or(0.0) / beginning.learning_rate.max(f64::MIN_POSITIVE),
        weight: or_0(names.weight)?.unwrap_or(0.0),
        names: pruning::weights(beginning.model),
        step: 0,
    })))
}

/// A quantity that stays, moves along a cubic curve, steeply at first, and stays again.
struct Cubic {
    from: f64,
    to: f64,
    /// The last step at `from`, and the first at `to`.
    begin: u64,
    end: u64,
}

impl Cubic {
    /// In a step, from 1: `to + (from - to) (1 - (t - begin) / (end - begin))^3`.
    fn at(&self, step: u64) -> f64 {
        if step >= self.end {
            return self.to;
        }
        let share = step.saturating_sub(self.begin) as f64 / (self.end - self.begin).max(1) as f64;
        self.to + (self.from - self.to) * (1.0 - share).powi(3)
    }
}

impl Pruning {
    fn turn(&mut self, model: &mut Model, step: u64) {
        self.step = step;
        let now = self.schedule.at(step);
        pruning::prune(model, if self.soft { Kept::Above(now) } else { Kept::Largest(now) });
    }
}

impl Technique for Pruning {
    fn before(&mut self, model: &mut Model, at: At) {
        self.turn(model, at.step);
    }

    fn rate(&self, parameter: &str) -> f64 {
        if parameter.ends_with(SCORES) { self.rate } else { 1.0 }
    }

    /// The derivative of the mean over matrices of the mean sigmoid of their scores, times a weight that rises with the
    /// threshold, for every target of the step.
    fn differentiated(&mut self, model: &mut Model, gradients: &mut Gradients, targets: f64) {
        let share = if self.schedule.to > 0.0 { self.schedule.at(self.step) / self.schedule.to } else { 0.0 };
        let weight = targets * self.weight * share / self.names.len().max(1) as f64;
        if weight == 0.0 {
            return;
        }
        for name in self.names.iter().map(|name| format!("{name}{SCORES}")) {
            let Some(Weight::Vector(scores)) = model.parameters.get(&name).map(|found| &found.weight) else { continue };
            let p = sigmoid(scores.clone());
            let slope = p.clone() * (p.neg() + 1.0) * (weight / scores.dims()[0].max(1) as f64) as f32;
            if let Some(Gradient::Whole(Weight::Vector(gradient))) = gradients.get_mut(&name) {
                *gradient = gradient.clone() + slope;
            }
        }
    }

    fn settled(&self) -> bool {
        self.step >= self.schedule.end
    }

    fn load(&mut self, saved: &Saved, model: &mut Model) -> Option<()> {
        self.turn(model, saved.step);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_begins_and_ends_where_its_warmups_say_and_is_cubic_between() {
        let schedule = Cubic { from: 1.0, to: 0.15, begin: 10, end: 80 };
        for (step, value) in [(1, 1.0), (10, 1.0), (45, 0.15 + 0.85 * 0.125), (80, 0.15), (100, 0.15)] {
            assert!((schedule.at(step) - value).abs() < 1e-12, "{step}");
        }
        assert!(schedule.at(11) < 1.0 && schedule.at(79) > 0.15);
        assert!((1..100).all(|step| schedule.at(step) >= schedule.at(step + 1)));
        // Its two ends may fall together: the end wins, so that the last step is always at the goal.
        let jump = Cubic { from: 0.0, to: 0.1, begin: 100, end: 100 };
        assert_eq!((jump.at(99), jump.at(100)), (0.0, 0.1));
    }
}
