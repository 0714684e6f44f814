//! One answer a row: a label or a score.

use burn::tensor::{Tensor, TensorData};

use super::error::TrainError;
use super::objective::{Loss, Objective, Rows};
use crate::data::batch::{Batch, Tokens};
use crate::data::set::Target;
use crate::event::Notice;
use crate::lang::world::Task;
use crate::nn::models::Model;
use crate::nn::ops;
use crate::nn::pass::Pass;
use crate::random::Key;

/// Softmax cross-entropy for a classification, squared error for a regression (`problem_type` of `transformers`:
/// `single_label_classification`, `regression`).
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceTask {
    pub task: Task,
}

impl Objective for SequenceTask {
    fn check(&self, rows: Rows) -> Result<Vec<Notice>, TrainError> {
        if rows.targets.len() + rows.unlabelled != rows.len() {
            return Err(TrainError::TargetCount { rows: rows.len(), targets: rows.targets.len() });
        }
        for (row, target) in rows.targets.iter().enumerate() {
            let (found, expected) = match (&self.task, target) {
                (Task::Classification { labels }, Target::Class(class)) if (*class as usize) < labels.len() => continue,
                (Task::Regression, Target::Score(score)) if score.is_finite() => continue,
                (Task::Classification { labels }, Target::Class(class)) => {
                    (format!("class {class}"), format!("one of {} classes", labels.len()))
                }
                (Task::Classification { .. }, Target::Score(score)) => (format!("score {score}"), "a label".into()),
                (Task::Regression, Target::Class(_)) => ("a label".into(), "a score".into()),
                (Task::Regression, Target::Score(score)) => (format!("score {score}"), "a finite number".into()),
            };
            return Err(TrainError::TargetKind { row, found, expected });
        }
        Ok(Vec::new())
    }

    fn loss(&self, model: &Model, pass: &Pass, rows: Rows, chosen: &[usize], _: Key) -> Option<Loss> {
        if chosen.is_empty() {
            return None;
        }
        let first = match rows.states {
            Some(states) => {
                let (states, offsets) = states.pack(chosen);
                model.encode_from(pass, states, &offsets, Some(&Tokens::first(&offsets)))
            }
            None => {
                let batch = Batch::pack(chosen.iter().map(|&row| &rows.encodings[row]));
                model.encode_at(pass, &batch, &batch.first_tokens())
            }
        }; // [B, hidden_size]
        let logits = model.sequence_logits(pass, first); // [B, labels]
        // What has no label adds nothing, but counts.
        let targets = chosen.iter().map(|&row| rows.targets.get(row).copied());
        let sum = match self.task {
            Task::Classification { .. } => ops::cross_entropy(logits.clone(), targets.map(class).collect()),
            Task::Regression => {
                let column = |values: Vec<f32>| {
                    Tensor::<2>::from_data(TensorData::new(values, [chosen.len(), 1]), &logits.device())
                };
                let mut error = logits.clone() - column(targets.clone().map(score).collect());
                if rows.unlabelled > 0 {
                    error = error * column(targets.map(|target| f32::from(target.is_some())).collect());
                }
                (error.clone() * error).sum()
            }
        };
        Some(Loss { sum, targets: chosen.len() as u64, logits })
    }

    fn task(&self) -> Option<&Task> {
        Some(&self.task)
    }
}

/// `check` has seen to it that the targets are the task's.
fn class(target: Option<Target>) -> i32 {
    match target {
        Some(Target::Class(class)) => class as i32,
        Some(Target::Score(_)) | None => -1,
    }
}

fn score(target: Option<Target>) -> f32 {
    match target {
        Some(Target::Class(class)) => class as f32,
        Some(Target::Score(score)) => score,
        None => 0.0,
    }
}
