//! Attention of one head over one sequence, a tile of queries at a time.

use super::product::{Left, PADDING, Size, product, stride};
use crate::nn::ops::dropout::Mask;
use crate::nn::ops::math::{exp, max, multiversion, sum};

/// Queries whose probabilities are held at a time: whole sequences of usual lengths, and little memory for long ones.
const TILE: usize = 128;

/// One head of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The sequence's first query in the packed queries, and how many it has.
    pub first_query: usize,
    pub queries: usize,
    /// The sequence's first key in the packed keys and values, and how many it has.
    pub first_key: usize,
    pub keys: usize,
    /// The head's first column, and its columns.
    pub column: usize,
    pub head_dim: usize,
    /// Columns of the packed batch: all heads.
    pub d: usize,
    /// The number of the head's first probability in the dropout mask.
    pub draws: u64,
}

/// Space for the matrices of one head, reused from head to head. Rows are [`stride`] apart, filled up with zeros.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `[queries, head_dim]`, already multiplied by 1 / sqrt(head_dim).
    queries: Vec<f32>,
    /// `[keys, head_dim]`
    keys: Vec<f32>,
    values: Vec<f32>,
    /// `[head_dim, keys]`
    keys_turned: Vec<f32>,
    values_turned: Vec<f32>,
    /// Of the output: `[queries, head_dim]`.
    gradient: Vec<f32>,
    /// Of a tile, and the gradient of their scores: `[TILE, keys]`.
    probabilities: Vec<f32>,
    slopes: Vec<f32>,
    /// Of dropout: `[TILE, keys]`.
    factors: Vec<f32>,
    /// Results: `[TILE, head_dim]`, then `[keys, head_dim]` twice.
    tile: Vec<f32>,
    d_keys: Vec<f32>,
    d_values: Vec<f32>,
}

impl Head {
    /// Writes the head's rows of the output, and each query's logarithm of the sum of exponentials.
    pub fn forward(
        &self,
        [query, key, value]: [&[f32]; 3],
        mask: Option<&Mask>,
        scratch: &mut Scratch,
        out: &mut [&mut [f32]],
        normalisers: &mut [f32],
    ) {
        let Scratch { queries, keys_turned, values, probabilities, factors, tile, .. } = scratch;
        let length = self.keys;
        let (narrow, wide) = (stride(self.head_dim), stride(length));
        let queries = self.load(queries, self.of_queries(query), self.scale());
        let keys_turned = self.load_turned(keys_turned, key);
        let values = self.load(values, self.of_keys(value), 1.0);
        for start in (0..self.queries).step_by(TILE) {
            let rows = TILE.min(self.queries - start);
            let probabilities = sized(probabilities, rows * wide);
            let left = Left::rows(&queries[start * narrow..], narrow);
            product(probabilities, false, left, keys_turned, self.by_keys(rows));
            let factors = self.draw(mask, start, rows, factors);
            softmax(probabilities, &mut normalisers[start..start + rows], factors, length, self.span());
            let tile = sized(tile, rows * narrow);
            product(tile, false, Left::rows(probabilities, wide), values, self.by_columns(rows, length));
            self.store(tile, 1.0, &mut out[start..]);
        }
    }

