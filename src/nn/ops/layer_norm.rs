//! Layer normalisation (Ba et al. 2016) of `residual + dropout(x)`, in one pass.

use super::Dropout;
use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, by_rows, by_rows_of_two, sum_rows};
use super::vector::{sum, vectorised};

/// Inputs: x, weight, bias, and with four inputs the residual last.
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    pub epsilon: f32,
    pub dropout: Option<Dropout>,
}

/// What the backward needs.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    /// `[T, d]`: the rows before weight and bias.
    normalised: Plain,
    /// `[T]`: 1 / standard deviation.
    scales: Vec<f32>,
    /// `[d]`
    weight: Plain,
}

impl LayerNorm {
    fn run(
        &self,
        x: &Plain,
        residual: Option<&Plain>,
        weight: &Plain,
        bias: &Plain,
        save: bool,
    ) -> (Plain, Option<Saved>) {
        let [rows, columns] = dims(x);
        let (mut normalised, mut scales) = (buffer(rows * columns), buffer(rows));
        by_rows_of_two(&mut normalised, columns, &mut scales, 1, |first, normalised, scales| {
            let from = first * columns;
            match self.dropout {
                Some(dropout) => dropout.factors(from, normalised),
                None => normalised.fill(1.0),
            }
            let residual = residual.map_or(&[][..], |residual| &values(residual)[from..]);
            normalise(&values(x)[from..], residual, self.epsilon, columns, normalised, scales);
        });
        if !save {
            let (weight, bias) = (values(weight), values(bias));
            by_rows(&mut normalised, columns, |_, rows| affine_in_place(weight, bias, rows));
            return (tensor(normalised, [rows, columns]), None);
        }
        let mut y = buffer(rows * columns);
        by_rows(&mut y, columns, |first, y| affine(&normalised[first * columns..], values(weight), values(bias), y));
        let saved = Saved { normalised: tensor(normalised, [rows, columns]), scales, weight: weight.clone() };
        (tensor(y, [rows, columns]), Some(saved))
    }

    /// Gradients of x, weight, bias and the residual.
    fn gradients(&self, saved: Option<Saved>, gradient: &Plain, needs: [bool; 4]) -> [Option<Plain>; 4] {
        let Some(saved) = saved else { return [None, None, None, None] };
        let [rows, columns] = dims(gradient);
        let (gradient, normalised) = (values(gradient), values(&saved.normalised));
        let weight = needs[1].then(|| {
            let sums = sum_rows(rows, columns, columns, |range, sums| {
                let range = range.start * columns..range.end * columns;
                add_products(&gradient[range.clone()], &normalised[range], sums);
            });
            tensor(sums, [columns])
        });
        let bias = needs[2].then(|| {
            let sums = sum_rows(rows, columns, columns, |range, sums| {
                add(&gradient[range.start * columns..range.end * columns], sums);
            });
            tensor(sums, [columns])
        });
        let (mut x, mut residual) = (None, None);
        if needs[0] || needs[3] {
            let mut inner = buffer(rows * columns);
            by_rows(&mut inner, columns, |first, inner| {
                let from = first * columns;
                derive(&gradient[from..], &normalised[from..], &saved.scales[first..], values(&saved.weight), inner);
            });
            if needs[0] {
                x = Some(match self.dropout {
                    None => tensor(inner.clone(), [rows, columns]),
                    Some(dropout) => {
                        let mut dx = buffer(rows * columns);
                        by_rows(&mut dx, columns, |first, dx| {
                            dropout.factors(first * columns, dx);
                            multiply(&inner[first * columns..], dx);
                        });
                        tensor(dx, [rows, columns])
                    }
                });
            }
            residual = needs[3].then(|| tensor(inner, [rows, columns]));
        }
        [x, weight, bias, residual]
    }
}

impl Kernel<3> for LayerNorm {
    type Saved = Option<Saved>;

    fn forward(&self, [x, weight, bias]: [&Plain; 3], needs: [bool; 3]) -> (Plain, Option<Saved>) {
        self.run(x, None, weight, bias, needs.contains(&true))
    }

