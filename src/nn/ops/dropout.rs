//! Dropout (Srivastava et al. 2014) with masks that are pure functions of a key: the backward draws them again instead of
//! storing them.

use burn::tensor::{Tensor, TensorData};

use super::extension::{Array, Kernel, apply, on_host, values_mut};
use super::math::multiversion;
use super::parallel::{PIECE, pieces};
use crate::random::Key;

/// Dropout at one site of one step: which elements fall is a pure function of the key.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// In [0, 1). Rounded to a multiple of 2^-16 where elements fall, exact where the rest is scaled.
    pub probability: f32,
    pub key: Key,
}

/// Zeroes elements with `probability`, scales the rest by 1 / (1 - probability). x `[T, d]`.
pub fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    match Mask::of(Some(dropout)) {
        None => x,
        Some(mask) if on_host(&x) => apply(mask, [x.into()]),
        Some(_) => twin(x, dropout),
    }
}

/// The same of burn's operations.
pub fn twin(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    let Some(mask) = Mask::of(Some(dropout)) else { return x };
    let [tokens, d] = x.dims();
    let mut factors = vec![1.0f32; tokens * d];
    mask.apply(0, &mut factors);
    let device = x.device().without_autodiff();
    x * Tensor::from_data(TensorData::new(factors, [tokens, d]), &device)
}

/// Factors 0 or 1 / (1 - probability) for elements numbered from 0.
#[derive(Debug, Clone, Copy)]
pub struct Mask {
    key: Key,
    threshold: u32,
    scale: f32,
}

impl Mask {
    /// Elements of one block of draws: numbering that starts at a multiple of it costs least.
    pub const BLOCK: usize = 2 * Key::BLOCK;

    /// The mask of a site; none when nothing falls.
    pub fn of(dropout: Option<Dropout>) -> Option<Self> {
        let Dropout { probability, key } = dropout?;
        assert!((0.0..1.0).contains(&probability), "a dropout probability must be in [0, 1), not {probability}");
        let threshold = (probability * 65_536.0).round() as u32;
        (threshold > 0).then(|| Self { key, threshold: threshold.min(65_535), scale: 1.0 / (1.0 - probability) })
    }

    /// Multiplies consecutive elements, the first of which has number `first`, by their factors.
    pub fn apply(&self, first: u64, values: &mut [f32]) {
        let block = Self::BLOCK as u64;
        let offset = (first % block) as usize;
        let head = if offset == 0 { 0 } else { values.len().min(Self::BLOCK - offset) };
        let (head, rest) = values.split_at_mut(head);
        if !head.is_empty() {
            let mut whole = [0.0; Self::BLOCK];
            whole[offset..offset + head.len()].copy_from_slice(head);
            multiply_blocks(self, first / block, &mut whole);
            head.copy_from_slice(&whole[offset..offset + head.len()]);
        }
        let at = first.div_ceil(block);
        let (blocks, tail) = rest.split_at_mut(rest.len() / Self::BLOCK * Self::BLOCK);
        multiply_blocks(self, at, blocks);
        if !tail.is_empty() {
            let mut whole = [0.0; Self::BLOCK];
            whole[..tail.len()].copy_from_slice(tail);
            multiply_blocks(self, at + (blocks.len() / Self::BLOCK) as u64, &mut whole);
            tail.copy_from_slice(&whole[..tail.len()]);
        }
    }
}

multiversion! {
    /// Multiplies whole blocks, the first of which has number `first`. An element takes 16 bits of a draw: the first half
    /// of a block the lower ones of all draws of the block, in order, the second half the upper ones.
    fn multiply_blocks(mask: &Mask, first: u64, values: &mut [f32]) {
        let Mask { key, threshold, scale } = *mask;
        for (block, values) in (first..).zip(values.as_chunks_mut::<{ Mask::BLOCK }>().0) {
            let draws = key.block(block);
            let (lower, upper) = values.split_at_mut(Key::BLOCK);
            let draws = draws.as_flattened();
            for at in 0..Key::BLOCK {
                lower[at] *= if draws[at] & 0xFFFF >= threshold { scale } else { 0.0 };
                upper[at] *= if draws[at] >> 16 >= threshold { scale } else { 0.0 };
            }
        }
    }
}

