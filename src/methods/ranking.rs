//! Models in the order of what they were evaluated to.

use super::stage::Stage;
use crate::lang::metric;
use crate::lang::world::{Digest, Task};
use crate::plan::spec::StageFailure;

/// The models of a stage's list, compared by a metric on the dev split.
pub(super) struct Ranking {
    /// The metric.
    pub by: String,
    /// By model: its value.
    pub values: Vec<f64>,
    /// The models' numbers, the best first; of equals the first of the list.
    pub order: Vec<usize>,
    /// By model: its output digest and its summary.
    pub results: Vec<(Digest, serde_json::Value)>,
}

impl Ranking {
    /// By the stage's parameter `best`, else by what counts for the models' task.
    ///
    /// # Errors
    /// When a model was not evaluated so.
    pub fn of(stage: &Stage) -> Result<Self, StageFailure> {
        let mut by = stage.optional_name("best").map(str::to_owned);
        let (mut values, mut results) = (Vec::new(), Vec::new());
        for number in 0..stage.model_count() {
            let without = || {
                StageFailure::new(
                    "ftp::select::no_metrics",
                    format!("model {} of the list was not evaluated on a dev split", number + 1),
                )
                .help(
                    "give the set a dev split, and end each of the models with a stage that learns it: `finetune(target)`",
                )
            };
            let (output, summary) = stage.result_of(number)?.ok_or_else(without)?;
            let by = by.get_or_insert_with(|| {
                let task: Option<Task> = serde_json::from_value(summary["task"].clone()).ok();
                task.map_or("loss", |task| metric::of(&task)[0]).to_owned()
            });
            values.push(summary["metrics"]["dev"][by.as_str()].as_f64().ok_or_else(without)?);
            results.push((output, summary));
        }
        let Some(by) = by else {
            return Err(StageFailure::new("ftp::select::no_models", "there is no model to choose from"));
        };
        let mut order: Vec<usize> = (0..values.len()).collect();
        // Stable: of equals the first stays first.
        match metric::rises(&by) {
            true => order.sort_by(|one, other| values[*other].total_cmp(&values[*one])),
            false => order.sort_by(|one, other| values[*one].total_cmp(&values[*other])),
        }
        Ok(Self { by, values, order, results })
    }
}
