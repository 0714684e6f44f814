//! What a run would do, and why, without doing anything.

use std::cell::OnceCell;

use serde::Serialize;

use crate::lang::ir::Program;
use crate::lang::world::Digest;
use crate::plan::race::Decision;
use crate::plan::reason::{self, Past};
use crate::plan::{Contest, Keyed, Plan, Reason};
use crate::store::{Absence, Lookup, Store};
use crate::syntax::Source;

/// What a run would do with a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// Its result is in the store.
    Hit { key: Digest, output: Digest, summary: serde_json::Value },
    /// It runs.
    Run { key: Digest, reason: Reason },
    /// It does not run: a race did not keep it, or a model that it takes.
    Stopped,
    /// It has no key before this stage (an index into the plan's stages) has run.
    After { stage: usize },
}

/// What a run would do with each stage, in the plan's order.
pub fn status(plan: &Plan, program: &Program, source: &Source, store: &Store) -> Vec<Status> {
    let history = History::new(store);
    let mut all: Vec<Status> = Vec::with_capacity(plan.stages.len());
    for stage in 0..plan.stages.len() {
        let known = |before: &usize| matches!(all[*before], Status::Hit { .. } | Status::Stopped);
        let waits_for = plan.stages_before(stage).find(|before| !known(before));
        if let Some(stage) = waits_for {
            all.push(Status::After { stage });
            continue;
        }
        let kept = |contest: Contest| match &all[contest.race] {
            Status::Hit { summary, .. } => Decision::keeps(summary, contest.number),
            _ => false,
        };
        let left = plan.inputs_left(stage, &|before| all[before] == Status::Stopped);
        let Some(left) = left.filter(|_| plan.stages[stage].contest.is_none_or(kept)) else {
            all.push(Status::Stopped);
            continue;
        };
        let keyed = plan.key_with(program, stage, &left, &|before| match &all[before] {
            Status::Hit { output, .. } => output.clone(),
            // Those were sorted out above.
            Status::Run { .. } | Status::After { .. } | Status::Stopped => String::new(),
        });
        all.push(match store.lookup(&keyed.key) {
            Lookup::Hit(manifest) => Status::Hit { key: keyed.key, output: manifest.output, summary: manifest.summary },
            Lookup::Miss(absence) => {
                let reason = why((plan, program, source), stage, &keyed, &absence, &history);
                Status::Run { key: keyed.key, reason }
            }
        });
    }
    all
}

/// Why a stage that is not in the store must run.
pub(super) fn why(
    (plan, program, source): (&Plan, &Program, &Source),
    stage: usize,
    keyed: &Keyed,
    absence: &Absence,
    history: &History,
) -> Reason {
    let changed = || reason::explain(plan, program, source, stage, &keyed.pre_image, history.read());
    absence.reason().unwrap_or_else(changed)
}

/// The earlier results of a store as they were when it was first asked; most runs never ask.
pub(super) struct History<'a> {
    store: &'a Store,
    past: OnceCell<Vec<Past>>,
}

impl<'a> History<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store, past: OnceCell::new() }
    }

    pub fn read(&self) -> &[Past] {
        self.past.get_or_init(|| self.store.history())
    }
}
