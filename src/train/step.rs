//! The gradients of one optimizer step, from one or more passes.

use super::error::TrainError;
use super::objective::{Objective, Rows};
use crate::data::order::{self, Budget};
use crate::nn::gradient::Gradients;
use crate::nn::models::Model;

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

/// Runs `chosen` rows through the model, as many at a time as `budget` allows, and adds up the gradients.
pub fn accumulate(
    model: &Model,
    objective: &dyn Objective,
    rows: Rows,
    chosen: &[usize],
    budget: Budget,
    draws: Draws,
) -> Result<Accumulated, TrainError> {
    let mut sum = Accumulated::default();
    let length = |row: usize| rows.encodings[row].len();
    for (index, chosen) in order::passes(chosen, length, budget).iter().enumerate() {
        sum.tokens += rows.tokens(chosen);
        let pass = model.training_pass(draws.dropout.at(index as u64));
        let Some(loss) = objective.loss(model, &pass, rows, chosen, draws.masks) else { continue };
        sum.loss += loss.value()?;
        sum.targets += loss.targets;
        drop(loss.logits); // they would keep parts of the graph alive
        let mut gradients = pass.gradients(loss.sum);
        gradients.sort_unstable_keys();
        sum.gradients = if sum.gradients.is_empty() { gradients } else { add(sum.gradients, gradients) };
    }
    Ok(sum)
}

fn add(left: Gradients, mut right: Gradients) -> Gradients {
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
