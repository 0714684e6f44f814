//! The power fails at any instant: of every file only what was synced is left, and of every directory, if the worst comes
//! to the worst, only the names that were there when it was synced.
//!
//! `power_loss/recorder.c`, preloaded into runs and their stage processes, notes what is synced. A run is killed, and what it
//! had not synced is taken away.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ftp::event::Event;
use ftp::exec::{Machine, Options, run, stage::run_child};
use ftp::lang::ir::Program;
use ftp::lang::value::Value;
use ftp::plan::Plan;
use ftp::plan::spec::{Outcome, StageFailure, StageSpec};
use ftp::random::Key;
use ftp::store::{Lookup, Store};

mod programs;
use programs::{chain, source};

const ROLE: &str = "FTP_TEST_ROLE";
const DURABLE: &str = "FTP_TEST_DURABLE";
const ENTRY: [&str; 3] = ["child_entry", "--exact", "--nocapture"];

#[test]
fn child_entry() {
    if let Some(spec) = std::env::args().next_back().filter(|argument| argument.ends_with("spec.json")) {
        // The test harness has begun a line.
        println!();
        let code = run_child(Path::new(&spec), |spec, _, _| act(spec));
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    let Some(root) = std::env::var_os(ROLE) else { return };
    let store = Store::open(root).expect("it opens");
    println!();
    for number in std::process::id().. {
        bring_about(&store, number, &|event| {
            if let Event::StageFinished { key, output, .. } = event {
                println!("done {key} {output}");
            }
        });
    }
}

fn act(spec: &StageSpec) -> Result<Outcome, StageFailure> {
    let files = ["config.json", "model.safetensors"];
    for name in files {
        let content = format!("{name} of {} {:?}", spec.label, spec.parameters.get("epochs")).repeat(500);
        fs::write(spec.attempt.join(name), content).expect("written");
    }
    let inputs = spec.inputs.len();
    Ok(Outcome {
        files: files.map(String::from).to_vec(),
        base: None,
        summary: serde_json::json!(inputs),
        notices: vec![],
    })
}

/// A chain of three stages that no other number has.
fn numbered(number: u32) -> Program {
    let mut program = chain();
    for stage in 2..5 {
        program.nodes[stage].parameters["epochs"].value = Value::Epochs(f64::from(number));
    }
    program
}

/// The output digests of a chain's stages.
fn bring_about(store: &Store, number: u32, sink: &dyn Fn(Event)) -> Vec<String> {
    let options = Options {
        program: std::env::current_exe().expect("this binary"),
        arguments: ENTRY.iter().map(Into::into).collect(),
        cancel: Arc::new(AtomicBool::new(false)),
        jobs: 1,
        machine: Machine::default(),
        keep_going: false,
        retries: 0,
        elsewhere: None,
        withheld: vec![],
        sweeps: true,
    };
    let program = numbered(number);
    let report = run(&Plan::new(&program, "cpu"), &program, &source(), store, &options, sink).expect("it begins");
    report.stages.into_iter().map(|stage| stage.expect("it is there").manifest.output).collect()
}

fn recorder(directory: &Path) -> PathBuf {
    let library = directory.join("recorder.so");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power_loss/recorder.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([program, "-ldl"]).status();
    assert!(compiled.expect("cc, which links this test, is there").success());
    library
}

fn everything_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(everything_under(&path));
        }
        found.push(path);
    }
    found
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("it is there").ino()
}

