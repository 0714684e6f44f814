//! Named tensors in host memory: what weight files hold and what models are built from.

use indexmap::IndexMap;

/// A tensor in host memory, row-major, f32 whatever the file held.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// By name, in file order. Names are those of the `transformers` task model, e.g.
/// `bert.encoder.layer.0.attention.self.query.weight`.
pub type Tensors = IndexMap<String, HostTensor>;