    fn backward(&self, saved: Option<Saved>, gradient: Plain, [x, weight, bias]: [bool; 3]) -> [Option<Plain>; 3] {
        let [x, weight, bias, _] = self.gradients(saved, &gradient, [x, weight, bias, false]);
        [x, weight, bias]
    }
}

impl Kernel<4> for LayerNorm {
    type Saved = Option<Saved>;

    fn forward(&self, [x, weight, bias, residual]: [&Plain; 4], needs: [bool; 4]) -> (Plain, Option<Saved>) {
        self.run(x, Some(residual), weight, bias, needs.contains(&true))
    }

    fn backward(&self, saved: Option<Saved>, gradient: Plain, needs: [bool; 4]) -> [Option<Plain>; 4] {
        self.gradients(saved, &gradient, needs)
    }
}

vectorised! {
    /// `rows` holds the dropout factors and becomes the normalised rows of `residual + factors * x`.
    fn normalise(x: &[f32], residual: &[f32], epsilon: f32, columns: usize, rows: &mut [f32], scales: &mut [f32]) {
        for (index, (row, scale)) in rows.chunks_exact_mut(columns).zip(scales).enumerate() {
            let from = index * columns;
            for (value, x) in row.iter_mut().zip(&x[from..from + columns]) {
                *value *= x;
            }
            if !residual.is_empty() {
                for (value, residual) in row.iter_mut().zip(&residual[from..from + columns]) {
                    *value += residual;
                }
            }
            let mean = sum(columns, |at| row[at]) / columns as f32;
            let variance = sum(columns, |at| (row[at] - mean) * (row[at] - mean)) / columns as f32;
            *scale = 1.0 / (variance + epsilon).sqrt();
            for value in row.iter_mut() {
                *value = (*value - mean) * *scale;
            }
        }
    }

    fn affine(normalised: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
        for (y, normalised) in y.chunks_exact_mut(weight.len()).zip(normalised.chunks_exact(weight.len())) {
            for (((y, value), weight), bias) in y.iter_mut().zip(normalised).zip(weight).zip(bias) {
                *y = value * weight + bias;
            }
        }
    }

    fn affine_in_place(weight: &[f32], bias: &[f32], rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(weight.len()) {
            for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *value = *value * weight + bias;
            }
        }
    }

    /// d(row) = scale (h - mean(h) - n mean(h n)) with h = gradient * weight and n the normalised row.
    fn derive(gradient: &[f32], normalised: &[f32], scales: &[f32], weight: &[f32], inner: &mut [f32]) {
        let columns = weight.len();
        for (index, inner) in inner.chunks_exact_mut(columns).enumerate() {
            let range = index * columns..(index + 1) * columns;
            let (gradient, normalised) = (&gradient[range.clone()], &normalised[range]);
            let mean = sum(columns, |at| gradient[at] * weight[at]) / columns as f32;
            let along = sum(columns, |at| gradient[at] * weight[at] * normalised[at]) / columns as f32;
            for at in 0..columns {
                inner[at] = scales[index] * (gradient[at] * weight[at] - mean - normalised[at] * along);
            }
        }
    }

    fn add_products(gradient: &[f32], normalised: &[f32], sums: &mut [f32]) {
        for (gradient, normalised) in gradient.chunks_exact(sums.len()).zip(normalised.chunks_exact(sums.len())) {
            for ((sum, gradient), normalised) in sums.iter_mut().zip(gradient).zip(normalised) {
                *sum += gradient * normalised;
            }
        }
    }

    fn add(gradient: &[f32], sums: &mut [f32]) {
        for gradient in gradient.chunks_exact(sums.len()) {
            for (sum, gradient) in sums.iter_mut().zip(gradient) {
                *sum += gradient;
            }
        }
    }

    fn multiply(inner: &[f32], dx: &mut [f32]) {
        for (dx, inner) in dx.iter_mut().zip(inner) {
            *dx *= inner;
        }
    }
}
