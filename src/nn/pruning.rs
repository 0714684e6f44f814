//! Linear maps whose weights are pruned while they train: `W' = W M`, with a mask `M` made anew in every pass of scores that
//! train too (movement pruning, Sanh et al. 2020, arXiv:2005.07683), or of the weights' own size (magnitude pruning).

use std::sync::Arc;

use burn::tensor::Tensor;

use super::models::Model;
use super::models::layout::Role;
use super::ops::{self, Kept};
use super::pass::Pass;
use super::reparametrisation::Reparametrisation;
use crate::hub::tensors::HostTensor;

/// What the scores of a weight, `[elements]`, have behind its name.
pub const SCORES: &str = ".mask_scores";

#[derive(Debug)]
struct Pruned {
    kept: Kept,
    scored: bool,
}

impl Reparametrisation for Pruned {
    fn of(&self, pass: &Pass, name: &str, stored: Tensor<1>) -> Tensor<1> {
        let scores = self.scored.then(|| pass.vector(&format!("{name}{SCORES}")));
        ops::masked(stored, scores, self.kept)
    }
}

/// The weights that are pruned: of all linear maps of all layers.
pub fn weights(model: &Model) -> Vec<String> {
    let slots = model.layout().slots.iter().filter(|slot| slot.role == Role::Weight && slot.map.is_some());
    slots.map(|slot| slot.name.clone()).collect()
}

/// Gives every weight that is pruned a score, 0 to begin with.
pub fn add_scores(model: &mut Model) {
    for name in weights(model) {
        let count = model.parameters[&name].weight.count();
        let scores = HostTensor { shape: vec![count], data: vec![0.0; count] };
        model.add_parameter(format!("{name}{SCORES}"), Role::Weight, &scores);
    }
}

/// Says which weights are kept from now on, by their scores where these have been added.
pub fn prune(model: &mut Model, kept: Kept) {
    let names = weights(model);
    let scored = names.iter().any(|name| model.parameters.contains_key(&format!("{name}{SCORES}")));
    let pruned = Arc::new(Pruned { kept, scored });
    names.into_iter().for_each(|name| model.reparametrise(name, pruned.clone()));
}
