//! Attention of one head over one sequence, a tile of queries at a time.

#![allow(clippy::needless_range_loop)] // see the loops at the end

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
        if self.queries == 0 {
            // Nobody asks these keys.
            d_keys.fill(0.0);
            d_values.fill(0.0);
        }
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
        copy_columns(into, stride, rows, self.d, self.column, self.head_dim, scale);
        into
    }

    /// Copies the transpose of the head's columns out of packed keys or values: `[head_dim, keys]`.
    fn load_turned<'a>(&self, into: &'a mut Vec<f32>, packed: &[f32]) -> &'a [f32] {
        let stride = stride(self.keys);
        let into = sized(into, self.head_dim * stride);
        turn_columns(into, stride, self.of_keys(packed), self.d, self.column, self.head_dim);
        into
    }

    /// Copies rows of `head_dim` elements into rows of a packed batch.
    fn store(&self, from: &[f32], scale: f32, rows: &mut [&mut [f32]]) {
        store_rows(rows, from, stride(self.head_dim), scale);
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

// The loops below index: adapters of iterators are calls where functions are compiled for several instruction sets, one
// for each short row.

multiversion! {
    /// Columns `first..first + width` of rows of `d` elements, times `scale`, into rows `stride` apart filled up with
    /// zeros.
    fn copy_columns(into: &mut [f32], stride: usize, rows: &[f32], d: usize, first: usize, width: usize, scale: f32) {
        for row in 0..rows.len() / d {
            let (into, from) = (&mut into[row * stride..][..stride], &rows[row * d + first..][..width]);
            for at in 0..width {
                into[at] = from[at] * scale;
            }
            into[width..].fill(0.0);
        }
    }
}

multiversion! {
    /// The transpose of columns `first..first + width` of rows of `d` elements, into rows `stride` apart filled up with
    /// zeros. In squares, so that what is read and written stays in the nearest cache.
    fn turn_columns(into: &mut [f32], stride: usize, rows: &[f32], d: usize, first: usize, width: usize) {
        const SIDE: usize = 16;
        let count = rows.len() / d;
        for left in (0..width).step_by(SIDE) {
            let columns = SIDE.min(width - left);
            for top in (0..count).step_by(SIDE) {
                let height = SIDE.min(count - top);
                let mut square = [[0.0; SIDE]; SIDE];
                for row in 0..height {
                    let from = &rows[(top + row) * d + first + left..][..columns];
                    for column in 0..columns {
                        square[column][row] = from[column];
                    }
                }
                // A row of the result has room for whole squares: see `stride`.
                for column in 0..columns {
                    into[(left + column) * stride + top..][..SIDE].copy_from_slice(&square[column]);
                }
            }
        }
        for column in 0..width {
            into[column * stride + count.next_multiple_of(SIDE)..(column + 1) * stride].fill(0.0);
        }
    }
}

multiversion! {
    /// Rows `stride` apart, times `scale`, into others.
    fn store_rows(into: &mut [&mut [f32]], from: &[f32], stride: usize, scale: f32) {
        for row in 0..into.len().min(from.len() / stride) {
            let into = &mut *into[row];
            let from = &from[row * stride..][..into.len()];
            for at in 0..into.len() {
                into[at] = from[at] * scale;
            }
        }
    }
}

multiversion! {
    /// Scores `[rows, length]`, computed up to column `span`, to probabilities times dropout's factors.
    fn softmax(scores: &mut [f32], normalisers: &mut [f32], factors: Option<&[f32]>, length: usize, span: usize) {
        let stride = stride(length);
        for index in 0..normalisers.len() {
            let row = &mut scores[index * stride..][..span];
            // The padding takes part with probability 0, so that rows are whole registers.
            row[length..].fill(f32::NEG_INFINITY);
            let largest = max(row);
            for at in 0..span {
                row[at] = exp(row[at] - largest);
            }
            let total = sum(row, |value| value);
            normalisers[index] = largest + total.ln();
            let scale = 1.0 / total;
            match factors {
                Some(factors) => {
                    let (row, factors) = (&mut row[..length], &factors[index * length..][..length]);
                    for at in 0..length {
                        row[at] *= scale * factors[at];
                    }
                }
                None => {
                    for at in 0..span {
                        row[at] *= scale;
                    }
                }
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
        let stride = stride(length);
        for index in 0..normalisers.len() {
            let (row, slopes) = (&mut scores[index * stride..][..span], &mut slopes[index * stride..][..span]);
            row[length..].fill(f32::NEG_INFINITY);
            for at in 0..span {
                row[at] = exp(row[at] - normalisers[index]);
            }
            match factors {
                None => {
                    for at in 0..span {
                        slopes[at] *= row[at];
                    }
                    let total = sum(slopes, |value| value);
                    for at in 0..span {
                        slopes[at] -= row[at] * total;
                    }
                }
                Some(factors) => {
                    let factors = &factors[index * length..][..length];
                    for at in 0..length {
                        slopes[at] *= row[at] * factors[at];
                    }
                    let total = sum(slopes, |value| value); // of padding nothing: values were filled up with zeros
                    for at in 0..length {
                        slopes[at] -= row[at] * total;
                        row[at] *= factors[at];
                    }
                }
            }
        }
    }
}
