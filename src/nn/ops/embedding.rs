//! Picking rows: of a table of embeddings, or of an activation.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::extension::{Array, Kernel, apply, array, on_host, plain, rows_columns, space, tensor, values, values_mut};
use super::parallel::{PIECE, pieces, rows_of_piece};

/// Rows of a table. table `[V, d]`, ids `[T]` -> `[T, d]`. Panics when an id has no row.
pub fn embedding(table: Tensor<2>, ids: Arc<[u32]>) -> Tensor<2> {
    gather(table, ids)
}

/// Rows of an activation. x `[T, d]`, rows `[N]` -> `[N, d]`. Panics when a row is not there.
pub fn gather(x: Tensor<2>, rows: Arc<[u32]>) -> Tensor<2> {
    if on_host(&x) { apply(Rows { rows }, [x.into()]) } else { twin(x, rows) }
}

/// The same of burn's operations.
pub fn twin(x: Tensor<2>, rows: Arc<[u32]>) -> Tensor<2> {
    let indices = rows.iter().map(|row| *row as i32).collect::<Vec<_>>();
    let device = x.device().without_autodiff();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [rows.len()]), &device);
    x.select(0, indices)
}

/// Adds up rows that have one id. x `[T, d]`, ids `[T]` -> the ids, rising and each once, and `[ids, d]`: a plain tensor
/// on the host.
pub fn sum_rows(x: Tensor<2>, ids: &[u32]) -> (Arc<[u32]>, Tensor<2>) {
    let x = plain(x);
    let (count, d) = rows_columns(&x);
    assert_eq!(count, ids.len(), "one id for each row");
    let order = in_order(ids);
    let groups: Vec<&[(u32, u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
    let mut out = vec![0.0; groups.len() * d];
    let targets = out.chunks_exact_mut(d.max(1)).zip(groups.iter().copied()).collect();
    add_groups(targets, values(&x), d);
    let shape = [groups.len(), d];
    (groups.iter().map(|group| group[0].0).collect(), tensor(array(out, shape)))
}

/// Adds to some rows of a matrix. x `[V, d]`, rows `[N]` rising and each once, values `[N, d]`; plain tensors on the host.
pub fn add_rows(x: Tensor<2>, rows: &[u32], added: Tensor<2>) -> Tensor<2> {
    let (mut x, added) = (plain(x), plain(added));
    let (_, d) = rows_columns(&x);
    let order: Vec<(u32, u32)> = rows.iter().copied().zip(0..).collect();
    add_groups(targets_of(values_mut(&mut x), &order, d), values(&added), d);
    tensor(x)
}

/// (id, index) by id, then by index.
fn in_order(ids: &[u32]) -> Vec<(u32, u32)> {
    let mut order: Vec<(u32, u32)> = ids.iter().copied().zip(0..).collect();
    order.sort_unstable();
    order
}

/// A row of a matrix, and what is added to it: (row, index of the source), in order.
type Target<'a> = (&'a mut [f32], &'a [(u32, u32)]);

/// The rows of a matrix that something is added to. `order` as [`in_order`] makes it.
fn targets_of<'a>(mut rest: &'a mut [f32], order: &'a [(u32, u32)], d: usize) -> Vec<Target<'a>> {
    let mut targets = Vec::new();
    let mut at = 0;
    for sources in order.chunk_by(|a, b| a.0 == b.0) {
        let row = sources[0].0 as usize;
        let (target, after) = std::mem::take(&mut rest)[(row - at) * d..].split_at_mut(d);
        (rest, at) = (after, row + 1);
        targets.push((target, sources));
    }
    targets
}

/// Adds rows of `source` to their targets: a target at a time, in the order of the sources.
fn add_groups(targets: Vec<Target>, source: &[f32], d: usize) {
    let add = |(target, sources): Target| {
        for &(_, index) in sources {
            for (sum, value) in target.iter_mut().zip(&source[index as usize * d..][..d]) {
                *sum += value;
            }
        }
    };
    if source.len() <= PIECE {
        targets.into_iter().for_each(add);
    } else {
        targets.into_par_iter().with_min_len(rows_of_piece(d).div_ceil(4)).for_each(add);
    }
}

/// Input: the matrix whose rows are picked.
#[derive(Debug, Clone)]
struct Rows {
    rows: Arc<[u32]>,
}

impl Kernel for Rows {
    /// The number of rows to pick from, and their length.
    type Saved = (usize, usize);

    fn forward(&self, inputs: Vec<Array>, _: &[bool]) -> (Array, Self::Saved) {
        let (count, d) = rows_columns(&inputs[0]);
        let source = values(&inputs[0]);
        let mut out = space(self.rows.len() * d);
        pieces(&mut out, rows_of_piece(d) * d.max(1), |first, piece| {
            for (into, row) in piece.chunks_exact_mut(d.max(1)).zip(&self.rows[first / d.max(1)..]) {
                let row = *row as usize;
                assert!(row < count, "row {row} was asked for, of {count}");
                into.copy_from_slice(&source[row * d..][..d]);
            }
        });
        (array(out, [self.rows.len(), d]), (count, d))
    }

    /// Adds each row's gradient to where it came from.
    fn backward(&self, (count, d): Self::Saved, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let order = in_order(&self.rows);
        let mut out = vec![0.0; count * d];
        add_groups(targets_of(&mut out, &order, d), values(&gradient), d);
        vec![Some(array(out, [count, d]))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    #[test]
    fn picked_rows_and_their_scattered_gradients_agree_with_burn() {
        for rows in [vec![0], vec![4, 0, 4, 4, 2], vec![3; 40]] {
            let rows: Arc<[u32]> = rows.into();
            let ours = |inputs: &[Tensor<2>]| embedding(inputs[0].clone(), rows.clone());
            let theirs = |inputs: &[Tensor<2>]| twin(inputs[0].clone(), rows.clone());
            agrees_with_twin(&ours, &theirs, &[random(5, 7, 1)]);
        }
    }

    #[test]
    fn rows_nobody_picked_get_a_gradient_of_zero() {
        let op = |inputs: &[Tensor<2>]| gather(inputs[0].clone(), [2, 2].into());
        let (_, gradients) = run(&op, &[random(4, 3, 1)], &[true]);
        let gradient = gradients[0].as_ref().unwrap();
        assert!(gradient[..6].iter().chain(&gradient[9..]).all(|value| *value == 0.0));
        assert!(gradient[6..9].iter().all(|value| *value != 0.0));
    }

    #[test]
    fn rows_with_one_id_are_added_up_and_added_to_a_matrix() {
        let (x, ids) = (random(6, 4, 1), [5u32, 0, 5, 2, 0, 5]);
        let (rows, sums) = sum_rows(leaf(&x), &ids);
        assert_eq!(*rows, [0, 2, 5]);
        let mut expected = vec![0.0; 7 * 4];
        for (index, id) in ids.iter().enumerate() {
            (0..4).for_each(|column| expected[*id as usize * 4 + column] += x.0[index * 4 + column]);
        }
        let onto = random(7, 4, 2);
        expected.iter_mut().zip(&onto.0).for_each(|(sum, value)| *sum += value);
        close("rows", &read(add_rows(leaf(&onto), &rows, sums)), &expected, 1e-6);
    }

    #[test]
    fn embeddings_give_the_same_bits_for_any_number_of_threads() {
        let ids: Arc<[u32]> = (0..2000u32).map(|at| at * at % 97).collect();
        let op = |inputs: &[Tensor<2>]| embedding(inputs[0].clone(), ids.clone());
        same_bits_for_any_number_of_threads(&op, &[random(97, 33, 1)]);
    }
}
