//! Products of the small matrices of one attention head, too small for `gemm`'s packing to pay.

use pulp::{Arch, Simd, WithSimd};

/// Columns of the right factor and the result are padded to a multiple of this: the lanes of the widest registers.
pub const PADDING: usize = 16;

/// The left factor, by strides, so that a transpose costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    pub values: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Left<'a> {
    /// A matrix stored row after row, `stride` elements apart.
    pub fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of one.
    pub fn transposed(values: &'a [f32], stride: usize) -> Self {
        Self { values, row_stride: 1, column_stride: stride }
    }
}

/// The sizes of a product `[rows, depth] [depth, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub rows: usize,
    pub depth: usize,
    /// Of the right factor and the result, a multiple of [`PADDING`].
    pub columns: usize,
    /// From row to row of the right factor and of the result, a multiple of [`PADDING`].
    pub stride: usize,
}

/// The stride for rows of `columns` elements: an odd number of cache lines, so that a walk down a column does not keep
/// hitting the same few sets of the cache.
pub fn stride(columns: usize) -> usize {
    columns.next_multiple_of(PADDING) | PADDING
}

/// `out = a b` or `out += a b`, all stored row after row.
pub fn product(out: &mut [f32], accumulate: bool, a: Left, b: &[f32], size: Size) {
    let Size { rows, depth, columns, stride } = size;
    assert!(columns % PADDING == 0 && stride % PADDING == 0 && columns <= stride, "columns are padded");
    assert!(out.len() >= rows * stride && b.len() >= depth * stride, "matrices of a small product");
    if rows == 0 || depth == 0 || columns == 0 {
        if !accumulate {
            out[..rows * stride].fill(0.0);
        }
        return;
    }
    assert!((rows - 1) * a.row_stride + (depth - 1) * a.column_stride < a.values.len(), "left of a small product");
    Arch::new().dispatch(Product { out, accumulate, a, b, size });
}

struct Product<'a> {
    out: &'a mut [f32],
    accumulate: bool,
    a: Left<'a>,
    b: &'a [f32],
    size: Size,
}

/// Rows of the result held in registers at a time; with two registers of columns each they fill AVX2's 16.
const ROWS: usize = 6;

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let registers = self.size.columns / S::F32_LANES;
        let mut row = 0;
        while row < self.size.rows {
            let rows = ROWS.min(self.size.rows - row);
            let mut column = 0;
            while column < registers {
                let two = registers - column >= 2;
                match (rows, two) {
                    (1, false) => self.block::<S, 1, 1>(simd, row, column),
                    (1, true) => self.block::<S, 1, 2>(simd, row, column),
                    (2, false) => self.block::<S, 2, 1>(simd, row, column),
                    (2, true) => self.block::<S, 2, 2>(simd, row, column),
                    (3, false) => self.block::<S, 3, 1>(simd, row, column),
                    (3, true) => self.block::<S, 3, 2>(simd, row, column),
                    (4, false) => self.block::<S, 4, 1>(simd, row, column),
                    (4, true) => self.block::<S, 4, 2>(simd, row, column),
                    (5, false) => self.block::<S, 5, 1>(simd, row, column),
                    (5, true) => self.block::<S, 5, 2>(simd, row, column),
                    (_, false) => self.block::<S, ROWS, 1>(simd, row, column),
                    (_, true) => self.block::<S, ROWS, 2>(simd, row, column),
                }
                column += 1 + usize::from(two);
            }
            row += rows;
        }
    }
}

#[allow(clippy::needless_range_loop)] // see `block`
impl Product<'_> {
    /// `R` rows from `row` and `C` registers of columns from `column`. Plain loops over constant bounds: closures are
    /// not compiled for the instruction set of the function around them, and would be called.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, row: usize, column: usize) {
        let stride = self.size.stride / S::F32_LANES;
        let (b, _) = S::as_simd_f32s(self.b);
        let (out, _) = S::as_mut_simd_f32s(&mut *self.out);
        let a = &self.a.values[row * self.a.row_stride..];
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for k in 0..self.size.depth {
            let mut right = [simd.splat_f32s(0.0); C];
            for c in 0..C {
                // SAFETY: `product` asserted that `depth` rows `stride` apart fit in b.
                right[c] = unsafe { *b.get_unchecked(k * stride + column + c) };
            }
            for r in 0..R {
                // SAFETY: `product` asserted that the last element of a is inside its slice; rows of a block are
                // inside the result by the loops in `with_simd`.
                let left = unsafe { *a.get_unchecked(r * self.a.row_stride + k * self.a.column_stride) };
                let left = simd.splat_f32s(left);
                for c in 0..C {
                    sums[r][c] = simd.mul_add_f32s(left, right[c], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            let out = &mut out[(row + r) * stride + column..][..C];
            for c in 0..C {
                out[c] = if self.accumulate { simd.add_f32s(out[c], sums[r][c]) } else { sums[r][c] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::oracle::{close, random};

    #[test]
    fn small_products_are_right_for_all_block_sizes() {
        for rows in 1..14 {
            for (depth, columns, stride) in [(1, 16, 16), (5, 32, 48), (7, 48, 48), (0, 16, 16)] {
                let size = Size { rows, depth, columns, stride };
                let (a, _) = random(rows, depth, 1);
                let (b, _) = random(depth, stride, 2);
                let of_columns =
                    |matrix: &[f32]| matrix.chunks(stride).flat_map(|row| row[..columns].to_vec()).collect::<Vec<_>>();
                let mut exact = vec![0.0; rows * columns];
                for (index, exact) in exact.iter_mut().enumerate() {
                    let (row, column) = (index / columns, index % columns);
                    *exact = (0..depth).map(|k| a[row * depth + k] * b[k * stride + column]).sum();
                }
                let mut out = vec![7.0; rows * stride];
                product(&mut out, false, Left::rows(&a, depth), &b, size);
                close("product", &of_columns(&out), &exact, 1e-6);

                let mut turned = vec![0.0; rows * depth];
                (0..rows * depth).for_each(|at| turned[at % depth * rows + at / depth] = a[at]);
                product(&mut out, true, Left::transposed(&turned, rows), &b, size);
                let twice: Vec<f32> = exact.iter().map(|value| 2.0 * value).collect();
                close("sum of products", &of_columns(&out), &twice, 1e-6);
            }
        }
    }
}
