//! Random projections of few numbers onto many: `P x`, where `E |P x|^2 = |x|^2` over the draws of `P`.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::random::Key;

/// A projection of `[inputs]` onto `[outputs]`. All of it is drawn from a key and never stored.
#[derive(Debug, Clone)]
pub enum Projection {
    /// A matrix of independent normal draws.
    Dense(Box<Tensor<2>>),
    /// Le, Sarlos & Smola 2013, arXiv:1408.3060: `H G_k S H B x` for as many blocks `k` as the outputs need. `H` is the Hadamard
    /// matrix of the next power of two `n` of `inputs`, `B` diagonal signs, `S` a permutation, `G_k` diagonal normal draws.
    /// Blocks share `B` and `S`, so that of what grows with the outputs only one product with `H` is left.
    Fastfood(Box<Fastfood>),
}

#[derive(Debug, Clone)]
pub struct Fastfood {
    /// `[n]`, of which the first `inputs` are used.
    signs: Tensor<1>,
    order: Tensor<1, Int>,
    /// `[blocks, n]`, scaled.
    normals: Tensor<2>,
    outputs: usize,
}

impl Projection {
    pub fn dense(inputs: usize, outputs: usize, key: Key, device: &Device) -> Self {
        let scale = 1.0 / (outputs as f32).sqrt();
        let data = TensorData::new(normals(key, inputs * outputs, scale), [outputs, inputs]);
        Self::Dense(Box::new(Tensor::from_data(data, device)))
    }

    pub fn fastfood(inputs: usize, outputs: usize, key: Key, device: &Device) -> Self {
        let n = inputs.next_power_of_two();
        let blocks = outputs.div_ceil(n);
        let signs = key.at(0);
        let signs = (0..n as u64).map(|at| if signs.uniform(at) < 0.5 { 1.0f32 } else { -1.0 }).collect::<Vec<_>>();
        let order: Vec<i64> = key.at(1).permutation(n).into_iter().map(|at| at as i64).collect();
        // A number of H G S H B x is a sum of n normal draws, each times one of H B x, whose squares sum to n |x|^2.
        let scale = 1.0 / (n as f32 * outputs as f32).sqrt();
        Self::Fastfood(Box::new(Fastfood {
            signs: Tensor::from_data(TensorData::new(signs, [n]), device),
            order: Tensor::from_data(TensorData::new(order, [n]), device),
            normals: Tensor::from_data(TensorData::new(normals(key.at(2), blocks * n, scale), [blocks, n]), device),
            outputs,
        }))
    }

    /// `P x`. `[inputs]` -> `[outputs]`.
    pub fn apply(&self, x: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Dense(matrix) => {
                let [outputs, inputs] = matrix.dims();
                (x.reshape([1, inputs]).matmul(matrix.as_ref().clone().transpose())).reshape([outputs])
            }
            Self::Fastfood(fastfood) => {
                let Fastfood { signs, order, normals, outputs } = fastfood.as_ref();
                let ([inputs], [blocks, n]) = (x.dims(), normals.dims());
                let x = match n - inputs {
                    0 => x,
                    more => Tensor::cat(vec![x.clone(), Tensor::zeros([more], &x.device())], 0),
                };
                let mixed = hadamard((x * signs.clone()).reshape([1, n])).reshape([n]);
                let mixed: Tensor<2> = mixed.select(0, order.clone()).unsqueeze();
                hadamard(mixed * normals.clone()).reshape([blocks * n]).narrow(0, 0, *outputs)
            }
        }
    }
}

/// Draws per piece of work.
const PIECE: usize = 1 << 14;

fn normals(key: Key, count: usize, scale: f32) -> Vec<f32> {
    let mut draws = vec![0.0f32; count];
    draws.par_chunks_mut(PIECE).enumerate().for_each(|(piece, draws)| {
        for (at, draw) in draws.iter_mut().enumerate() {
            *draw = key.normal((piece * PIECE + at) as u64) * scale;
        }
    });
    draws
}

/// Widest matrix that is multiplied with as such.
const WIDEST: usize = 64;

/// Every row times the Hadamard matrix of its length `n`, a power of two. As that matrix is the Kronecker product of smaller
/// ones, rows are taken as arrays of several dimensions and each dimension multiplied by its own. `[rows, n]` -> `[rows, n]`.
fn hadamard(x: Tensor<2>) -> Tensor<2> {
    let [rows, n] = x.dims();
    let device = x.device().without_autodiff();
    let (mut x, mut left) = (x, n);
    while left > 1 {
        let width = left.min(WIDEST);
        // The last dimension of this width, multiplied, becomes the first: after all of them their order is as it was.
        let product = x.reshape([rows * n / width, width]).matmul(matrix(width, &device));
        let turned: Tensor<3> = product.reshape([rows, n / width, width]).swap_dims(1, 2);
        x = turned.reshape([rows, n]);
        left /= width;
    }
    x
}

