//! Layer normalisation (Ba et al. 2016) of a residual sum, with dropout on the branch.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::dropout::{self, Dropout, Mask};
use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, space, values, values_mut};
use super::math::{LANES, fold, multiversion, sum};
use super::parallel::{PIECE, pieces, rows_of_piece};

/// `LayerNorm(residual + dropout(x))`; without `residual`, of `dropout(x)` alone. x, residual `[T, d]`, weight, bias
/// `[d]`.
pub fn layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    if !on_host(&x) {
        return twin(x, residual, weight, bias, epsilon, dropout);
    }
    let kernel = LayerNorm { epsilon, mask: Mask::of(dropout) };
    match residual {
        Some(residual) => apply(kernel, [x.into(), weight.into(), bias.into(), residual.into()]),
        None => apply(kernel, [x.into(), weight.into(), bias.into()]),
    }
}

/// The same of burn's operations.
pub fn twin(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let x = match dropout {
        Some(dropout) => dropout::twin(x, dropout),
        None => x,
    };
    let sum = match residual {
        Some(residual) => x + residual,
        None => x,
    };
    let centred = sum.clone() - sum.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred / (variance + epsilon).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

/// Inputs: x, weight, bias, and maybe residual.
#[derive(Debug, Clone)]
struct LayerNorm {
    epsilon: f32,
    mask: Option<Mask>,
}

/// What the backward needs.
#[derive(Debug, Clone)]
struct Saved {
    /// `residual + dropout(x)`.
    sum: Array,
    /// The mean and the reciprocal standard deviation of each row.
    moments: Vec<[f32; 2]>,
    weight: Array,
}

/// Rows whose contributions to the gradients of weight and bias are summed together: fixed, so the order is.
const BLOCK: usize = 32;

impl Kernel for LayerNorm {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Option<Saved>) {
        let mut inputs = inputs.into_iter();
        let [Some(mut sum), Some(weight), Some(bias)] = [inputs.next(), inputs.next(), inputs.next()] else {
            unreachable!("layer_norm passes x, weight and bias");
        };
        let (tokens, d) = rows_columns(&sum);
        let rows = rows_of_piece(d);
        if self.mask.is_some() || inputs.len() > 0 {
            let residual = inputs.next();
            let residual = residual.as_ref().map(values);
            if let Some(residual) = residual {
                assert_eq!(residual.len(), tokens * d, "the residual has the shape of what is added to it");
            }
            pieces(values_mut(&mut sum), rows * d.max(1), |first, piece| {
                if let Some(mask) = &self.mask {
                    mask.apply(first as u64, piece);
                }
                if let Some(residual) = residual {
                    for (value, residual) in piece.iter_mut().zip(&residual[first..]) {
                        *value += residual;
                    }
                }
            });
        }
        let mut out = space(tokens * d);
        let mut moments = vec![[0.0; 2]; tokens];
        let (weights, biases, sums) = (values(&weight), values(&bias), values(&sum));
        assert!(weights.len() == d && biases.len() == d, "one weight and bias for each of {d} features");
        if tokens * d <= PIECE {
            normalise(&mut out, &mut moments, sums, weights, biases, self.epsilon);
        } else {
            out.par_chunks_mut(rows * d)
                .zip(moments.par_chunks_mut(rows))
                .zip(sums.par_chunks(rows * d))
                .for_each(|((out, moments), sums)| normalise(out, moments, sums, weights, biases, self.epsilon));
        }
        let saved = tracked.contains(&true).then_some(Saved { sum, moments, weight });
        (array(out, [tokens, d]), saved)
    }

    fn backward(&self, saved: Option<Saved>, mut gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let Some(Saved { sum, moments, weight }) = saved else { return vec![None; needed.len()] };
        let (_, d) = rows_columns(&gradient);
        let (sums, weights) = (values(&sum), values(&weight));

        // The gradient of the sum, in place, and each block's share of weight's and bias's.
        let blocks = (
            values_mut(&mut gradient).par_chunks_mut((BLOCK * d).max(1)),
            moments.par_chunks(BLOCK),
            sums.par_chunks((BLOCK * d).max(1)),
        );
        let share = |(gradient, moments, sums): (&mut [f32], &[[f32; 2]], &[f32])| {
            let mut shares = vec![0.0; 2 * d];
            differentiate(gradient, &mut shares, moments, sums, weights);
            shares
        };
        let shares: Vec<Vec<f32>> = blocks.into_par_iter().map(share).collect();
        let mut shares = shares.into_iter();
        let mut total = shares.next().unwrap_or_else(|| vec![0.0; 2 * d]);
        for share in shares {
            total.iter_mut().zip(share).for_each(|(total, share)| *total += share);
        }
        let db = total.split_off(d);

        let residual = needed.get(3).copied().unwrap_or_default().then(|| gradient.clone());
        let dx = needed[0].then(|| {
            if let Some(mask) = &self.mask {
                pieces(values_mut(&mut gradient), PIECE, |first, piece| mask.apply(first as u64, piece));
            }
            gradient
        });
        let (dw, db) = (needed[1].then(|| array(total, [d])), needed[2].then(|| array(db, [d])));
        vec![dx, dw, db, residual].into_iter().take(needed.len()).collect()
    }
}

