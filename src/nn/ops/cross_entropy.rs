//! Softmax cross-entropy from class indices, summed over rows.

use std::sync::Arc;

use rayon::prelude::*;

use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, by_rows};
use super::vector::{exp, max, sum, vectorised};

/// Rows with a negative target count for nothing.
#[derive(Debug, Clone)]
pub(super) struct CrossEntropy {
    pub targets: Arc<[i32]>,
}

impl Kernel<1> for CrossEntropy {
    /// The logits and the log of each row's sum of exponentials.
    type Saved = Option<(Plain, Vec<f32>)>;

    fn forward(&self, [logits]: [&Plain; 1], [needs]: [bool; 1]) -> (Plain, Self::Saved) {
        let [rows, classes] = dims(logits);
        let scores = values(logits);
        let mut logs = buffer(rows);
        // A row of logits is much more work than the one number it gives: pieces of a few rows.
        let step = (1_usize << 14).div_ceil(classes.max(1));
        logs.par_chunks_mut(step)
            .enumerate()
            .for_each(|(piece, logs)| log_sums(&scores[piece * step * classes..], classes, logs));
        let mut total = 0.0f64;
        for (row, &target) in self.targets.iter().enumerate().filter(|(_, target)| **target >= 0) {
            total += f64::from(logs[row]) - f64::from(scores[row * classes + target as usize]);
        }
        (tensor(vec![total as f32], [1]), needs.then(|| (logits.clone(), logs)))
    }

    /// `g (softmax - one hot)`.
    fn backward(&self, saved: Self::Saved, gradient: Plain, _: [bool; 1]) -> [Option<Plain>; 1] {
        let Some((logits, logs)) = saved else { return [None] };
        let [rows, classes] = dims(&logits);
        let (scores, factor) = (values(&logits), values(&gradient)[0]);
        let mut out = buffer(rows * classes);
        by_rows(&mut out, classes, |first, out| {
            for (at, out) in out.chunks_exact_mut(classes).enumerate() {
                let row = first + at;
                match self.targets[row] {
                    target if target < 0 => out.fill(0.0),
                    target => {
                        shares(&scores[row * classes..][..classes], logs[row], factor, out);
                        out[target as usize] -= factor;
                    }
                }
            }
        });
        [Some(tensor(out, [rows, classes]))]
    }
}

vectorised! {
    fn log_sums(scores: &[f32], classes: usize, logs: &mut [f32]) {
        for (row, log) in scores.chunks_exact(classes).zip(logs) {
            let highest = max(classes, |at| row[at]);
            *log = highest + sum(classes, |at| exp(row[at] - highest)).ln();
        }
    }

    fn shares(scores: &[f32], log: f32, factor: f32, out: &mut [f32]) {
        for (out, score) in out.iter_mut().zip(scores) {
            *out = factor * exp(score - log);
        }
    }
}
