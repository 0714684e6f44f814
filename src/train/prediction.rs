//! What a model says about rows.

use burn::tensor::Tensor;

use super::error::TrainError;
use super::evaluation::batches;
use crate::data::batch::{Batch, Encoding};
use crate::lang::world::Task;
use crate::nn::models::Model;

/// A model's answer to one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    Class {
        /// Index into the task's labels: the most probable one, the first of equals.
        class: u32,
        /// One a label, in the order of the task's labels.
        probabilities: Vec<f32>,
    },
    Score(f32),
}

impl Prediction {
    /// The most probable class.
    pub fn from_probabilities(probabilities: Vec<f32>) -> Self {
        let mut class = 0;
        for (index, probability) in probabilities.iter().enumerate() {
            if *probability > probabilities[class] {
                class = index;
            }
        }
        Self::Class { class: class as u32, probabilities }
    }
}

/// The answers of a model with a sequence head.
pub fn predict(model: &Model, task: &Task, encodings: &[Encoding]) -> Result<Vec<Prediction>, TrainError> {
    Ok(answers(task, &logits(model, encodings)?))
}

/// What a model with a sequence head says of each row, before it is an answer: one number a label, or one for a
/// regression.
pub fn logits(model: &Model, encodings: &[Encoding]) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut logits = Vec::with_capacity(encodings.len());
    let pass = model.evaluating_pass();
    for range in batches(encodings) {
        let batch = Batch::pack(&encodings[range]);
        let first = model.encode_at(&pass, &batch, &batch.first_tokens());
        logits.extend(rows(model.sequence_logits(&pass, first))?);
    }
    Ok(logits)
}

/// The answers that logits stand for, a row each.
pub fn answers(task: &Task, logits: &[Vec<f32>]) -> Vec<Prediction> {
    let answer = |row: &Vec<f32>| match task {
        Task::Classification { .. } => Prediction::from_probabilities(softmax(row)),
        Task::Regression => Prediction::Score(row[0]),
    };
    logits.iter().map(answer).collect()
}

/// Answers from logits `[B, labels]`, or `[B, 1]` for a regression.
pub(super) fn read(task: &Task, logits: Tensor<2>) -> Result<Vec<Prediction>, TrainError> {
    Ok(answers(task, &rows(logits)?))
}

fn rows(logits: Tensor<2>) -> Result<Vec<Vec<f32>>, TrainError> {
    let [_, width] = logits.dims();
    let logits = logits.try_into_vec_as::<f32>().map_err(|error| TrainError::Device { message: error.to_string() })?;
    if let Some(&value) = logits.iter().find(|value| !value.is_finite()) {
        return Err(TrainError::NotFinite { quantity: "logit", value: f64::from(value) });
    }
    Ok(logits.chunks(width).map(<[f32]>::to_vec).collect())
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}
