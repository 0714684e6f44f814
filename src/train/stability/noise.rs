//! Noise on the states that enter a model, row by row; and how far two answers are from each other.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::lang::world::Task;
use crate::nn::parameters::Weight;
use crate::random::Key;
use crate::train::error::TrainError;

/// `[rows, width]` on the host, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub values: Vec<f32>,
    pub width: usize,
}

impl Field {
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self { values: vec![0.0; rows * width], width }
    }

    /// Each value uniform in [-size, size).
    pub fn uniform(rows: usize, width: usize, size: f32, key: Key) -> Self {
        Self::drawn(rows, width, |index| (2.0 * key.uniform(index) - 1.0) * size)
    }

    /// Each value from N(0, deviation^2).
    pub fn normal(rows: usize, width: usize, deviation: f32, key: Key) -> Self {
        Self::drawn(rows, width, |index| key.normal(index) * deviation)
    }

    fn drawn(rows: usize, width: usize, value: impl Fn(u64) -> f32 + Sync + Send) -> Self {
        Self { values: (0..(rows * width) as u64).into_par_iter().map(value).collect(), width }
    }

    /// Of a gradient `[rows, width]`.
    pub fn read(gradient: Tensor<2>) -> Result<Self, TrainError> {
        let width = gradient.dims()[1];
        let values = gradient.try_into_vec_as::<f32>();
        Ok(Self { values: values.map_err(|error| TrainError::Device { message: error.to_string() })?, width })
    }

    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        let shape = [self.values.len() / self.width.max(1), self.width];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }

    /// The values of each example, whose rows lie between two `bounds`.
    pub fn examples<'a>(&'a mut self, bounds: &'a [usize]) -> impl Iterator<Item = &'a mut [f32]> {
        let (mut rest, width) = (&mut self.values[..], self.width);
        bounds.windows(2).map(move |pair| {
            let (example, others) = std::mem::take(&mut rest).split_at_mut((pair[1] - pair[0]) * width);
            rest = others;
            example
        })
    }
}

/// The Frobenius norm, in f64.
pub(super) fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// How far the answers of two passes are from each other, summed over rows: `KL(p || q) + KL(q || p)` of two softmax
/// distributions, for a regression the squared difference. Logits `[N, C]` -> `[1]`.
pub(super) fn divergence(task: Option<&Task>, left: Tensor<2>, right: Tensor<2>) -> Tensor<1> {
    if task == Some(&Task::Regression) {
        let difference = left - right;
        return (difference.clone() * difference).sum();
    }
    let (left, right) = (log_softmax(left, 1), log_softmax(right, 1));
    ((left.clone().exp() - right.clone().exp()) * (left - right)).sum()
}

/// A matrix's largest singular value by power iteration in f64, to about one part in a million from below; the same for the
/// same matrix.
pub(super) fn spectral_norm(matrix: &Weight) -> f64 {
    let host = matrix.to_host();
    let columns = host.shape[1].max(1);
    // Not orthogonal to the first singular vector but by chance.
    let mut right: Vec<f64> = (0..columns).map(|at| 1.0 + (at as f64 * 0.618).sin()).collect();
    let mut last = 0.0;
    for _ in 0..200 {
        let length = right.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length == 0.0 {
            return 0.0;
        }
        right.iter_mut().for_each(|value| *value /= length);
        let dot = |row: &[f32]| row.iter().zip(&right).map(|(weight, value)| f64::from(*weight) * value).sum::<f64>();
        let left: Vec<f64> = host.data.par_chunks(columns).map(dot).collect();
        let found = left.iter().map(|value| value * value).sum::<f64>().sqrt();
        let mut next = vec![0.0; columns];
        for (row, scale) in host.data.chunks(columns).zip(&left) {
            next.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f64::from(*weight) * scale);
        }
        right = next;
        if (found - last).abs() <= 1e-8 * found {
            return found;
        }
        last = found;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tensors::HostTensor;

    fn logits(values: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / 2, 2]), &Device::flex())
    }

    #[test]
    fn the_symmetric_divergence_is_that_of_the_formula_and_nothing_between_equals() {
        let (a, b) = ([0.3f32, -1.2, 2.0, 0.1], [1.0f32, 0.4, -0.3, 0.2]);
        let softmax = |row: &[f32]| {
            let powers: Vec<f64> = row.iter().map(|value| f64::from(*value).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect::<Vec<_>>()
        };
        let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
        let rows = a.chunks(2).zip(b.chunks(2)).map(|(a, b)| (softmax(a), softmax(b)));
        let expected: f64 = rows.map(|(p, q)| kl(&p, &q) + kl(&q, &p)).sum();
        let found = |task, left, right| f64::from(divergence(task, logits(left), logits(right)).into_scalar::<f32>());
        assert!((found(None, &a, &b) - expected).abs() < 1e-6);
        assert_eq!(found(None, &a, &a), 0.0);
        assert!((found(Some(&Task::Regression), &[1.0, 2.0], &[0.0, 4.0]) - 5.0).abs() < 1e-6);
    }

    /// Diagonal between two rotations: the singular values are those of the diagonal.
    #[test]
    fn the_spectral_norm_is_the_largest_singular_value() {
        let rotate = |angle: f64| [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]];
        let product = |a: [[f64; 2]; 2], b: [[f64; 2]; 2]| {
            let entry = |row: usize, column: usize| (0..2).map(|k| a[row][k] * b[k][column]).sum::<f64>();
            [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]]
        };
        for (large, small) in [(3.0, 0.2), (0.7, 0.69), (1.0, 0.0)] {
            let matrix = product(product(rotate(0.7), [[large, 0.0], [0.0, small]]), rotate(2.1));
            let data = matrix.as_flattened().iter().map(|value| *value as f32).collect();
            let matrix = Weight::from_host(&HostTensor { shape: vec![2, 2], data }, &Device::flex()).unwrap();
            assert!((spectral_norm(&matrix) / large - 1.0).abs() < 1e-5, "{large} {small}");
        }
    }

    #[test]
    fn examples_are_cut_at_the_bounds() {
        let mut field = Field { values: (0..12).map(|value| value as f32).collect(), width: 2 };
        let lengths: Vec<usize> = field.examples(&[0, 3, 3, 6]).map(|example| example.len()).collect();
        assert_eq!(lengths, [6, 0, 6]);
    }
}
