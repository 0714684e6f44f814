//! Affine maps.

use burn::tensor::{FloatDType, Tensor};

use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, space, values};
use super::math::multiversion;
use super::matmul::{Matrix, Precision, multiply};
use super::parallel::{PIECE, pieces, rows_of_piece};

/// `x W^T + b`; `precision` is that of the matrix products, forward and backward. x `[T, in]`, weight `[out, in]` (as
/// `transformers` stores it), bias `[out]` -> `[T, out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, precision: Precision) -> Tensor<2> {
    if !on_host(&x) {
        return twin(x, weight, bias, precision);
    }
    let kernel = Linear { precision };
    match bias {
        Some(bias) => apply(kernel, [x.into(), weight.into(), bias.into()]),
        None => apply(kernel, [x.into(), weight.into()]),
    }
}

/// The same of burn's operations.
pub fn twin(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, precision: Precision) -> Tensor<2> {
    let product = match precision {
        Precision::Bf16 => {
            let (x, weight) = (x.cast(FloatDType::BF16), weight.cast(FloatDType::BF16));
            x.matmul(weight.transpose()).cast(FloatDType::F32)
        }
        Precision::F32 | Precision::F32Strict => x.matmul(weight.transpose()),
    };
    match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    }
}

/// Inputs: x, weight, and maybe bias.
#[derive(Debug, Clone)]
struct Linear {
    precision: Precision,
}

impl Kernel for Linear {
    /// The input for the weight's gradient, the weight for the input's.
    type Saved = (Option<Array>, Option<Array>);

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved) {
        let ((tokens, d_in), (d_out, _)) = (rows_columns(&inputs[0]), rows_columns(&inputs[1]));
        let mut out = space(tokens * d_out);
        if let Some(bias) = inputs.get(2) {
            let bias = values(bias);
            assert_eq!(bias.len(), d_out, "one bias for each output of a linear map");
            pieces(&mut out, rows_of_piece(d_out) * d_out, |_, rows| {
                rows.chunks_exact_mut(d_out.max(1)).for_each(|row| row.copy_from_slice(bias));
            });
        }
        let x = Matrix::new(values(&inputs[0]), tokens, d_in);
        let weight = Matrix::new(values(&inputs[1]), d_out, d_in);
        multiply(&mut out, inputs.len() > 2, x, weight.transposed(), self.precision);
        let saved = (tracked[1].then(|| inputs[0].clone()), tracked[0].then(|| inputs[1].clone()));
        (array(out, [tokens, d_out]), saved)
    }

    fn backward(&self, saved: Self::Saved, gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let (x, weight) = saved;
        let (tokens, d_out) = rows_columns(&gradient);
        let g = Matrix::new(values(&gradient), tokens, d_out);
        let dx = weight.filter(|_| needed[0]).map(|weight| {
            let (_, d_in) = rows_columns(&weight);
            let mut out = space(tokens * d_in);
            multiply(&mut out, false, g, Matrix::new(values(&weight), d_out, d_in), self.precision);
            array(out, [tokens, d_in])
        });
        let dw = x.filter(|_| needed[1]).map(|x| {
            let (_, d_in) = rows_columns(&x);
            let mut out = space(d_out * d_in);
            multiply(&mut out, false, g.transposed(), Matrix::new(values(&x), tokens, d_in), self.precision);
            array(out, [d_out, d_in])
        });
        let mut gradients = vec![dx, dw];
        if let Some(&needed) = needed.get(2) {
            gradients.push(needed.then(|| array(column_sums(values(&gradient), d_out), [d_out])));
        }
        gradients
    }
}

/// Sums of the columns of a matrix stored row after row.
fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    const STRIPE: usize = 64;
    let mut sums = vec![0.0; columns];
    let stripe = if matrix.len() <= PIECE { columns } else { STRIPE };
    pieces(&mut sums, stripe.max(1), |first, sums| add_rows(sums, matrix, columns, first));
    sums
}

