//! Passes without gradients over rows with known answers.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::metrics;
use super::objective::{Objective, Rows};
use super::prediction::{self, Prediction};
use crate::data::batch::Encoding;
use crate::lang::metric;
use crate::nn::models::Model;
use crate::random::Key;

/// Most tokens of an evaluation batch. Nothing is kept for a backward pass, so more fit than in training; larger ones
/// gain no speed.
const TOKENS: usize = 4096;

/// How good a model is on some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean over targets.
    pub loss: f64,
    /// (name, value): the task's metrics; `perplexity` for language modelling.
    pub metrics: Vec<(String, f64)>,
}

impl Scores {
    /// A metric, or `loss`.
    pub fn get(&self, name: &str) -> Option<f64> {
        if name == "loss" {
            return Some(self.loss);
        }
        self.metrics.iter().find(|(metric, _)| metric == name).map(|(_, value)| *value)
    }
}

/// Scores, and the answers they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    pub scores: Scores,
    /// One a row, in the rows' order; empty for language modelling.
    pub predictions: Vec<Prediction>,
}

/// Evaluates a model. Masks of a language model are drawn from `seed` alone: the same in every evaluation of a run, so
/// that its losses can be compared.
pub fn evaluate(model: &Model, objective: &dyn Objective, rows: Rows, seed: u64) -> Result<Evaluation, TrainError> {
    if rows.is_empty() {
        return Err(TrainError::NoRows { purpose: "evaluate" });
    }
    objective.check(rows)?;
    let draws = Key::new(seed, "mask for evaluation");
    let (mut sum, mut targets, mut predictions) = (0.0, 0, Vec::new());
    // One pass for all: what is computed of parameters alone is computed once.
    let pass = model.evaluating_pass();
    for range in batches(rows.encodings) {
        let chosen: Vec<usize> = range.collect();
        let Some(loss) = objective.loss(model, &pass, rows, &chosen, draws) else { continue };
        let value = loss.value()?;
        if !value.is_finite() {
            return Err(TrainError::NotFinite { quantity: "loss on held-out rows", value });
        }
        sum += value;
        targets += loss.targets;
        if let Some(task) = objective.task() {
            predictions.extend(prediction::read(task, loss.logits)?);
        }
    }
    let loss = sum / targets.max(1) as f64;
    let metrics = match objective.task() {
        Some(task) => metrics::compute(task, &predictions, rows.targets),
        None => vec![("perplexity".to_owned(), loss.exp())],
    };
    Ok(Evaluation { scores: Scores { loss, metrics }, predictions })
}

/// Consecutive rows, as many as fit the token budget and at least one.
pub(super) fn batches(encodings: &[Encoding]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = start;
        let mut tokens = 0;
        while start < encodings.len() && (start == first || tokens + encodings[start].len() <= TOKENS) {
            tokens += encodings[start].len();
            start += 1;
        }
        (start > first).then_some(first..start)
    })
}

/// The metric that tells which of two models is better: the one asked for, or the first of the task, or the loss.
pub(super) fn deciding_metric(objective: &dyn Objective, asked: Option<&str>) -> Result<String, TrainError> {
    let mut available = objective.task().map_or(vec!["perplexity"], |task| metric::of(task).to_vec());
    available.push("loss");
    match asked {
        Some(asked) if available.contains(&asked) => Ok(asked.to_owned()),
        Some(asked) => Err(TrainError::UnknownMetric { metric: asked.to_owned(), available: available.join(", ") }),
        None if objective.task().is_some() => Ok(available[0].to_owned()),
        None => Ok("loss".to_owned()),
    }
}

/// Whether a value is better than another one. `lang::metric` knows the tasks' metrics; perplexity goes with the loss.
pub(super) fn better(metric: &str, value: f64, than: f64) -> bool {
    if metric != "perplexity" && metric::rises(metric) { value > than } else { value < than }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_row_once_and_stay_within_the_budget_unless_one_row_alone_does_not() {
        let lengths = [1000, 3096, 1, 5000, 7, 4096, 4000, 96, 1];
        let encodings: Vec<Encoding> =
            lengths.iter().map(|&length| Encoding { ids: vec![0; length], ..Encoding::default() }).collect();
        let found: Vec<Range<usize>> = batches(&encodings).collect();
        assert_eq!(found, [0..2, 2..3, 3..4, 4..5, 5..6, 6..8, 8..9]);
        assert_eq!(batches(&[]).count(), 0);
    }

    #[test]
    fn errors_and_perplexity_are_better_when_lower() {
        assert!(better("accuracy", 0.9, 0.8) && !better("accuracy", 0.8, 0.8));
        for metric in ["loss", "perplexity", "mean_squared_error"] {
            assert!(better(metric, 0.8, 0.9) && !better(metric, 0.9, 0.8));
        }
    }
}
