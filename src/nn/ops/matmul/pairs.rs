//! Products of bfloat16 pairs, summed in 32-bit floats: packing and blocking around the instructions that multiply.
//!
//! Both kinds of instruction - dot products of pairs in wide registers, and matrix tiles - read the same layouts, so one
//! packing serves them. A block of rows of the left factor lies row after row. The right factor lies in panels of
//! [`PANEL`] columns, two elements of each column side by side (Intel calls it VNNI). Products of a split factor's parts
//! are no more than a longer inner dimension: `[low | high | high] [high; low; high]`.

#![allow(clippy::needless_range_loop)] // see the loops that pack

use rayon::prelude::*;

use super::bfloat::{high, low};
use super::{Matrix, Precision};
use crate::nn::ops::math::multiversion;

/// Columns of a panel of the right factor.
pub const PANEL: usize = 32;

/// The inner dimension is padded to a multiple of this: elements of a row of a tile.
pub const STEP: usize = 32;

/// Instructions that multiply bfloat16 pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// AMX: tiles of 16 rows of 64 bytes.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Tiles,
    /// AVX512-BF16: sixteen dot products of pairs.
    #[cfg(target_arch = "x86_64")]
    Dot,
    /// The arithmetic of both in plain code, to test the rest on any machine.
    #[cfg(test)]
    Model,
}

/// A block of the result: at most [`Instructions::rows`] rows and [`PANEL`] columns.
pub struct Block<'a> {
    /// `[rows, depth]`, padded with zeros to [`Instructions::rows`] rows.
    pub left: &'a [u16],
    /// `[depth / 2, PANEL, 2]`
    pub right: &'a [u16],
    /// A multiple of [`STEP`].
    pub depth: usize,
    /// Begins with the block's first element; rows are `stride` apart.
    pub out: &'a mut [f32],
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
    pub accumulate: bool,
}

impl Instructions {
    /// The fastest this processor has. `FTP_TILES=off` leaves out matrix tiles.
    pub fn best() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if super::tiles::available() {
            return Some(Self::Tiles);
        }
        #[cfg(target_arch = "x86_64")]
        if super::dot::available() {
            return Some(Self::Dot);
        }
        None
    }

    /// Whether three products of bfloat16s are faster than one of 32-bit floats.
    pub fn split_pays(self) -> bool {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles => true,
            #[cfg(target_arch = "x86_64")]
            Self::Dot => false,
            #[cfg(test)]
            Self::Model => true,
        }
    }

    /// Rows of a block.
    fn rows(self) -> usize {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles => 32,
            #[cfg(target_arch = "x86_64")]
            Self::Dot => super::dot::ROWS,
            #[cfg(test)]
            Self::Model => 5,
        }
    }

    /// Longest inner dimension of a block: panels of the right factor are to stay in the L1 cache, or in the L2 cache
    /// for tiles, which read each element less often.
    fn depth(self) -> usize {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles => 1152,
            #[cfg(target_arch = "x86_64")]
            Self::Dot => 384,
            #[cfg(test)]
            Self::Model => 192,
        }
    }

    fn multiply(self, block: Block) {
        assert!(block.depth.is_multiple_of(STEP) && block.rows <= self.rows() && block.columns <= PANEL);
        assert!(block.left.len() >= self.rows() * block.depth && block.right.len() >= block.depth * PANEL);
        assert!(block.rows > 0 && block.out.len() >= (block.rows - 1) * block.stride + block.columns);
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles => super::tiles::multiply(block),
            #[cfg(target_arch = "x86_64")]
            Self::Dot => super::dot::multiply(block),
            #[cfg(test)]
            Self::Model => model(block),
        }
    }
}

/// Rows of the result that are one piece of work: their part of the left factor stays in the L2 cache. Fewer when there
/// are few, so that all threads have work; never dependent on how many threads there are.
fn rows_of_work(rows: usize, block: usize) -> usize {
    const MOST: usize = 96;
    const PIECES: usize = 8;
    rows.div_ceil(PIECES).next_multiple_of(block).min(MOST.next_multiple_of(block))
}

