//! Element functions written without branches so that loops over them vectorise, and the macro that compiles such loops
//! once for each instruction set.

/// Defines a function compiled for AVX-512, for AVX2 with FMA and for the target's baseline, choosing at run time. Its
/// body is plain scalar code; what it calls must be `#[inline(always)]`. All versions give the same bits: the compiler
/// neither contracts nor reorders float operations, and `mul_add` rounds once everywhere.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $type),*) $(-> $result)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    body($($arg),*)
                }
                match $crate::nn::ops::math::instruction_set() {
                    // SAFETY: the processor was just asked whether it has these instructions.
                    $crate::nn::ops::math::InstructionSet::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::nn::ops::math::InstructionSet::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::nn::ops::math::InstructionSet::Baseline => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// The instructions vectorised loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    Avx512,
    Avx2,
    Baseline,
}

/// The best one this processor has.
#[inline]
pub fn instruction_set() -> InstructionSet {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
        {
            return InstructionSet::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return InstructionSet::Avx2;
        }
    }
    InstructionSet::Baseline
}

/// Accumulators of a reduction: enough to keep the adders of wide registers busy, the same on every machine.
pub const LANES: usize = 32;

/// `e^x`, relative error below 2e-7 for |x| < 87; beyond, the value there. Not-a-number stays so.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding this rounds to an integer and leaves the integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4; // 355 / 512: exact products with small integers
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = power.mul_add(-LN2_LOW, power.mul_add(-LN2_HIGH, x));
    // Taylor: |rest| <= ln 2 / 2, so the first term left out is below 1.2e-7.
    let series = (1.0f32 / 5040.0)
        .mul_add(rest, 1.0 / 720.0)
        .mul_add(rest, 1.0 / 120.0)
        .mul_add(rest, 1.0 / 24.0)
        .mul_add(rest, 1.0 / 6.0)
        .mul_add(rest, 0.5)
        .mul_add(rest, 1.0)
        .mul_add(rest, 1.0);
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// `ln x` of a normal number above 0, to three units in the last place or, near 1, of the difference from 1.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355 / 512: exact products with small integers
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // x = 2^power (1 + f), 1 + f from sqrt(1/2) up.
    let power = x.to_bits().wrapping_sub(0x3F35_04F3) as i32 >> 23;
    let f = f32::from_bits(x.to_bits().wrapping_sub((power as u32) << 23)) - 1.0;
    // ln(1 + f) = 2 artanh s; the first term left out is below 2e-9 of the whole.
    let s = f / (2.0 + f);
    let z = s * s;
    let series = (1.0f32 / 9.0).mul_add(z, 1.0 / 7.0).mul_add(z, 1.0 / 5.0).mul_add(z, 1.0 / 3.0);
    let rest = (2.0 * s).mul_add(series * z, 2.0 * s);
    let power = power as f32;
    power.mul_add(LN2_HIGH, power.mul_add(LN2_LOW, rest))
}

/// The standard normal distribution function and density at `x`; absolute error of the former below 2e-7.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    // Abramowitz & Stegun 7.1.26 for erfc(z) = t (a1 + t (a2 + ...)) e^(-z^2), z = |x| / sqrt 2.
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let gauss = exp(-0.5 * x * x);
    let polynomial = 1.061_405_4_f32
        .mul_add(t, -1.453_152)
        .mul_add(t, 1.421_413_7)
        .mul_add(t, -0.284_496_72)
        .mul_add(t, 0.254_829_6);
    let tail = 0.5 * polynomial * t * gauss;
    let distribution = if x < 0.0 { tail } else { 1.0 - tail };
    (distribution, gauss * 0.398_942_3)
}

/// Reduces 16, 8, 4 ... lanes pairwise.
#[inline(always)]
pub fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of `term` over the elements, in a fixed order.
#[inline(always)]
pub fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] += term(chunk[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(*value);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element; not-a-number where there is one is left to the sums that follow.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, *value);
    }
    fold(lanes, larger)
}

multiversion! {
    /// Products of two slices, each times `scale`.
    pub fn multiply(out: &mut [f32], left: &[f32], right: &[f32], scale: f32) {
        for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
            *out = left * right * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library_in_double_precision() {
        for step in -8600..=8700 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.5e-7, "{x}: {} {exact}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn ln_agrees_with_the_standard_library_in_double_precision() {
        let close = |x: f32| {
            let (found, exact) = (f64::from(ln(x)), f64::from(x).ln());
            assert!((found - exact).abs() <= 4e-7 * exact.abs(), "{x}: {found} {exact}");
        };
        (-2000..2000).for_each(|step| close((step as f32 * 0.02).exp()));
        (-3000..3000).for_each(|step| close(1.0 + step as f32 * 1e-4));
        for ulps in 1..100 {
            close(f32::from_bits(1f32.to_bits() + ulps));
            close(f32::from_bits(1f32.to_bits() - ulps));
        }
    }

    #[test]
    fn the_normal_distribution_agrees_with_numerical_integration() {
        // Simpson's rule on the density, from 0 upwards.
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let (mut integral, width) = (0.5, 0.01);
        for step in 0..600 {
            let x = f64::from(step) * width;
            for sign in [1.0, -1.0] {
                let (distribution, slope) = normal((sign * x) as f32);
                let exact = if sign > 0.0 { integral } else { 1.0 - integral };
                assert!((f64::from(distribution) - exact).abs() < 3e-7, "{x} {distribution} {exact}");
                assert!((f64::from(slope) - density(x)).abs() < 1e-7);
            }
            integral += width / 6.0 * (density(x) + 4.0 * density(x + width / 2.0) + density(x + width));
        }
    }

    #[test]
    fn sums_and_maxima_take_every_element_once() {
        for count in [1, 5, 31, 32, 33, 100] {
            let values: Vec<f32> = (1..=count).map(|value| value as f32).collect();
            assert_eq!(sum(&values, |value| value), (count * (count + 1) / 2) as f32);
            assert_eq!(max(&values), count as f32);
        }
    }
}
