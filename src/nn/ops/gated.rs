//! Differences to weights under hard-concrete gates (Louizos et al. 2018, arXiv:1712.01312; diff pruning, Guo et al. 2021,
//! arXiv:2012.07463): as many gates as the model has weights are drawn in every pass, so all is done where the weights go by.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::extension::{Array, Kernel, apply, array, on_host, plain, space, tensor, values, values_mut};
use super::math::{self, multiversion};
use super::parallel::{PIECE, ordered, pieces};
use crate::nn::hard_concrete::HardConcrete;
use crate::random::Key;

/// Gates drawn from a key, or, without one, those to evaluate with.
#[derive(Debug, Clone, Copy)]
pub struct Gated {
    pub gates: HardConcrete,
    pub key: Option<Key>,
}

/// `w + d z g` with gates `z` of locations `a`, and maybe a gate `g` that all share. w, d, a `[n]`, g `[1]` -> `[n]`.
pub fn gated(w: Tensor<1>, d: Tensor<1>, a: Tensor<1>, g: Option<Tensor<1>>, gated: Gated) -> Tensor<1> {
    match g {
        _ if !on_host(&w) => twin(w, d, a, g, gated),
        None => apply(gated, [w.into(), d.into(), a.into()]),
        Some(g) => apply(gated, [w.into(), d.into(), a.into(), g.into()]),
    }
}

/// The same of burn's operations.
pub fn twin(w: Tensor<1>, d: Tensor<1>, a: Tensor<1>, g: Option<Tensor<1>>, gated: Gated) -> Tensor<1> {
    let difference = d * gated.gates.gates(a, gated.key);
    w + match g {
        None => difference,
        Some(g) => difference * g,
    }
}

/// `ln u - ln(1 - u)` of draws `u`, uniform in the open interval (0, 1): multiples of 2^-24 and a half, within 17.4 of 0.
pub fn logistic(key: Key, count: usize) -> Vec<f32> {
    let mut draws = space(count);
    pieces(&mut draws, PIECE, |first, piece| fill(piece, key, first));
    draws
}

/// Adds `scale p (1 - p)` to a gradient, where `p` is the probability that a gate is not shut; also the sum of all `p`, in an
/// order that no number of threads changes. gradient, locations `[n]` -> `[n]`.
pub fn add_open_slope(gradient: Tensor<1>, locations: &Tensor<1>, gates: HardConcrete, scale: f32) -> (Tensor<1>, f64) {
    if !on_host(&gradient) {
        let open = gates.open(locations.clone());
        let slope = open.clone() * (open.clone().neg() + 1.0) * scale;
        return (gradient + slope, super::squared_sum(&open.sqrt()));
    }
    let (mut gradient, locations) = (plain(gradient), plain(locations.clone()));
    let (threshold, all) = (gates.threshold(), values(&locations));
    let sums: Vec<f64> = values_mut(&mut gradient)
        .par_chunks_mut(PIECE)
        .zip(all.par_chunks(PIECE))
        .map(|(gradient, locations)| f64::from(add_slope(gradient, locations, threshold, scale)))
        .collect();
    (tensor(gradient), sums.into_iter().sum())
}

impl Gated {
    /// The gates of consecutive locations, the first of which has number `first`, a multiple of [`Key::BLOCK`].
    fn open(&self, gates: &mut [f32], locations: &[f32], first: usize) {
        match self.key {
            Some(key) => {
                fill(gates, key, first);
                open(gates, locations, self.gates, 1.0 / self.gates.beta);
            }
            None => {
                gates.fill(0.0);
                open(gates, locations, self.gates, 1.0);
            }
        }
    }
}

