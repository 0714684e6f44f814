//! The scheduler: every stage whose inputs are there runs as soon as there is a slot for it, first those that come first in
//! the plan. One thread decides; a thread a running stage waits for its process.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Scope;
use std::time::Instant;

use indexmap::IndexMap;
use miette::Diagnostic;
use thiserror::Error;

use super::failure;
use super::report::{FailedStage, RunReport, StageResult};
use super::slots::{Demand, Machine, Share, Slots};
use super::status::{History, why};
use super::sweep::{Kin, Sweep, width};
use super::together::Together;
use super::worker::{Failed, Outcome, Worker, values};
use crate::event::Event;
use crate::lang::ir::Program;
use crate::lang::world::Digest;
use crate::plan::race::Decision;
use crate::plan::spec::{Input, StageFailure};
use crate::plan::{Plan, PreImage, StageInput};
use crate::store::{Absence, Elsewhere, Lookup, RunEntry, Store, StoreError};
use crate::syntax::Source;

/// How to run. Nothing here changes a result or a key.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that stage processes are started from.
    pub program: PathBuf,
    /// Its arguments before the path of the stage's specification.
    pub arguments: Vec<OsString>,
    /// Set to true from elsewhere (a signal handler), it ends the run.
    pub cancel: Arc<AtomicBool>,
    /// Stages that may run at once; at least 1.
    pub jobs: usize,
    /// What they may use together.
    pub machine: Machine,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// How often a stage is tried again whose process was ended by something else.
    pub retries: u32,
    /// Where results are looked for before they are computed.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Environment variables with secrets: no stage sees them.
    pub withheld: Vec<String>,
    /// Whether stages that train small parts over one model on the same data do so in one process, where they would run one after
    /// the other.
    pub sweeps: bool,
}