multiversion! {
    fn normalise(
        out: &mut [f32], moments: &mut [[f32; 2]], sums: &[f32], weight: &[f32], bias: &[f32], epsilon: f32,
    ) {
        let d = weight.len().max(1);
        for ((out, moments), row) in out.chunks_exact_mut(d).zip(moments).zip(sums.chunks_exact(d)) {
            let mean = sum(row, |value| value) / d as f32;
            let variance = sum(row, |value| (value - mean) * (value - mean)) / d as f32;
            let scale = 1.0 / (variance + epsilon).sqrt();
            *moments = [mean, scale];
            for (((out, value), weight), bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                *out = ((value - mean) * scale).mul_add(*weight, *bias);
            }
        }
    }
}

multiversion! {
    /// Replaces gradients of the output by gradients of the sum; adds to those of the weight and, after them, the bias.
    fn differentiate(
        gradient: &mut [f32], shares: &mut [f32], moments: &[[f32; 2]], sums: &[f32], weight: &[f32],
    ) {
        let d = weight.len().max(1);
        let (dw, db) = shares.split_at_mut(weight.len());
        for ((gradient, [mean, scale]), row) in gradient.chunks_exact_mut(d).zip(moments).zip(sums.chunks_exact(d)) {
            let (mut plain, mut weighted) = ([0.0f32; LANES], [0.0f32; LANES]);
            let mut add = |lane: usize, gradient: f32, value: f32, weight: f32, dw: &mut f32, db: &mut f32| {
                let normal = (value - mean) * scale;
                *dw += gradient * normal;
                *db += gradient;
                plain[lane] += gradient * weight;
                weighted[lane] += gradient * weight * normal;
            };
            let whole = d / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                let (gradient, row) = (&gradient[at..at + LANES], &row[at..at + LANES]);
                let (weight, dw, db) = (&weight[at..at + LANES], &mut dw[at..at + LANES], &mut db[at..at + LANES]);
                for lane in 0..LANES {
                    add(lane, gradient[lane], row[lane], weight[lane], &mut dw[lane], &mut db[lane]);
                }
            }
            for at in whole..d {
                add(at - whole, gradient[at], row[at], weight[at], &mut dw[at], &mut db[at]);
            }
            let plain = fold(plain, |a, b| a + b) / d as f32;
            let weighted = fold(weighted, |a, b| a + b) / d as f32;
            for ((gradient, value), weight) in gradient.iter_mut().zip(row).zip(weight) {
                let normal = (value - mean) * scale;
                *gradient = scale * (*gradient * weight - plain - normal * weighted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;
    use crate::random::Key;

    const EPSILON: f32 = 1e-5;

    fn site() -> Option<Dropout> {
        Some(Dropout { probability: 0.2, key: Key::new(1, "dropout") })
    }

    fn op(inputs: &[Tensor<2>], dropout: Option<Dropout>) -> Tensor<2> {
        let (weight, bias) = (vector(&inputs[1]), vector(&inputs[2]));
        layer_norm(inputs[0].clone(), inputs.get(3).cloned(), weight, bias, EPSILON, dropout)
    }

    fn burns(inputs: &[Tensor<2>], dropout: Option<Dropout>) -> Tensor<2> {
        let (weight, bias) = (vector(&inputs[1]), vector(&inputs[2]));
        twin(inputs[0].clone(), inputs.get(3).cloned(), weight, bias, EPSILON, dropout)
    }

    fn inputs(tokens: usize, d: usize) -> Vec<Value> {
        vec![random(tokens, d, 1), random(1, d, 2), random(1, d, 3), random(tokens, d, 4)]
    }

    #[test]
    fn layer_norm_agrees_with_burn_with_and_without_residual_and_dropout() {
        for (tokens, d) in [(1, 5), (5, 8), (70, 37), (3, 96)] {
            for dropout in [None, site()] {
                for count in [3, 4] {
                    let inputs = &inputs(tokens, d)[..count];
                    agrees_with_twin(&|x| op(x, dropout), &|x| burns(x, dropout), inputs);
                }
            }
        }
    }

    #[test]
    fn layer_norm_and_its_gradients_follow_the_definition_in_double_precision() {
        let definition = |inputs: &[Vec<f64>]| {
            let d = inputs[1].len();
            let sums: Vec<f64> = inputs[0].iter().zip(&inputs[3]).map(|(x, residual)| x + residual).collect();
            let mut out = Vec::new();
            for row in sums.chunks(d) {
                let mean = row.iter().sum::<f64>() / d as f64;
                let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / d as f64;
                for ((value, weight), bias) in row.iter().zip(&inputs[1]).zip(&inputs[2]) {
                    out.push((value - mean) / (variance + f64::from(EPSILON)).sqrt() * weight + bias);
                }
            }
            out
        };
        agrees_with_differences(&|x| op(x, None), &definition, &inputs(4, 6));
    }

    #[test]
    fn frozen_inputs_of_layer_norm_get_no_gradient() {
        differentiates_only_what_is_tracked(&|x| op(x, site()), &inputs(5, 6));
    }

    #[test]
    fn layer_norm_gives_the_same_bits_for_any_number_of_threads() {
        same_bits_for_any_number_of_threads(&|x| op(x, site()), &inputs(333, 100));
    }
}
