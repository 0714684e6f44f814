//! R3F: answers should not change when the embeddings are shaken a little; R4F: nor should the head magnify what it is given
//! (Aghajanyan et al. 2021, arXiv:2008.03156).

use super::noise::{Field, divergence, spectral_norm};
use super::{At, Beginning, Begun, Entry, Regularizer, Technique};
use crate::nn::models::Model;
use crate::nn::models::layout::{Part, Role};
use crate::nn::parameters::Weight;
use crate::nn::pass::{Noise, site_index};
use crate::train::error::TrainError;
use crate::train::step::{Passed, Portion};

pub(super) const ENTRY: Entry = Entry { parameters: &["regularizer", "regularizer_weight", "noise"], begin };

/// `L(f(x)) + weight (KL(f(x) || f(x + z)) + KL(f(x + z) || f(x)))` with `z` uniform in `[-size, size]`. As in the authors'
/// code dropout acts on both passes by itself, and the embeddings of the second have no gradient.
struct R3f {
    weight: f32,
    size: f32,
    /// Of R4F: the matrices whose largest singular value is held at 1 or below.
    bounded: Vec<String>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let (read, model) = (beginning.read, beginning.model);
    let bounded = match read.name("regularizer")? {
        Some("r3f") => Vec::new(),
        Some("r4f") => {
            let slots = model.layout().slots.iter();
            let head = slots.filter(|slot| matches!(slot.part, Part::Head | Part::Pooler) && slot.role == Role::Weight);
            head.filter(|slot| model.parameters[&slot.name].trainable).map(|slot| slot.name.clone()).collect()
        }
        _ => return Ok(None),
    };
    let weight = read.at_least_0("regularizer_weight")?.unwrap_or(1.0) as f32;
    let size = read.at_least_0("noise")?.unwrap_or(1e-5) as f32;
    Ok(Some(Box::new(R3f { weight, size, bounded })))
}

impl Regularizer for R3f {
    fn pass(&self, portion: &Portion) -> Result<Option<Passed>, TrainError> {
        let pass = portion.model.training_pass(portion.draws);
        let Some(clean) = portion.loss(&pass) else { return Ok(None) };
        let [noise, dropout] = ["r3f noise", "r3f dropout"].map(|purpose| portion.draws.at(site_index(purpose)));
        let rows = portion.bounds().last().copied().unwrap_or(0);
        let noise = Field::uniform(rows, portion.model.hidden_size(), self.size, noise);
        let values = noise.tensor(portion.model.device());
        pass.vary(dropout, Some(Noise { values, detached: true }));
        let Some(noised) = portion.loss(&pass) else { return Ok(None) };
        let apart = divergence(portion.objective.task(), clean.logits, noised.logits);
        Passed::of(pass, clean.sum + apart * self.weight, clean.targets).map(Some)
    }
}

impl R3f {
    fn bound(&self, model: &mut Model) {
        for name in &self.bounded {
            let weight = &mut model.parameters[name].weight;
            let norm = spectral_norm(weight);
            if norm > 1.0
                && let Weight::Matrix(matrix) = weight
            {
                *matrix = matrix.clone() * (1.0 / norm) as f32;
            }
        }
    }
}

impl Technique for R3f {
    fn before(&mut self, model: &mut Model, at: At) {
        if at.step == 1 {
            self.bound(model);
        }
    }

    fn regularizer(&self) -> Option<&dyn Regularizer> {
        Some(self)
    }

    fn updated(&mut self, model: &mut Model, _: At) {
        self.bound(model);
    }
}
