//! What came of a run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::lang::world::Digest;
use crate::plan::spec::StageFailure;
use crate::store::{Manifest, RunEntry};

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// By stage of the plan; none for those that failed or were not come to.
    pub stages: Vec<Option<StageResult>>,
    /// By stage of the plan: whether a race stopped it, or one that it needs.
    pub stopped: Vec<bool>,
    /// In the order they failed.
    pub failed: Vec<FailedStage>,
    pub interrupted: bool,
    /// How many stages were computed by this run.
    pub ran: usize,
    /// How many were in the store already, or were computed by another run meanwhile.
    pub hits: usize,
    /// How many did not run because another one failed, or the run was interrupted.
    pub skipped: usize,
    pub seconds: f64,
    /// The run's entry in the register of runs: while it is there, no result of the run is collected.
    pub entry: Option<Arc<RunEntry>>,
}

/// A stage whose result is in the store.
#[derive(Debug, Clone)]
pub struct StageResult {
    pub label: String,
    /// Computed by this run.
    pub ran: bool,
    pub key: Digest,
    pub manifest: Manifest,
}

/// A stage that failed.
#[derive(Debug, Clone)]
pub struct FailedStage {
    /// Its index in the plan.
    pub stage: usize,
    pub label: String,
    pub key: Digest,
    pub failure: StageFailure,
    /// Everything its process wrote to standard error, if it was started and wrote anything.
    pub log: Option<PathBuf>,
}

impl RunReport {
    /// The result of a stage of the plan, by its index.
    pub fn manifest_of(&self, stage: usize) -> Option<&Manifest> {
        self.stages.get(stage)?.as_ref().map(|result| &result.manifest)
    }
}
