//! What a later attempt of an interrupted training goes on from.
//!
//! A checkpoint holds the weights that train and everything that moves with them: the optimizer's moments, the position in
//! the data, the best evaluation so far, the history. Random numbers are counters and need no state, so a training that
//! goes on from a checkpoint ends at the bits of one that was never interrupted.
//!
//! Each part of training writes its own into a [`Snapshot`] and reads it from [`Saved`]; [`file`] is the format, [`writer`]
//! decides when one is written.

mod file;
mod writer;

use std::path::PathBuf;

use indexmap::IndexMap;
use memmap2::Mmap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::hub::tensors::HostTensor;
use crate::nn::parameters::Weight;

pub use file::read;
pub(super) use writer::Writer;

/// Where the checkpoint of one training lies.
#[derive(Debug, Clone)]
pub struct Place {
    /// The checkpoint.
    pub file: PathBuf,
    /// Where it is written before it is renamed: on the same file system, and swept after a process that was killed.
    pub draft: PathBuf,
    /// What the training is, to the last bit: a checkpoint with another key is not used.
    pub key: String,
}

/// The state of a training at the end of a step. Tensors are shared, not copied.
#[derive(Debug, Default)]
pub struct Snapshot {
    record: Map<String, Value>,
    tensors: Vec<(String, Weight)>,
}

impl Snapshot {
    /// Numbers and names. Floats come back with the same bits, as long as they are finite.
    pub fn record(&mut self, name: &str, value: &impl Serialize) {
        self.record.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
    }

    pub fn tensor(&mut self, group: &str, name: &str, weight: &Weight) {
        self.tensors.push((format!("{group}/{name}"), weight.clone()));
    }
}

/// A checkpoint that was found whole.
pub struct Saved {
    /// Optimizer steps done.
    pub step: u64,
    record: Map<String, Value>,
    bytes: Mmap,
    /// Shape, and where in the bytes the values begin.
    tensors: IndexMap<String, (Vec<usize>, usize)>,
}

impl Saved {
    /// What was recorded under a name; `None` when nothing was, or something of another form.
    pub fn record<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.record.get(name)?.clone()).ok()
    }

    pub fn tensor(&self, group: &str, name: &str) -> Option<HostTensor> {
        let (shape, start) = self.tensors.get(&format!("{group}/{name}"))?;
        let count: usize = shape.iter().product();
        let bytes = self.bytes.get(*start..start + count * size_of::<f32>())?;
        let data = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
        Some(HostTensor { shape: shape.clone(), data })
    }

    /// A tensor that is to take the place of another one: on its device, and only if it has its shape.
    pub fn like(&self, group: &str, name: &str, other: &Weight) -> Option<Weight> {
        let found = self.tensor(group, name).filter(|found| found.shape == other.shape())?;
        Weight::from_host(&found, &other.device())
    }
}
