//! Loops the compiler turns into vector instructions, compiled for AVX-512, AVX2 and any machine, chosen at run time.
//!
//! The bodies use no fused multiply-add, so all three give the same bits.

/// Defines functions compiled once for each instruction set; calls pick the best the machine has.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($argument: $type),*) $(-> $result)? { body($($argument),*) }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($argument: $type),*) $(-> $result)? { body($($argument),*) }
                if std::arch::is_x86_feature_detected!("avx512bw") && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl") {
                    // SAFETY: the machine has these instructions.
                    return unsafe { avx512($($argument),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the machine has these instructions.
                    return unsafe { avx2($($argument),*) };
                }
            }
            body($($argument),*)
        }
    )*};
}
pub(super) use vectorised;

/// Lanes of a sum: partial sums that a vector register holds, added in a fixed order at the end.
pub(super) const LANES: usize = 16;

/// Sum of `term(i)` for `i < length`, in an order that depends on `length` only.
#[inline(always)]
pub(super) fn sum(length: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = length / LANES * LANES;
    let mut at = 0;
    while at < whole {
        for lane in 0..LANES {
            lanes[lane] += term(at + lane);
        }
        at += LANES;
    }
    for index in whole..length {
        lanes[index - whole] += term(index);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Largest `term(i)` for `i < length`; minus infinity for none.
#[inline(always)]
pub(super) fn max(length: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let whole = length / LANES * LANES;
    let mut at = 0;
    while at < whole {
        for lane in 0..LANES {
            let value = term(at + lane);
            lanes[lane] = if value > lanes[lane] { value } else { lanes[lane] };
        }
        at += LANES;
    }
    let tail = (whole..length).map(term).fold(f32::NEG_INFINITY, f32::max);
    lanes.into_iter().fold(tail, f32::max)
}

/// e^x to about 1 unit in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes `expf`). Below -87.3: 0.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > 88.0 { 88.0 } else { x };
    let clamped = if x < -87.3 { -87.3 } else { x };
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let power = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = (clamped - power * 0.693_359_4) - power * -2.121_944_4e-4;
    let mut series = 1.987_569_1e-4;
    series = series * rest + 1.398_199_9e-3;
    series = series * rest + 8.333_452e-3;
    series = series * rest + 4.166_579_6e-2;
    series = series * rest + 1.666_666_5e-1;
    series = series * rest + 5.000_000_1e-1;
    let mantissa = series * rest * rest + rest + 1.0;
    let scale = f32::from_bits(((power as i32 + 127) << 23) as u32);
    if x < -87.3 { 0.0 } else { mantissa * scale }
}

/// The normal distribution function and its density at x, absolute error below 2e-7: Abramowitz & Stegun 7.1.26 for erf.
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    let size = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let gauss = exp(-size * size);
    let mut series = 1.061_405_4;
    series = series * t - 1.453_152;
    series = series * t + 1.421_413_7;
    series = series * t - 0.284_496_74;
    series = series * t + 0.254_829_6;
    let half_tail = 0.5 * series * t * gauss;
    let distribution = if x < 0.0 { half_tail } else { 1.0 - half_tail };
    (distribution, gauss * 0.398_942_28)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_agrees_with_the_standard_library() {
        for index in -8730..8800 {
            let x = index as f32 / 100.0;
            let (found, expected) = (f64::from(super::exp(x)), f64::from(x).exp());
            assert!((found - expected).abs() <= 3e-7 * expected, "exp({x}): {found} is not {expected}");
        }
        assert_eq!(super::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(super::exp(0.0), 1.0);
    }

    /// Values of Phi from tables (NIST Handbook, 26.2).
    #[test]
    fn the_normal_distribution_agrees_with_tables() {
        for (x, phi) in
            [(0.0, 0.5), (1.0, 0.841_344_75), (-1.0, 0.158_655_25), (1.96, 0.975_002_1), (-3.0, 0.001_349_898)]
        {
            assert!((super::normal(x).0 - phi).abs() < 3e-7, "Phi({x})");
        }
    }
}
