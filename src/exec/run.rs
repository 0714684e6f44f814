//! The scheduler: one stage at a time, in topological order.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use miette::Diagnostic;
use thiserror::Error;

use super::child::{Ended, Job};
use super::failure;
use super::report::{FailedStage, RunReport, StageResult};
use super::stage::ChildSpec;
use super::status::{History, why};
use crate::event::Event;
use crate::lang::ir::{Parameter, Program};
use crate::lang::value::Value;
use crate::plan::spec::{DeltaSpec, Input, StageFailure, StageSpec};
use crate::plan::{Keyed, Plan, StageInput};
use crate::store::{Absence, Acquired, Lease, Lookup, Manifest, Patience, RunEntry, Store, StoreError};
use crate::syntax::Source;

/// How often a run that waits for another one looks whether it is done.
const POLL: Duration = Duration::from_millis(100);

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that stage processes are started from.
    pub program: PathBuf,
    /// Its arguments before the path of the stage's specification.
    pub arguments: Vec<OsString>,
    /// Set to true from elsewhere (a signal handler), it ends the run.
    pub cancel: Arc<AtomicBool>,
}

impl Options {
    /// Stages run as `ftp stage SPEC`, from the program that is running now.
    pub fn new(cancel: Arc<AtomicBool>) -> Result<Self, ExecError> {
        let program = std::env::current_exe().map_err(ExecError::NoProgram)?;
        Ok(Self { program, arguments: vec!["stage".into()], cancel })
    }
}

/// Why a run could not begin.
#[derive(Debug, Error, Diagnostic)]
pub enum ExecError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),

    #[error("can't find the program that is running, to start stages with: {0}")]
    #[diagnostic(code(ftp::exec::no_program), help("was ftp moved or replaced while it ran? Run again"))]
    NoProgram(std::io::Error),
}

/// Brings the result of every stage of the plan into the store: those that are there stay, the others are computed. Ends
/// at the first stage that fails, and soon after `options.cancel` is set.
pub fn run(
    plan: &Plan,
    program: &Program,
    source: &Source,
    store: &Store,
    options: &Options,
    sink: &dyn Fn(Event),
) -> Result<RunReport, ExecError> {
    let started = Instant::now();
    store.sweep()?;
    let root = store.root().display().to_string();
    sink(Event::RunStarted { file: source.name.clone(), stages: plan.stages.len(), store: root });
    let entry = Arc::new(store.begin_run(&source.name)?);
    let report = RunReport { entry: Some(entry.clone()), ..RunReport::default() };
    let history = History::new(store);
    let mut run = Run { plan, program, source, store, options, sink, history, entry, report };
    for stage in 0..plan.stages.len() {
        if !run.advance(stage) {
            break;
        }
    }
    let Run { mut report, entry, .. } = run;
    report.ran = report.stages.iter().filter(|stage| stage.ran).count();
    report.hits = report.stages.len() - report.ran;
    report.seconds = started.elapsed().as_secs_f64();
    register(&entry, program, plan, &report)?;
    let failed = usize::from(report.failed.is_some());
    sink(Event::RunFinished { ran: report.ran, hits: report.hits, failed, seconds: report.seconds });
    Ok(report)
}

/// Writes down what came of a run.
fn register(entry: &RunEntry, program: &Program, plan: &Plan, report: &RunReport) -> Result<(), StoreError> {
    for pipeline in &program.pipelines {
        if let Some(result) = plan.stage_of(pipeline.output).and_then(|stage| report.stages.get(stage)) {
            entry.pipeline(&pipeline.name, &result.key)?;
        }
    }
    let failed = report.failed.as_ref().map(|failed| failed.label.clone());
    entry.ended(failed, report.interrupted, report.ran)
}

struct Run<'a> {
    plan: &'a Plan,
    program: &'a Program,
    source: &'a Source,
    store: &'a Store,
    options: &'a Options,
    sink: &'a dyn Fn(Event),
    history: History<'a>,
    entry: Arc<RunEntry>,
    report: RunReport,
}

/// How a stage came out.
enum Outcome {
    Hit(Box<Manifest>),
    Ran(Box<Manifest>),
    Interrupted,
}