    /// Writes the head's rows of the gradients of query, key and value.
    pub fn backward(
        &self,
        [query, key, value, gradient]: [&[f32]; 4],
        normalisers: &[f32],
        mask: Option<&Mask>,
        scratch: &mut Scratch,
        [d_query, d_key, d_value]: [&mut [&mut [f32]]; 3],
    ) {
        let length = self.keys;
        let (narrow, wide) = (stride(self.head_dim), stride(length));
        let queries = self.load(&mut scratch.queries, self.of_queries(query), self.scale());
        let keys = self.load(&mut scratch.keys, self.of_keys(key), 1.0);
        let keys_turned = self.load_turned(&mut scratch.keys_turned, key);
        let values_turned = self.load_turned(&mut scratch.values_turned, value);
        let gradient = self.load(&mut scratch.gradient, self.of_queries(gradient), 1.0);
        let d_keys = sized(&mut scratch.d_keys, length * narrow);
        let d_values = sized(&mut scratch.d_values, length * narrow);
        for start in (0..self.queries).step_by(TILE) {
            let rows = TILE.min(self.queries - start);
            let probabilities = sized(&mut scratch.probabilities, rows * wide);
            let slopes = sized(&mut scratch.slopes, rows * wide);
            let (queries, gradient) = (&queries[start * narrow..], &gradient[start * narrow..]);
            product(probabilities, false, Left::rows(queries, narrow), keys_turned, self.by_keys(rows));
            product(slopes, false, Left::rows(gradient, narrow), values_turned, self.by_keys(rows));
            let factors = self.draw(mask, start, rows, &mut scratch.factors);
            differentiate(probabilities, slopes, &normalisers[start..start + rows], factors, length, self.span());
            let (later, by_columns) = (start > 0, self.by_columns(length, rows));
            product(d_values, later, Left::transposed(probabilities, wide), gradient, by_columns);
            product(d_keys, later, Left::transposed(slopes, wide), queries, by_columns);
            let tile = sized(&mut scratch.tile, rows * narrow);
            product(tile, false, Left::rows(slopes, wide), keys, self.by_columns(rows, length));
            self.store(tile, self.scale(), &mut d_query[start..]);
        }
        // The queries were scaled when they were loaded, so the keys' gradient already is.
        self.store(d_keys, 1.0, d_key);
        self.store(d_values, 1.0, d_value);
    }

    /// A product over the head's columns whose columns are keys.
    fn by_keys(&self, rows: usize) -> Size {
        Size { rows, depth: self.head_dim, columns: self.span(), stride: stride(self.keys) }
    }

    /// A product whose columns are the head's.
    fn by_columns(&self, rows: usize, depth: usize) -> Size {
        Size { rows, depth, columns: self.head_dim.next_multiple_of(PADDING), stride: stride(self.head_dim) }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Columns of score matrices with padding.
    fn span(&self) -> usize {
        self.keys.next_multiple_of(PADDING)
    }

    /// The sequence's rows of packed queries.
    fn of_queries<'a>(&self, packed: &'a [f32]) -> &'a [f32] {
        &packed[self.first_query * self.d..][..self.queries * self.d]
    }

    /// The sequence's rows of packed keys or values.
    fn of_keys<'a>(&self, packed: &'a [f32]) -> &'a [f32] {
        &packed[self.first_key * self.d..][..self.keys * self.d]
    }

    /// Copies the head's columns out of a sequence's rows: `[rows, head_dim]`.
    fn load<'a>(&self, into: &'a mut Vec<f32>, rows: &[f32], scale: f32) -> &'a [f32] {
        let stride = stride(self.head_dim);
        let into = sized(into, rows.len() / self.d * stride);
        for (into, row) in into.chunks_exact_mut(stride).zip(rows.chunks_exact(self.d)) {
            let row = &row[self.column..][..self.head_dim];
            let (into, padding) = into.split_at_mut(row.len());
            for (into, value) in into.iter_mut().zip(row) {
                *into = value * scale;
            }
            padding.fill(0.0);
        }
        into
    }

    /// Copies the transpose of the head's columns out of packed keys or values: `[head_dim, keys]`.
    fn load_turned<'a>(&self, into: &'a mut Vec<f32>, packed: &[f32]) -> &'a [f32] {
        let stride = stride(self.keys);
        let into = sized(into, self.head_dim * stride);
        for row in into.chunks_exact_mut(stride) {
            row[self.keys..].fill(0.0);
        }
        for (at, row) in self.of_keys(packed).chunks_exact(self.d).enumerate() {
            let row = &row[self.column..][..self.head_dim];
            for (into, value) in into[at..].iter_mut().step_by(stride).zip(row) {
                *into = *value;
            }
        }
        into
    }

    /// Copies rows of `head_dim` elements into rows of a packed batch.
    fn store(&self, from: &[f32], scale: f32, rows: &mut [&mut [f32]]) {
        for (row, from) in rows.iter_mut().zip(from.chunks_exact(stride(self.head_dim))) {
            for (into, value) in row.iter_mut().zip(from) {
                *into = value * scale;
            }
        }
    }

    /// The dropout factors of a tile of probabilities: `[rows, keys]`.
    fn draw<'a>(&self, mask: Option<&Mask>, start: usize, rows: usize, factors: &'a mut Vec<f32>) -> Option<&'a [f32]> {
        mask.map(|mask| {
            let factors = sized(factors, rows * self.keys);
            factors.fill(1.0);
            mask.apply(self.draws + (start * self.keys) as u64, factors);
            &*factors
        })
    }
}

