//! What is minimised.

use burn::tensor::Tensor;

use super::error::TrainError;
use super::states::States;
use crate::data::batch::Encoding;
use crate::data::set::Target;
use crate::event::Notice;
use crate::lang::world::Task;
use crate::nn::models::Model;
use crate::nn::pass::Pass;
use crate::random::Key;

/// Tokenised rows, with a target each where the objective needs targets.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub encodings: &'a [Encoding],
    /// As many as encodings, less those without labels, or none for text.
    pub targets: &'a [Target],
    /// How many of the last rows have no label.
    pub unlabelled: usize,
    /// What the model's fixed layers make of the rows, where that was computed beforehand.
    pub states: Option<&'a States>,
}

impl<'a> Rows<'a> {
    pub fn text(encodings: &'a [Encoding]) -> Self {
        Self { encodings, targets: &[], unlabelled: 0, states: None }
    }

    pub fn labelled(encodings: &'a [Encoding], targets: &'a [Target]) -> Self {
        Self { encodings, targets, unlabelled: 0, states: None }
    }

    /// The same rows, so many of the last of which have no label.
    pub fn with_unlabelled(self, unlabelled: usize) -> Self {
        Self { unlabelled, ..self }
    }

    pub fn with_states(self, states: Option<&'a States>) -> Self {
        Self { states, ..self }
    }

    pub fn len(&self) -> usize {
        self.encodings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.encodings.is_empty()
    }

    /// Tokens of some rows.
    pub fn tokens(&self, chosen: &[usize]) -> u64 {
        chosen.iter().map(|&row| self.encodings[row].len() as u64).sum()
    }
}

/// The loss of one pass.
pub struct Loss {
    /// `[1]`, summed over targets.
    pub sum: Tensor<1>,
    /// How many targets the sum is over; rows without labels count among them.
    pub targets: u64,
    /// `[targets, classes]`, or `[targets, 1]` for a regression.
    pub logits: Tensor<2>,
}

impl Loss {
    /// The sum, on the host.
    pub fn value(&self) -> Result<f64, TrainError> {
        let value = self.sum.clone().try_into_scalar::<f32>();
        value.map(f64::from).map_err(|error| TrainError::Device { message: error.to_string() })
    }
}

/// Turns rows into a loss.
pub trait Objective {
    /// Refuses rows it can't learn from, before anything runs; says what is odd about the others.
    fn check(&self, rows: Rows) -> Result<Vec<Notice>, TrainError>;

    /// The loss of the `chosen` rows; `None` if they hold no target. What is random about a row, beside dropout, comes
    /// from `draws.at(row)`.
    fn loss(&self, model: &Model, pass: &Pass, rows: Rows, chosen: &[usize], draws: Key) -> Option<Loss>;

    /// The task whose metrics tell how good the model is; `None` where only the loss does.
    fn task(&self) -> Option<&Task>;
}
