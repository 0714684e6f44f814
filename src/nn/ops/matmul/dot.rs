//! Blocks of products by AVX512-BF16's dot products of pairs.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
};
use std::mem::transmute;

use super::pairs::{Block, PANEL};

/// Rows of a block: with two registers of columns each they fill 24 of the 32 registers.
pub const ROWS: usize = 12;

/// Whether the processor has the instructions.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// Adds or writes a block. Only where [`available`]; [`super::pairs`] asserts the sizes.
pub fn multiply(block: Block) {
    // SAFETY: `Instructions::best` hands these instructions out only where `available`; `Instructions::multiply` has
    // asserted that both factors are whole and that the last element of the result is inside its slice.
    unsafe {
        match block.rows {
            1 => rows::<1>(block),
            2 => rows::<2>(block),
            3 => rows::<3>(block),
            4 => rows::<4>(block),
            5 => rows::<5>(block),
            6 => rows::<6>(block),
            7 => rows::<7>(block),
            8 => rows::<8>(block),
            9 => rows::<9>(block),
            10 => rows::<10>(block),
            11 => rows::<11>(block),
            _ => rows::<ROWS>(block),
        }
    }
}

/// A block of `R` rows.
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)] // closures would not be compiled for these instructions
unsafe fn rows<const R: usize>(block: Block) {
    const LANES: usize = PANEL / 2;
    let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
    let (left, right) = (block.left.as_ptr(), block.right.as_ptr());
    for pair in 0..block.depth / 2 {
        // SAFETY: the caller has checked that the panel holds `depth / 2` pairs of each column and the left factor
        // `depth` elements of each row; reading two as one needs no alignment.
        unsafe {
            let panel = right.add(pair * 2 * PANEL);
            let columns = [
                transmute::<__m512i, __m512bh>(_mm512_loadu_si512(panel.cast())),
                transmute::<__m512i, __m512bh>(_mm512_loadu_si512(panel.add(2 * LANES).cast())),
            ];
            for row in 0..R {
                let pair = left.add(row * block.depth + 2 * pair).cast::<i32>().read_unaligned();
                let pair = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair));
                sums[row][0] = _mm512_dpbf16_ps(sums[row][0], pair, columns[0]);
                sums[row][1] = _mm512_dpbf16_ps(sums[row][1], pair, columns[1]);
            }
        }
    }
    let columns = |first: usize| block.columns.saturating_sub(first).min(LANES);
    let mask = |first: usize| ((1u32 << columns(first)) - 1) as __mmask16;
    let masks = [mask(0), mask(LANES)];
    for row in 0..R {
        for half in 0..2 {
            // SAFETY: the mask leaves out columns past the block's; the caller has checked the others.
            unsafe {
                let out = block.out.as_mut_ptr().add(row * block.stride).wrapping_add(half * LANES);
                let mut sum = sums[row][half];
                if block.accumulate {
                    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(masks[half], out));
                }
                _mm512_mask_storeu_ps(out, masks[half], sum);
            }
        }
    }
}
