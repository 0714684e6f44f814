//! The other end: what a stage process does.

use std::any::Any;
use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::lang::signature::Artifact;
use crate::plan::PreImage;
use crate::plan::spec::{Outcome, StageFailure, StageSpec};
use crate::store::{Journal, Manifest, Product, Store};

/// The file a stage process is started with: what the stage is told, and what committing its result takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildSpec {
    pub stage: StageSpec,
    pub pre_image: PreImage,
    pub artifact: Artifact,
    /// Of the lease that the scheduler holds for this process.
    pub nonce: String,
}

/// One of the stages of a process with several, as its standard input names them, a JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What the lines about it on standard output begin with: no two stages of a process have the same.
    pub nonce: String,
    /// Its [`ChildSpec`].
    pub spec: PathBuf,
}

/// Stack of a stage's thread: what the main thread of a stage alone usually has.
const STACK: usize = 8 << 20;

/// Runs the stage that the file `spec` describes in this process and commits its result. Says what happens as JSON lines
/// on standard output; a panic in `run` becomes a failure like any other.
pub fn run_child(
    spec: &Path,
    run: impl FnOnce(&StageSpec, &Store, &dyn Fn(Event)) -> Result<Outcome, StageFailure>,
) -> ExitCode {
    if to_its_end(spec, run, &|event| say("", event)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every stage that standard input names, as a [`Member`] a line, in a thread of its own, and commits its result. Ends when
/// no more can come and all are over. What is said of one, success and failure too, begins with its nonce and a space.
pub fn run_members(
    run: impl Fn(&StageSpec, &Store, &dyn Fn(Event)) -> Result<Outcome, StageFailure> + Sync,
) -> ExitCode {
    std::thread::scope(|scope| {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            // Only the scheduler writes there.
            let Ok(Member { nonce, spec }) = serde_json::from_str(&line) else { return ExitCode::FAILURE };
            let (run, before) = (&run, format!("{nonce} "));
            let work = move || to_its_end(&spec, run, &|event| say(&before, event));
            // Those that began come to their end; the others, the scheduler runs in processes of their own.
            let Ok(_) = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work) else { break };
        }
        ExitCode::SUCCESS
    })
}

/// Runs a stage and says how it ended; whether it succeeded.
fn to_its_end(
    spec: &Path,
    run: impl FnOnce(&StageSpec, &Store, &dyn Fn(Event)) -> Result<Outcome, StageFailure>,
    say: &dyn Fn(&Event),
) -> bool {
    let child = match read(spec) {
        Ok(child) => child,
        Err(failure) => {
            say(&failed(spec.display().to_string(), failure));
            return false;
        }
    };
    let stage = child.stage.label.clone();
    let started = Instant::now();
    // Nothing of what `run` may have left half-done is used after a panic: the attempt is thrown away.
    let result = catch_unwind(AssertUnwindSafe(|| compute(child, run, say)));
    match result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
        Ok(Manifest { key, output, .. }) => {
            say(&Event::StageFinished { stage, key, output, seconds: started.elapsed().as_secs_f64() });
            true
        }
        Err(failure) => {
            say(&failed(stage, failure));
            false
        }
    }
}

fn read(spec: &Path) -> Result<ChildSpec, StageFailure> {
    let unreadable = |why: String| {
        StageFailure::new(
            "ftp::stage::bad_spec",
            format!("can't read the stage's specification {}: {why}", spec.display()),
        )
        .help("`ftp stage` is started by `ftp run`; run the pipeline with `ftp run`")
    };
    let bytes = std::fs::read(spec).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

fn compute(
    child: ChildSpec,
    run: impl FnOnce(&StageSpec, &Store, &dyn Fn(Event)) -> Result<Outcome, StageFailure>,
    say: &dyn Fn(&Event),
) -> Result<Manifest, StageFailure> {
    let ChildSpec { stage, pre_image, artifact, nonce } = child;
    let store = Store::open(&stage.store)?;
    let (clock, started) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let journal = RefCell::new(Journal::default());
    let sink = |event: Event| {
        journal.borrow_mut().note(&event);
        say(&event);
    };
    let outcome = run(&stage, &store, &sink)?;
    journal.into_inner().write(&stage.attempt);
    let product = Product {
        key: stage.key.clone(),
        method: stage.method.clone(),
        version: stage.version,
        label: stage.label.clone(),
        pre_image,
        artifact,
        outcome,
        started: started.as_secs_f64(),
        seconds: clock.elapsed().as_secs_f64(),
    };
    let committed = store.commit(product, &stage.attempt, &nonce)?;
    if let Some(notice) = committed.notice {
        say(&Event::Notice { stage: stage.label, notice });
    }
    Ok(committed.manifest)
}

fn failed(stage: String, failure: StageFailure) -> Event {
    let StageFailure { code, message, help } = failure;
    // What is kept, the scheduler knows.
    Event::StageFailed { stage, code, message, help, kept: String::new() }
}

fn panicked(panic: &(dyn Any + Send)) -> StageFailure {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into());
    StageFailure::new("ftp::stage::panicked", format!("the stage stopped at a fault of ftp: {text}"))
        .help("please report this, with the stage's log")
}

/// One event, one line. When nobody listens any more, the scheduler is gone and so will be this process.
fn say(before: &str, event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{before}{line}").and_then(|()| out.flush());
    }
}