impl Options {
    /// Stages run as `ftp stage SPEC`, from the program that is running now, one after the other.
    pub fn new(cancel: Arc<AtomicBool>) -> Result<Self, ExecError> {
        let program = std::env::current_exe().map_err(ExecError::NoProgram)?;
        Ok(Self {
            program,
            arguments: vec!["stage".into()],
            cancel,
            jobs: 1,
            machine: Machine::default(),
            keep_going: false,
            retries: 2,
            elsewhere: None,
            withheld: vec![],
            sweeps: true,
        })
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

/// Brings the result of every stage of the plan into the store: those that are there stay, the others are computed. After
/// a failure what runs is brought to its end, and no more is begun unless `options.keep_going`; ends soon after
/// `options.cancel` is set.
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
    let set = program.params.iter().filter(|param| param.overridden);
    let set: Vec<(String, String)> = set.map(|param| (param.name.clone(), param.value.to_string())).collect();
    let entry = Arc::new(store.begin_run(&source.name, &set)?);
    let report = RunReport {
        stages: vec![None; plan.stages.len()],
        stopped: vec![false; plan.stages.len()],
        entry: Some(entry.clone()),
        ..RunReport::default()
    };
    let waits: Vec<usize> = (0..plan.stages.len()).map(|stage| plan.stages_before(stage).count()).collect();
    let mut after: Vec<Vec<usize>> = vec![vec![]; plan.stages.len()];
    for stage in 0..plan.stages.len() {
        plan.stages_before(stage).for_each(|before| after[before].push(stage));
    }
    let ready = (0..plan.stages.len()).filter(|stage| waits[*stage] == 0).collect();
    let history = History::new(store);
    let (waiting, slots, shares) = (BTreeMap::new(), Slots::new(options, &plan.device), BTreeMap::new());
    let mut run = Run {
        plan,
        program,
        source,
        store,
        options,
        sink,
        history,
        entry,
        report,
        waits,
        after,
        ready,
        waiting,
        slots,
        shares,
        sweep: None,
    };
    std::thread::scope(|scope| run.all(scope));
    let Run { mut report, entry, .. } = run;
    report.ran = report.stages.iter().flatten().filter(|stage| stage.ran).count();
    report.hits = report.stages.iter().flatten().count() - report.ran;
    let stopped = report.stopped.iter().filter(|stopped| **stopped).count();
    report.skipped = report.stages.iter().filter(|stage| stage.is_none()).count() - report.failed.len() - stopped;
    report.seconds = started.elapsed().as_secs_f64();
    register(&entry, program, plan, &report)?;
    let (ran, hits, skipped) = (report.ran, report.hits, report.skipped);
    sink(Event::RunFinished { ran, hits, failed: report.failed.len(), skipped, seconds: report.seconds });
    Ok(report)
}

/// Writes down what came of a run.
fn register(entry: &RunEntry, program: &Program, plan: &Plan, report: &RunReport) -> Result<(), StoreError> {
    for pipeline in &program.pipelines {
        let result = plan.stage_of(pipeline.output).and_then(|stage| report.stages[stage].as_ref());
        if let Some(result) = result {
            entry.pipeline(&pipeline.name, &result.key)?;
        }
    }
    let failed = report.failed.first().map(|failed| failed.label.clone());
    entry.ended(failed, report.interrupted, report.ran)
}

/// What threads tell the one that decides.
enum Message {
    Said(Event),
    Done(usize, Digest, Result<Outcome, Failed>),
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
    /// By stage: how many of its inputs are not there yet.
    waits: Vec<usize>,
    /// By stage: those that take its result, once for each input.
    after: Vec<Vec<usize>>,
    /// Stages whose inputs are there.
    ready: BTreeSet<usize>,
    /// Those of them that are not in the store and wait for a slot: their keys, and why there is no result.
    waiting: BTreeMap<usize, (Digest, Absence)>,
    slots: Slots,
    /// What each running stage has of its own.
    shares: BTreeMap<usize, Share>,
    sweep: Option<Sweep<'a>>,
}

/// Where a stage runs.
pub(super) enum Seat<'a> {
    Own(Share),
    /// In a process with others, and with what these have.
    Beside(Arc<Together<'a>>, Share),
}

impl<'a> Run<'a> {
    fn all<'scope>(&mut self, scope: &'scope Scope<'scope, 'a>)
    where
        'a: 'scope,
    {
        let (sender, receiver) = mpsc::channel();
        loop {
            // What is in the store needs no slot.
            while self.goes_on() {
                let Some(stage) = self.ready.pop_first() else { break };
                self.look_up(stage);
            }
            while self.goes_on() {
                let Some((stage, seat)) = self.next() else { break };
                self.begin(stage, seat, scope, &sender);
            }
            // Nothing more has joined it.
            if let Some(sweep) = self.sweep.take_if(|sweep| sweep.running.is_empty()) {
                sweep.together.close();
                self.slots.give_back(sweep.share);
                continue;
            }
            if self.shares.is_empty() && self.sweep.is_none() {
                return;
            }
            self.listen(&receiver);
        }
    }

    /// Tells whoever listens, and the record of the run.
    fn say(&self, event: Event) {
        self.entry.said(&event);
        (self.sink)(event);
    }

    /// Whether anything more is begun.
    fn goes_on(&mut self) -> bool {
        if self.options.cancel.load(Ordering::Relaxed) {
            self.report.interrupted |= !self.ready.is_empty() || !self.waiting.is_empty();
            return false;
        }
        !self.report.interrupted && (self.report.failed.is_empty() || self.options.keep_going)
    }

    /// Takes a stage's result from the store, or lets the stage wait for a slot.
    fn look_up(&mut self, stage: usize) {
        let Some(inputs) = self.inputs_left(stage) else { return self.stop(stage) };
        let key = self.plan.bare_key_with(self.program, stage, &inputs, &|before| self.output(before));
        // A result that is found is in use until the run ends.
        match self.entry.lookup(&self.plan.stages[stage].label, &key) {
            Ok(Lookup::Hit(manifest)) => self.done(stage, key, Ok(Outcome::Hit(manifest))),
            Ok(Lookup::Miss(absence)) if self.slots.could_hold(self.demand(stage)) => {
                self.waiting.insert(stage, (key, absence));
            }
            Ok(Lookup::Miss(_)) => {
                let failure = failure::too_large(self.demand(stage).memory, self.options.machine.memory);
                self.done(stage, key, Err((failure, None)));
            }
            Err(error) => self.done(stage, key, Err((error.into(), None))),
        }
    }

