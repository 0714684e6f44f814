//! What is left of a plan when its races are decided.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::graph::{Plan, StageInput};

/// What a race came to: its summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The metric that was compared.
    pub by: String,
    /// By model: its value.
    pub of: Vec<f64>,
    /// The models that go on, in the order of the list.
    pub kept: Vec<usize>,
}

impl Decision {
    /// Whether a race with this summary keeps a model. One that can't be made out keeps none.
    pub fn keeps(summary: &serde_json::Value, number: usize) -> bool {
        let kept = summary["kept"].as_array().into_iter().flatten();
        kept.filter_map(serde_json::Value::as_u64).any(|kept| kept == number as u64)
    }
}

impl Plan {
    /// The inputs of a stage when some stages before it are stopped: a list is shorter by those. `None` if the stage is
    /// stopped with them, because its model is.
    pub fn inputs_left(
        &self,
        stage: usize,
        is_stopped: &dyn Fn(usize) -> bool,
    ) -> Option<Cow<'_, IndexMap<String, StageInput>>> {
        let inputs = &self.stages[stage].inputs;
        let stopped = |input: &StageInput| matches!(input, StageInput::Stage(before) if is_stopped(*before));
        if !inputs.values().any(stopped) {
            return Some(Cow::Borrowed(inputs));
        }
        let mut left = IndexMap::new();
        let mut models = 0;
        for (slot, input) in inputs {
            match (slot.starts_with("models."), stopped(input)) {
                (false, true) => return None,
                (false, false) => left.insert(slot.clone(), *input),
                (true, true) => None,
                // Numbered anew: what is made of models that were kept is what is made of them without a race.
                (true, false) => {
                    models += 1;
                    left.insert(format!("models.{}", models - 1), *input)
                }
            };
        }
        (models > 0).then_some(Cow::Owned(left))
    }
}
