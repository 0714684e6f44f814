//! bfloat16: the upper half of a 32-bit float. Rounding is to nearest, ties to even, in plain integer operations that
//! vectorise.

use rayon::prelude::*;

use crate::nn::ops::math::multiversion;
use crate::nn::ops::parallel::PIECE;

/// The nearest bfloat16. Not-a-number stays so.
#[inline(always)]
pub fn high(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    ((if value.is_nan() { quiet } else { rounded }) >> 16) as u16
}

/// The nearest bfloat16 to what [`high`] leaves: together they have 16 bits of mantissa. Nothing where there is no
/// finite rest.
#[inline(always)]
pub fn low(value: f32) -> u16 {
    let rest = value - f32::from_bits(u32::from(high(value)) << 16);
    if rest.is_finite() { high(rest) } else { 0 }
}

/// Every value rounded to a bfloat16 and widened again.
pub fn rounded(values: &[f32]) -> Vec<f32> {
    let mut rounded = values.to_vec();
    rounded.par_chunks_mut(PIECE).for_each(round);
    rounded
}

multiversion! {
    fn round(values: &mut [f32]) {
        for value in values {
            *value = f32::from_bits(u32::from(high(*value)) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_an_independent_implementation() {
        let bits = (0..=u16::MAX)
            .step_by(7)
            .flat_map(|upper| [0u32, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF].map(|lower| u32::from(upper) << 16 | lower));
        for value in bits.map(f32::from_bits) {
            let expected = half::bf16::from_f32(value);
            if value.is_nan() {
                assert!(half::bf16::from_bits(high(value)).is_nan());
            } else {
                assert_eq!(high(value), expected.to_bits(), "{value}");
            }
        }
    }

    #[test]
    fn two_parts_hold_sixteen_bits_of_mantissa() {
        for step in 1..10_000 {
            let value = (step as f32 * 0.37).sin() * 1e3f32.powi(step % 5 - 2);
            let parts = [high(value), low(value)].map(|part| f64::from(f32::from_bits(u32::from(part) << 16)));
            assert!((parts[0] + parts[1] - f64::from(value)).abs() <= f64::from(value).abs() * 2f64.powi(-16));
        }
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0] {
            assert_eq!(low(value) & 0x7FFF, if value == f32::MAX { low(value) & 0x7FFF } else { 0 });
        }
    }
}
