//! Gates that can be differentiated and yet shut: the hard-concrete distribution (Louizos, Welling & Kingma 2018,
//! arXiv:1712.01312).
//!
//! With a location `a` and a draw `u` uniform in (0, 1), `s = sigmoid((ln u - ln(1 - u) + a) / beta)` is stretched to
//! `(gamma, zeta)`, which reaches beyond 0 and 1, and cut there: `z = min(1, max(0, s (zeta - gamma) + gamma))`.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};

use super::ops;
use crate::random::Key;

/// The constants of the distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HardConcrete {
    /// Temperature, above 0.
    pub beta: f32,
    /// Lower end of the stretch, below 0.
    pub gamma: f32,
    /// Upper end of the stretch, above 1.
    pub zeta: f32,
}

/// A location at which a gate is open (shut, with the other sign), whatever is drawn, at any temperature up to 5: a draw lies
/// within 17 of 0.
pub const FAR: f32 = 1e3;

impl HardConcrete {
    /// Gates drawn from `key`, or, without one, those to evaluate with (its equation 13): of the middle draw `u = 1/2`, at
    /// temperature 1. locations `[n]` -> `[n]`, each from 0 to 1.
    pub fn gates(&self, locations: Tensor<1>, key: Option<Key>) -> Tensor<1> {
        let s = match key {
            None => sigmoid(locations),
            Some(key) => {
                let draws = ops::logistic(key, locations.dims()[0]);
                let count = draws.len();
                let device = locations.device().without_autodiff();
                sigmoid((locations + Tensor::from_data(TensorData::new(draws, [count]), &device)) / self.beta)
            }
        };
        (s * (self.zeta - self.gamma) + self.gamma).clamp(0.0, 1.0)
    }

    /// The probability that a gate is not shut (its equation 12). locations `[n]` -> `[n]`.
    pub fn open(&self, locations: Tensor<1>) -> Tensor<1> {
        sigmoid(locations - self.threshold())
    }

    /// The location of which a gate is as often shut as not.
    pub fn threshold(&self) -> f32 {
        self.beta * (-self.gamma / self.zeta).ln()
    }

    /// The gate to evaluate with, of one location.
    pub fn gate(&self, location: f32) -> f32 {
        let s = 1.0 / (1.0 + (-location).exp());
        (s * (self.zeta - self.gamma) + self.gamma).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const PAPER: HardConcrete = HardConcrete { beta: 2.0 / 3.0, gamma: -0.1, zeta: 1.1 };
    const DIFF: HardConcrete = HardConcrete { beta: 1.0, gamma: -1.5, zeta: 1.5 };

    fn all(location: f32, count: usize) -> Tensor<1> {
        Tensor::full([count], location, &Device::flex())
    }

    fn read(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec_as::<f32>().unwrap()
    }

    /// Five standard errors of 40,000 draws.
    #[test]
    fn as_many_gates_are_open_as_the_closed_form_says() {
        for gates in [PAPER, DIFF] {
            for location in [-2.0, 0.0, 1.3] {
                let count = 40_000;
                let drawn = read(gates.gates(all(location, count), Some(Key::new(1, "gates"))));
                let open = drawn.iter().filter(|gate| **gate > 0.0).count() as f64 / count as f64;
                let expected = f64::from(read(gates.open(all(location, 1)))[0]);
                let error = (expected * (1.0 - expected) / count as f64).sqrt();
                assert!((open - expected).abs() < 5.0 * error, "{gates:?} {location}: {open} {expected}");
                assert!(drawn.iter().all(|gate| (0.0..=1.0).contains(gate)));
            }
        }
    }

    #[test]
    fn gates_far_away_are_open_or_shut_to_the_bit_whatever_is_drawn() {
        for (location, gate) in [(FAR, 1.0), (-FAR, 0.0)] {
            for key in [None, Some(Key::new(1, "gates"))] {
                assert!(read(DIFF.gates(all(location, 1000), key)).iter().all(|found| *found == gate));
            }
            assert_eq!(DIFF.gate(location), gate);
        }
    }

    #[test]
    fn gates_of_the_middle_draw_are_those_of_the_numbers_one_by_one() {
        for location in [-1.0, -0.3, 0.0, 0.4, 3.0] {
            assert!((read(DIFF.gates(all(location, 1), None))[0] - DIFF.gate(location)).abs() < 1e-6);
        }
    }
}
