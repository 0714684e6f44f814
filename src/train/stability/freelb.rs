//! FreeLB: training on the embeddings and on what an adversary makes of them, with the gradients of every step of the
//! adversary (Zhu et al. 2020, arXiv:1909.11764).

use super::noise::{Field, norm};
use super::{Beginning, Begun, Entry, Regularizer, Technique};
use crate::nn::pass::{Noise, site_index};
use crate::train::error::TrainError;
use crate::train::step::{Passed, Portion, add};

pub(super) const ENTRY: Entry =
    Entry { parameters: &["regularizer", "noise", "noise_radius", "ascent_steps", "ascent_size"], begin };

/// The adversary's floor of a gradient's norm, as in the authors' code.
const FLOOR: f64 = 1e-8;

/// `1/K sum_k L(f(x + d_k))` (algorithm 1): `d_0` uniform, of about the norm `magnitude` in each example; after each pass
/// but the last `d += size g / ||g||` with the loss's gradient `g` in the example, within the ball of `radius`. The weights
/// move once, after all passes, and dropout is the same in all of them.
struct FreeLb {
    passes: u64,
    size: f64,
    magnitude: f64,
    radius: Option<f64>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let read = beginning.read;
    if read.name("regularizer")? != Some("freelb") {
        return Ok(None);
    }
    Ok(Some(Box::new(FreeLb {
        passes: read.count("ascent_steps")?.unwrap_or(2).max(1),
        size: read.at_least_0("ascent_size")?.unwrap_or(0.1),
        magnitude: read.at_least_0("noise")?.unwrap_or(0.6),
        radius: read.at_least_0("noise_radius")?.filter(|radius| *radius > 0.0),
    })))
}

impl FreeLb {
    fn start(&self, portion: &Portion, bounds: &[usize]) -> Field {
        let (rows, width) = (bounds.last().copied().unwrap_or(0), portion.model.hidden_size());
        if self.magnitude == 0.0 {
            return Field::zeros(rows, width);
        }
        let mut field = Field::uniform(rows, width, 1.0, portion.draws.at(site_index("freelb noise")));
        for example in field.examples(bounds) {
            let scale = (self.magnitude / (example.len().max(1) as f64).sqrt()) as f32;
            example.iter_mut().for_each(|value| *value *= scale);
            self.project(example);
        }
        field
    }

    /// A step up the gradient, in each example by itself.
    fn climb(&self, field: &mut Field, mut gradient: Field, bounds: &[usize]) {
        for (example, gradient) in field.examples(bounds).zip(gradient.examples(bounds)) {
            let scale = (self.size / norm(gradient).max(FLOOR)) as f32;
            example.iter_mut().zip(gradient.iter()).for_each(|(value, slope)| *value += scale * slope);
            self.project(example);
        }
    }

    fn project(&self, example: &mut [f32]) {
        let length = norm(example);
        if let Some(radius) = self.radius.filter(|radius| length > *radius) {
            let scale = (radius / length) as f32;
            example.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

impl Regularizer for FreeLb {
    fn pass(&self, portion: &Portion) -> Result<Option<Passed>, TrainError> {
        let (bounds, share) = (portion.bounds(), self.passes as f64);
        let mut field = self.start(portion, &bounds);
        let mut sum: Option<Passed> = None;
        for index in 1..=self.passes {
            let pass = portion.model.training_pass(portion.draws);
            let values = field.tensor(portion.model.device());
            let values = if index < self.passes { values.autodiff().require_grad() } else { values };
            pass.vary(portion.draws, Some(Noise { values, detached: false }));
            let Some(loss) = portion.loss(&pass) else { return Ok(None) };
            let (value, targets) = (loss.value()? / share, loss.targets);
            drop(loss.logits);
            let (gradients, slope) = pass.gradients_with_noise(loss.sum / share as f32);
            if let Some(slope) = slope {
                self.climb(&mut field, Field::read(slope)?, &bounds);
            }
            sum = Some(match sum {
                None => Passed { loss: value, targets, gradients },
                Some(sum) => Passed { loss: sum.loss + value, targets, gradients: add(sum.gradients, gradients) },
            });
        }
        Ok(sum)
    }
}

impl Technique for FreeLb {
    fn regularizer(&self) -> Option<&dyn Regularizer> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_norm_asked_for_in_every_example_and_ends_within_the_radius() {
        let bounds = [0, 2, 5];
        let gradient = Field { values: (1..=15).map(|value| value as f32 * 1e-3).collect(), width: 3 };
        let mut free = FreeLb { passes: 2, size: 0.3, magnitude: 0.0, radius: None };
        let mut field = Field::zeros(5, 3);
        free.climb(&mut field, gradient.clone(), &bounds);
        assert!(field.examples(&bounds).all(|example| (norm(example) - 0.3).abs() < 1e-6));
        free.radius = Some(0.1);
        free.climb(&mut field, gradient, &bounds);
        assert!(field.examples(&bounds).all(|example| (norm(example) - 0.1).abs() < 1e-6));
    }
}
