//! Random runs on one store, with a collector every few seconds that removes whatever nothing but a run in progress keeps, and both
//! killed now and then. `FTP_TEST_MINUTES=20` makes it as long as somebody has coffee; every day it takes seconds.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ftp::exec::{Machine, Options, run, stage::run_child};
use ftp::lang::ir::Program;
use ftp::lang::value::Value;
use ftp::plan::Plan;
use ftp::plan::spec::{Input, Outcome, StageFailure, StageSpec};
use ftp::random::Key;
use ftp::store::{Policy, Store};

mod programs;
use programs::{chain, source};

const ROLE: &str = "FTP_TEST_ROLE";
const STORE: &str = "FTP_TEST_STORE";
const ENTRY: [&str; 3] = ["child_entry", "--exact", "--nocapture"];

/// Nothing stays but what is in use.
const NOTHING_IS_KEPT: Policy = Policy { keep_runs: 0, grace: Duration::ZERO };

const RUNNERS: usize = 3;

#[test]
fn child_entry() {
    if let Some(spec) = std::env::args().next_back().filter(|argument| argument.ends_with("spec.json")) {
        // The test harness has begun a line.
        println!();
        let code = run_child(Path::new(&spec), |spec, store, _| act(spec, store));
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Store::open(std::env::var_os(STORE).expect("a store")).expect("it opens");
    println!();
    let draws = Key::new(u64::from(std::process::id()), "soak");
    for round in 0u64.. {
        match role.as_str() {
            "collect" => {
                let removed = store.collect(&NOTHING_IS_KEPT).expect("collected").results.len();
                println!("collected {removed}");
                // As long as most stages take, so that they fall on every moment of one another.
                std::thread::sleep(Duration::from_millis(u64::from(draws.below(round, 2000))));
            }
            _ => println!("ran {}", bring_about(&store, draws.at(round))),
        }
    }
}

/// Reads all that it takes, works for a while, and writes what depends on nothing else.
fn act(spec: &StageSpec, store: &Store) -> Result<Outcome, StageFailure> {
    let mut inputs = vec![];
    for input in spec.inputs.values() {
        if let Input::Artifact { output } = input {
            let artifact = store.artifact(output)?;
            for name in artifact.manifest.files.keys() {
                artifact.path(name)?;
            }
            inputs.push(output.clone());
        }
    }
    let draws = Key::new(u64::from(std::process::id()), "work");
    std::thread::sleep(Duration::from_millis(u64::from(draws.below(0, 150))));
    for name in ["config.json", "model.safetensors"] {
        let content = format!("{name} of {} {:?} {inputs:?}", spec.label, spec.parameters.get("epochs"));
        fs::write(spec.attempt.join(name), content).expect("written");
    }
    let files = ["config.json", "model.safetensors"].map(String::from).to_vec();
    // The last stage is a delta.
    let base = inputs.first().filter(|_| spec.method == "finetune").cloned();
    Ok(Outcome { files, base, summary: serde_json::json!(inputs.len()), notices: vec![] })
}

/// A random one of 64 chains, whose stages have much in common; how many of its stages were computed.
fn bring_about(store: &Store, draws: Key) -> usize {
    let mut program: Program = chain();
    for (at, stage) in (2..5).enumerate() {
        program.nodes[stage].parameters["epochs"].value = Value::Epochs(f64::from(draws.below(at as u64, 4)));
    }
    let options = Options {
        program: std::env::current_exe().expect("this binary"),
        arguments: ENTRY.iter().map(Into::into).collect(),
        cancel: Arc::new(AtomicBool::new(false)),
        jobs: 2,
        machine: Machine::default(),
        keep_going: false,
        retries: 0,
        elsewhere: None,
        withheld: vec![],
        sweeps: false,
    };
    let report = run(&Plan::new(&program, "cpu"), &program, &source(), store, &options, &|_| {}).expect("it begins");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    // As long as the run has not ended, nothing it came to may go.
    for stage in report.stages.iter().flatten() {
        let artifact = store.artifact(&stage.manifest.output).expect("a result is lost while a run uses it");
        for name in artifact.manifest.files.keys() {
            artifact.path(name).expect("a file is lost while a run uses it");
        }
    }
    report.ran
}

/// What all processes of a role have said.
#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    /// Stages computed, or results removed.
    sum: AtomicU64,
}

fn start(role: &str, store: &Store, counts: &Arc<Counts>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(ENTRY).env(ROLE, role).env(STORE, store.root()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (lines, counts) = (BufReader::new(child.stdout.take().expect("piped")).lines(), counts.clone());
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let number = line.strip_prefix("ran ").or_else(|| line.strip_prefix("collected "));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                counts.lines.fetch_add(1, Ordering::Relaxed);
                counts.sum.fetch_add(number, Ordering::Relaxed);
            }
        }
    });
    child
}

#[test]
fn collecting_beside_random_runs_loses_nothing_in_use() {
    let minutes = std::env::var("FTP_TEST_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(0.1_f64);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let (ran, collected) = (Arc::new(Counts::default()), Arc::new(Counts::default()));
    let role = |at: usize| if at == RUNNERS { ("collect", &collected) } else { ("run", &ran) };
    let again = |at: usize| start(role(at).0, &store, role(at).1);
    let mut processes: Vec<Child> = (0..=RUNNERS).map(again).collect();
    let (begun, draws, mut kills) = (Instant::now(), Key::new(20, "kills"), 0);
    while begun.elapsed().as_secs_f64() < 60.0 * minutes {
        std::thread::sleep(Duration::from_millis(u64::from(draws.below(2 * kills, 2500))));
        for (at, process) in processes.iter_mut().enumerate() {
            let ended = process.try_wait().expect("asked");
            assert!(ended.is_none(), "a {} process ended by itself: {ended:?}", role(at).0);
        }
        let at = draws.below(2 * kills + 1, RUNNERS as u32 + 1) as usize;
        processes[at].kill().expect("killed");
        processes[at].wait().expect("ended");
        processes[at] = again(at);
        kills += 1;
    }
    for process in &mut processes {
        assert!(process.try_wait().expect("asked").is_none(), "a process ended by itself");
        process.kill().expect("killed");
        process.wait().expect("ended");
    }
    let said = |counts: &Counts| (counts.lines.load(Ordering::Relaxed), counts.sum.load(Ordering::Relaxed));
    let ((runs, computed), (collections, removed)) = (said(&ran), said(&collected));
    println!(
        "{:.1} min: {runs} runs computed {computed} stages, {collections} collections removed {removed} results, {kills} kills; \
         nothing in use was lost",
        begun.elapsed().as_secs_f64() / 60.0
    );
    assert!(runs > 0 && computed > runs / 10 && removed > 0, "everything happens");
    // Stages die with the runs they are of.
    std::thread::sleep(Duration::from_millis(100));
    let verified = store.verify(&|_| {}).expect("read");
    assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
    store.sweep().expect("swept");
    store.collect(&NOTHING_IS_KEPT).expect("collected");
    assert_eq!(store.survey(&NOTHING_IS_KEPT).expect("read").results.len(), 0);
}
