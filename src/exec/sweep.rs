//! Which stages train together in one process: those that differ in their seed, their learning rate and the like, and train small
//! parts over one frozen model on the same data.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::run::Seat;
use super::slots::{Demand, Share};
use super::together::Together;
use crate::lang::ir::{Program, SNAPSHOT, UNTIL};
use crate::lang::signature::Artifact;
use crate::lang::value::Value;
use crate::plan::{Plan, StageInput};

/// Stages that train together at a time, or as many as there are cores: each has weights and moments of its own.
const MOST: usize = 8;

/// What stages that train together have in common.
#[derive(Debug, PartialEq)]
pub(super) struct Kin<'a> {
    method: &'a str,
    version: u32,
    /// The model with its delta, and the data.
    inputs: &'a IndexMap<String, StageInput>,
    cores: Option<usize>,
    /// A whole training goes on from its beginning, and does not begin beside it.
    until: Option<&'a Value>,
}

impl<'a> Kin<'a> {
    /// What those have to have that train together with a stage; `None` where nothing may.
    pub fn of(plan: &'a Plan, program: &'a Program, stage: usize) -> Option<Self> {
        let node = plan.node(program, stage);
        let inputs = &plan.stages[stage].inputs;
        let Some(StageInput::Stage(model)) = inputs.get("model") else { return None };
        let light = plan.node(program, *model).output == Artifact::Parametrised;
        // A limit is of the time that a stage takes by itself; and snapshots of one training go on from each other.
        let snapshot = node.parameters.get(SNAPSHOT).is_some_and(|snapshot| snapshot.value != Value::None);
        let fits = light && !snapshot && plan.time_limit(program, stage).is_none() && plan.device == "cpu";
        let (method, version, cores) = (&node.method, node.version, Demand::of(node).cores);
        let until = node.parameters.get(UNTIL).map(|until| &until.value);
        fits.then_some(Self { method, version, inputs, cores, until })
    }
}

/// Stages that train together now.
pub(super) struct Sweep<'a> {
    pub kin: Kin<'a>,
    pub together: Arc<Together<'a>>,
    /// What all of them have of the machine.
    pub share: Share,
    pub running: BTreeSet<usize>,
    /// At a time.
    pub most: usize,
}

impl<'a> Sweep<'a> {
    /// The place of one more stage.
    pub fn seat(&mut self, stage: usize) -> Seat<'a> {
        self.running.insert(stage);
        Seat::Beside(self.together.clone(), self.share.clone())
    }
}

/// How many of `count` stages train at a time on some cores, and with how many threads each.
pub(super) fn width(count: usize, cores: usize) -> (usize, usize) {
    let most = count.clamp(1, MOST.max(cores));
    (most, (cores / most).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cores_are_used_and_no_more_train_at_once_than_fit() {
        assert_eq!(width(5, 2), (5, 1));
        assert_eq!(width(50, 2), (8, 1));
        assert_eq!(width(5, 16), (5, 3));
        assert_eq!(width(50, 16), (16, 1));
        assert_eq!(width(2, 1), (2, 1));
    }
}
