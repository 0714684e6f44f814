//! Picking rows: embeddings and gathers.

use std::sync::Arc;

use rayon::prelude::*;

use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, by_rows};

/// Rows of the input by index. `[V, d]` -> `[T, d]`.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub rows: Arc<[u32]>,
}

impl Kernel<1> for Rows {
    /// Rows and columns of the input.
    type Saved = [usize; 2];

    fn forward(&self, [table]: [&Plain; 1], _: [bool; 1]) -> (Plain, Self::Saved) {
        let [count, columns] = dims(table);
        let table = values(table);
        let mut out = buffer(self.rows.len() * columns);
        by_rows(&mut out, columns, |first, out| {
            for (row, out) in self.rows[first..].iter().zip(out.chunks_mut(columns)) {
                let start = *row as usize * columns;
                out.copy_from_slice(&table[start..start + columns]);
            }
        });
        (tensor(out, [self.rows.len(), columns]), [count, columns])
    }

    /// Adds each gradient row to the row it came from, rows of one origin in their order.
    fn backward(&self, [count, columns]: Self::Saved, gradient: Plain, _: [bool; 1]) -> [Option<Plain>; 1] {
        let gradient = values(&gradient);
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|&at| self.rows[at as usize]);
        let mut table = vec![0.0f32; count * columns];
        // One group an origin: groups write different rows, so they can go side by side.
        let mut groups: Vec<(&mut [f32], &[u32])> = Vec::new();
        let (mut rest, mut passed): (&mut [f32], usize) = (&mut table, 0);
        for group in order.chunk_by(|a, b| self.rows[*a as usize] == self.rows[*b as usize]) {
            let origin = self.rows[group[0] as usize] as usize;
            let (_, from_origin) = rest.split_at_mut((origin - passed) * columns);
            let (row, behind) = from_origin.split_at_mut(columns);
            groups.push((row, group));
            (rest, passed) = (behind, origin + 1);
        }
        groups.into_par_iter().with_min_len(32).for_each(|(row, group)| {
            for &at in group {
                let from = &gradient[at as usize * columns..][..columns];
                row.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
            }
        });
        [Some(tensor(table, [count, columns]))]
    }
}
