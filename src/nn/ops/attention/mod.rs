//! Scaled dot-product attention (Vaswani et al. 2017) inside each sequence of a packed batch.
//!
//! Nothing is padded and no matrix of probabilities is kept: the backward computes them again from the logarithms of the
//! sums of exponentials (as in Dao et al. 2022, "FlashAttention"), and their dropout mask from its key.

use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::dropout::{Dropout, Mask};
use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, space, values};
use head::{Head, Scratch};

mod head;
mod product;
#[cfg(test)]
mod tests;
mod twin;

/// Where the sequences of a packed batch begin and end: queries of sequence `b` are rows `queries[b]..queries[b + 1]`,
/// its keys and values rows `keys[b]..keys[b + 1]`. Both `[B + 1]`.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub queries: Arc<[u32]>,
    pub keys: Arc<[u32]>,
}

impl Bounds {
    /// One query for each key.
    pub fn same(offsets: Arc<[u32]>) -> Self {
        Self { queries: offsets.clone(), keys: offsets }
    }

    /// (queries, keys) of each sequence.
    fn lengths(&self) -> impl Iterator<Item = (usize, usize)> {
        let length = |bounds: &[u32]| (bounds[1] - bounds[0]) as usize;
        self.queries.windows(2).map(length).zip(self.keys.windows(2).map(length))
    }
}

/// Scaled dot-product attention inside each sequence, bidirectional. query `[N, heads * head_dim]`, key and value
/// `[T, heads * head_dim]`; dropout acts on the attention probabilities. -> `[N, heads * head_dim]`. Panics when the
/// bounds do not rise from 0 to N and T or the columns do not divide into heads.
pub fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    bounds: Bounds,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let ([queries, d], [keys, _]) = (query.dims(), key.dims());
    assert!(heads > 0 && d % heads == 0, "{d} columns do not divide into {heads} heads");
    assert!(key.dims() == [keys, d] && value.dims() == [keys, d], "query, key and value have the same columns");
    for (bounds, rows) in [(&bounds.queries, queries), (&bounds.keys, keys)] {
        let whole = bounds.first() == Some(&0) && bounds.last() == Some(&(rows as u32));
        assert!(whole && bounds.is_sorted(), "bounds of sequences rise from 0 to the number of rows");
    }
    assert_eq!(bounds.queries.len(), bounds.keys.len(), "queries and keys are of the same sequences");
    if !on_host(&query) {
        return twin::twin(query, key, value, heads, bounds, dropout);
    }
    let kernel = Attention { heads, bounds, mask: Mask::of(dropout) };
    apply(kernel, [query.into(), key.into(), value.into()])
}

/// The number of the first probability of each sequence in the dropout mask: probabilities are numbered by sequence,
/// head, query and key, every head's starting a new block of draws.
fn first_draws(bounds: &Bounds, heads: usize) -> Vec<u64> {
    let mut next = 0u64;
    let reserve = |(queries, keys)| {
        let size = draws_of_head(queries, keys) * heads as u64;
        next += size;
        next - size
    };
    bounds.lengths().map(reserve).collect()
}

/// Draws reserved for the probabilities of one head of a sequence.
fn draws_of_head(queries: usize, keys: usize) -> u64 {
    (queries * keys).next_multiple_of(Mask::BLOCK) as u64
}

/// Inputs: query, key, value.
#[derive(Debug, Clone)]
struct Attention {
    heads: usize,
    bounds: Bounds,
    mask: Option<Mask>,
}

/// What the backward needs.
#[derive(Debug, Clone)]
struct Saved {
    query: Array,
    key: Array,
    value: Array,
    /// Logarithms of the sums of exponentials, by sequence, head and query.
    normalisers: Vec<f32>,
}