/// Takes away what was not synced: contents always, names where `forgets` says so. `before` was there before.
fn fail(root: &Path, durable: &Path, before: &BTreeSet<PathBuf>, forgets: &mut dyn FnMut() -> bool) -> usize {
    let mut lost = 0;
    for path in everything_under(root).into_iter().filter(|path| !before.contains(path)) {
        let parent = path.parent().expect("below the root");
        let names = fs::read_to_string(durable.join(format!("directory-{}", inode(parent)))).unwrap_or_default();
        let name = path.file_name().expect("it has one").to_string_lossy();
        if !names.lines().any(|synced| synced == name) && forgets() {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            lost += 1;
        } else if path.is_file() {
            let kept = fs::read(durable.join(format!("file-{}", inode(&path)))).unwrap_or_default();
            if fs::read(&path).expect("readable") != kept {
                // Blobs are read-only; the power does not ask.
                fs::remove_file(&path).expect("removed");
                fs::write(&path, kept).expect("written");
                lost += 1;
            }
        }
    }
    lost
}

fn is_whole(store: &Store, output: &String) -> bool {
    store.artifact(output).is_ok_and(|artifact| artifact.manifest.files.keys().all(|name| artifact.path(name).is_ok()))
}

#[test]
fn when_the_power_fails_what_was_reported_stays_and_nothing_half_written_counts() {
    let rounds = std::env::var("FTP_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20u64);
    let tools = tempfile::tempdir().expect("a temporary directory");
    let recorder = recorder(tools.path());
    let (mut reported, mut lost) = (0, 0);
    for round in 0..rounds {
        let draws = Key::new(5, "power").at(round);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (root, durable) = (directory.path().join("store"), directory.path().join("durable"));
        fs::create_dir(&durable).expect("made");
        let store = Store::open(&root).expect("a new store");
        let root = store.root().to_path_buf();
        let before: BTreeSet<PathBuf> = everything_under(&root).into_iter().collect();
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(ENTRY).env(ROLE, &root).env(DURABLE, &durable).env("LD_PRELOAD", &recorder);
        // A group of its own, with its stage processes.
        let mut child =
            command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let number = child.id();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut done: Vec<(String, String)> = vec![];
        let parse = |line: String| {
            let mut words = line.strip_prefix("done ")?.split(' ');
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        };
        let wanted = (round % 4) as usize;
        while done.len() < wanted {
            done.extend(parse(lines.next().expect("it goes on")));
        }
        std::thread::sleep(Duration::from_micros(u64::from(draws.below(0, 40_000))));
        let group = -libc::pid_t::try_from(number).expect("a process number");
        // SAFETY: sends a signal; no memory is involved.
        unsafe { libc::kill(group, libc::SIGKILL) };
        child.wait().expect("ended");
        done.extend(lines.filter_map(parse));
        std::thread::sleep(Duration::from_millis(20));

        let mut count = 0;
        // Of the names that were not synced all stay, none, or some.
        let mut forgets = || {
            count += 1;
            match round % 3 {
                0 => false,
                1 => true,
                _ => draws.below(count, 2) == 1,
            }
        };
        lost += fail(&root, &durable, &before, &mut forgets);
        let store = Store::open(&root).expect("it opens without a flag");
        for (key, output) in &done {
            assert!(matches!(store.lookup(key), Lookup::Hit(_)), "round {round}: a finished stage is gone");
            assert!(is_whole(&store, output), "round {round}: a finished stage is damaged");
        }
        reported += done.len();
        for result in everything_under(&root.join("results")).iter().filter(|path| path.is_file()) {
            let key = result.file_stem().expect("a key").to_string_lossy().into_owned();
            if let Lookup::Hit(manifest) = store.lookup(&key) {
                assert!(is_whole(&store, &manifest.output), "round {round}: something partial counts as a result");
            }
        }
        // The same chain is brought to its end, and is what it would have been.
        let found = bring_about(&store, number, &|_| {});
        let (_other, elsewhere) = {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let store = Store::open(directory.path()).expect("a new store");
            (directory, store)
        };
        assert_eq!(found, bring_about(&elsewhere, number, &|_| {}), "round {round}");
    }
    println!("{rounds} failures of power, {reported} finished stages stayed, {lost} files lost something");
    assert!(lost > 0, "nothing was ever lost: the recorder records nothing");
}
