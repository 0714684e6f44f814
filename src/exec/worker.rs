//! One stage that is not in the store: whose turn it is, its process, and what to do when that ends badly.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::child::{Ended, Job};
use super::failure;
use super::memory;
use super::run::Options;
use super::slots::Share;
use super::stage::ChildSpec;
use super::together::Together;
use crate::event::Event;
use crate::lang::ir::{Node, Parameter};
use crate::lang::value::Value;
use crate::lang::world::Digest;
use crate::plan::Keyed;
use crate::plan::spec::{DeltaSpec, Input, StageFailure, StageSpec};
use crate::store::{Acquired, Lease, Lookup, Manifest, Patience, RunEntry, Store, StoreError};

/// How often a run that waits for another one, or for its next try, looks around.
const POLL: Duration = Duration::from_millis(100);

/// How long to wait before the second try; doubled for each one after it.
const BACK_OFF: Duration = Duration::from_secs(1);

/// How a stage came out.
pub(super) enum Outcome {
    /// Another run computed it, here or elsewhere.
    Hit(Box<Manifest>),
    Ran(Box<Manifest>),
    Interrupted,
}

/// A failure, and the log of the process if there was one.
pub(super) type Failed = (StageFailure, Option<PathBuf>);

/// What a thread needs to know to bring a stage about.
pub(super) struct Worker<'a> {
    pub store: &'a Store,
    /// Of the run, where what it uses is written down.
    pub entry: &'a RunEntry,
    pub options: &'a Options,
    pub label: &'a str,
    pub node: &'a Node,
    pub keyed: &'a Keyed,
    /// Of a training that ends early: the key of the whole one.
    pub whole: Option<Digest>,
    pub inputs: IndexMap<String, Input>,
    /// What of the machine it has.
    pub share: &'a Share,
    pub time_limit: Option<f64>,
    /// The process that it shares with others, for as long as there is one.
    pub together: Option<&'a Together<'a>>,
    /// Why it must run, for people.
    pub reason: String,
    pub sink: &'a dyn Fn(Event),
}

/// How a try came out.
enum Tried {
    Done(Outcome),
    Failed(Failed),
    /// The process that it shared with others ended before the stage did.
    Dissolved(StageFailure),
}

/// Whose turn a missing stage is.
enum Turn {
    Ours(Lease),
    /// Another run computed it.
    Theirs(Box<Manifest>),
    Interrupted,
}