/// Input: x, its elements numbered row after row.
impl Kernel for Mask {
    type Saved = ();

    fn forward(&self, inputs: Vec<Array>, _: &[bool]) -> (Array, ()) {
        let [mut x] = <[Array; 1]>::try_from(inputs).expect("one input");
        pieces(values_mut(&mut x), PIECE, |first, piece| self.apply(first as u64, piece));
        (x, ())
    }

    fn backward(&self, (): (), mut gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        pieces(values_mut(&mut gradient), PIECE, |first, piece| self.apply(first as u64, piece));
        vec![Some(gradient)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    fn site(probability: f32) -> Dropout {
        Dropout { probability, key: Key::new(7, "dropout").at(3) }
    }

    fn factors(mask: &Mask, first: u64, count: usize) -> Vec<f32> {
        let mut factors = vec![1.0; count];
        mask.apply(first, &mut factors);
        factors
    }

    #[test]
    fn the_share_that_falls_is_the_probability() {
        const COUNT: usize = 200_000;
        for probability in [0.1f32, 0.5, 0.9] {
            let mask = Mask::of(Some(site(probability))).unwrap();
            let factors = factors(&mask, 0, COUNT);
            let kept = factors.iter().filter(|factor| **factor != 0.0).count() as f64;
            let (p, n) = (f64::from(probability), COUNT as f64);
            assert!((kept - n * (1.0 - p)).abs() < 4.0 * (n * p * (1.0 - p)).sqrt(), "{probability}: {kept}");
            assert!(factors.iter().all(|factor| *factor == 0.0 || *factor == 1.0 / (1.0 - probability)));
            let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / n;
            assert!((mean - 1.0).abs() < 4.0 * (p / (1.0 - p) / n).sqrt());
        }
    }

    #[test]
    fn the_mask_depends_on_element_numbers_and_not_on_how_they_are_split() {
        let mask = Mask::of(Some(site(0.3))).unwrap();
        let whole = factors(&mask, 0, 1000);
        for (first, count) in [(0, 1), (1, 5), (127, 2), (128, 128), (100, 500), (999, 1), (130, 0)] {
            assert_eq!(factors(&mask, first as u64, count), whole[first..first + count]);
        }
        let other = Mask::of(Some(Dropout { key: site(0.3).key.at(1), ..site(0.3) })).unwrap();
        assert_ne!(factors(&other, 0, 1000), whole);
    }

    #[test]
    fn dropout_and_its_gradient_use_the_same_mask() {
        let inputs = [(vec![1.0; 300], [3, 100])];
        let op = |inputs: &[Tensor<2>]| dropout(inputs[0].clone(), site(0.4));
        agrees_with_twin(&op, &|inputs| twin(inputs[0].clone(), site(0.4)), &inputs);
        let (output, gradients) = run(&op, &inputs, &[true]);
        let gradient = gradients[0].as_ref().unwrap();
        assert!(output.iter().zip(gradient).all(|(output, gradient)| (*output == 0.0) == (*gradient == 0.0)));
        assert!(output.contains(&0.0));
    }

    #[test]
    fn without_probability_nothing_changes() {
        let input = random(4, 5, 1);
        assert_eq!(read(dropout(leaf(&input), site(0.0))), input.0);
    }

    #[test]
    fn dropout_gives_the_same_bits_for_any_number_of_threads() {
        let op = |inputs: &[Tensor<2>]| dropout(inputs[0].clone(), site(0.1));
        same_bits_for_any_number_of_threads(&op, &[random(101, 401, 1)]);
    }
}
