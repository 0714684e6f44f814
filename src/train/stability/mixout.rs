//! Mixout: dropout not to zero but to where training began (Lee, Cho & Kang 2020, arXiv:1909.11299).

use burn::tensor::Tensor;

use super::{At, Beginning, Begun, Entry, Technique};
use crate::event::Notice;
use crate::nn::gradient::{Gradient, Gradients};
use crate::nn::models::Model;
use crate::nn::models::layout::Role;
use crate::nn::ops::{self, Dropout};
use crate::nn::parameters::Weight;
use crate::nn::pass::site_index;
use crate::random::Key;
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["mixout"], begin };

/// In every step each number `w` of the linear maps' weights is, with probability `p`, the `u` it began as, and else moved so
/// that the mean stays `w` (equation 4): `(m u + (1 - m) w - p u) / (1 - p)`, which is `u + dropout(w - u)`. Its gradient is
/// dropped with it.
struct Mixout {
    probability: f32,
    /// What each matrix began as.
    initial: Vec<(String, Tensor<2>)>,
    draws: Key,
    step: u64,
    /// The weights that are mixed now, as they are.
    mixed: Vec<Weight>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let Some(probability) = beginning.read.number("mixout")?.filter(|probability| *probability != 0.0) else {
        return Ok(None);
    };
    if !(0.0..1.0).contains(&probability) {
        return Err(wrong("mixout", probability.to_string(), "at least 0 and below 1"));
    }
    let model = beginning.model;
    let matrices = model.layout().slots.iter().filter(|slot| slot.role == Role::Weight);
    let initial = matrices.filter_map(|slot| match &model.parameters[&slot.name] {
        parameter if !parameter.trainable => None,
        parameter => match &parameter.weight {
            Weight::Matrix(matrix) => Some((slot.name.clone(), matrix.clone())),
            Weight::Vector(_) => None,
        },
    });
    Ok(Some(Box::new(Mixout {
        probability: probability as f32,
        initial: initial.collect(),
        draws: Key::new(beginning.seed, "mixout"),
        step: 0,
        mixed: Vec::new(),
    })))
}

impl Mixout {
    fn dropout(&self, name: &str) -> Dropout {
        Dropout { probability: self.probability, key: self.draws.at(self.step).at(site_index(name)) }
    }
}

impl Technique for Mixout {
    fn before(&mut self, model: &mut Model, at: At) {
        // It takes the place of dropout.
        model.dropout = false;
        self.step = at.step;
        self.mixed = Vec::with_capacity(self.initial.len());
        for (name, initial) in &self.initial {
            let weight = &mut model.parameters[name].weight;
            let Weight::Matrix(now) = weight else { unreachable!("it was a matrix when training began") };
            let mixed = initial.clone() + ops::dropout(now.clone() - initial.clone(), self.dropout(name));
            self.mixed.push(std::mem::replace(weight, Weight::Matrix(mixed)));
        }
    }

    fn differentiated(&mut self, model: &mut Model, gradients: &mut Gradients, _: f64) {
        for ((name, _), weight) in self.initial.iter().zip(std::mem::take(&mut self.mixed)) {
            model.parameters[name].weight = weight;
            if let Some(Gradient::Whole(Weight::Matrix(gradient))) = gradients.get_mut(name) {
                let empty = Tensor::empty([0, 0], &gradient.device());
                let whole = std::mem::replace(gradient, empty);
                *gradient = ops::dropout(whole, self.dropout(name));
            }
        }
    }

    fn finish(&mut self, model: &mut Model, _: &mut Vec<Notice>) -> bool {
        model.dropout = true;
        false
    }
}
