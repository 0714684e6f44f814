//! Weights of which some are 0, and the gradient of what decides which (Sanh et al. 2020, arXiv:2005.07683).

use burn::tensor::{Tensor, TensorData};

use super::extension::{Array, Kernel, apply, array, on_host, space, values, values_mut};
use super::math::{self, multiversion};
use super::parallel::{PIECE, pieces};
use crate::nn::largest::{mask, rank};

/// Which weights of a tensor are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kept {
    /// So large a share of them, rounded down: those with the largest scores, of equal ones those farther from 0 (the paper's
    /// `Top_v`). Without scores, those farthest from 0.
    Largest(f64),
    /// Those whose score has a sigmoid above this, and in any case the 0.5 % with the largest scores.
    Above(f64),
}

/// The least share that a threshold keeps.
const FLOOR: f64 = 0.005;

impl Kept {
    /// How many of `count` weights a share keeps.
    pub fn count(share: f64, count: usize) -> usize {
        // The small number keeps 15 % of 100 at 15.
        ((share * count as f64 + 1e-9) as usize).min(count)
    }

    /// Whether each weight is kept.
    fn mask(self, weights: &[f32], scores: Option<&[f32]>) -> Vec<bool> {
        match (self, scores) {
            (Self::Largest(share), scores) => largest(weights, scores, Self::count(share, weights.len())),
            (Self::Above(_), None) => vec![true; weights.len()],
            (Self::Above(threshold), Some(scores)) => {
                // sigmoid(s) > t as s > ln(t / (1 - t)).
                let bound = (threshold / (1.0 - threshold)).ln();
                let mask: Vec<bool> = scores.iter().map(|score| f64::from(*score) > bound).collect();
                let least = Self::count(FLOOR, weights.len());
                let enough = mask.iter().filter(|kept| **kept).count() >= least;
                if enough { mask } else { largest(weights, Some(scores), least) }
            }
        }
    }
}

fn largest(weights: &[f32], scores: Option<&[f32]>, keep: usize) -> Vec<bool> {
    // Numbers that are not negative have the order of their bits.
    let size = |weight: f32| weight.abs().to_bits();
    match scores {
        None => mask(weights, size, |_| 0, keep),
        Some(scores) => mask(scores, rank, |at| size(weights[at]), keep),
    }
}

/// `w m`, where `m` is 1 for weights that are kept and 0 for the others. The gradient of a weight is that of the product where
/// it is kept, else 0; that of a score is the straight-through one, of the product times `w`, whether it is kept or not
/// (equation 1 of section 4). weights, scores `[n]` -> `[n]`.
pub fn masked(weights: Tensor<1>, scores: Option<Tensor<1>>, kept: Kept) -> Tensor<1> {
    match scores {
        _ if !on_host(&weights) => twin(weights, scores, kept),
        None => apply(kept, [weights.into()]),
        Some(scores) => apply(kept, [weights.into(), scores.into()]),
    }
}

/// The same of burn's operations. The weights that are kept are chosen in host memory.
pub fn twin(weights: Tensor<1>, scores: Option<Tensor<1>>, kept: Kept) -> Tensor<1> {
    let host = |tensor: &Tensor<1>| tensor.to_data().try_into_vec_as::<f32>().expect("parameters are floats");
    let mask = kept.mask(&host(&weights), scores.as_ref().map(host).as_deref());
    let mask: Vec<f32> = mask.into_iter().map(|kept| f32::from(u8::from(kept))).collect();
    let count = mask.len();
    let mask = Tensor::from_data(TensorData::new(mask, [count]), &weights.device().without_autodiff());
    match scores {
        None => weights * mask,
        Some(scores) => weights * (scores.clone() - scores.detach() + mask),
    }
}

/// Inputs: weights, and maybe their scores.
impl Kernel for Kept {
    /// The mask for the weights' gradient, the weights for the scores'.
    type Saved = (Option<Vec<bool>>, Option<Array>);

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved) {
        let weights = values(&inputs[0]);
        let mask = self.mask(weights, inputs.get(1).map(values));
        let mut out = space(weights.len());
        pieces(&mut out, PIECE, |first, piece| {
            let end = first + piece.len();
            select(piece, &weights[first..end], &mask[first..end]);
        });
        let out = array(out, [weights.len()]);
        let scored = tracked.get(1) == Some(&true);
        (out, (tracked[0].then_some(mask), scored.then(|| inputs[0].clone())))
    }

    fn backward(&self, (mask, weights): Self::Saved, mut gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let of_scores = weights.filter(|_| needed[1]).map(|weights| {
            let (weights, gradient) = (values(&weights), values(&gradient));
            let mut out = space(weights.len());
            pieces(&mut out, PIECE, |first, piece| {
                let end = first + piece.len();
                math::multiply(piece, &weights[first..end], &gradient[first..end], 1.0);
            });
            array(out, [weights.len()])
        });
        let of_weights = mask.filter(|_| needed[0]).map(|mask| {
            pieces(values_mut(&mut gradient), PIECE, |first, piece| clear(piece, &mask[first..first + piece.len()]));
            gradient
        });
        if needed.len() == 1 { vec![of_weights] } else { vec![of_weights, of_scores] }
    }
}

