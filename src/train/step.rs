//! The gradients of one optimizer step, from one or more passes.

use burn::tensor::Tensor;

use super::error::TrainError;
use super::objective::{Loss, Objective, Rows};
use super::stability::Regularizer;
use crate::data::order::{self, Budget};
use crate::nn::gradient::Gradients;
use crate::nn::models::Model;
use crate::nn::pass::Pass;
use crate::random::Key;

/// What the passes of a step add up to. Losses and gradients are sums over targets, not means: a step's mean is taken
/// once, over all its targets, so that uneven passes weigh what they should.
#[derive(Debug, Default)]
pub struct Accumulated {
    /// Sorted by name.
    pub gradients: Gradients,
    pub loss: f64,
    pub targets: u64,
    pub tokens: u64,
}

/// Where a step's random numbers come from.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// Of the epoch: a row's masks come from `masks.at(row)`, whichever pass it is in.
    pub masks: Key,
    /// Of the step: the passes' dropout comes from `dropout.at(pass)`.
    pub dropout: Key,
}

/// The rows of one pass, and where its random numbers come from.
pub struct Portion<'a> {
    pub model: &'a Model,
    pub objective: &'a dyn Objective,
    pub rows: Rows<'a>,
    pub chosen: &'a [usize],
    pub masks: Key,
    /// Dropout's, and of all else that is random in the pass, in sub-streams.
    pub draws: Key,
}

/// What came of one pass.
#[derive(Debug)]
pub struct Passed {
    /// Summed over targets.
    pub loss: f64,
    pub targets: u64,
    pub gradients: Gradients,
}

impl Passed {
    /// Ends a pass with the gradients of `sum`, a sum over `targets`.
    pub fn of(pass: Pass, sum: Tensor<1>, targets: u64) -> Result<Self, TrainError> {
        let value = sum.clone().try_into_scalar::<f32>();
        let loss = value.map(f64::from).map_err(|error| TrainError::Device { message: error.to_string() })?;
        Ok(Self { loss, targets, gradients: pass.gradients(sum) })
    }
}

impl Portion<'_> {
    /// The objective's loss of the rows; `None` if they hold no target.
    pub fn loss(&self, pass: &Pass) -> Option<Loss> {
        self.objective.loss(self.model, pass, self.rows, self.chosen, self.masks)
    }

    /// Loss and gradients as the objective has them.
    pub fn plain(&self) -> Result<Option<Passed>, TrainError> {
        let pass = self.model.training_pass(self.draws);
        let Some(loss) = self.loss(&pass) else { return Ok(None) };
        drop(loss.logits); // they would keep parts of the graph alive
        Passed::of(pass, loss.sum, loss.targets).map(Some)
    }

    /// `[B + 1]`: where each row's states begin among those that enter the model, see [`Pass::enter`].
    pub fn bounds(&self) -> Vec<usize> {
        let whole = self.model.fixed() == Some(self.model.layers());
        let mut bounds = vec![0];
        for &row in self.chosen {
            bounds.push(bounds[bounds.len() - 1] + if whole { 1 } else { self.rows.encodings[row].len() });
        }
        bounds
    }
}

/// Runs `chosen` rows through the model, as many at a time as `budget` allows, and adds up the gradients.
pub fn accumulate(
    model: &Model,
    objective: &dyn Objective,
    rows: Rows,
    chosen: &[usize],
    budget: Budget,
    draws: Draws,
    regularizer: Option<&dyn Regularizer>,
) -> Result<Accumulated, TrainError> {
    let mut sum = Accumulated::default();
    let length = |row: usize| rows.encodings[row].len();
    for (index, chosen) in order::passes(chosen, length, budget).iter().enumerate() {
        sum.tokens += rows.tokens(chosen);
        let draws = (draws.masks, draws.dropout.at(index as u64));
        let portion = Portion { model, objective, rows, chosen, masks: draws.0, draws: draws.1 };
        let passed = match regularizer {
            None => portion.plain()?,
            Some(regularizer) => regularizer.pass(&portion)?,
        };
        let Some(Passed { loss, targets, mut gradients }) = passed else { continue };
        sum.loss += loss;
        sum.targets += targets;
        gradients.sort_unstable_keys();
        sum.gradients = add(sum.gradients, gradients);
    }
    Ok(sum)
}

/// The sum of gradients, sorted by name.
pub(super) fn add(left: Gradients, mut right: Gradients) -> Gradients {
    if left.is_empty() {
        return right;
    }
    let mut sum: Gradients = left
        .into_iter()
        .map(|(name, gradient)| match right.swap_remove(&name) {
            Some(other) => (name, gradient.plus(other)),
            None => (name, gradient),
        })
        .collect();
    // What only the second pass touched.
    sum.extend(right);
    sum.sort_unstable_keys();
    sum
}