/// A failure, and the log of the process if there was one.
type Failed = (StageFailure, Option<PathBuf>);

/// Whose turn a missing stage is.
enum Turn {
    Ours(Lease),
    /// Another run computed it.
    Theirs(Box<Manifest>),
    Interrupted,
}

impl Run<'_> {
    /// Brings one stage about; `false` when the run ends here.
    fn advance(&mut self, stage: usize) -> bool {
        let results = &self.report.stages;
        let keyed = self.plan.key(self.program, stage, &|before| results[before].manifest.output.clone());
        let label = self.plan.stages[stage].label.clone();
        let outcome = self.bring_about(stage, &keyed);
        let key = keyed.key;
        match outcome {
            Ok(Outcome::Interrupted) => {
                self.report.interrupted = true;
                false
            }
            Ok(Outcome::Hit(manifest)) => {
                (self.sink)(Event::StageHit { stage: label.clone(), key: key.clone() });
                self.report.stages.push(StageResult { label, ran: false, key, manifest: *manifest });
                true
            }
            Ok(Outcome::Ran(manifest)) => {
                let (output, seconds) = (manifest.output.clone(), manifest.record.seconds);
                (self.sink)(Event::StageFinished { stage: label.clone(), key: key.clone(), output, seconds });
                self.report.stages.push(StageResult { label, ran: true, key, manifest: *manifest });
                true
            }
            Err((failure, log)) => {
                let finished: Vec<String> = self.report.stages.iter().map(|stage| stage.label.clone()).collect();
                let StageFailure { code, message, help } = failure.clone();
                let kept = failure::kept(&finished);
                (self.sink)(Event::StageFailed { stage: label.clone(), code, message, help, kept });
                self.report.failed = Some(FailedStage { label, key, failure, log });
                false
            }
        }
    }

    fn bring_about(&self, stage: usize, keyed: &Keyed) -> Result<Outcome, Failed> {
        if self.cancelled() {
            return Ok(Outcome::Interrupted);
        }
        let absence = match self.lookup(stage, keyed).map_err(without_log)? {
            Lookup::Hit(manifest) => return Ok(Outcome::Hit(manifest)),
            Lookup::Miss(absence) => absence,
        };
        match self.turn(stage, keyed).map_err(without_log)? {
            Turn::Theirs(manifest) => Ok(Outcome::Hit(manifest)),
            Turn::Interrupted => Ok(Outcome::Interrupted),
            Turn::Ours(lease) => self.compute(stage, keyed, &absence, lease),
        }
    }

    /// Waits until the stage is ours to compute or another run has computed it.
    fn turn(&self, stage: usize, keyed: &Keyed) -> Result<Turn, StoreError> {
        let mut patience = Patience::default();
        let mut told = false;
        loop {
            let acquired = self.store.acquire(&keyed.key, &mut patience)?;
            // Looked up after asking: a run that was done in between has given its lease back by now.
            if let Lookup::Hit(manifest) = self.lookup(stage, keyed)? {
                return Ok(Turn::Theirs(manifest));
            }
            let holder = match acquired {
                Acquired::Ours(lease) => return Ok(Turn::Ours(lease)),
                Acquired::Held { holder } => holder,
            };
            if !std::mem::replace(&mut told, true) {
                let stage = self.plan.stages[stage].label.clone();
                (self.sink)(Event::StageWaiting { stage, key: keyed.key.clone(), holder });
            }
            if self.cancelled() {
                return Ok(Turn::Interrupted);
            }
            std::thread::sleep(POLL);
        }
    }

    fn compute(&self, stage: usize, keyed: &Keyed, absence: &Absence, mut lease: Lease) -> Result<Outcome, Failed> {
        let label = &self.plan.stages[stage].label;
        let reason = why((self.plan, self.program, self.source), stage, keyed, absence, &self.history);
        let event = Event::StageStarted { stage: label.clone(), key: keyed.key.clone(), reason: reason.to_string() };
        (self.sink)(event);

        // Removed at the end of this function, whatever comes of it; what it held was moved into the store.
        let attempt = self.store.attempt().map_err(without_log)?;
        let spec = self.child_spec(stage, keyed, &lease, attempt.files()).map_err(|failure| (failure, None))?;
        write_spec(&attempt.spec(), &spec).map_err(|failure| (failure, None))?;
        let log = self.store.logs().join(format!("{}-{}.log", &keyed.key[..16], lease.nonce()));
        let time_limit = self.plan.time_limit(self.program, stage);
        let job = Job { label, options: self.options, spec: &attempt.spec(), log: &log, time_limit };
        let ended = job.supervise(&mut lease, self.sink);
        // The store decides: a process that was stopped right after its commit has done its work.
        if let Lookup::Hit(manifest) = self.lookup(stage, keyed).map_err(without_log)? {
            discard_if_empty(&log);
            return Ok(Outcome::Ran(manifest));
        }
        let failure = match ended {
            Ended::Interrupted => {
                let _ = std::fs::remove_file(&log);
                return Ok(Outcome::Interrupted);
            }
            Ended::Failed(failure) => failure,
            Ended::Finished(status) => failure::unexplained(label, status, &log),
        };
        discard_if_empty(&log);
        let log = log.exists().then_some(log);
        let failure = match &log {
            Some(log) => failure::with_log(failure, log),
            None => failure,
        };
        Err((failure, log))
    }

    fn child_spec(
        &self,
        stage: usize,
        keyed: &Keyed,
        lease: &Lease,
        attempt: PathBuf,
    ) -> Result<ChildSpec, StageFailure> {
        let planned = &self.plan.stages[stage];
        let node = self.plan.node(self.program, stage);
        let mut inputs = IndexMap::new();
        for (slot, input) in &planned.inputs {
            inputs.insert(slot.clone(), self.input(input)?);
        }
        let delta = node.delta.as_ref().map(|delta| DeltaSpec {
            method: delta.method.clone(),
            version: delta.version,
            parameters: values(&delta.parameters),
        });
        let stage = StageSpec {
            label: planned.label.clone(),
            method: node.method.clone(),
            version: node.version,
            key: keyed.key.clone(),
            parameters: values(&node.parameters),
            delta,
            inputs,
            store: self.store.root().to_path_buf(),
            attempt,
            device: self.plan.device.clone(),
        };
        let (pre_image, nonce) = (keyed.pre_image.clone(), lease.nonce().to_owned());
        Ok(ChildSpec { stage, pre_image, artifact: node.output, nonce })
    }

    fn input(&self, input: &StageInput) -> Result<Input, StageFailure> {
        match input {
            StageInput::Stage(before) => {
                Ok(Input::Artifact { output: self.report.stages[*before].manifest.output.clone() })
            }
            StageInput::Source(id) => {
                let node = &self.program.nodes[*id];
                let facts = node.source.clone().ok_or_else(|| {
                    StageFailure::new(
                        "ftp::exec::undescribed",
                        format!("the files of {} were not described", node.label),
                    )
                })?;
                let parameters = values(&node.parameters);
                Ok(Input::Source { name: node.label.clone(), method: node.method.clone(), parameters, facts })
            }
        }
    }

    /// A result that is found is in use until the run ends.
    fn lookup(&self, stage: usize, keyed: &Keyed) -> Result<Lookup, StoreError> {
        self.entry.lookup(&self.plan.stages[stage].label, &keyed.key)
    }

    fn cancelled(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed)
    }
}

fn write_spec(path: &std::path::Path, spec: &ChildSpec) -> Result<(), StageFailure> {
    let json = serde_json::to_vec_pretty(spec).map_err(std::io::Error::from);
    json.and_then(|json| std::fs::write(path, json)).map_err(|error| {
        StageFailure::new("ftp::exec::no_spec", format!("can't write {}: {error}", path.display()))
            .help("check the permissions and the free space of the store's directory")
    })
}

fn values(parameters: &IndexMap<String, Parameter>) -> IndexMap<String, Value> {
    parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value.clone())).collect()
}

fn without_log(error: StoreError) -> Failed {
    (error.into(), None)
}

fn discard_if_empty(log: &std::path::Path) {
    if std::fs::metadata(log).is_ok_and(|metadata| metadata.len() == 0) {
        let _ = std::fs::remove_file(log);
    }
}