multiversion! {
    fn select(out: &mut [f32], weights: &[f32], mask: &[bool]) {
        for ((out, weight), kept) in out.iter_mut().zip(weights).zip(mask) {
            *out = if *kept { *weight } else { 0.0 };
        }
    }
}

multiversion! {
    fn clear(values: &mut [f32], mask: &[bool]) {
        for (value, kept) in values.iter_mut().zip(mask) {
            *value = if *kept { *value } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle::*;
    use super::*;

    const ALL: [Kept; 6] = [
        Kept::Largest(1.0),
        Kept::Largest(0.3),
        Kept::Largest(0.0),
        Kept::Above(0.0),
        Kept::Above(0.6),
        Kept::Above(0.99),
    ];

    fn rows(flat: Tensor<1>) -> Tensor<2> {
        flat.reshape([1, -1])
    }

    #[test]
    fn masked_weights_and_their_gradients_are_those_of_the_twin() {
        for kept in ALL {
            let inputs = [random(1, 700, 1), random(1, 700, 2)];
            let op = |inputs: &[Tensor<2>]| rows(masked(vector(&inputs[0]), Some(vector(&inputs[1])), kept));
            let other = |inputs: &[Tensor<2>]| rows(twin(vector(&inputs[0]), Some(vector(&inputs[1])), kept));
            agrees_with_twin(&op, &other, &inputs);
            differentiates_only_what_is_tracked(&op, &inputs);
            let op = |inputs: &[Tensor<2>]| rows(masked(vector(&inputs[0]), None, kept));
            let other = |inputs: &[Tensor<2>]| rows(twin(vector(&inputs[0]), None, kept));
            agrees_with_twin(&op, &other, &inputs[..1]);
        }
    }

    /// By the definition: `dL/dw = m dL/dw'`, `dL/ds = w dL/dw'`.
    #[test]
    fn the_gradient_goes_straight_through_to_every_score_and_to_weights_that_are_kept() {
        let inputs = [random(1, 500, 3), random(1, 500, 4)];
        let gradients = |kept| {
            let op = |inputs: &[Tensor<2>]| rows(masked(vector(&inputs[0]), Some(vector(&inputs[1])), kept));
            let (output, gradients) = run(&op, &inputs, &[true, true]);
            (output, gradients.into_iter().map(Option::unwrap).collect::<Vec<_>>())
        };
        let (whole, plain) = gradients(Kept::Largest(1.0));
        assert_eq!(whole, inputs[0].0);
        let (some, sparse) = gradients(Kept::Largest(0.2));
        assert_eq!(some.iter().filter(|value| **value != 0.0).count(), 100);
        for at in 0..500 {
            // With all kept, dL/dw is dL/dw' itself.
            let slope = plain[0][at];
            assert_eq!(sparse[0][at], if some[at] == 0.0 { 0.0 } else { slope });
            assert_eq!(sparse[1][at], slope * inputs[0].0[at]);
        }
    }

    #[test]
    fn a_threshold_keeps_sigmoids_above_it_but_no_fewer_than_the_floor() {
        let scores: Vec<f32> = (0..1000).map(|at| (at as f32 - 500.0) / 100.0).collect();
        let weights = vec![1.0; 1000];
        let sigmoid = |score: f32| 1.0 / (1.0 + (-f64::from(score)).exp());
        for threshold in [0.0, 0.1, 0.5, 0.9] {
            let mask = Kept::Above(threshold).mask(&weights, Some(&scores));
            let expected: Vec<bool> = scores.iter().map(|score| sigmoid(*score) > threshold).collect();
            assert_eq!(mask, expected, "{threshold}");
        }
        let mask = Kept::Above(0.999).mask(&weights, Some(&scores));
        assert_eq!(mask.iter().position(|kept| *kept), Some(995));
    }

    proptest! {
        #[test]
        fn exactly_the_share_is_kept_and_magnitude_decides_where_scores_do_not(
            weights in prop::collection::vec(-2.0f32..2.0, 1..80),
            share in 0.0f64..=1.0,
        ) {
            let count = Kept::count(share, weights.len());
            prop_assert!((count as f64 - share * weights.len() as f64).abs() <= 1.0);
            let plain = Kept::Largest(share).mask(&weights, None);
            prop_assert_eq!(plain.iter().filter(|kept| **kept).count(), count);
            let (kept, left): (Vec<_>, Vec<_>) =
                weights.iter().zip(&plain).partition(|(_, kept)| **kept);
            prop_assert!(kept.iter().all(|(kept, _)| left.iter().all(|(left, _)| kept.abs() >= left.abs())));
            // Scores that are all equal leave the choice to the weights.
            prop_assert_eq!(Kept::Largest(share).mask(&weights, Some(&vec![0.5; weights.len()])), plain);
        }
    }

    #[test]
    fn masked_weights_have_the_same_bits_for_any_number_of_threads() {
        let op = |inputs: &[Tensor<2>]| rows(masked(vector(&inputs[0]), Some(vector(&inputs[1])), Kept::Largest(0.4)));
        same_bits_for_any_number_of_threads(&op, &[random(1, 50_000, 1), random(1, 50_000, 2)]);
    }
}
