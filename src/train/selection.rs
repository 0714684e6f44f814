//! Which evaluation was the best, and when there is no hope of a better one.

use serde::{Deserialize, Serialize};

use super::checkpoint::{Saved, Snapshot};
use super::evaluation::{Scores, better};
use super::settings::{Keep, Settings};
use crate::nn::parameters::{Parameters, Weight};

/// Remembers the best evaluation and counts those that were not better.
pub(super) struct Selection {
    metric: String,
    keep: Keep,
    patience: Option<u64>,
    without_improvement: u64,
    pub best: Option<Best>,
}

pub(super) struct Best {
    pub found: Found,
    /// Only what trains: sharing tensors, the copy costs memory for no more than that.
    pub weights: Vec<(String, Weight)>,
}

/// An evaluation that was better than those before it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Found {
    value: f64,
    pub epoch: f64,
    pub scores: Scores,
}

impl Selection {
    pub fn new(metric: String, settings: &Settings) -> Self {
        Self { metric, keep: settings.keep, patience: settings.patience, without_improvement: 0, best: None }
    }

    /// Looks at an evaluation; true if it is time to stop. Of equals the earlier one stays the best.
    pub fn offer(&mut self, parameters: &Parameters, trained: &[String], scores: &Scores, epoch: f64) -> bool {
        let value = scores.get(&self.metric).unwrap_or(scores.loss);
        if self.best.as_ref().is_none_or(|best| better(&self.metric, value, best.found.value)) {
            let weights = match self.keep {
                Keep::Best => trained.iter().map(|name| (name.clone(), parameters[name].weight.clone())).collect(),
                Keep::Last => Vec::new(),
            };
            self.best = Some(Best { found: Found { value, epoch, scores: scores.clone() }, weights });
            self.without_improvement = 0;
        } else {
            self.without_improvement += 1;
        }
        self.patience.is_some_and(|patience| self.without_improvement >= patience)
    }

    pub fn save(&self, to: &mut Snapshot) {
        to.record("best", &(self.without_improvement, self.best.as_ref().map(|best| &best.found)));
        for (name, weight) in self.best.iter().flat_map(|best| &best.weights) {
            to.tensor("best", name, weight);
        }
    }

    /// Takes over what [`Selection::save`] wrote; `None` when it is not of these parameters.
    pub fn load(&mut self, saved: &Saved, parameters: &Parameters, trained: &[String]) -> Option<()> {
        let (without_improvement, found): (u64, Option<Found>) = saved.record("best")?;
        self.without_improvement = without_improvement;
        self.best = match found {
            None => None,
            Some(found) => {
                let weight = |name: &String| Some((name.clone(), saved.like("best", name, &parameters[name].weight)?));
                let weights = match self.keep {
                    Keep::Best => trained.iter().map(weight).collect::<Option<_>>()?,
                    Keep::Last => Vec::new(),
                };
                Some(Best { found, weights })
            }
        };
        Some(())
    }
}
