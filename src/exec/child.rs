//! One stage process from start to end: its events, its time limit, its cancellation, its death with this process.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::failure;
use super::memory::Watch;
use super::run::Options;
use super::slots::{Share, VISIBLE_GPUS};
use crate::event::Event;
use crate::plan::spec::StageFailure;
use crate::store::{Lease, StoreError};

/// How often cancellation, time limit and lease are looked at when the child says nothing.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How long a stage process has to end after SIGTERM, before SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// How a stage process ended.
pub(super) enum Ended {
    /// By itself, without reporting a failure. Whether there is a result, the store knows.
    Finished(ExitStatus),
    Failed(StageFailure),
    Interrupted,
    /// The process that it shared with others, before it came to its end.
    Dissolved(StageFailure),
}

/// What to start and when to stop it.
pub(super) struct Job<'a> {
    pub label: &'a str,
    pub options: &'a Options,
    /// What of the machine its process has.
    pub share: &'a Share,
    pub spec: &'a Path,
    pub log: &'a Path,
    /// In seconds.
    pub time_limit: Option<f64>,
    /// Told to look while the process runs.
    pub memory: &'a Watch,
}

impl Job<'_> {
    /// Starts the process, passes its events on, and waits for its end.
    pub fn supervise(&self, lease: &mut Lease, sink: &dyn Fn(Event)) -> Ended {
        let (mut child, log) = match self.start() {
            Ok(started) => started,
            Err(error) => return Ended::Failed(failure::not_run(&self.options.program, &error)),
        };
        let started = Instant::now();
        let lines = read_lines(&mut child);
        let mut failed = None;
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Event::StageFailed { code, message, help, .. }) => {
                        failed = Some(StageFailure { code, message, help });
                    }
                    // Said again when the store has confirmed it.
                    Ok(Event::StageFinished { .. }) => {}
                    Ok(event) => sink(event),
                    // Not an event: something a library printed.
                    Err(_) => drop(writeln!(&log, "{line}")),
                },
                // What it started may live on and hold its standard output open.
                Err(RecvTimeoutError::Timeout) if !matches!(child.try_wait(), Ok(None)) => {
                    signal_group(&child, libc::SIGKILL);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(ended) = self.early_end(started, lease) {
                stop(&mut child);
                return ended;
            }
        }
        // It is ending; or it closed its standard output, and there is nothing left to hear.
        while let Ok(None) = child.try_wait() {
            if let Some(ended) = self.early_end(started, lease) {
                stop(&mut child);
                return ended;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match child.wait() {
            Ok(status) => failed.map_or(Ended::Finished(status), Ended::Failed),
            Err(error) => Ended::Failed(failure::not_run(&self.options.program, &error)),
        }
    }

    /// Why the process must end now, if it must.
    pub fn early_end(&self, started: Instant, lease: &mut Lease) -> Option<Ended> {
        self.memory.look();
        if self.options.cancel.load(Ordering::Relaxed) {
            return Some(Ended::Interrupted);
        }
        if let Some(limit) = self.time_limit.filter(|limit| started.elapsed().as_secs_f64() > *limit) {
            return Some(Ended::Failed(failure::over_time(self.label, limit)));
        }
        match lease.renew() {
            Ok(false) => Some(Ended::Failed(StoreError::LeaseLost { label: self.label.to_owned() }.into())),
            // When the store can't be written, the child meets that too when it commits, and says what is wrong.
            Ok(true) | Err(_) => None,
        }
    }

    fn start(&self) -> std::io::Result<(Child, File)> {
        let log = File::create(self.log)?;
        let mut command = command(self.options, self.share);
        command.arg(self.spec).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        Ok((command.spawn()?, log))
    }
}

/// What starts a stage process; what it is to do is still to be said.
pub(super) fn command(options: &Options, share: &Share) -> Command {
    let mut command = Command::new(&options.program);
    command.args(&options.arguments);
    if let Some(threads) = share.threads {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    if let Some(visible) = share.visible_gpu(std::env::var(VISIBLE_GPUS).ok().as_deref()) {
        command.env(VISIBLE_GPUS, visible);
    }
    let declared = options.withheld.iter().map(Into::into);
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_secret(name)).chain(declared) {
        command.env_remove::<OsString>(name);
    }
    // Its own group: ctrl-C at the terminal reaches this process only, which then ends the child in good order.
    command.process_group(0);
    die_with_parent(&mut command);
    command
}

/// Variables that stages have no use for and that give access to more than this machine.
fn is_secret(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("AWS_") || ["FTP_REMOTE", "FTP_SIGNING_KEY", "FTP_TRUST"].contains(&&*name)
}

/// The lines of a child's standard output, until it is closed. Bytes that are not UTF-8 are replaced.
pub(super) fn read_lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let output: Option<Box<dyn Read + Send>> = child.stdout.take().map(|output| Box::new(output) as _);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output.unwrap_or_else(|| Box::new(std::io::empty())));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// SIGTERM to the child and all it started, SIGKILL when that does not help; then it is gone.
fn stop(child: &mut Child) {
    signal_group(child, libc::SIGTERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    signal_group(child, libc::SIGKILL);
    // It was told in a way it can't ignore.
    let _ = child.wait();
}

pub(super) fn signal_group(child: &Child, signal: libc::c_int) {
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: signals a process group; no memory is involved. A group that is gone is an error that says so.
        unsafe { libc::killpg(group, signal) };
    }
}

/// Has the operating system kill the child when this process ends in any way.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls: prctl, getppid, and an error made from a number.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have ended before that took effect.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// Elsewhere a child of a killed scheduler goes on until it commits, which it may not: its lease is stale.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}
