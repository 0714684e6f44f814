//! Scaled dot-product attention (Vaswani et al. 2017) inside each sequence of a packed batch.
//!
//! Nothing is padded and no matrix of probabilities is kept: the backward computes them again from the logarithms of the
//! sums of exponentials (as in Dao et al. 2022, "FlashAttention"), and their dropout mask from its key.

use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::dropout::{Dropout, Mask};
use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, values};
use head::{Head, Scratch};

mod head;
mod product;
#[cfg(test)]
mod tests;
mod twin;

/// Scaled dot-product attention inside each sequence, bidirectional. query, key, value `[T, heads * head_dim]`,
/// offsets `[B + 1]`; dropout acts on the attention probabilities. -> `[T, heads * head_dim]`. Panics when the offsets
/// do not rise from 0 to T or the columns do not divide into heads.
pub fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    offsets: Arc<[u32]>,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let [tokens, d] = query.dims();
    assert!(heads > 0 && d % heads == 0, "{d} columns do not divide into {heads} heads");
    assert!(key.dims() == [tokens, d] && value.dims() == [tokens, d], "query, key and value have one shape");
    assert!(
        offsets.first() == Some(&0) && offsets.last() == Some(&(tokens as u32)) && offsets.is_sorted(),
        "offsets of sequences rise from 0 to the number of tokens"
    );
    if !on_host(&query) {
        return twin::twin(query, key, value, heads, offsets, dropout);
    }
    let kernel = Attention { heads, offsets, mask: Mask::of(dropout) };
    apply(kernel, [query.into(), key.into(), value.into()])
}

/// The number of the first probability of each sequence in the dropout mask: probabilities are numbered by sequence,
/// head, query and key, every head's starting a new block of draws.
fn first_draws(offsets: &[u32], heads: usize) -> Vec<u64> {
    let mut next = 0u64;
    let reserve = |bounds: &[u32]| {
        let size = draws_of_head((bounds[1] - bounds[0]) as usize) * heads as u64;
        next += size;
        next - size
    };
    offsets.windows(2).map(reserve).collect()
}

/// Draws reserved for the probabilities of one head of a sequence.
fn draws_of_head(length: usize) -> u64 {
    (length * length).next_multiple_of(Mask::BLOCK) as u64
}

/// Inputs: query, key, value.
#[derive(Debug, Clone)]
struct Attention {
    heads: usize,
    offsets: Arc<[u32]>,
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
        let sequences = self.offsets.windows(2).zip(first_draws(&self.offsets, self.heads));
        let head_of = |bounds: &[u32], draws: u64, head: usize| {
            let (first, length) = (bounds[0] as usize, (bounds[1] - bounds[0]) as usize);
            let draws = draws + head as u64 * draws_of_head(length);
            Head { first, length, column: head * head_dim, head_dim, d, draws }
        };
        sequences.flat_map(|(bounds, draws)| (0..self.heads).map(move |head| head_of(bounds, draws, head))).collect()
    }

    /// A packed batch cut into each head's part of each of its rows, in the order of [`Self::all_heads`].
    fn parts<'a>(&self, mut packed: &'a mut [f32], d: usize) -> Vec<Vec<&'a mut [f32]>> {
        let mut parts = Vec::with_capacity((self.offsets.len() - 1) * self.heads);
        for bounds in self.offsets.windows(2) {
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
        let mut out = vec![0.0; tokens * d];
        let mut normalisers = vec![0.0; tokens * self.heads];
        let mut rest = normalisers.as_mut_slice();
        let heads: Vec<_> = self
            .all_heads(d)
            .into_iter()
            .zip(self.parts(&mut out, d))
            .map(|(head, out)| (head, out, rest.split_off_mut(..head.length).expect("one for each query and head")))
            .collect();
        heads.into_par_iter().for_each_init(Scratch::default, |scratch, (head, mut out, normalisers)| {
            head.forward(packed, self.mask.as_ref(), scratch, &mut out, normalisers);
        });
        let saved = tracked.contains(&true).then_some(Saved { query, key, value, normalisers });
        (array(out, [tokens, d]), saved)
    }

    fn backward(&self, saved: Option<Saved>, gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let Some(Saved { query, key, value, normalisers }) = saved else { return vec![None; 3] };
        let (tokens, d) = rows_columns(&query);
        let packed = [&query, &key, &value, &gradient].map(values);
        let mut gradients: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; tokens * d]);
        let [d_query, d_key, d_value] = gradients.each_mut().map(|gradient| self.parts(gradient, d));
        let mut rest = normalisers.as_slice();
        let heads: Vec<_> = self
            .all_heads(d)
            .into_iter()
            .zip(d_query)
            .zip(d_key)
            .zip(d_value)
            .map(|(((head, d_query), d_key), d_value)| {
                let normalisers = rest.split_off(..head.length).expect("one for each query and head");
                (head, normalisers, [d_query, d_key, d_value])
            })
            .collect();
        heads.into_par_iter().for_each_init(Scratch::default, |scratch, (head, normalisers, mut out)| {
            let out = out.each_mut().map(Vec::as_mut_slice);
            head.backward(packed, normalisers, self.mask.as_ref(), scratch, out);
        });
        let gradients = gradients.into_iter().zip(needed);
        gradients.map(|(gradient, needed)| needed.then(|| array(gradient, [tokens, d]))).collect()
    }
}