/// `out = a b` or `out += a b`; sizes as in [`super::multiply`], none of them 0.
pub fn multiply(
    out: &mut [f32],
    accumulate: bool,
    a: Matrix,
    b: Matrix,
    precision: Precision,
    instructions: Instructions,
) {
    let (columns, terms) = (b.columns, precision.terms());
    // Parts of the inner dimension whose terms together are one block deep.
    let most = instructions.depth() / terms.len() / STEP * STEP;
    let parts = a.columns.div_ceil(most);
    let part = a.columns.div_ceil(parts).next_multiple_of(STEP);
    let rows_of_work = rows_of_work(a.rows, instructions.rows());
    let mut right = vec![0; columns.div_ceil(PANEL) * PANEL * part * terms.len()];
    for start in (0..a.columns).step_by(part) {
        let inner = part.min(a.columns - start);
        let padded = inner.next_multiple_of(STEP);
        let depth = padded * terms.len();
        let panels = &mut right[..columns.div_ceil(PANEL) * PANEL * depth];
        panels.par_chunks_exact_mut(PANEL * depth).enumerate().for_each(|(panel, packed)| {
            let source = Source { matrix: b.transposed(), row: panel * PANEL, column: start, inner };
            for (packed, &(_, low)) in packed.chunks_exact_mut(PANEL * padded).zip(terms) {
                pack_panel(packed, &source, low);
            }
        });
        let panels = &*panels;
        let accumulate = accumulate || start > 0;
        let work = |left: &mut Vec<u16>, (index, out): (usize, &mut [f32])| {
            let rows = out.len() / columns;
            left.resize(rows.next_multiple_of(instructions.rows()) * depth, 0);
            let source = Source { matrix: a, row: index * rows_of_work, column: start, inner };
            for (term, &(low, _)) in terms.iter().enumerate() {
                pack_rows(left, &source, rows, depth, term * padded, low);
            }
            for (panel, right) in panels.chunks_exact(PANEL * depth).enumerate() {
                let first = panel * PANEL;
                for row in (0..rows).step_by(instructions.rows()) {
                    instructions.multiply(Block {
                        left: &left[row * depth..],
                        right,
                        depth,
                        out: &mut out[row * columns + first..],
                        stride: columns,
                        rows: instructions.rows().min(rows - row),
                        columns: PANEL.min(columns - first),
                        accumulate,
                    });
                }
            }
        };
        out.par_chunks_mut(rows_of_work * columns).enumerate().for_each_init(Vec::new, work);
    }
}

/// The part of a matrix that is packed: rows from `row`, columns `column..column + inner`.
struct Source<'a> {
    matrix: Matrix<'a>,
    row: usize,
    column: usize,
    inner: usize,
}

/// Elements are transposed in squares of this many pairs.
const SQUARE: usize = 16;

/// Packs `rows` rows, rounded, into columns from `at` of rows of `depth` elements; the rest of the rows' share is zeros.
fn pack_rows(packed: &mut [u16], source: &Source, rows: usize, depth: usize, at: usize, low: bool) {
    let Source { matrix, row, column, inner } = *source;
    let first = &matrix.values[row * matrix.row_stride + column * matrix.column_stride..];
    if matrix.column_stride == 1 {
        let padded = inner.next_multiple_of(STEP);
        for (index, packed) in packed.chunks_exact_mut(depth).take(rows).enumerate() {
            let packed = &mut packed[at..at + padded];
            convert(&mut packed[..inner], &first[index * matrix.row_stride..][..inner], low);
            packed[inner..].fill(0);
        }
    } else {
        pack_columns(packed, first, matrix.column_stride, rows, inner, depth, at, low);
    }
}

/// Packs a panel from its transpose: its columns are the source's rows. Columns past the matrix are zeros.
fn pack_panel(packed: &mut [u16], source: &Source, low: bool) {
    let Source { matrix, row, column, inner } = *source;
    let first = &matrix.values[row * matrix.row_stride + column * matrix.column_stride..];
    let count = PANEL.min(matrix.rows - row);
    if matrix.row_stride == 1 {
        pack_panel_rows(packed, first, matrix.column_stride, count, inner, low);
    } else {
        pack_panel_columns(packed, first, matrix.row_stride, count, inner, low);
    }
}

multiversion! {
    /// Rounds elements.
    fn convert(into: &mut [u16], from: &[f32], to_low: bool) {
        convert_here(into, from, to_low);
    }
}

