//! Attention of burn's operations.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::{Bounds, draws_of_head, first_draws};
use crate::nn::ops::dropout::{Dropout, Mask};

/// [`super::attention`] with sequences padded to the longest, padded keys masked.
pub fn twin(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    bounds: Bounds,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let d = query.dims()[1];
    let device = query.device().without_autodiff();
    let (queries, keys) = (Padding::of(&bounds.queries), Padding::of(&bounds.keys));
    if queries.longest == 0 || keys.longest == 0 {
        return query;
    }
    let count = queries.lengths.len();
    // [rows, heads * head_dim] -> [B, heads, longest, head_dim]
    let split = |x: Tensor<2>, side: &Padding| {
        let padded = x.select(0, ints(side.padded(), &device));
        padded.reshape([count, side.longest, heads, d / heads]).swap_dims(1, 2)
    };
    let hidden = Tensor::<4>::from_data(TensorData::new(keys.hidden(), [count, 1, 1, keys.longest]), &device);
    let scale = 1.0 / ((d / heads) as f32).sqrt();
    let scores = split(query, &queries).matmul(split(key, &keys).swap_dims(2, 3)) * scale + hidden;
    let mut probabilities = activation::softmax(scores, 3);
    if let Some(mask) = Mask::of(dropout) {
        let shape = [count, heads, queries.longest, keys.longest];
        let mut factors = vec![1.0f32; shape.iter().product()];
        for ((index, (queried, length)), first) in bounds.lengths().enumerate().zip(first_draws(&bounds, heads)) {
            for head in 0..heads {
                let first = first + head as u64 * draws_of_head(queried, length);
                for row in 0..queried {
                    let place = ((index * heads + head) * queries.longest + row) * keys.longest;
                    mask.apply(first + (row * length) as u64, &mut factors[place..place + length]);
                }
            }
        }
        probabilities = probabilities * Tensor::<4>::from_data(TensorData::new(factors, shape), &device);
    }
    let mixed = probabilities.matmul(split(value, &keys)).swap_dims(1, 2).reshape([count * queries.longest, d]);
    mixed.select(0, ints(queries.packed(), &device))
}

/// How packed rows lie in a padded batch.
struct Padding {
    /// (first row, rows) of each sequence.
    lengths: Vec<(usize, usize)>,
    longest: usize,
}

impl Padding {
    fn of(offsets: &[u32]) -> Self {
        let lengths: Vec<(usize, usize)> =
            offsets.windows(2).map(|bounds| (bounds[0] as usize, (bounds[1] - bounds[0]) as usize)).collect();
        let longest = lengths.iter().map(|(_, length)| *length).max().unwrap_or(0);
        Self { lengths, longest }
    }

    /// The packed row at each padded place; row 0 where there is padding.
    fn padded(&self) -> Vec<i32> {
        let place = |first, length, at| if at < length { (first + at) as i32 } else { 0 };
        self.lengths
            .iter()
            .flat_map(|&(first, length)| (0..self.longest).map(move |at| place(first, length, at)))
            .collect()
    }

    /// The padded place of each packed row.
    fn packed(&self) -> Vec<i32> {
        let places = |(index, &(_, length))| (0..length).map(move |at| (index * self.longest + at) as i32);
        self.lengths.iter().enumerate().flat_map(places).collect()
    }

    /// What is added to the scores of keys: nothing, or so little that padding gets no probability.
    fn hidden(&self) -> Vec<f32> {
        let of = |&(_, length): &(usize, usize)| (0..self.longest).map(move |at| if at < length { 0.0 } else { -1e30 });
        self.lengths.iter().flat_map(of).collect()
    }
}

fn ints(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
