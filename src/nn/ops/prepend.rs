//! The same rows put before every sequence of a packed batch.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::embedding;
use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, space, values};
use crate::data::batch::lengthened;

/// Each sequence of x behind the rows of `first`. first `[P, d]`, x `[T, d]`, offsets `[B + 1]` of x -> `[T + P B, d]`.
/// Panics when the offsets do not rise from 0 to T.
pub fn prepend(first: Tensor<2>, x: Tensor<2>, offsets: &Arc<[u32]>) -> Tensor<2> {
    let ([_, d], [tokens, columns]) = (first.dims(), x.dims());
    assert_eq!(d, columns, "rows of one width");
    let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(tokens as u32));
    assert!(whole && offsets.is_sorted(), "bounds of sequences rise from 0 to the number of rows");
    match on_host(&x) && on_host(&first) {
        true => apply(Prepend { offsets: offsets.clone() }, [first.into(), x.into()]),
        false => twin(first, x, offsets),
    }
}

/// The same of burn's operations.
pub fn twin(first: Tensor<2>, x: Tensor<2>, offsets: &[u32]) -> Tensor<2> {
    let [before, _] = first.dims();
    let before = before as u32;
    let rows: Vec<u32> = offsets
        .windows(2)
        .flat_map(|pair| (0..before).chain(before + pair[0]..before + pair[1]).collect::<Vec<_>>())
        .collect();
    let tracked = first.device().is_autodiff() || x.device().is_autodiff();
    let on_tape = |x: Tensor<2>| if tracked && !x.device().is_autodiff() { x.autodiff() } else { x };
    embedding::twin(Tensor::cat(vec![on_tape(first), on_tape(x)], 0), rows.into())
}

/// Inputs: the rows to put first, and the sequences.
#[derive(Debug, Clone)]
struct Prepend {
    offsets: Arc<[u32]>,
}

impl Kernel for Prepend {
    /// The numbers of rows of both, and their length.
    type Saved = (usize, usize, usize);

    fn forward(&self, inputs: Vec<Array>, _: &[bool]) -> (Array, Self::Saved) {
        let ((before, d), (tokens, _)) = (rows_columns(&inputs[0]), rows_columns(&inputs[1]));
        let (first, x) = (values(&inputs[0]), values(&inputs[1]));
        let rows = tokens + before * (self.offsets.len() - 1);
        let mut out = space(rows * d);
        let mut rest = &mut out[..];
        for pair in self.offsets.windows(2) {
            let own = &x[pair[0] as usize * d..pair[1] as usize * d];
            let (sequence, others) = rest.split_at_mut(first.len() + own.len());
            sequence[..first.len()].copy_from_slice(first);
            sequence[first.len()..].copy_from_slice(own);
            rest = others;
        }
        (array(out, [rows, d]), (before, tokens, d))
    }

    /// The first rows' gradient is the sum over the sequences, in their order.
    fn backward(&self, (before, tokens, d): Self::Saved, gradient: Array, needed: &[bool]) -> Vec<Option<Array>> {
        let (gradient, long) = (values(&gradient), lengthened(&self.offsets, before));
        let first = needed[0].then(|| {
            let mut sums = vec![0.0; before * d];
            for start in &long[..long.len() - 1] {
                let sequence = &gradient[*start as usize * d..];
                sums.iter_mut().zip(sequence).for_each(|(sum, value)| *sum += value);
            }
            array(sums, [before, d])
        });
        let x = needed[1].then(|| {
            let mut own = Vec::with_capacity(tokens * d);
            for pair in long.windows(2) {
                own.extend_from_slice(&gradient[(pair[0] as usize + before) * d..pair[1] as usize * d]);
            }
            array(own, [tokens, d])
        });
        vec![first, x]
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    fn offsets() -> Arc<[u32]> {
        [0, 3, 3, 4, 9].into()
    }

    #[test]
    fn rows_before_every_sequence_and_their_summed_gradients_agree_with_burn() {
        for before in [1, 4] {
            let inputs = [random(before, 6, 1), random(9, 6, 2)];
            let ours = |inputs: &[Tensor<2>]| prepend(inputs[0].clone(), inputs[1].clone(), &offsets());
            let theirs = |inputs: &[Tensor<2>]| twin(inputs[0].clone(), inputs[1].clone(), &offsets());
            agrees_with_twin(&ours, &theirs, &inputs);
            differentiates_only_what_is_tracked(&ours, &inputs);
        }
    }

    #[test]
    fn every_sequence_begins_with_the_same_rows_and_goes_on_with_its_own() {
        let (first, x) = (random(2, 3, 1), random(9, 3, 2));
        let out = read(prepend(leaf(&first), leaf(&x), &offsets()));
        let rows: Vec<&[f32]> = out.chunks(3).collect();
        for (start, own) in [(0, 0..3), (5, 3..3), (7, 3..4), (10, 4..9)] {
            assert_eq!(rows[start..start + 2].concat(), first.0);
            assert_eq!(rows[start + 2..start + 2 + own.len()].concat(), x.0[own.start * 3..own.end * 3]);
        }
        assert_eq!(rows.len(), 9 + 4 * 2);
    }
}
