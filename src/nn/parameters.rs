//! A model's parameters: tensors by their `transformers` name, and which of them train.

use burn::tensor::{Device, Tensor, TensorData};
use indexmap::IndexMap;

use crate::hub::tensors::HostTensor;

/// A parameter's tensor: all of the BERT family's are vectors or matrices.
#[derive(Debug, Clone)]
pub enum Weight {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

impl Weight {
    /// A copy on a device; `None` unless the tensor has one or two dimensions.
    pub fn from_host(tensor: &HostTensor, device: &Device) -> Option<Self> {
        let data = || TensorData::new(tensor.data.clone(), tensor.shape.clone());
        match tensor.shape.len() {
            1 => Some(Self::Vector(Tensor::from_data(data(), device))),
            2 => Some(Self::Matrix(Tensor::from_data(data(), device))),
            _ => None,
        }
    }

    /// A copy in host memory.
    pub fn to_host(&self) -> HostTensor {
        let data = match self {
            Self::Vector(vector) => vector.to_data(),
            Self::Matrix(matrix) => matrix.to_data(),
        };
        let data = data.try_into_vec_as::<f32>().expect("parameters are floats");
        HostTensor { shape: self.shape(), data }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Vector(vector) => vector.device(),
            Self::Matrix(matrix) => matrix.device(),
        }
    }

    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Vector(vector) => vector.dims().to_vec(),
            Self::Matrix(matrix) => matrix.dims().to_vec(),
        }
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape().iter().product()
    }
}

/// One parameter. The tensor is plain (not autodiff); a pass makes tracked leaves of it.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub weight: Weight,
    pub trainable: bool,
    /// Its learning rate relative to the others'.
    pub rate: f64,
}

/// All parameters of a model, by name. Tied weights are one entry.
pub type Parameters = IndexMap<String, Parameter>;
