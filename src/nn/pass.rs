//! One forward pass: where architectures meet parameters, deltas and dropout.

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::parameters::{Parameters, Weight};
use crate::random::Key;

/// Gradients of the trainable parameters, by name; plain tensors.
pub type Gradients = IndexMap<String, Weight>;

/// The sites of one forward pass. Architectures call their maps, norms and embeddings through it, by name.
pub struct Pass<'a> {
    parameters: &'a Parameters,
}

impl<'a> Pass<'a> {
    /// A pass that will be differentiated: trainable parameters become tracked leaves, dropout is on and drawn from
    /// `key` (already specific to the step and micro-batch).
    pub fn training(parameters: &'a Parameters, key: Key) -> Self {
        todo!()
    }

    /// A pass without gradients and dropout.
    pub fn evaluating(parameters: &'a Parameters) -> Self {
        todo!()
    }

    /// Gradients of `loss` with respect to every trainable parameter it depends on.
    pub fn gradients(self, loss: Tensor<1>) -> Gradients {
        todo!()
    }
}
