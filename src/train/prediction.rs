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
    let mut predictions = Vec::with_capacity(encodings.len());
    for range in batches(encodings) {
        let batch = Batch::pack(&encodings[range]);
        let pass = model.evaluating_pass();
        let first = model.encode_at(&pass, &batch, &batch.first_tokens());
        let logits = model.sequence_logits(&pass, first);
        predictions.extend(read(task, logits)?);
    }
    Ok(predictions)
}

/// Answers from logits `[B, labels]`, or `[B, 1]` for a regression.
pub(super) fn read(task: &Task, logits: Tensor<2>) -> Result<Vec<Prediction>, TrainError> {
    let [_, width] = logits.dims();
    let logits = logits.try_into_vec_as::<f32>().map_err(|error| TrainError::Device { message: error.to_string() })?;
    if let Some(&value) = logits.iter().find(|value| !value.is_finite()) {
        return Err(TrainError::NotFinite { quantity: "logit", value: f64::from(value) });
    }
    Ok(match task {
        Task::Classification { .. } => {
            logits.chunks(width).map(|row| Prediction::from_probabilities(softmax(row))).collect()
        }
        Task::Regression => logits.into_iter().map(Prediction::Score).collect(),
    })
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}
