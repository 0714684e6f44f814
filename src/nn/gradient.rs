//! Gradients of parameters: whole tensors, or a few rows of a table.

use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::ops;
use super::parameters::Weight;
use crate::hub::tensors::HostTensor;

/// Gradients of the trainable parameters, by name; plain tensors.
pub type Gradients = IndexMap<String, Gradient>;

/// The gradient of one parameter.
#[derive(Debug, Clone)]
pub enum Gradient {
    Whole(Weight),
    Rows(Rows),
}

/// The gradient of a table some rows of which were looked up; that of the others is zero. A batch looks up a few thousand
/// of a vocabulary's tens of thousands.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Rising, each once.
    pub rows: Arc<[u32]>,
    /// `[rows, d]`
    pub values: Tensor<2>,
    /// Rows of the table.
    pub height: usize,
}

impl Rows {
    /// Of the gradients of looked-up rows: ids `[T]`, gradients `[T, d]`, which are added where an id comes again.
    pub fn looked_up(ids: &[u32], gradients: Tensor<2>, height: usize) -> Self {
        let (rows, values) = ops::sum_rows(gradients, ids);
        Self { rows, values, height }
    }
}

impl Gradient {
    /// The sum of two gradients of one parameter.
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(Weight::Vector(left)), Self::Whole(Weight::Vector(right))) => {
                Self::Whole(Weight::Vector(left + right))
            }
            (Self::Whole(Weight::Matrix(left)), Self::Whole(Weight::Matrix(right))) => {
                Self::Whole(Weight::Matrix(left + right))
            }
            (Self::Rows(left), Self::Rows(right)) => {
                let ids: Vec<u32> = left.rows.iter().chain(right.rows.iter()).copied().collect();
                Self::Rows(Rows::looked_up(&ids, Tensor::cat(vec![left.values, right.values], 0), left.height))
            }
            (Self::Whole(Weight::Matrix(whole)), Self::Rows(rows))
            | (Self::Rows(rows), Self::Whole(Weight::Matrix(whole))) => {
                Self::Whole(Weight::Matrix(ops::add_rows(whole, &rows.rows, rows.values)))
            }
            (left, right) => unreachable!("gradients of one parameter have one rank: {left:?} and {right:?}"),
        }
    }

    /// Sum of squares in f64, the same whatever the number of threads.
    pub fn squared_sum(&self) -> f64 {
        match self {
            Self::Whole(Weight::Vector(gradient)) => ops::squared_sum(gradient),
            Self::Whole(Weight::Matrix(gradient)) => ops::squared_sum(gradient),
            Self::Rows(rows) => ops::squared_sum(&rows.values),
        }
    }

    /// A copy in host memory, with the rows that are zero.
    pub fn to_host(&self) -> HostTensor {
        match self {
            Self::Whole(gradient) => gradient.to_host(),
            Self::Rows(Rows { rows, values, height }) => {
                let HostTensor { shape, data } = Weight::Matrix(values.clone()).to_host();
                let d = shape[1];
                let mut whole = vec![0.0; height * d];
                for (row, values) in rows.iter().zip(data.chunks_exact(d.max(1))) {
                    whole[*row as usize * d..][..d].copy_from_slice(values);
                }
                HostTensor { shape: vec![*height, d], data: whole }
            }
        }
    }
}
