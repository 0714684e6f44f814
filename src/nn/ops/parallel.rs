//! Sharing work among threads so that the result does not depend on how many there are: pieces have a fixed size, and
//! what pieces add up is added in their order.

use rayon::prelude::*;

/// Elements under which threads cost more than they bring.
const SERIAL: usize = 1 << 14;
/// Elements of a piece.
const PIECE: usize = 1 << 13;

/// A buffer whose elements are about to be written, every one.
///
/// Zeroing it would touch each page twice.
#[allow(clippy::uninit_vec)]
pub(super) fn buffer(length: usize) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(length);
    // SAFETY: the capacity is there, every bit pattern is an f32, and callers write each element before it is read.
    unsafe { buffer.set_len(length) };
    buffer
}

/// Rows of a piece for rows of this many elements.
fn rows_of_piece(columns: usize) -> usize {
    PIECE.div_ceil(columns.max(1))
}

/// Calls `work(first row, rows of out)` on pieces of whole rows.
pub(super) fn by_rows(out: &mut [f32], columns: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = rows_of_piece(columns);
    if out.len() < SERIAL {
        out.chunks_mut(rows * columns).enumerate().for_each(|(piece, out)| work(piece * rows, out));
    } else {
        out.par_chunks_mut(rows * columns).enumerate().for_each(|(piece, out)| work(piece * rows, out));
    }
}

/// As [`by_rows`] for two outputs of the same rows, with `columns` and `other_columns` elements each.
pub(super) fn by_rows_of_two(
    out: &mut [f32],
    columns: usize,
    other: &mut [f32],
    other_columns: usize,
    work: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let rows = rows_of_piece(columns);
    let pieces = (out.chunks_mut(rows * columns), other.chunks_mut(rows * other_columns));
    let pieces: Vec<_> = pieces.0.zip(pieces.1).enumerate().collect();
    let small = pieces.len() * rows * columns < SERIAL;
    let each = |(piece, (out, other)): (usize, (&mut [f32], &mut [f32]))| work(piece * rows, out, other);
    if small { pieces.into_iter().for_each(each) } else { pieces.into_par_iter().for_each(each) }
}

/// Adds up `width` sums over rows: `work(row range, partial sums)` on pieces of rows, then the pieces in order.
pub(super) fn sum_rows(
    rows: usize,
    columns: usize,
    width: usize,
    work: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let step = rows_of_piece(columns).max(32);
    let pieces: Vec<_> = (0..rows).step_by(step).map(|first| first..(first + step).min(rows)).collect();
    let one = |range: &std::ops::Range<usize>| {
        let mut partial = vec![0.0; width];
        work(range.clone(), &mut partial);
        partial
    };
    let partials: Vec<Vec<f32>> =
        if rows * columns < SERIAL { pieces.iter().map(one).collect() } else { pieces.par_iter().map(one).collect() };
    let mut total = vec![0.0; width];
    for partial in partials {
        total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
    }
    total
}
