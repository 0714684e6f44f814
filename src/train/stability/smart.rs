//! SMART: answers should not change under the worst small change of the embeddings, nor fast from step to step (Jiang et al.
//! 2020, arXiv:1911.03437).

use burn::tensor::Tensor;

use super::noise::{Field, divergence};
use super::{At, Beginning, Begun, Entry, Regularizer, Technique};
use crate::nn::models::Model;
use crate::nn::parameters::{Parameters, Weight};
use crate::nn::pass::{Noise, site_index};
use crate::train::checkpoint::{Saved, Snapshot};
use crate::train::error::TrainError;
use crate::train::step::{Passed, Portion};

pub(super) const ENTRY: Entry = Entry {
    parameters: &[
        "regularizer",
        "regularizer_weight",
        "noise",
        "noise_radius",
        "ascent_steps",
        "ascent_size",
        "proximal_weight",
    ],
    begin,
};

/// `L(f(x)) + weight max_{|d| <= radius} l(f(x + d), f(x)) + proximal l(f(x), f'(x))` with `l` the symmetric divergence
/// (equations 1 to 4). `d` begins as N(0, noise^2) and takes `steps` steps of `size` times its gradient, each value held
/// within the radius; `f'` has the mean of the weights so far, with the decay 0.99 in the first tenth of the steps and then
/// 0.999. All passes have the same dropout, so that they differ by what is measured alone.
struct Smart {
    weight: f32,
    noise: f32,
    radius: f32,
    steps: u64,
    size: f32,
    proximal: f32,
    /// The running mean of the weights that train, with the others; empty without a proximal term.
    mean: Parameters,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let read = beginning.read;
    if read.name("regularizer")? != Some("smart") {
        return Ok(None);
    }
    let number = |name, default: f64| read.at_least_0(name).map(|found| found.unwrap_or(default) as f32);
    let proximal = number("proximal_weight", 1.0)?;
    Ok(Some(Box::new(Smart {
        weight: number("regularizer_weight", 1.0)?,
        noise: number("noise", 1e-5)?,
        radius: number("noise_radius", 1e-5)?,
        steps: read.count("ascent_steps")?.unwrap_or(1),
        size: number("ascent_size", 1e-3)?,
        proximal,
        mean: if proximal > 0.0 { beginning.model.parameters.clone() } else { Parameters::new() },
    })))
}

impl Smart {
    /// The worst change of the embeddings that is found.
    fn adversary(&self, portion: &Portion) -> Result<Option<Field>, TrainError> {
        let (model, task) = (portion.model, portion.objective.task());
        let (rows, key) = (portion.bounds().last().copied().unwrap_or(0), portion.draws.at(site_index("smart noise")));
        let mut field = Field::normal(rows, model.hidden_size(), self.noise, key);
        self.project(&mut field);
        if self.steps == 0 {
            return Ok(Some(field));
        }
        let probe = || model.pass_of(&model.parameters, portion.draws);
        let Some(clean) = portion.loss(&probe()) else { return Ok(None) };
        for _ in 0..self.steps {
            let pass = probe();
            let values = field.tensor(model.device()).autodiff().require_grad();
            pass.vary(portion.draws, Some(Noise { values, detached: false }));
            let Some(changed) = portion.loss(&pass) else { return Ok(None) };
            // A mean over rows, as in the paper.
            let apart = divergence(task, changed.logits, clean.logits.clone()) / clean.targets.max(1) as f32;
            if let (_, Some(slope)) = pass.gradients_with_noise(apart) {
                let slope = Field::read(slope)?;
                // Where a divergence of next to nothing has no finite slope there is nowhere to go.
                for (value, slope) in field.values.iter_mut().zip(slope.values).filter(|(_, slope)| slope.is_finite()) {
                    *value += self.size * slope;
                }
                self.project(&mut field);
            }
        }
        Ok(Some(field))
    }

    fn project(&self, field: &mut Field) {
        field.values.iter_mut().for_each(|value| *value = value.clamp(-self.radius, self.radius));
    }
}

impl Regularizer for Smart {
    fn pass(&self, portion: &Portion) -> Result<Option<Passed>, TrainError> {
        let (model, task) = (portion.model, portion.objective.task());
        let pass = model.training_pass(portion.draws);
        let Some(clean) = portion.loss(&pass) else { return Ok(None) };
        let mut loss = clean.sum;
        if self.weight > 0.0 {
            let Some(field) = self.adversary(portion)? else { return Ok(None) };
            let values = field.tensor(model.device());
            pass.vary(portion.draws, Some(Noise { values, detached: false }));
            let Some(changed) = portion.loss(&pass) else { return Ok(None) };
            loss = loss + divergence(task, changed.logits, clean.logits.clone()) * self.weight;
        }
        if self.proximal > 0.0 {
            let Some(before) = portion.loss(&model.pass_of(&self.mean, portion.draws)) else { return Ok(None) };
            loss = loss + divergence(task, clean.logits, before.logits) * self.proximal;
        }
        Passed::of(pass, loss, clean.targets).map(Some)
    }
}

impl Technique for Smart {
    fn regularizer(&self) -> Option<&dyn Regularizer> {
        Some(self)
    }

    fn updated(&mut self, model: &mut Model, at: At) {
        let decay = if at.step * 10 <= at.steps { 0.99 } else { 0.999 };
        for (name, mean) in self.mean.iter_mut().filter(|(_, mean)| mean.trainable) {
            mean.weight = moved(&mean.weight, &model.parameters[name].weight, decay);
        }
    }

    fn save(&self, to: &mut Snapshot) {
        for (name, mean) in self.mean.iter().filter(|(_, mean)| mean.trainable) {
            to.tensor("smart", name, &mean.weight);
        }
    }

    fn load(&mut self, saved: &Saved, _: &mut Model) -> Option<()> {
        for (name, mean) in self.mean.iter_mut().filter(|(_, mean)| mean.trainable) {
            mean.weight = saved.like("smart", name, &mean.weight)?;
        }
        Some(())
    }
}

/// `decay mean + (1 - decay) now`.
fn moved(mean: &Weight, now: &Weight, decay: f64) -> Weight {
    fn mix<const D: usize>(mean: &Tensor<D>, now: &Tensor<D>, decay: f64) -> Tensor<D> {
        mean.clone() * decay as f32 + now.clone() * (1.0 - decay) as f32
    }
    match (mean, now) {
        (Weight::Vector(mean), Weight::Vector(now)) => Weight::Vector(mix(mean, now, decay)),
        (Weight::Matrix(mean), Weight::Matrix(now)) => Weight::Matrix(mix(mean, now, decay)),
        _ => unreachable!("a mean has its weight's rank"),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::hub::tensors::HostTensor;

    #[test]
    fn the_mean_moves_by_one_minus_its_decay() {
        let vector = |values: [f32; 2]| {
            Weight::from_host(&HostTensor { shape: vec![2], data: values.to_vec() }, &Device::flex()).unwrap()
        };
        let found = moved(&vector([1.0, -2.0]), &vector([3.0, 8.0]), 0.99).to_host().data;
        assert!((found[0] - 1.02).abs() < 1e-6 && (found[1] + 1.9).abs() < 1e-6);
    }
}