multiversion! {
    /// [`pack_rows`] of a matrix stored column after column: two columns at a time become pairs of all rows.
    fn pack_columns(
        packed: &mut [u16],
        columns: &[f32],
        stride: usize,
        rows: usize,
        inner: usize,
        depth: usize,
        at: usize,
        low: bool,
    ) {
        let mut pairs = [[0; SQUARE]; SQUARE];
        for start in (0..rows).step_by(SQUARE) {
            let count = SQUARE.min(rows - start);
            for pair in (0..inner.next_multiple_of(STEP) / 2).step_by(SQUARE) {
                for index in 0..SQUARE {
                    let column = 2 * (pair + index);
                    pair_up(&mut pairs[index][..count], &columns[start..], stride, column, inner, low);
                }
                for row in 0..count {
                    let packed = &mut packed[(start + row) * depth + at + 2 * pair..][..2 * SQUARE];
                    for index in 0..SQUARE {
                        packed[2 * index] = pairs[index][row] as u16;
                        packed[2 * index + 1] = (pairs[index][row] >> 16) as u16;
                    }
                }
            }
        }
    }
}

multiversion! {
    /// [`pack_panel`] of a factor stored row after row.
    fn pack_panel_rows(packed: &mut [u16], rows: &[f32], stride: usize, count: usize, inner: usize, low: bool) {
        let mut pairs = [0; PANEL];
        for pair in 0..inner.next_multiple_of(STEP) / 2 {
            pair_up(&mut pairs[..count], rows, stride, 2 * pair, inner, low);
            let packed = &mut packed[pair * 2 * PANEL..][..2 * PANEL];
            for at in 0..PANEL {
                packed[2 * at] = pairs[at] as u16;
                packed[2 * at + 1] = (pairs[at] >> 16) as u16;
            }
        }
    }
}

multiversion! {
    /// [`pack_panel`] of a factor stored column after column.
    fn pack_panel_columns(packed: &mut [u16], columns: &[f32], stride: usize, count: usize, inner: usize, low: bool) {
        let mut converted = [[0; STEP]; PANEL];
        for start in (0..inner).step_by(STEP) {
            let length = STEP.min(inner - start);
            for index in 0..count {
                convert_here(&mut converted[index][..length], &columns[index * stride + start..][..length], low);
                converted[index][length..].fill(0);
            }
            let packed = &mut packed[start * PANEL..][..STEP * PANEL];
            for pair in 0..STEP / 2 {
                for index in 0..PANEL {
                    packed[(pair * PANEL + index) * 2] = converted[index][2 * pair];
                    packed[(pair * PANEL + index) * 2 + 1] = converted[index][2 * pair + 1];
                }
            }
        }
    }
}

// Plain loops below: closures would not be compiled for the wide registers of the functions above.

#[inline(always)]
fn convert_here(into: &mut [u16], from: &[f32], to_low: bool) {
    let from = &from[..into.len()];
    if to_low {
        for at in 0..into.len() {
            into[at] = low(from[at]);
        }
    } else {
        for at in 0..into.len() {
            into[at] = high(from[at]);
        }
    }
}

/// Rounds elements of the lines `line` and `line + 1`, `stride` apart, into pairs, the first in the lower half. Lines from
/// `lines` on are zeros.
#[inline(always)]
fn pair_up(into: &mut [u32], from: &[f32], stride: usize, line: usize, lines: usize, to_low: bool) {
    let count = into.len();
    if line + 1 < lines {
        let (first, second) = (&from[line * stride..][..count], &from[(line + 1) * stride..][..count]);
        if to_low {
            for at in 0..count {
                into[at] = u32::from(low(first[at])) | u32::from(low(second[at])) << 16;
            }
        } else {
            for at in 0..count {
                into[at] = u32::from(high(first[at])) | u32::from(high(second[at])) << 16;
            }
        }
    } else if line < lines {
        let first = &from[line * stride..][..count];
        for at in 0..count {
            into[at] = u32::from(if to_low { low(first[at]) } else { high(first[at]) });
        }
    } else {
        into.fill(0);
    }
}

/// What the instructions compute. They may round a pair's sum otherwise; tests allow for that.
#[cfg(test)]
fn model(block: Block) {
    let widen = |half: u16| f32::from_bits(u32::from(half) << 16);
    for row in 0..block.rows {
        for column in 0..block.columns {
            let out = &mut block.out[row * block.stride + column];
            let mut sum = if block.accumulate { *out } else { 0.0 };
            for inner in 0..block.depth {
                let left = widen(block.left[row * block.depth + inner]);
                let right = widen(block.right[(inner / 2 * PANEL + column) * 2 + inner % 2]);
                sum = left.mul_add(right, sum);
            }
            *out = sum;
        }
    }
}