/// Inputs: weights, differences, locations, and maybe the gate that all share.
impl Kernel for Gated {
    /// Gates, differences, and the shared gate.
    type Saved = Option<(Array, Array, f32)>;

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved) {
        let [weights, differences, locations] = [0, 1, 2].map(|at| values(&inputs[at]));
        let shared = inputs.get(3).map_or(1.0, |gate| values(gate)[0]);
        let count = weights.len();
        let work = |first: usize, out: &mut [f32], gates: &mut [f32]| {
            let all = first..first + out.len();
            self.open(gates, &locations[all.clone()], first);
            combine(out, &weights[all.clone()], &differences[all], gates, shared);
        };
        let mut out = space(count);
        let saved = if tracked[1..].contains(&true) {
            let mut gates = space(count);
            let both = out.par_chunks_mut(PIECE).zip(gates.par_chunks_mut(PIECE)).enumerate();
            both.for_each(|(piece, (out, gates))| work(piece * PIECE, out, gates));
            Some((array(gates, [count]), inputs[1].clone(), shared))
        } else {
            pieces(&mut out, PIECE, |first, out| work(first, out, &mut space(out.len())));
            None
        };
        (array(out, [count]), saved)
    }

    fn backward(&self, saved: Self::Saved, gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let Some((gates, differences, shared)) = saved else {
            return needed.iter().map(|needed| needed.then(|| gradient.clone())).collect();
        };
        let (slopes, gates, differences) = (values(&gradient), values(&gates), values(&differences));
        let count = slopes.len();
        let filled = |needed: bool, work: &(dyn Fn(usize, &mut [f32]) + Sync)| {
            needed.then(|| {
                let mut out = space(count);
                pieces(&mut out, PIECE, work);
                array(out, [count])
            })
        };
        let of_differences = filled(needed[1], &|first, out| {
            let all = first..first + out.len();
            math::multiply(out, &slopes[all.clone()], &gates[all], shared);
        });
        let scale = 1.0 / self.key.map_or(1.0, |_| self.gates.beta);
        let of_locations = filled(needed[2], &|first, out| {
            let all = first..first + out.len();
            math::multiply(out, &slopes[all.clone()], &differences[all.clone()], shared * scale);
            steepen(out, &gates[all], self.gates);
        });
        let of_shared = (needed.get(3) == Some(&true)).then(|| {
            let sums = ordered(count.div_ceil(PIECE), true, |piece| {
                let all = piece * PIECE..count.min((piece + 1) * PIECE);
                f64::from(triple(&slopes[all.clone()], &differences[all.clone()], &gates[all]))
            });
            array(vec![sums.into_iter().sum::<f64>() as f32], [1])
        });
        let mut all = vec![None, of_differences, of_locations];
        if needed.len() > 3 {
            all.push(of_shared);
        }
        all[0] = needed[0].then_some(gradient);
        all
    }
}

multiversion! {
    /// Logistic draws, the first of which has number `first`, a multiple of [`Key::BLOCK`].
    fn fill(out: &mut [f32], key: Key, first: usize) {
        let first = (first / Key::BLOCK) as u64;
        let (blocks, rest) = out.as_chunks_mut::<{ Key::BLOCK }>();
        let whole = blocks.len() as u64;
        for (block, out) in (first..).zip(blocks) {
            let words = key.block(block);
            let words = words.as_flattened();
            for at in 0..Key::BLOCK {
                out[at] = logit(words[at]);
            }
        }
        if !rest.is_empty() {
            let words = key.block(first + whole);
            for (out, word) in rest.iter_mut().zip(words.as_flattened()) {
                *out = logit(*word);
            }
        }
    }
}

/// Of the upper 24 bits of a word. Both integers are exact, or rounded by half of the last place, before they meet.
#[inline(always)]
fn logit(word: u32) -> f32 {
    let above = (word >> 8 << 1) as i32 + 1;
    math::ln(above as f32 / ((1 << 25) - above) as f32)
}

multiversion! {
    /// Gates of draws, in their place.
    fn open(draws: &mut [f32], locations: &[f32], gates: HardConcrete, scale: f32) {
        for (draw, location) in draws.iter_mut().zip(locations) {
            let s = 1.0 / (1.0 + math::exp(-(*location + *draw) * scale));
            let z = s * (gates.zeta - gates.gamma) + gates.gamma;
            let z = if z < 0.0 { 0.0 } else { z };
            *draw = if z > 1.0 { 1.0 } else { z };
        }
    }
}