    /// The first stage that waits and for which there is room.
    fn next(&mut self) -> Option<(usize, Seat<'a>)> {
        let stages: Vec<usize> = self.waiting.keys().copied().collect();
        if let Some(sweep) = self.sweep.as_mut().filter(|sweep| sweep.running.len() < sweep.most) {
            for &stage in &stages {
                let demand = Demand::of(self.plan.node(self.program, stage));
                if Kin::of(self.plan, self.program, stage).as_ref() == Some(&sweep.kin)
                    && self.slots.widen(&mut sweep.share, demand)
                {
                    return Some((stage, sweep.seat(stage)));
                }
            }
        }
        if !self.slots.any() {
            return None;
        }
        let mut waiting = stages.iter();
        let (stage, share) = waiting.find_map(|&stage| Some((stage, self.slots.take(self.demand(stage))?)))?;
        match self.kin(stage) {
            Some(kin) => {
                let others = stages.iter().filter(|other| self.kin(**other).as_ref() == Some(&kin)).count();
                if others < 2 {
                    return Some((stage, Seat::Own(share)));
                }
                let (most, threads) = width(others, share.cores());
                let name = format!("{}-{}.log", &self.waiting[&stage].0[..16], std::process::id());
                let log = self.store.logs().join(name);
                let together = Arc::new(Together::new(self.options, share.clone(), threads, log));
                let sweep = self.sweep.insert(Sweep { kin, together, share, running: BTreeSet::new(), most });
                Some((stage, sweep.seat(stage)))
            }
            None => Some((stage, Seat::Own(share))),
        }
    }

