//! Deltas that stay beside a model, because no model of the usual shape computes the same.
//!
//! The configuration says which there are, in the order in which they were attached; their tensors lie among the model's.

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::freeze;
use crate::hub::tensors::Tensors;
use crate::nn::models::layout::Part;
use crate::nn::models::{Head, LoadReport, Model};
use crate::nn::parameters::Weight;
use crate::plan::spec::{DeltaSpec, StageFailure};

/// Key of `config.json`.
pub(super) const KEY: &str = "ftp_deltas";

/// The deltas beside the model of a configuration.
pub(super) fn of(config: &Value) -> Vec<DeltaSpec> {
    config.get(KEY).and_then(|specs| serde_json::from_value(specs.clone()).ok()).unwrap_or_default()
}

/// The configuration of a model beside which one more delta stays.
pub(super) fn add(config: &mut Value, spec: &DeltaSpec) {
    let mut specs = of(config);
    specs.push(spec.clone());
    config[KEY] = json!(specs);
}

impl Bundle {
    /// The model with a head, and with the deltas that stay beside it. See [`Model::new`].
    ///
    /// # Errors
    /// Those of [`Model::new`]; a delta that this version does not know or whose tensors are not all there.
    pub fn model(
        &self,
        head: &Head,
        seed: u64,
        device: &burn::tensor::Device,
    ) -> Result<(Model, LoadReport), StageFailure> {
        let (mut model, mut report) = Model::new(&self.config, &self.tensors, head, seed, device)?;
        for spec in of(&self.config) {
            freeze::attach(&spec, &mut model, seed)?;
        }
        take(&mut model, &self.tensors)?;
        report.unused.retain(|name| !model.parameters.contains_key(name));
        Ok((model, report))
    }
}

/// Gives the parameters of attached deltas their stored values.
fn take(model: &mut Model, tensors: &Tensors) -> Result<(), StageFailure> {
    let device = model.device().clone();
    for slot in model.layout().slots.clone().iter().filter(|slot| slot.part == Part::Delta) {
        let stored = tensors.get(&slot.name).filter(|tensor| tensor.shape == slot.shape);
        let weight = stored.and_then(|tensor| Weight::from_host(tensor, &device)).ok_or_else(|| {
            let message = format!("the model lacks `{}` of the delta beside it", slot.name);
            StageFailure::new("ftp::peft::incomplete_delta", message)
        })?;
        model.parameters[&slot.name].weight = weight;
    }
    Ok(())
}