multiversion! {
    fn combine(out: &mut [f32], weights: &[f32], differences: &[f32], gates: &[f32], shared: f32) {
        for at in 0..out.len() {
            out[at] = weights[at] + differences[at] * gates[at] * shared;
        }
    }
}

multiversion! {
    /// Multiplies by the slope `(zeta - gamma) s (1 - s)` of gates that are neither open nor shut, and by 0 otherwise.
    fn steepen(values: &mut [f32], gates: &[f32], all: HardConcrete) {
        let width = all.zeta - all.gamma;
        for at in 0..values.len() {
            let s = (gates[at] - all.gamma) / width;
            let between = gates[at] > 0.0 && gates[at] < 1.0;
            values[at] *= if between { width * s * (1.0 - s) } else { 0.0 };
        }
    }
}

multiversion! {
    fn triple(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
        let mut lanes = [0.0; math::LANES];
        for from in (0..a.len()).step_by(math::LANES) {
            let width = if a.len() - from < math::LANES { a.len() - from } else { math::LANES };
            for lane in 0..width {
                lanes[lane] += a[from + lane] * b[from + lane] * c[from + lane];
            }
        }
        math::fold(lanes, |a, b| a + b)
    }
}

multiversion! {
    fn add_slope(gradient: &mut [f32], locations: &[f32], threshold: f32, scale: f32) -> f32 {
        let mut lanes = [0.0; math::LANES];
        for from in (0..gradient.len()).step_by(math::LANES) {
            let width = if gradient.len() - from < math::LANES { gradient.len() - from } else { math::LANES };
            for lane in 0..width {
                let p = 1.0 / (1.0 + math::exp(threshold - locations[from + lane]));
                gradient[from + lane] += scale * (p * (1.0 - p));
                lanes[lane] += p;
            }
        }
        math::fold(lanes, |a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;
    use crate::nn::hard_concrete::FAR;

    const DIFF: HardConcrete = HardConcrete { beta: 1.0, gamma: -1.5, zeta: 1.5 };
    const PAPER: HardConcrete = HardConcrete { beta: 2.0 / 3.0, gamma: -0.1, zeta: 1.1 };

    fn ways() -> impl Iterator<Item = Gated> {
        let keys = [None, Some(Key::new(3, "gates"))];
        [DIFF, PAPER].into_iter().flat_map(move |gates| keys.map(|key| Gated { gates, key }))
    }

    fn run_with(
        inputs: &[Tensor<2>],
        way: Gated,
        op: fn(Tensor<1>, Tensor<1>, Tensor<1>, Option<Tensor<1>>, Gated) -> Tensor<1>,
    ) -> Tensor<2> {
        let shared = inputs.get(3).map(vector);
        op(vector(&inputs[0]), vector(&inputs[1]), vector(&inputs[2]), shared, way).reshape([1, -1])
    }

    /// Of more than a piece, which ends within a block of draws.
    fn inputs(count: usize) -> [Value; 4] {
        [random(1, count, 1), random(1, count, 2), random(1, count, 3), (vec![0.7], [1, 1])]
    }

    #[test]
    fn gated_differences_and_their_gradients_are_those_of_the_twin() {
        for way in ways() {
            for count in [700, PIECE + 33] {
                for shared in [3, 4] {
                    let inputs = &inputs(count)[..shared];
                    agrees_with_twin(&|all| run_with(all, way, gated), &|all| run_with(all, way, twin), inputs);
                    differentiates_only_what_is_tracked(&|all| run_with(all, way, gated), inputs);
                }
            }
        }
    }

    #[test]
    fn gated_differences_follow_the_definition_in_double_precision() {
        for way in ways() {
            let (HardConcrete { beta, gamma, zeta }, draws) = (way.gates, way.key.map(|key| logistic(key, 60)));
            let [beta, gamma, zeta] = [beta, gamma, zeta].map(f64::from);
            let definition = |inputs: &[Vec<f64>]| -> Vec<f64> {
                let gate = |at: usize| {
                    let location = match &draws {
                        None => inputs[2][at],
                        Some(draws) => (inputs[2][at] + f64::from(draws[at])) / beta,
                    };
                    ((zeta - gamma) / (1.0 + (-location).exp()) + gamma).clamp(0.0, 1.0)
                };
                (0..60).map(|at| inputs[0][at] + inputs[1][at] * gate(at) * inputs[3][0]).collect()
            };
            agrees_with_differences(&|all| run_with(all, way, gated), &definition, &inputs(60));
        }
    }

    #[test]
    fn gates_far_away_leave_the_difference_or_nothing_to_the_bit() {
        for way in ways() {
            for (location, open) in [(FAR, 1.0), (-FAR, 0.0)] {
                let [weights, differences, ..] = inputs(900);
                let all = [weights.clone(), differences.clone(), (vec![location; 900], [1, 900])];
                let (found, gradients) = run(&|all| run_with(all, way, gated), &all, &[true, true, true]);
                let expected: Vec<f32> = weights
                    .0
                    .iter()
                    .zip(&differences.0)
                    .map(|(weight, difference)| weight + difference * open)
                    .collect();
                assert_eq!(found, expected);
                assert!(gradients[2].as_ref().unwrap().iter().all(|slope| *slope == 0.0));
            }
        }
    }

    #[test]
    fn gated_differences_have_the_same_bits_for_any_number_of_threads() {
        let way = Gated { gates: DIFF, key: Some(Key::new(1, "gates")) };
        same_bits_for_any_number_of_threads(&|all| run_with(all, way, gated), &inputs(5 * PIECE));
    }

    /// The standard logistic distribution has the mean 0 and the variance pi^2 / 3.
    #[test]
    fn draws_have_the_mean_and_variance_of_the_logistic_distribution() {
        let count = 100_000;
        let draws: Vec<f64> = logistic(Key::new(5, "draws"), count).into_iter().map(f64::from).collect();
        let moment = |power: i32| draws.iter().map(|draw| draw.powi(power)).sum::<f64>() / count as f64;
        let variance = std::f64::consts::PI.powi(2) / 3.0;
        assert!(moment(1).abs() < 5.0 * (variance / count as f64).sqrt());
        // The fourth moment is 7 pi^4 / 15.
        let error = ((7.0 * std::f64::consts::PI.powi(4) / 15.0 - variance.powi(2)) / count as f64).sqrt();
        assert!((moment(2) - variance).abs() < 5.0 * error);
        assert!((logit(0) + 17.3287).abs() < 1e-3 && (logit(u32::MAX) - 17.3287).abs() < 1e-3);
    }

    #[test]
    fn the_slope_of_the_expected_number_of_open_gates_is_that_of_differences() {
        for gates in [DIFF, PAPER] {
            let (locations, before) = (random(1, 300, 7), random(1, 300, 8));
            let (found, count) = add_open_slope(vector(&leaf(&before)), &vector(&leaf(&locations)), gates, 0.3);
            let open = |location: f64| {
                let HardConcrete { beta, gamma, zeta } = gates;
                1.0 / (1.0 + (f64::from(beta) * (-f64::from(gamma) / f64::from(zeta)).ln() - location).exp())
            };
            let expected: f64 = locations.0.iter().map(|location| open(f64::from(*location))).sum();
            assert!((count - expected).abs() < 1e-5 * expected);
            let slopes: Vec<f32> = locations
                .0
                .iter()
                .zip(&before.0)
                .map(|(location, before)| {
                    let location = f64::from(*location);
                    before + (0.3 * (open(location + 1e-5) - open(location - 1e-5)) / 2e-5) as f32
                })
                .collect();
            close("slope", &read(found), &slopes, 1e-5);
        }
    }
}
