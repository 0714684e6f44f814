//! What deltas of virtual tokens share: `prompt`, `p_tuning`, `prefix`.

use super::{Delta, StageFailure};
use crate::hub::tensors::HostTensor;
use crate::nn::models::Model;
use crate::nn::models::layout::{Part, Role};
use crate::nn::pass::site_index;
use crate::plan::spec::DeltaSpec;
use crate::random::Key;

/// A delta whose own parameters train, beside the model.
pub(super) const fn delta(attach: fn(&DeltaSpec, &mut Model, u64) -> Result<(), StageFailure>) -> Delta {
    Delta {
        attach,
        trains: |_, _, parameter| matches!(parameter.part, Part::Delta),
        fold: None,
        pack: None,
        head_alone: false,
    }
}

/// `kind.N.`, with the first N that no parameter of the model has: deltas that are there already keep their names.
pub(super) fn free_prefix(model: &Model, kind: &str) -> String {
    let prefix = |number: usize| format!("{kind}.{number}.");
    let taken = |number: &usize| model.parameters.keys().any(|name| name.starts_with(&prefix(*number)));
    let number = (0..).find(|number| !taken(number));
    prefix(number.expect("a model has finitely many parameters"))
}

/// Draws from N(0, 1), as PyTorch begins an embedding.
pub(super) fn normal(seed: u64, name: &str, [rows, columns]: [usize; 2]) -> HostTensor {
    let key = Key::new(seed, "init").at(site_index(name));
    let data = (0..(rows * columns) as u64).map(|at| key.normal(at)).collect();
    HostTensor { shape: vec![rows, columns], data }
}

/// Adds `{site}.weight` `[outputs, inputs]` and `{site}.bias`, drawn as PyTorch begins a linear map: uniformly from
/// +-1 / sqrt(inputs).
pub(super) fn add_linear(model: &mut Model, seed: u64, site: &str, [outputs, inputs]: [usize; 2]) {
    let bound = 1.0 / (inputs as f32).sqrt();
    let draws = |name: &str, count: usize| -> Vec<f32> {
        let key = Key::new(seed, "init").at(site_index(name));
        (0..count as u64).map(|at| (2.0 * key.uniform(at) - 1.0) * bound).collect()
    };
    let (weight, bias) = (format!("{site}.weight"), format!("{site}.bias"));
    let data = draws(&weight, outputs * inputs);
    model.add_parameter(weight, Role::Weight, &HostTensor { shape: vec![outputs, inputs], data });
    let data = draws(&bias, outputs);
    model.add_parameter(bias, Role::Bias, &HostTensor { shape: vec![outputs], data });
}
