//! The Gaussian error linear unit (Hendrycks & Gimpel 2016), erf form.

use burn::tensor::Tensor;

use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, space, values, values_mut};
use super::math::{multiversion, normal};
use super::parallel::{PIECE, pieces};

/// `x Phi(x)`, the erf form. Any shape `[T, d]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if on_host(&x) { apply(Gelu, [x.into()]) } else { twin(x) }
}

/// The same of burn's operations.
pub fn twin(x: Tensor<2>) -> Tensor<2> {
    // Not `activation::gelu`, whose derivative on CubeCL devices is that of the tanh approximation.
    x.clone() * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5
}

/// Input: x.
#[derive(Debug, Clone)]
struct Gelu;

impl Kernel for Gelu {
    type Saved = Option<Array>;

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved) {
        let [mut x] = <[Array; 1]>::try_from(inputs).expect("one input");
        if !tracked[0] {
            pieces(values_mut(&mut x), PIECE, |_, piece| value_in_place(piece));
            return (x, None);
        }
        let (tokens, d) = rows_columns(&x);
        let (mut out, from) = (space(tokens * d), values(&x));
        pieces(&mut out, PIECE, |first, piece| value(piece, &from[first..first + piece.len()]));
        (array(out, [tokens, d]), Some(x))
    }

    fn backward(&self, saved: Self::Saved, mut gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let Some(x) = saved else { return vec![None] };
        let x = values(&x);
        pieces(values_mut(&mut gradient), PIECE, |first, piece| slope(piece, &x[first..first + piece.len()]));
        vec![Some(gradient)]
    }
}

multiversion! {
    fn value(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * normal(*x).0;
        }
    }
}

multiversion! {
    fn value_in_place(x: &mut [f32]) {
        for x in x {
            *x *= normal(*x).0;
        }
    }
}

multiversion! {
    /// Multiplies gradients by `Phi(x) + x phi(x)`.
    fn slope(gradient: &mut [f32], x: &[f32]) {
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            let (distribution, density) = normal(x);
            *gradient *= x.mul_add(density, distribution);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    fn op(inputs: &[Tensor<2>]) -> Tensor<2> {
        gelu(inputs[0].clone())
    }

    /// The distribution by its continued fraction and series (Abramowitz & Stegun 26.2.10 and 26.2.14).
    fn distribution(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        if x.abs() < 4.0 {
            let (mut term, mut sum) = (x, x);
            for k in 1..200 {
                term *= x * x / f64::from(2 * k + 1);
                sum += term;
            }
            0.5 + density * sum
        } else {
            let tail = density / (1..100).rev().fold(x.abs(), |fraction, k| x.abs() + f64::from(k) / fraction);
            if x < 0.0 { tail } else { 1.0 - tail }
        }
    }

    #[test]
    fn gelu_and_its_slope_follow_the_definition_in_double_precision() {
        let (mut values, _) = random(1, 200, 1);
        values.extend((-60..60).map(|step| step as f32 * 0.15));
        values.extend([-30.0, 30.0, -1000.0, 1000.0]);
        let inputs = [(values.clone(), [4, 81])];
        let definition = |inputs: &[Vec<f64>]| inputs[0].iter().map(|x| x * distribution(*x)).collect();
        let (output, _) = run(&op, &inputs, &[false]);
        for (x, y) in values.iter().zip(output) {
            let exact = f64::from(*x) * distribution(f64::from(*x));
            assert!((f64::from(y) - exact).abs() <= 1e-6 * exact.abs().max(1.0), "{x}: {y} {exact}");
        }
        let inputs = [(values[..320].to_vec(), [4, 80])];
        agrees_with_differences(&op, &definition, &inputs);
    }

    #[test]
    fn gelu_agrees_with_burn() {
        agrees_with_twin(&op, &|inputs| twin(inputs[0].clone()), &[random(5, 13, 1)]);
    }

    #[test]
    fn gelu_gives_the_same_bits_for_any_number_of_threads() {
        same_bits_for_any_number_of_threads(&op, &[random(123, 457, 1)]);
    }
}
