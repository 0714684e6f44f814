//! Matrix products: the `gemm` crate's, and our own of bfloat16 pairs where the processor has instructions for them.

mod bfloat;
#[cfg(target_arch = "x86_64")]
mod dot;
mod pairs;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

use gemm::Parallelism;

use pairs::Instructions;

/// Whether matrix tiles (AMX) are used on this machine, or why not.
pub fn tiles() -> &'static str {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return tiles::state();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    "no matrix tiles"
}

/// How the factors of a matrix product are rounded. Sums are always of 32-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats. On a processor with matrix tiles each factor is split into two bfloat16s and three of the four
    /// products are added: a relative error near 2^-16 a term instead of 2^-24, several times as fast.
    #[default]
    F32,
    /// 32-bit floats whatever the processor has.
    F32Strict,
    /// Factors rounded to bfloat16.
    Bf16,
}

impl Precision {
    /// Copies of the left and the right factor, high (false) and low (true) parts, whose products are added, the
    /// smallest first.
    fn terms(self) -> &'static [(bool, bool)] {
        match self {
            Self::F32 | Self::F32Strict => &[(true, false), (false, true), (false, false)],
            Self::Bf16 => &[(false, false)],
        }
    }
}

/// A matrix in a slice, by strides; its transpose is the same slice with the strides exchanged.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix stored row after row.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} rows and {columns} columns");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Products below this many multiplications gain nothing from packing into bfloat16s.
const SMALL: usize = 32 * 32 * 32;

/// `out = a b`, or `out += a b`. `out` is stored row after row. An element's terms are added in an order that depends on
/// the shapes only, never on the number of threads.
pub fn multiply(out: &mut [f32], accumulate: bool, a: Matrix, b: Matrix, precision: Precision) {
    assert_eq!(a.columns, b.rows, "inner sizes of a matrix product");
    assert_eq!(out.len(), a.rows * b.columns, "size of a matrix product");
    if out.is_empty() {
        return;
    }
    if a.columns == 0 {
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    let instructions = Instructions::best().filter(|_| a.rows * a.columns * b.columns >= SMALL);
    match (precision, instructions) {
        (Precision::Bf16, Some(instructions)) => pairs::multiply(out, accumulate, a, b, precision, instructions),
        (Precision::F32, Some(instructions)) if instructions.split_pays() => {
            pairs::multiply(out, accumulate, a, b, precision, instructions);
        }
        (Precision::Bf16, None) => {
            let (left, right) = (bfloat::rounded(a.values), bfloat::rounded(b.values));
            multiply_floats(out, accumulate, Matrix { values: &left, ..a }, Matrix { values: &right, ..b });
        }
        (Precision::F32 | Precision::F32Strict, _) => multiply_floats(out, accumulate, a, b),
    }
}

/// Of 32-bit floats, by the `gemm` crate.
fn multiply_floats(out: &mut [f32], accumulate: bool, a: Matrix, b: Matrix) {
    // SAFETY: `Matrix::new` checked that rows and columns with these strides stay inside the slices, `multiply` that the
    // three sizes fit together, and `out` can't overlap the shared slices.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            accumulate,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests;