    /// What a stage has in common with others that it may train together with: only where it would have to wait for them, or they
    /// for it.
    fn kin(&self, stage: usize) -> Option<Kin<'a>> {
        let one_by_one = self.options.sweeps && self.options.jobs <= 1;
        one_by_one.then(|| Kin::of(self.plan, self.program, stage)).flatten()
    }

    fn demand(&self, stage: usize) -> Demand {
        Demand::of(self.plan.node(self.program, stage))
    }

    /// The output digest of a stage that is done.
    fn output(&self, stage: usize) -> Digest {
        self.report.manifest_of(stage).map_or_else(String::new, |manifest| manifest.output.clone())
    }

    /// What a stage takes; `None` when a race has stopped it.
    fn inputs_left(&self, stage: usize) -> Option<Cow<'a, IndexMap<String, StageInput>>> {
        let left = self.plan.inputs_left(stage, &|before| self.report.stopped[before]);
        left.filter(|_| !self.loses(stage))
    }

    fn begin<'scope>(
        &mut self,
        stage: usize,
        seat: Seat<'a>,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) where
        'a: 'scope,
    {
        let Some((key, absence)) = self.waiting.remove(&stage) else { return };
        let (share, together) = match seat {
            Seat::Own(share) => {
                self.shares.insert(stage, share.clone());
                (share, None)
            }
            Seat::Beside(together, share) => (share, Some(together)),
        };
        let Some(left) = self.inputs_left(stage) else { return };
        let keyed = self.plan.key_with(self.program, stage, &left, &|before| self.output(before));
        let whole = self.plan.key_of_whole(self.program, stage, &|before| self.output(before));
        let mut inputs = IndexMap::new();
        for (slot, input) in left.iter() {
            match self.input(input) {
                Ok(input) => inputs.insert(slot.clone(), input),
                Err(failure) => return self.ended(stage, key, Err((failure, None))),
            };
        }
        let reason = why((self.plan, self.program, self.source), stage, &keyed, &absence, &self.history).to_string();
        let (plan, program, store, options) = (self.plan, self.program, self.store, self.options);
        let entry = self.entry.clone();
        let sender = sender.clone();
        scope.spawn(move || {
            let sink = |event| drop(sender.send(Message::Said(event)));
            let worker = Worker {
                store,
                entry: &entry,
                options,
                label: &plan.stages[stage].label,
                node: plan.node(program, stage),
                keyed: &keyed,
                whole,
                inputs,
                share: &share,
                together: together.as_deref(),
                time_limit: plan.time_limit(program, stage),
                reason,
                sink: &sink,
            };
            let outcome = worker.bring_about();
            // The receiver lives until every thread has said this.
            let _ = sender.send(Message::Done(stage, keyed.key, outcome));
        });
    }

    /// A stage that had a share has it no longer.
    fn ended(&mut self, stage: usize, key: Digest, outcome: Result<Outcome, Failed>) {
        if let Some(share) = self.shares.remove(&stage) {
            self.slots.give_back(share);
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.running.remove(&stage);
        }
        self.done(stage, key, outcome);
    }

    fn listen(&mut self, receiver: &Receiver<Message>) {
        match receiver.recv() {
            Ok(Message::Said(event)) => self.say(event),
            Ok(Message::Done(stage, key, outcome)) => self.ended(stage, key, outcome),
            // Not before all threads are done: this one holds a sender, too.
            Err(_) => (self.shares, self.sweep) = (BTreeMap::new(), None),
        }
    }

    /// Writes down how a stage came out, and what may begin now.
    fn done(&mut self, stage: usize, key: Digest, outcome: Result<Outcome, Failed>) {
        let label = self.plan.stages[stage].label.clone();
        match outcome {
            Ok(Outcome::Interrupted) => self.report.interrupted = true,
            Ok(Outcome::Hit(manifest)) => {
                self.say(Event::StageHit { stage: label.clone(), key: key.clone() });
                self.finished(stage, StageResult { label, ran: false, key, manifest: *manifest });
            }
            Ok(Outcome::Ran(manifest)) => {
                let (output, seconds) = (manifest.output.clone(), manifest.record.seconds);
                self.say(Event::StageFinished { stage: label.clone(), key: key.clone(), output, seconds });
                self.finished(stage, StageResult { label, ran: true, key, manifest: *manifest });
            }
            Err((failure, log)) => {
                let finished: Vec<String> =
                    self.report.stages.iter().flatten().map(|stage| stage.label.clone()).collect();
                let StageFailure { code, message, help } = failure.clone();
                let kept = failure::kept(&finished);
                self.say(Event::StageFailed { stage: label.clone(), code, message, help, kept });
                self.report.failed.push(FailedStage { stage, label, key, failure, log });
            }
        }
    }

    fn finished(&mut self, stage: usize, mut result: StageResult) {
        // What the key is made of is the larger part of a manifest, and of no more use here.
        result.manifest.pre_image = PreImage::default();
        self.report.stages[stage] = Some(result);
        self.release(stage);
    }

    /// Whether the race it is in does not keep a stage.
    fn loses(&self, stage: usize) -> bool {
        self.plan.stages[stage].contest.is_some_and(|contest| {
            let race = self.report.manifest_of(contest.race);
            !race.is_some_and(|race| Decision::keeps(&race.summary, contest.number))
        })
    }

    /// Leaves out a stage that its race, or that of what it takes, has stopped.
    fn stop(&mut self, stage: usize) {
        if self.loses(stage) {
            // Where its beginning ended; it is not gone on with.
            self.store.drop_checkpoint(&self.plan.key(self.program, stage, &|before| self.output(before)).key);
        }
        self.report.stopped[stage] = true;
        let label = self.plan.stages[stage].label.clone();
        self.say(Event::StageStopped { stage: label });
        self.release(stage);
    }

    /// What waits for a stage waits no longer for this one.
    fn release(&mut self, stage: usize) {
        for next in &self.after[stage] {
            self.waits[*next] -= 1;
            if self.waits[*next] == 0 {
                self.ready.insert(*next);
            }
        }
    }

    fn input(&self, input: &StageInput) -> Result<Input, StageFailure> {
        match input {
            StageInput::Stage(before) => {
                let output = self.report.stages[*before].as_ref().map(|one: &StageResult| one.manifest.output.clone());
                // A stage is ready only when those before it are done.
                Ok(Input::Artifact { output: output.unwrap_or_default() })
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
}
