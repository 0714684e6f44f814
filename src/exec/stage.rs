//! The other end: what a stage process does.

use std::any::Any;
use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
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

/// Runs the stage that the file `spec` describes in this process and commits its result. Says what happens as JSON lines
/// on standard output; a panic in `run` becomes a failure like any other.
pub fn run_child(
    spec: &Path,
    run: impl FnOnce(&StageSpec, &Store, &dyn Fn(Event)) -> Result<Outcome, StageFailure>,
) -> ExitCode {
    let child = match read(spec) {
        Ok(child) => child,
        Err(failure) => {
            say(&failed(spec.display().to_string(), failure));
            return ExitCode::FAILURE;
        }
    };
    let stage = child.stage.label.clone();
    let started = Instant::now();
    // Nothing of what `run` may have left half-done is used after a panic: the attempt is thrown away.
    let result = catch_unwind(AssertUnwindSafe(|| compute(child, run)));
    match result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
        Ok(Manifest { key, output, .. }) => {
            say(&Event::StageFinished { stage, key, output, seconds: started.elapsed().as_secs_f64() });
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&failed(stage, failure));
            ExitCode::FAILURE
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
fn say(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