impl Worker<'_> {
    /// Waits for the stage's turn, runs it, and runs it again where it failed for no reason of its own.
    pub fn bring_about(&self) -> Result<Outcome, Failed> {
        let mut tries = 0;
        loop {
            let over = self.together.filter(|together| together.is_over());
            let _alone = over.map(|together| together.alone.lock().unwrap_or_else(PoisonError::into_inner));
            let lease = match self.turn().map_err(without_log)? {
                Turn::Theirs(manifest) => return Ok(Outcome::Hit(manifest)),
                Turn::Interrupted => return Ok(Outcome::Interrupted),
                Turn::Ours(lease) => lease,
            };
            let lease = match self.fetch(lease).map_err(without_log)? {
                Turn::Theirs(manifest) => return Ok(Outcome::Hit(manifest)),
                Turn::Interrupted => return Ok(Outcome::Interrupted),
                Turn::Ours(lease) => lease,
            };
            let failed = match self.compute(lease) {
                Tried::Done(outcome) => {
                    self.offer(&outcome);
                    return Ok(outcome);
                }
                // That is no failure of its own, and does not count as a try.
                Tried::Dissolved(failure) => {
                    self.retried(&failure, tries + 2, Duration::ZERO);
                    continue;
                }
                Tried::Failed(failed) => failed,
            };
            if tries == self.options.retries || !failure::is_transient(&failed.0) {
                return Err(failed);
            }
            let wait = BACK_OFF * 2u32.pow(tries.min(6));
            tries += 1;
            self.retried(&failed.0, tries + 1, wait);
            if !self.pause(wait) {
                return Ok(Outcome::Interrupted);
            }
        }
    }

    fn retried(&self, failure: &StageFailure, attempt: u32, wait: Duration) {
        (self.sink)(Event::StageRetried {
            stage: self.label.to_owned(),
            code: failure.code.clone(),
            message: failure.message.clone(),
            attempt,
            seconds: wait.as_secs_f64(),
        });
    }

    /// Waits; false when the run is cancelled meanwhile.
    fn pause(&self, wait: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < wait {
            if self.cancelled() {
                return false;
            }
            std::thread::sleep(POLL.min(wait));
        }
        true
    }

    /// Waits until the stage is ours to compute or another run has computed it.
    fn turn(&self) -> Result<Turn, StoreError> {
        let mut patience = Patience::default();
        let mut told = false;
        loop {
            let acquired = self.store.acquire(&self.keyed.key, &mut patience)?;
            // Looked up after asking: a run that was done in between has given its lease back by now.
            if let Lookup::Hit(manifest) = self.entry.lookup(self.label, &self.keyed.key)? {
                return Ok(Turn::Theirs(manifest));
            }
            let holder = match acquired {
                Acquired::Ours(lease) => return Ok(Turn::Ours(lease)),
                Acquired::Held { holder } => holder,
            };
            if !std::mem::replace(&mut told, true) {
                let (stage, key) = (self.label.to_owned(), self.keyed.key.clone());
                (self.sink)(Event::StageWaiting { stage, key, holder });
            }
            if self.cancelled() {
                return Ok(Turn::Interrupted);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Looks for the result elsewhere; the lease comes back when it must be computed.
    fn fetch(&self, mut lease: Lease) -> Result<Turn, StoreError> {
        let Some(elsewhere) = &self.options.elsewhere else { return Ok(Turn::Ours(lease)) };
        let mut goes_on = || !self.cancelled() && lease.renew().unwrap_or(true);
        let tell = |notice| (self.sink)(Event::Notice { stage: self.label.to_owned(), notice });
        elsewhere.fetch(self.store, &self.keyed.key, &mut goes_on, &tell);
        if self.cancelled() {
            return Ok(Turn::Interrupted);
        }
        match self.entry.lookup(self.label, &self.keyed.key)? {
            Lookup::Hit(manifest) => Ok(Turn::Theirs(manifest)),
            Lookup::Miss(_) => Ok(Turn::Ours(lease)),
        }
    }

    fn offer(&self, outcome: &Outcome) {
        if let (Some(elsewhere), Outcome::Ran(_)) = (&self.options.elsewhere, outcome) {
            elsewhere.offer(self.store, &self.keyed.key);
        }
    }

    fn compute(&self, lease: Lease) -> Tried {
        self.attempt(lease).unwrap_or_else(Tried::Failed)
    }

    fn attempt(&self, mut lease: Lease) -> Result<Tried, Failed> {
        let (stage, key) = (self.label.to_owned(), self.keyed.key.clone());
        (self.sink)(Event::StageStarted { stage, key, reason: self.reason.clone() });

        // Removed at the end of this function, whatever comes of it; what it held was moved into the store.
        let attempt = self.store.attempt().map_err(without_log)?;
        let spec = self.child_spec(&lease, attempt.files());
        write_spec(&attempt.spec(), &spec).map_err(|failure| (failure, None))?;
        let together = self.together.filter(|together| !together.is_over());
        let own = || self.store.logs().join(format!("{}-{}.log", &self.keyed.key[..16], lease.nonce()));
        let log = together.map_or_else(own, |together| together.log.clone());
        let discard = || {
            if together.is_none() {
                discard_if_empty(&log)
            }
        };
        let (label, options) = (self.label, self.options);
        let memory = memory::Watch::new();
        let job = Job {
            label,
            options,
            share: self.share,
            spec: &attempt.spec(),
            log: &log,
            time_limit: self.time_limit,
            memory: &memory,
        };
        let ended = match together {
            Some(together) => together.supervise(&job, &mut lease, self.sink),
            None => job.supervise(&mut lease, self.sink),
        };
        // The store decides: a process that was stopped right after its commit has done its work.
        if let Lookup::Hit(manifest) = self.entry.lookup(self.label, &self.keyed.key).map_err(without_log)? {
            discard();
            return Ok(Tried::Done(Outcome::Ran(manifest)));
        }
        let failure = match ended {
            Ended::Interrupted => {
                let _ = std::fs::remove_file(&log);
                return Ok(Tried::Done(Outcome::Interrupted));
            }
            Ended::Dissolved(failure) => return Ok(Tried::Dissolved(failure)),
            Ended::Failed(failure) => failure,
            Ended::Finished(status) => failure::unexplained(self.label, status, &log, memory.grew()),
        };
        discard();
        let log = log.exists().then_some(log);
        let failure = match &log {
            Some(log) => failure::with_log(failure, log),
            None => failure,
        };
        Err((failure, log))
    }

    fn child_spec(&self, lease: &Lease, attempt: PathBuf) -> ChildSpec {
        let deltas = self.node.deltas.iter().map(|delta| DeltaSpec {
            method: delta.method.clone(),
            version: delta.version,
            parameters: values(&delta.parameters),
        });
        let stage = StageSpec {
            label: self.label.to_owned(),
            method: self.node.method.clone(),
            version: self.node.version,
            key: self.keyed.key.clone(),
            whole: self.whole.clone(),
            parameters: values(&self.node.parameters),
            deltas: deltas.collect(),
            inputs: self.inputs.clone(),
            store: self.store.root().to_path_buf(),
            attempt,
            device: self.share.device_of_child(),
        };
        let (pre_image, nonce) = (self.keyed.pre_image.clone(), lease.nonce().to_owned());
        ChildSpec { stage, pre_image, artifact: self.node.output, nonce }
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

pub(super) fn values(parameters: &IndexMap<String, Parameter>) -> IndexMap<String, Value> {
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
