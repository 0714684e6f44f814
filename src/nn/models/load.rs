//! From named tensors to parameters: checked against the layout, completed with first values, accounted for.

use burn::tensor::Device;
use indexmap::IndexSet;
use rayon::prelude::*;

use super::error::ModelError;
use super::layout::{Init, Layout, Part, Slot};
use crate::hub::tensors::{HostTensor, Tensors};
use crate::nn::parameters::{Parameter, Parameters, Weight};
use crate::nn::pass::site_index;
use crate::random::Key;

/// What loading found that was not as expected; each becomes a notice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Parameters the file does not hold, freshly initialised.
    pub missing: Vec<String>,
    /// Tensors in the file that the model has no use for.
    pub unused: Vec<String>,
}

/// What came of the tensors.
pub(super) struct Loaded {
    pub parameters: Parameters,
    /// Tensors of the base model this head has no use for (BERT's pooler).
    pub carried: Tensors,
    pub report: LoadReport,
}

/// Finds every slot's tensor under its own name or an alias, draws those that are missing, and reports what is left over.
/// All parameters are trainable.
pub(super) fn load(
    layout: &Layout,
    tensors: &Tensors,
    initializer_range: f32,
    seed: u64,
    device: &Device,
) -> Result<Loaded, ModelError> {
    let mut report = LoadReport::default();
    let mut used = IndexSet::new();
    let mut parameters = Parameters::new();
    let mut missing_encoder = Vec::new();
    for slot in &layout.slots {
        let aliases = layout.aliases.iter().filter(|alias| alias.of == slot.name).map(|alias| &alias.name);
        let names: Vec<&String> = std::iter::once(&slot.name).chain(aliases).collect();
        let found = names.iter().find_map(|name| Some((*name, tensors.get(*name)?)));
        if let Some((_, tensor)) = found {
            // Names for one parameter are used up together if they hold the same; a second opinion is left over.
            used.extend(names.iter().filter(|name| tensors.get(**name).is_none_or(|other| other == tensor)).copied());
        }
        let drawn;
        let tensor = match found {
            Some((_, tensor)) if tensor.shape == slot.shape => tensor,
            Some((name, tensor)) if !other_labels(slot, tensor) => {
                let (found, expected) = (tensor.shape.clone(), slot.shape.clone());
                return Err(ModelError::Shape { name: name.clone(), found, expected });
            }
            _ => {
                if slot.part == Part::Encoder {
                    missing_encoder.push(&slot.name);
                }
                report.missing.push(slot.name.clone());
                drawn = draw(slot, initializer_range, seed);
                &drawn
            }
        };
        let weight = Weight::from_host(tensor, device).expect("slots have one or two dimensions");
        parameters.insert(slot.name.clone(), Parameter { weight, trainable: true, rate: 1.0 });
    }
    if let (Some(first), false) = (missing_encoder.first(), tensors.is_empty()) {
        return Err(ModelError::Incomplete { count: missing_encoder.len(), first: (*first).clone() });
    }
    let (mut carried, left) = (Tensors::new(), tensors.iter().filter(|(name, _)| !used.contains(*name)));
    for (name, tensor) in left {
        if name.contains(".pooler.") {
            carried.insert(name.clone(), tensor.clone());
        } else {
            report.unused.push(name.clone());
        }
    }
    Ok(Loaded { parameters, carried, report })
}

/// Whether a tensor differs from its slot in the number of labels only.
fn other_labels(slot: &Slot, tensor: &HostTensor) -> bool {
    slot.per_label && tensor.shape.len() == slot.shape.len() && tensor.shape[1..] == slot.shape[1..]
}

/// First values, a function of seed and name alone.
pub(super) fn draw(slot: &Slot, initializer_range: f32, seed: u64) -> HostTensor {
    let count = slot.count();
    let columns = slot.shape.last().copied().unwrap_or(1);
    let data = match slot.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Normal { padding } => {
            let key = Key::new(seed, "init").at(site_index(&slot.name));
            let normal = |index: usize| match padding {
                Some(row) if index / columns == row => 0.0,
                _ => key.normal(index as u64) * initializer_range,
            };
            (0..count).into_par_iter().map(normal).collect()
        }
        Init::Sinusoidal => (0..count).map(|index| wave(index / columns, index % columns, columns)).collect(),
    };
    HostTensor { shape: slot.shape.clone(), data }
}

/// `sin(position / 10000^(2i / d))` in even columns `2i`, the cosine of the same angle in the odd column behind.
fn wave(position: usize, column: usize, columns: usize) -> f32 {
    let angle = position as f64 / 10_000f64.powf(2.0 * (column / 2) as f64 / columns as f64);
    (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
}