/// The first `size` elements of a buffer that grows but never shrinks.
fn sized(buffer: &mut Vec<f32>, size: usize) -> &mut [f32] {
    if buffer.len() < size {
        buffer.resize(size, 0.0);
    }
    &mut buffer[..size]
}

multiversion! {
    /// Scores `[rows, length]`, computed up to column `span`, to probabilities times dropout's factors.
    fn softmax(scores: &mut [f32], normalisers: &mut [f32], factors: Option<&[f32]>, length: usize, span: usize) {
        for (index, (row, normaliser)) in scores.chunks_exact_mut(stride(length)).zip(normalisers).enumerate() {
            let row = &mut row[..span];
            // The padding takes part with probability 0, so that rows are whole registers.
            row[length..].fill(f32::NEG_INFINITY);
            let largest = max(row);
            for value in row.iter_mut() {
                *value = exp(*value - largest);
            }
            let total = sum(row, |value| value);
            *normaliser = largest + total.ln();
            let scale = 1.0 / total;
            match factors {
                Some(factors) => {
                    for (value, factor) in row.iter_mut().zip(&factors[index * length..][..length]) {
                        *value *= scale * factor;
                    }
                }
                None => row.iter_mut().for_each(|value| *value *= scale),
            }
        }
    }
}

multiversion! {
    /// Scores to probabilities times factors, and gradients of those to gradients of the scores: with p the
    /// probabilities and g the gradients times factors, `p (g - sum(p g))`.
    fn differentiate(
        scores: &mut [f32],
        slopes: &mut [f32],
        normalisers: &[f32],
        factors: Option<&[f32]>,
        length: usize,
        span: usize,
    ) {
        let rows = scores.chunks_exact_mut(stride(length)).zip(slopes.chunks_exact_mut(stride(length))).zip(normalisers);
        for (index, ((row, slopes), normaliser)) in rows.enumerate() {
            let (row, slopes) = (&mut row[..span], &mut slopes[..span]);
            row[length..].fill(f32::NEG_INFINITY);
            for value in row.iter_mut() {
                *value = exp(*value - normaliser);
            }
            match factors {
                None => {
                    for (slope, value) in slopes.iter_mut().zip(row.iter()) {
                        *slope *= value;
                    }
                    let total = sum(slopes, |value| value);
                    for (slope, value) in slopes.iter_mut().zip(row.iter()) {
                        *slope -= value * total;
                    }
                }
                Some(factors) => {
                    let factors = &factors[index * length..][..length];
                    for ((slope, value), factor) in slopes.iter_mut().zip(row.iter()).zip(factors) {
                        *slope *= value * factor;
                    }
                    let total = sum(slopes, |value| value);
                    for ((slope, value), factor) in slopes.iter_mut().zip(row.iter_mut()).zip(factors) {
                        *slope -= *value * total;
                        *value *= factor;
                    }
                }
            }
        }
    }
}
