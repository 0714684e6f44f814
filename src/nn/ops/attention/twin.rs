//! Attention of burn's operations.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::{draws_of_head, first_draws};
use crate::nn::ops::dropout::{Dropout, Mask};

/// [`super::attention`] with sequences padded to the longest, padded keys masked.
pub fn twin(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    offsets: Arc<[u32]>,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let [tokens, d] = query.dims();
    let sequences: Vec<(usize, usize)> =
        offsets.windows(2).map(|bounds| (bounds[0] as usize, (bounds[1] - bounds[0]) as usize)).collect();
    let longest = sequences.iter().map(|(_, length)| *length).max().unwrap_or(0);
    if tokens == 0 || longest == 0 {
        return query;
    }
    let device = query.device().without_autodiff();
    let count = sequences.len();
    let (mut padded, mut packed) = (vec![0i32; count * longest], Vec::with_capacity(tokens));
    let mut hidden = vec![0.0f32; count * longest];
    for (index, &(first, length)) in sequences.iter().enumerate() {
        for at in 0..longest {
            let place = index * longest + at;
            if at < length {
                padded[place] = (first + at) as i32;
                packed.push(place as i32);
            } else {
                hidden[place] = -1e30;
            }
        }
    }
    let ints = |values: Vec<i32>| {
        let length = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [length]), &device)
    };
    let padded = ints(padded);
    // [T, heads * head_dim] -> [B, heads, longest, head_dim]
    let split = |x: Tensor<2>| x.select(0, padded.clone()).reshape([count, longest, heads, d / heads]).swap_dims(1, 2);
    let hidden = Tensor::<4>::from_data(TensorData::new(hidden, [count, 1, 1, longest]), &device);
    let scale = 1.0 / ((d / heads) as f32).sqrt();
    let scores = split(query).matmul(split(key).swap_dims(2, 3)) * scale + hidden;
    let mut probabilities = activation::softmax(scores, 3);
    if let Some(mask) = Mask::of(dropout) {
        let mut factors = vec![1.0f32; count * heads * longest * longest];
        for ((index, &(_, length)), first) in sequences.iter().enumerate().zip(first_draws(&offsets, heads)) {
            for head in 0..heads {
                let first = first + head as u64 * draws_of_head(length);
                for row in 0..length {
                    let place = ((index * heads + head) * longest + row) * longest;
                    mask.apply(first + (row * length) as u64, &mut factors[place..place + length]);
                }
            }
        }
        let shape = [count, heads, longest, longest];
        probabilities = probabilities * Tensor::<4>::from_data(TensorData::new(factors, shape), &device);
    }
    let mixed = probabilities.matmul(split(value)).swap_dims(1, 2).reshape([count * longest, d]);
    mixed.select(0, ints(packed))
}