/// Sylvester's Hadamard matrix: -1 where the binary forms of row and column share an odd number of ones.
fn matrix(n: usize, device: &Device) -> Tensor<2> {
    let entry = |at: usize| if ((at / n) & (at % n)).count_ones().is_multiple_of(2) { 1.0f32 } else { -1.0 };
    Tensor::from_data(TensorData::new((0..n * n).map(entry).collect::<Vec<_>>(), [n, n]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec_as::<f32>().unwrap()
    }

    fn vector(data: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(data.to_vec(), [data.len()]), &Device::flex())
    }

    fn wave(count: usize) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * 0.9 + 0.3).sin()).collect()
    }

    fn both(inputs: usize, outputs: usize, seed: u64) -> [Projection; 2] {
        let (key, device) = (Key::new(seed, "projection"), Device::flex());
        [Projection::dense(inputs, outputs, key, &device), Projection::fastfood(inputs, outputs, key, &device)]
    }

    /// The definition, entry by entry, up to two factors of the largest width.
    #[test]
    fn the_fast_transform_is_the_product_with_the_matrix() {
        for n in [1, 2, 8, 64, 128, 4096] {
            let x = wave(2 * n);
            let found = read(hadamard(vector(&x).reshape([2, n])));
            for row in 0..2 {
                for column in (0..n).step_by(n.div_ceil(16)) {
                    let sign = |at: usize| if (at & column).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                    let expected: f64 = (0..n).map(|at| sign(at) * f64::from(x[row * n + at])).sum();
                    assert!((f64::from(found[row * n + column]) - expected).abs() < 1e-3, "{n} {row} {column}");
                }
            }
        }
    }

    #[test]
    fn fastfood_is_the_product_of_its_matrices() {
        let (inputs, outputs, n) = (5, 21, 8);
        let Projection::Fastfood(parts) = &both(inputs, outputs, 3)[1] else { panic!("asked for") };
        let (signs, normals) = (read(parts.signs.clone()), read(parts.normals.clone()));
        let order = parts.order.clone().into_data().try_into_vec_as::<i64>().unwrap();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..n as i64).collect::<Vec<_>>());
        let sign =
            |row: usize, column: usize| if (row & column).count_ones().is_multiple_of(2) { 1.0f32 } else { -1.0 };
        let entry = |row: usize, column: usize| -> f32 {
            let (block, row) = (row / n, row % n);
            let terms = (0..n).map(|k| sign(row, k) * normals[block * n + k] * sign(order[k] as usize, column));
            terms.sum::<f32>() * signs[column]
        };
        let x = wave(inputs);
        let found = read(both(inputs, outputs, 3)[1].apply(vector(&x)));
        assert_eq!(found.len(), outputs);
        for (row, found) in found.iter().enumerate() {
            let expected: f32 = (0..inputs).map(|column| entry(row, column) * x[column]).sum();
            assert!((found - expected).abs() < 1e-5, "{row}: {found} {expected}");
        }
    }

    /// The mean over 400 draws of numbers whose standard deviation is below 1: five of its errors.
    #[test]
    fn projections_keep_lengths_in_expectation() {
        for (inputs, outputs) in [(6, 40), (16, 64), (3, 5)] {
            let x = wave(inputs);
            let length: f32 = x.iter().map(|value| value * value).sum();
            let mut sums = [0.0; 2];
            for seed in 0..400 {
                for (sum, projection) in sums.iter_mut().zip(both(inputs, outputs, seed)) {
                    let projected = read(projection.apply(vector(&x)));
                    *sum += projected.iter().map(|value| value * value).sum::<f32>() / length / 400.0;
                }
            }
            for mean in sums {
                assert!((mean - 1.0).abs() < 5.0 / 20.0, "{inputs} {outputs}: {mean}");
            }
        }
    }

    #[test]
    fn projections_are_linear_and_depend_on_the_key_alone() {
        let (one, other) = (wave(7), wave(14)[7..].to_vec());
        let sum: Vec<f32> = one.iter().zip(&other).map(|(one, other)| one + other).collect();
        for (projection, again) in both(7, 30, 1).into_iter().zip(both(7, 30, 1)) {
            let added = read(projection.apply(vector(&one)) + projection.apply(vector(&other)));
            let whole = read(projection.apply(vector(&sum)));
            assert!(added.iter().zip(&whole).all(|(one, other)| (one - other).abs() < 1e-5));
            assert_eq!(whole, read(again.apply(vector(&sum))));
        }
        let [dense, fast] = both(7, 30, 2).map(|projection| read(projection.apply(vector(&one))));
        let [first_dense, first_fast] = both(7, 30, 1).map(|projection| read(projection.apply(vector(&one))));
        assert!(dense != first_dense && fast != first_fast);
    }
}
