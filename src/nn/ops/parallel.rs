//! Splitting work over threads in pieces whose bounds never depend on how many threads there are, so that results do not
//! either.

use rayon::prelude::*;

/// Elements of a piece of element-wise work: some microseconds' worth, and what stays in the L1 or L2 cache.
pub const PIECE: usize = 16 * 1024;

/// Rows of `columns` elements that make a piece.
pub fn rows_of_piece(columns: usize) -> usize {
    (PIECE / columns.max(1)).max(1)
}

/// Calls `work(first element, piece)` for consecutive pieces of `length` elements.
pub fn pieces(values: &mut [f32], length: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if values.len() <= length {
        work(0, values);
    } else {
        values.par_chunks_mut(length).enumerate().for_each(|(index, piece)| work(index * length, piece));
    }
}

/// Results of `work(index)` for `0..count`, in order.
pub fn ordered<R: Send>(count: usize, parallel: bool, work: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if parallel && count > 1 { (0..count).into_par_iter().map(work).collect() } else { (0..count).map(work).collect() }
}
