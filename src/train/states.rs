//! What the fixed layers of a model make of rows: computed once, kept in a file, read in every epoch.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use memmap2::Mmap;

use super::error::TrainError;
use super::evaluation;
use crate::data::batch::{Batch, Encoding};
use crate::nn::models::Model;
use crate::nn::models::layout::Part;

/// The states of rows at the bound of a model's fixed layers ([`Model::fix`]): of every token, or, where all layers are
/// fixed, of each row's first token, which is all that a sequence head reads.
#[derive(Debug)]
pub struct States {
    values: Values,
    /// `[rows + 1]`: row `r` has the states `bounds[r]..bounds[r + 1]`.
    bounds: Vec<usize>,
    /// Numbers of a state.
    width: usize,
    device: Device,
}

#[derive(Debug)]
enum Values {
    Memory(Vec<u8>),
    /// The system keeps of it in memory what it has room for.
    File(Mmap),
}

impl States {
    /// The states of rows: from the file of an earlier call if `directory` has one, or computed, and kept there. Only for
    /// models with fixed layers. Where a file can't be written, the states are held in memory.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of(model: &Model, encodings: &[Encoding], directory: Option<&Path>) -> Result<Self, TrainError> {
        let whole = model.fixed() == Some(model.layers());
        let mut bounds = vec![0];
        for encoding in encodings {
            bounds.push(bounds[bounds.len() - 1] + if whole { 1 } else { encoding.len() });
        }
        let (width, device) = (model.hidden_size(), model.device().clone());
        let count = bounds[bounds.len() - 1] * width * size_of::<f32>();
        let path = directory.map(|directory| directory.join(name(model, encodings)));
        if let Some(values) = path.as_deref().and_then(|path| open(path, count)) {
            return Ok(Self { values, bounds, width, device });
        }
        let computed = compute(model, encodings, whole, &bounds, width)?;
        let values = path.and_then(|path| keep(&path, &computed)).unwrap_or(Values::Memory(computed));
        Ok(Self { values, bounds, width, device })
    }

    /// The states of some rows, end to end, as a plain tensor `[N, width]`, and the bounds of each `[rows + 1]`.
    pub fn pack(&self, chosen: &[usize]) -> (Tensor<2>, Arc<[u32]>) {
        let bytes = match &self.values {
            Values::Memory(bytes) => &bytes[..],
            Values::File(map) => &map[..],
        };
        let size = self.width * size_of::<f32>();
        let (mut values, mut offsets) = (Vec::new(), vec![0]);
        for &row in chosen {
            let states = &bytes[self.bounds[row] * size..self.bounds[row + 1] * size];
            values.extend(states.as_chunks().0.iter().copied().map(f32::from_le_bytes));
            offsets.push((values.len() / self.width) as u32);
        }
        let shape = [values.len() / self.width, self.width];
        (Tensor::from_data(TensorData::new(values, shape), &self.device), offsets.into())
    }
}

/// Batch after batch; each row's states at its own place.
fn compute(
    model: &Model,
    encodings: &[Encoding],
    whole: bool,
    bounds: &[usize],
    width: usize,
) -> Result<Vec<u8>, TrainError> {
    let size = width * size_of::<f32>();
    let mut bytes = vec![0; bounds[bounds.len() - 1] * size];
    for range in evaluation::batches(encodings) {
        let batch = Batch::pack(&encodings[range.clone()]);
        let wanted = whole.then(|| batch.first_tokens());
        let states = model.fixed_states(&batch, wanted.as_ref());
        let states =
            states.try_into_vec_as::<f32>().map_err(|error| TrainError::Device { message: error.to_string() })?;
        let place = &mut bytes[bounds[range.start] * size..bounds[range.end] * size];
        for (place, value) in place.as_chunks_mut().0.iter_mut().zip(states) {
            *place = value.to_le_bytes();
        }
    }
    Ok(bytes)
}

/// The digest of all that the states follow from.
fn name(model: &Model, encodings: &[Encoding]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("states 1 {:?} {:?}", model.fixed(), model.precision).as_bytes());
    hasher.update(model.config().to_string().as_bytes());
    let fixed = model.fixed().unwrap_or(0);
    for slot in &model.layout().slots {
        if matches!(slot.part, Part::Encoder | Part::Delta) && slot.layer.is_none_or(|layer| layer < fixed) {
            hasher.update(slot.name.as_bytes());
            let values = model.parameters[&slot.name].weight.to_host().data;
            hasher.update(&values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
        }
    }
    for encoding in encodings {
        hasher.update(&(encoding.len() as u64).to_le_bytes());
        for id in encoding.ids.iter().chain(&encoding.segments) {
            hasher.update(&id.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// A whole file: the values and their BLAKE3 digest. Anything else counts as none.
fn open(path: &Path, count: usize) -> Option<Values> {
    let file = fs::File::open(path).ok()?;
    // SAFETY: files in this directory are written under another name and renamed when whole, and never changed.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    let (values, digest) = map.split_at_checked(count)?;
    (blake3::hash(values).as_bytes() == digest).then_some(Values::File(map))
}

/// Writes the values under another name first, so that a file with this name is whole. Another process may do the same.
fn keep(path: &Path, values: &[u8]) -> Option<Values> {
    let directory: PathBuf = path.parent()?.into();
    fs::create_dir_all(&directory).ok()?;
    let mut file = tempfile::NamedTempFile::new_in(&directory).ok()?;
    file.write_all(values).ok()?;
    file.write_all(blake3::hash(values).as_bytes()).ok()?;
    file.persist(path).ok()?;
    open(path, values.len())
}