impl Attention {
    /// Every head of every sequence.
    fn all_heads(&self, d: usize) -> Vec<Head> {
        let head_dim = d / self.heads;
        let draws = first_draws(&self.bounds, self.heads);
        let (mut first_query, mut first_key) = (0, 0);
        let mut heads = Vec::with_capacity(draws.len() * self.heads);
        for ((queries, keys), draws) in self.bounds.lengths().zip(draws) {
            heads.extend((0..self.heads).map(|head| {
                let draws = draws + head as u64 * draws_of_head(queries, keys);
                Head { first_query, queries, first_key, keys, column: head * head_dim, head_dim, d, draws }
            }));
            first_query += queries;
            first_key += keys;
        }
        heads
    }

    /// Packed rows cut into each head's part of each of its rows, in the order of [`Self::all_heads`].
    fn parts<'a>(&self, mut packed: &'a mut [f32], d: usize, offsets: &[u32]) -> Vec<Vec<&'a mut [f32]>> {
        let mut parts = Vec::with_capacity((offsets.len() - 1) * self.heads);
        for bounds in offsets.windows(2) {
            let length = (bounds[1] - bounds[0]) as usize;
            let (sequence, rest) = packed.split_at_mut(length * d);
            packed = rest;
            let first = parts.len();
            parts.resize_with(first + self.heads, || Vec::with_capacity(length));
            for row in sequence.chunks_exact_mut(d.max(1)) {
                for (part, columns) in parts[first..].iter_mut().zip(row.chunks_exact_mut((d / self.heads).max(1))) {
                    part.push(columns);
                }
            }
        }
        parts
    }
}

impl Kernel for Attention {
    type Saved = Option<Saved>;

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Option<Saved>) {
        let [query, key, value] = <[Array; 3]>::try_from(inputs).expect("three inputs");
        let (tokens, d) = rows_columns(&query);
        let packed = [&query, &key, &value].map(values);
        let mut out = space(tokens * d);
        let mut normalisers = vec![0.0; tokens * self.heads];
        let mut rest = normalisers.as_mut_slice();
        let heads: Vec<_> = self
            .all_heads(d)
            .into_iter()
            .zip(self.parts(&mut out, d, &self.bounds.queries))
            .map(|(head, out)| (head, out, rest.split_off_mut(..head.queries).expect("one for each query and head")))
            .collect();
        heads.into_par_iter().for_each_init(Scratch::default, |scratch, (head, mut out, normalisers)| {
            head.forward(packed, self.mask.as_ref(), scratch, &mut out, normalisers);
        });
        let saved = tracked.contains(&true).then_some(Saved { query, key, value, normalisers });
        (array(out, [tokens, d]), saved)
    }

    fn backward(&self, saved: Option<Saved>, gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let Some(Saved { query, key, value, normalisers }) = saved else { return vec![None; 3] };
        let d = rows_columns(&query).1;
        let packed = [&query, &key, &value, &gradient].map(values);
        let (queries, keys) = (rows_columns(&query).0, rows_columns(&key).0);
        let mut gradients = [queries * d, keys * d, keys * d].map(space);
        let [d_query, d_key, d_value] = &mut gradients;
        let d_query = self.parts(d_query, d, &self.bounds.queries);
        let [d_key, d_value] = [d_key, d_value].map(|gradient| self.parts(gradient, d, &self.bounds.keys));
        let mut rest = normalisers.as_slice();
        let heads: Vec<_> = self
            .all_heads(d)
            .into_iter()
            .zip(d_query)
            .zip(d_key)
            .zip(d_value)
            .map(|(((head, d_query), d_key), d_value)| {
                let normalisers = rest.split_off(..head.queries).expect("one for each query and head");
                (head, normalisers, [d_query, d_key, d_value])
            })
            .collect();
        heads.into_par_iter().for_each_init(Scratch::default, |scratch, (head, normalisers, mut out)| {
            let out = out.each_mut().map(Vec::as_mut_slice);
            head.backward(packed, normalisers, self.mask.as_ref(), scratch, out);
        });
        let gradients = gradients.into_iter().zip(needed);
        gradients
            .map(|(gradient, needed)| {
                needed.then(|| {
                    let rows = gradient.len() / d.max(1);
                    array(gradient, [rows, d])
                })
            })
            .collect()
    }
}