multiversion! {
    /// Adds columns `first..first + sums.len()` of every row, in blocks of rows so that rounding errors stay small.
    fn add_rows(sums: &mut [f32], matrix: &[f32], columns: usize, first: usize) {
        const ROWS: usize = 32;
        let width = sums.len();
        let mut block_sums = vec![0.0f32; width];
        for block in matrix.chunks(ROWS * columns.max(1)) {
            block_sums.fill(0.0);
            for row in block.chunks_exact(columns.max(1)) {
                for (sum, value) in block_sums.iter_mut().zip(&row[first..first + width]) {
                    *sum += value;
                }
            }
            for (sum, block) in sums.iter_mut().zip(&block_sums) {
                *sum += block;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    /// The same on every machine; `matmul`'s own tests are about the others.
    const STRICT: Precision = Precision::F32Strict;

    fn with_bias(inputs: &[Tensor<2>]) -> Tensor<2> {
        linear(inputs[0].clone(), inputs[1].clone(), Some(vector(&inputs[2])), STRICT)
    }

    fn inputs(tokens: usize, d_in: usize, d_out: usize) -> Vec<Value> {
        vec![random(tokens, d_in, 1), random(d_out, d_in, 2), random(1, d_out, 3)]
    }

    #[test]
    fn linear_maps_agree_with_burn() {
        for (tokens, d_in, d_out) in [(1, 1, 1), (7, 5, 3), (1, 33, 70), (70, 16, 130)] {
            let inputs = inputs(tokens, d_in, d_out);
            let theirs =
                |inputs: &[Tensor<2>]| twin(inputs[0].clone(), inputs[1].clone(), Some(vector(&inputs[2])), STRICT);
            agrees_with_twin(&with_bias, &theirs, &inputs);
            let ours = |inputs: &[Tensor<2>]| linear(inputs[0].clone(), inputs[1].clone(), None, STRICT);
            let theirs = |inputs: &[Tensor<2>]| twin(inputs[0].clone(), inputs[1].clone(), None, STRICT);
            agrees_with_twin(&ours, &theirs, &inputs[..2]);
        }
    }

    /// A sum of n products of factors rounded to 8 bits is off by about 2^-8 sqrt(n) of a product.
    #[test]
    fn linear_maps_of_bfloat16s_agree_with_floats_to_their_precision() {
        let inputs = inputs(70, 96, 130);
        let with = |precision| {
            let op = move |inputs: &[Tensor<2>]| {
                linear(inputs[0].clone(), inputs[1].clone(), Some(vector(&inputs[2])), precision)
            };
            run(&op, &inputs, &[true; 3])
        };
        let (exact, rounded) = (with(STRICT), with(Precision::Bf16));
        close("output", &rounded.0, &exact.0, 1e-2);
        assert_ne!(rounded.0, exact.0);
        for (rounded, exact) in rounded.1.iter().zip(&exact.1) {
            close("gradient", rounded.as_ref().unwrap(), exact.as_ref().unwrap(), 1e-2);
        }
    }

    #[test]
    fn frozen_inputs_of_linear_maps_get_no_gradient() {
        differentiates_only_what_is_tracked(&with_bias, &inputs(6, 4, 5));
    }

    #[test]
    fn tensors_off_autodiff_mix_with_tracked_ones() {
        let inputs = inputs(3, 4, 2);
        let expected = run(&with_bias, &inputs, &[false, true, false]);
        let weight = leaf(&inputs[1]);
        let tracked = Tensor::<2>::from_inner(weight.clone()).require_grad();
        let output = linear(leaf(&inputs[0]), tracked.clone(), Some(vector(&leaf(&inputs[2]))), STRICT);
        assert!(output.device().is_autodiff());
        assert_eq!(read(output.clone().inner()), expected.0);
        assert!(tracked.grad(&output.sum().backward()).is_some());

        // On autodiff, but nothing to differentiate.
        let constant = linear(Tensor::from_inner(leaf(&inputs[0])), weight, None, STRICT);
        assert!(constant.device().is_autodiff() && !constant.is_require_grad());
    }

    #[test]
    fn linear_maps_give_the_same_bits_for_any_number_of_threads() {
        same_bits_for_any_number_of_threads(&with_bias, &inputs(301, 130, 517));
        same_bits_for_any_number_of_threads(&with_bias, &inputs(1, 384, 1000));
        same_bits_for_any_number_of_threads(&with_bias, &inputs(70, 1600, 90));
    }

    #[test]
    fn columns_are_summed_whatever_the_shape() {
        for (rows, columns) in [(1, 1), (33, 7), (300, 200)] {
            let (matrix, _) = random(rows, columns, 5);
            let expected: Vec<f32> = (0..columns)
                .map(|column| (0..rows).map(|row| f64::from(matrix[row * columns + column])).sum::<f64>() as f32)
                .collect();
            close("sums", &column_sums(&matrix, columns), &expected, 1e-6);
        }
    }
}
