//! A model's parameters: tensors by their `transformers` name, and which of them train.

use burn::tensor::Tensor;
use indexmap::IndexMap;

/// A parameter's tensor: all of the BERT family's are vectors or matrices.
#[derive(Debug, Clone)]
pub enum Weight {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

/// One parameter. The tensor is plain (not autodiff); a pass makes tracked leaves of it.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub weight: Weight,
    pub trainable: bool,
}

/// All parameters of a model, by name. Tied weights are one entry.
pub type Parameters = IndexMap<String, Parameter>;
