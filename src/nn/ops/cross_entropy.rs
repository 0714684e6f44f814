//! Softmax cross-entropy with integer targets.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, activation};
use rayon::prelude::*;

use super::extension::{Array, Kernel, apply, array, on_host, rows_columns, values, values_mut};
use super::math::{exp, max, multiversion, sum};
use super::parallel::{PIECE, ordered, rows_of_piece};

/// Sum (not mean) of the softmax cross-entropies of the rows whose target is not negative. logits `[N, C]`,
/// targets `[N]` -> `[1]`. Panics when a target is not a class.
pub fn cross_entropy(logits: Tensor<2>, targets: Arc<[i32]>) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(rows, targets.len(), "one target for each row of logits");
    if let Some(target) = targets.iter().find(|target| **target >= classes as i32) {
        panic!("target {target} is not one of {classes} classes");
    }
    if on_host(&logits) { apply(CrossEntropy { targets }, [logits.into()]) } else { twin(logits, targets) }
}

/// The same of burn's operations.
pub fn twin(logits: Tensor<2>, targets: Arc<[i32]>) -> Tensor<1> {
    let device = logits.device().without_autodiff();
    let ints = |values: Vec<i32>| {
        let count = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
    };
    let kept: Vec<i32> = (0..).zip(targets.iter()).filter(|(_, target)| **target >= 0).map(|(row, _)| row).collect();
    if kept.is_empty() {
        return logits.sum() * 0.0;
    }
    let targets = kept.iter().map(|row| targets[*row as usize]).collect();
    let likelihoods = activation::log_softmax(logits.select(0, ints(kept)), 1);
    -likelihoods.gather(1, ints(targets).unsqueeze_dim(1)).sum()
}

/// Input: logits.
#[derive(Debug, Clone)]
struct CrossEntropy {
    targets: Arc<[i32]>,
}

impl Kernel for CrossEntropy {
    /// The logits, and each row's logarithm of the sum of exponentials.
    type Saved = Option<(Array, Vec<f32>)>;

    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved) {
        let [logits] = <[Array; 1]>::try_from(inputs).expect("one input");
        let (rows, classes) = rows_columns(&logits);
        let all = values(&logits);
        let row = |row: usize| &all[row * classes..][..classes];
        let normalisers = ordered(rows, rows * classes > PIECE, |at| match self.targets[at] {
            ..0 => 0.0,
            _ => log_sum_exp(row(at)),
        });
        let mut loss = 0.0f64;
        for ((at, normaliser), target) in normalisers.iter().enumerate().zip(self.targets.iter()) {
            if let Ok(target) = usize::try_from(*target) {
                loss += f64::from(*normaliser) - f64::from(row(at)[target]);
            }
        }
        (array(vec![loss as f32], [1]), tracked[0].then_some((logits, normalisers)))
    }

    /// `(softmax(logits) - onehot(target)) gradient`, over the logits.
    fn backward(&self, saved: Self::Saved, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let Some((mut logits, normalisers)) = saved else { return vec![None] };
        let (_, classes) = rows_columns(&logits);
        let gradient = values(&gradient)[0];
        let work = |((row, normaliser), target): ((&mut [f32], &f32), &i32)| match usize::try_from(*target) {
            Ok(target) => {
                softmax(row, *normaliser, gradient);
                row[target] -= gradient;
            }
            Err(_) => row.fill(0.0),
        };
        let rows = values_mut(&mut logits).par_chunks_mut(classes.max(1)).with_min_len(rows_of_piece(classes));
        rows.zip(normalisers.par_iter()).zip(self.targets.par_iter()).for_each(work);
        vec![Some(logits)]
    }
}

multiversion! {
    fn log_sum_exp(row: &[f32]) -> f32 {
        let largest = max(row);
        largest + sum(row, |logit| exp(logit - largest)).ln()
    }
}

multiversion! {
    fn softmax(row: &mut [f32], normaliser: f32, scale: f32) {
        for value in row {
            *value = exp(*value - normaliser) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    fn ours(inputs: &[Tensor<2>], targets: &[i32]) -> Tensor<2> {
        cross_entropy(inputs[0].clone(), targets.into()).unsqueeze()
    }

    fn burns(inputs: &[Tensor<2>], targets: &[i32]) -> Tensor<2> {
        twin(inputs[0].clone(), targets.into()).unsqueeze()
    }

    #[test]
    fn cross_entropy_agrees_with_burn() {
        for (classes, targets) in [(2, vec![1]), (5, vec![4, -100, 0, 2, -1]), (70, vec![69; 9]), (3, vec![-100, -100])]
        {
            let inputs = [random(targets.len(), classes, 1)];
            agrees_with_twin(&|x| ours(x, &targets), &|x| burns(x, &targets), &inputs);
        }
    }

    #[test]
    fn cross_entropy_and_its_gradient_follow_the_definition_in_double_precision() {
        let targets = [0, 6, -100, 3];
        let definition = |inputs: &[Vec<f64>]| {
            let rows = inputs[0].chunks(7).zip(targets).filter(|(_, target)| *target >= 0);
            let losses = rows.map(|(row, target)| {
                row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[usize::try_from(target).unwrap()]
            });
            vec![losses.sum()]
        };
        agrees_with_differences(&|x| ours(x, &targets), &definition, &[random(4, 7, 1)]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (loss, _) = run(&|x| ours(x, &[0, 1]), &[(vec![1000.0, -1000.0, 1000.0, -1000.0], [2, 2])], &[false]);
        assert_eq!(loss, [2000.0]);
    }

    #[test]
    fn a_logit_that_is_not_a_number_shows_in_the_loss() {
        let (loss, _) = run(&|x| ours(x, &[0]), &[(vec![1.0, f32::NAN, 0.0], [1, 3])], &[false]);
        assert!(loss[0].is_nan());
    }

    #[test]
    fn cross_entropy_gives_the_same_bits_for_any_number_of_threads() {
        let targets: Vec<i32> = (0..60).map(|at| at * 16 - 3).collect();
        same_bits_for_any_number_of_threads(&|x| ours(x, &targets), &[random(60, 1000, 1)]);
    }
}
