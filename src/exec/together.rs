//! One process in which several stages run. Each is begun, heard and given up by itself; when the process ends before they do, each
//! of them runs in a process of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::child::{Ended, GRACE, Job, TICK, command, read_lines, signal_group};
use super::failure;
use super::run::Options;
use super::slots::Share;
use super::stage::Member;
use crate::event::Event;
use crate::plan::spec::StageFailure;
use crate::store::Lease;

/// How often one looks whether a process that is to end has ended.
const SOON: Duration = Duration::from_millis(2);

/// A process in which several stages run.
pub(super) struct Together<'a> {
    options: &'a Options,
    share: Share,
    /// Of each stage.
    threads: usize,
    pub log: PathBuf,
    state: Arc<Mutex<State>>,
    /// Held by the one that runs by itself, when the process is over: what was too much for the machine at once is tried
    /// one after the other.
    pub alone: Mutex<()>,
}

enum State {
    New,
    Running(Running),
    Over(Option<ExitStatus>),
}

struct Running {
    child: Child,
    /// None when no more stages come.
    input: Option<ChildStdin>,
    /// By nonce: who hears of them.
    members: HashMap<String, Sender<Event>>,
}

impl<'a> Together<'a> {
    /// A process that is started when the first stage begins, with this many threads for each.
    pub fn new(options: &'a Options, share: Share, threads: usize, log: PathBuf) -> Self {
        let (state, alone) = (Arc::new(Mutex::new(State::New)), Mutex::new(()));
        Self { options, share, threads, log, state, alone }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether stages of this group run by themselves from now on.
    pub fn is_over(&self) -> bool {
        matches!(*self.state(), State::Over(_))
    }

    /// Has the stage run in the process, passes its events on, and waits for its end.
    pub fn supervise(&self, job: &Job, lease: &mut Lease, sink: &dyn Fn(Event)) -> Ended {
        let started = Instant::now();
        let nonce = lease.nonce().to_owned();
        let events = match self.begin(&nonce, job.spec) {
            Ok(Some(events)) => events,
            Ok(None) => return Ended::Dissolved(failure::dissolved(job.label, None, &self.log, false)),
            Err(error) => return Ended::Failed(failure::not_run(&self.options.program, &error)),
        };
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::StageFailed { code, message, help, .. }) => {
                    return Ended::Failed(StageFailure { code, message, help });
                }
                // Said again when the store has confirmed it.
                Ok(Event::StageFinished { .. }) => return Ended::Finished(ExitStatus::default()),
                Ok(event) => sink(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            match job.early_end(started, lease) {
                None => {}
                Some(Ended::Interrupted) => {
                    self.stop();
                    return Ended::Interrupted;
                }
                Some(ended) => {
                    // What the thread still does comes to nothing: without the lease it can't commit.
                    if let State::Running(running) = &mut *self.state() {
                        running.members.remove(&nonce);
                    }
                    return ended;
                }
            }
        }
        if self.options.cancel.load(Ordering::Relaxed) {
            return Ended::Interrupted;
        }
        let status = match *self.state() {
            State::Over(status) => status,
            State::New | State::Running(_) => None,
        };
        Ended::Dissolved(failure::dissolved(job.label, status, &self.log, job.memory.grew()))
    }

    /// Starts the process if there is none yet, and the stage in it. What is said of the stage comes through the receiver, which is
    /// disconnected when the process is over; `None` when it is already.
    fn begin(&self, nonce: &str, spec: &Path) -> io::Result<Option<Receiver<Event>>> {
        let mut state = self.state();
        if matches!(*state, State::New) {
            *state = State::Running(self.start()?);
        }
        let State::Running(running) = &mut *state else { return Ok(None) };
        let (sender, receiver) = mpsc::channel();
        running.members.insert(nonce.to_owned(), sender);
        let member = Member { nonce: nonce.to_owned(), spec: spec.to_owned() };
        let line = serde_json::to_string(&member)?;
        // A process that reads no more is about to end, which is heard.
        let _ = running.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        Ok(Some(receiver))
    }

    fn start(&self) -> io::Result<Running> {
        let log = File::create(&self.log)?;
        let mut command = command(self.options, &self.share);
        command.arg("--together").arg(self.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        let state = self.state.clone();
        let (sender, started) = mpsc::channel();
        // Started by the thread that stays until its end: the operating system kills it when that one ends.
        std::thread::spawn(move || {
            let child = command.spawn().map(|mut child| (read_lines(&mut child), child));
            let (child, lines) = match child {
                Ok((lines, child)) => (Ok(child), Some(lines)),
                Err(error) => (Err(error), None),
            };
            let _ = sender.send(child);
            lines.iter().for_each(|lines| listen(&state, lines, &log));
        });
        let mut child = started.recv().map_err(io::Error::other)??;
        let input = child.stdin.take();
        Ok(Running { child, input, members: HashMap::new() })
    }

    /// Ends the process: no more stages come. One that does not end by itself is stopped.
    pub fn close(&self) {
        if let State::Running(running) = &mut *self.state() {
            running.input = None;
        }
        if !self.ends_within(GRACE) {
            self.stop();
        }
        if std::fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() == 0) {
            let _ = std::fs::remove_file(&self.log);
        }
    }

    /// SIGTERM, SIGKILL when that does not help; then it is gone.
    fn stop(&self) {
        for (signal, grace) in [(libc::SIGTERM, GRACE), (libc::SIGKILL, Duration::MAX)] {
            if let State::Running(running) = &*self.state() {
                signal_group(&running.child, signal);
            }
            if self.ends_within(grace) {
                return;
            }
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        let begun = Instant::now();
        while matches!(*self.state(), State::Running(_)) {
            if begun.elapsed() >= time {
                return false;
            }
            std::thread::sleep(SOON);
        }
        true
    }
}

/// Passes on what the process says until it is over.
fn listen(state: &Mutex<State>, lines: &Receiver<String>, mut log: &File) {
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                let State::Running(running) = &*lock(state) else { return };
                let told = line.split_once(' ').and_then(|(nonce, event)| {
                    let event = serde_json::from_str(event).ok()?;
                    // Of a stage that was given up, nobody wants to hear.
                    running.members.get(nonce).map(|member| drop(member.send(event)))
                });
                if told.is_none() && !line.is_empty() {
                    let _ = writeln!(log, "{line}");
                }
            }
            Err(closed) => {
                let mut state = lock(state);
                let State::Running(running) = &mut *state else { return };
                let ended = running.child.try_wait();
                match (closed, ended) {
                    // What it started may live on and hold its standard output open.
                    (RecvTimeoutError::Timeout, Ok(Some(_))) => signal_group(&running.child, libc::SIGKILL),
                    (RecvTimeoutError::Disconnected, Ok(None)) => {
                        drop(state);
                        std::thread::sleep(SOON);
                    }
                    (RecvTimeoutError::Timeout, Ok(None)) => {}
                    // With the members go their senders: who waits for them hears that.
                    (RecvTimeoutError::Disconnected, ended) | (_, ended @ Err(_)) => {
                        *state = State::Over(ended.ok().flatten());
                        return;
                    }
                }
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
