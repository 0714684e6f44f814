//! Runs with real processes that are killed, fail, hang, and get in each other's way.
//!
//! This test binary plays all the parts: started again with a stage's specification, or with a role in the
//! environment, its test `child_entry` is that process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ftp::event::Event;
use ftp::exec::{Machine, Options, RunReport, run, stage::run_child};
use ftp::lang::ir::Program;
use ftp::lang::signature::{Artifact, Class};
use ftp::lang::value::Value;
use ftp::plan::Plan;
use ftp::plan::spec::{Outcome, StageFailure, StageSpec};
use ftp::random::Key;
use ftp::store::{Acquired, Lookup, Patience, Product, Store};

mod programs;
use programs::{chain, parameter, source};
mod walk;
use walk::files_under;

const ROLE: &str = "FTP_TEST_ROLE";
const STORE: &str = "FTP_TEST_STORE";
const ENTRY: [&str; 3] = ["child_entry", "--exact", "--nocapture"];

#[test]
fn child_entry() {
    let spec = std::env::args().next_back().filter(|argument| argument.ends_with("spec.json"));
    if let Some(spec) = spec {
        // The test harness has begun a line.
        println!();
        let code = run_child(Path::new(&spec), |spec, _, sink| act(spec, sink));
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Store::open(std::env::var_os(STORE).expect("a store")).expect("it opens");
    println!();
    match role.as_str() {
        "commit" => commit_forever(&store),
        behaviour => {
            let report = run_all(&behave(behaviour), &store, &never(), &|_| {});
            println!("ran {} failed {}", report.ran, !report.failed.is_empty());
        }
    }
}

/// What a stage process does here, as its parameter `behaviour` says.
fn act(spec: &StageSpec, sink: &dyn Fn(Event)) -> Result<Outcome, StageFailure> {
    let beside = |name: &str| spec.store.join(name);
    let mut computed = fs::File::options().create(true).append(true).open(beside("computed")).expect("opens");
    writeln!(computed, "{}", spec.label).expect("written");
    sink(Event::Activity { stage: spec.label.clone(), doing: "pretending".into() });
    let behaviour = spec.parameters.get("behaviour").map(ToString::to_string).unwrap_or_default();
    fs::write(spec.attempt.join("model.safetensors"), format!("weights of {}", spec.label)).expect("written");
    // Only the middle stage of the chain misbehaves.
    match if spec.method == "adapt" { behaviour.as_str() } else { "work" } {
        "fail" => return Err(StageFailure::new("ftp::train::diverged", "the loss is NaN").help("lower it")),
        "panic" => panic!("index out of bounds"),
        "exit" => {
            eprintln!("a library gave up");
            std::process::exit(3);
        }
        "kill" => kill(std::process::id()),
        "sleep" => {
            fs::write(beside("pid.part"), std::process::id().to_string()).expect("written");
            fs::rename(beside("pid.part"), beside("pid")).expect("renamed");
            std::thread::sleep(Duration::from_secs(60));
        }
        "slow" => std::thread::sleep(Duration::from_millis(200)),
        _ => {}
    }
    let summary = serde_json::json!({ "inputs": spec.inputs.keys().collect::<Vec<_>>() });
    Ok(Outcome { files: vec!["model.safetensors".into()], base: None, summary, notices: vec![] })
}

/// The chain with a parameter that tells `act` what to do.
fn behave(behaviour: &str) -> Program {
    let mut program = chain();
    for node in &mut program.nodes[2..] {
        // Operational: a run that works has the keys of one that failed.
        let value = parameter(Value::Name(behaviour.into()), Class::Operational);
        node.parameters.insert("behaviour".into(), value);
    }
    program
}

/// How often what is random is tried: `FTP_TEST_ROUNDS`, or a number that suits every day.
fn rounds(usual: u64) -> u64 {
    std::env::var("FTP_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

fn run_all(program: &Program, store: &Store, cancel: &Arc<AtomicBool>, sink: &dyn Fn(Event)) -> RunReport {
    let options = Options {
        program: std::env::current_exe().expect("this binary"),
        arguments: ENTRY.iter().map(Into::into).collect(),
        cancel: cancel.clone(),
        jobs: 1,
        machine: Machine::default(),
        keep_going: false,
        retries: 0,
        elsewhere: None,
        withheld: vec![],
        sweeps: true,
    };
    run(&Plan::new(program, "cpu"), program, &source(), store, &options, sink).expect("the run begins")
}

fn start(role: &str, store: &Store) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(ENTRY).env(ROLE, role).env(STORE, store.root());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn new_store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    (directory, store)
}

fn kill(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("a process number");
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

// Committing under fire.

fn commit_forever(store: &Store) {
    for number in std::process::id().. {
        let program = numbered(number);
        let (key, output) = commit_one(store, &program, number);
        println!("done {key} {output}");
    }
}

fn numbered(number: u32) -> Program {
    let mut program = chain();
    program.nodes[2].parameters["epochs"].value = Value::Epochs(f64::from(number));
    program
}

fn commit_one(store: &Store, program: &Program, number: u32) -> (String, String) {
    let keyed = Plan::new(program, "cpu").key(program, 0, &|_| String::new());
    let Acquired::Ours(lease) = store.acquire(&keyed.key, &mut Patience::default()).expect("asked") else {
        panic!("nobody else computes this");
    };
    let attempt = store.attempt().expect("a directory");
    let files: Vec<String> = ["config.json", "model.safetensors"].map(String::from).to_vec();
    for name in &files {
        fs::write(attempt.files().join(name), format!("{name} {number} ").repeat(2000)).expect("written");
    }
    let product = Product {
        key: keyed.key.clone(),
        method: "pretrain".into(),
        version: 1,
        label: "pretrain".into(),
        pre_image: keyed.pre_image,
        artifact: Artifact::Model,
        outcome: Outcome { files, base: None, summary: serde_json::json!({ "number": number }), notices: vec![] },
        started: 0.0,
        seconds: 0.0,
    };
    let output = store.commit(product, &attempt.files(), lease.nonce()).expect("committed").manifest.output;
    (keyed.key, output)
}

#[test]
fn killed_at_any_instant_what_was_reported_stays_and_nothing_half_made_shows() {
    let (_directory, store) = new_store();
    let mut reported: Vec<(String, String)> = Vec::new();
    let rounds = rounds(40);
    for round in 0..rounds {
        let mut child = start("commit", &store);
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let pid = child.id();
        // Up to two commits, and then an instant within the next, or within the start of the process.
        let (mut commits, instant) = (round % 3, Duration::from_micros(round * 7919 % 20_000));
        let kill_soon = move || {
            std::thread::spawn(move || {
                std::thread::sleep(instant);
                kill(pid);
            })
        };
        let mut killer = (commits == 0).then(kill_soon);
        for line in lines.lines().map_while(Result::ok) {
            if let Some((key, output)) = line.strip_prefix("done ").and_then(|rest| rest.split_once(' ')) {
                reported.push((key.to_owned(), output.to_owned()));
                commits = commits.saturating_sub(1);
                if commits == 0 && killer.is_none() {
                    killer = Some(kill_soon());
                }
            }
        }
        killer.expect("it was to be killed").join().expect("it killed");
        child.wait().expect("it ended");
        // No repair, no flag: the same key is computed next, wherever the killed process was.
        let number = pid.wrapping_add(1_000_000);
        let (key, output) = commit_one(&store, &numbered(number), number);
        reported.push((key, output));
        let first = Plan::new(&numbered(pid), "cpu").key(&numbered(pid), 0, &|_| String::new()).key;
        let acquired = store.acquire(&first, &mut Patience::default()).expect("asked");
        assert!(matches!(acquired, Acquired::Ours(_)), "a killed process holds no lease");
    }
    for (key, output) in &reported {
        assert!(matches!(store.lookup(key), Lookup::Hit(manifest) if manifest.output == *output), "{key} is lost");
        assert_whole(&store, output);
    }
    // Also what was committed but not reported any more.
    for path in files_under(&store.root().join("results")) {
        let key = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let Lookup::Hit(manifest) = store.lookup(&key) else { panic!("{} is half-made", path.display()) };
        assert_whole(&store, &manifest.output);
    }
    let blobs = files_under(&store.root().join("blobs"));
    for blob in &blobs {
        let digest = ftp::store::digest_file(blob).expect("readable");
        assert_eq!(blob.file_name().expect("a name").to_string_lossy(), digest);
    }
    let (kept, blobs) = (reported.len(), blobs.len());
    println!(
        "{rounds} processes killed while they commit: {kept} results stayed, {blobs} blobs are what their names say"
    );
    store.sweep().expect("swept");
    assert_eq!(fs::read_dir(store.root().join("attempts")).expect("readable").count(), 0);
}

fn assert_whole(store: &Store, output: &String) {
    let artifact = store.artifact(output).expect("there");
    for name in artifact.manifest.files.keys() {
        artifact.path(name).expect("verified");
    }
}

// Runs.

#[test]
fn a_run_computes_every_stage_once_and_the_next_run_none() {
    let (_directory, store) = new_store();
    let events = std::cell::RefCell::new(Vec::new());
    let program = behave("work");
    let first = run_all(&program, &store, &never(), &|event| events.borrow_mut().push(event));
    assert_eq!((first.ran, first.hits, first.failed.is_empty(), first.interrupted), (3, 0, true, false));
    let names: Vec<String> = events.borrow().iter().map(name_of).collect();
    let each = ["stage_started", "activity", "stage_finished"];
    let expected = [&["run_started"][..], &each, &each, &each, &["run_finished"]].concat();
    assert_eq!(names, expected);
    assert_eq!(first.manifest_of(2).expect("there").summary["inputs"], serde_json::json!(["model", "target"]));
    assert!(files_under(&store.root().join("attempts")).is_empty());
    assert!(files_under(&store.root().join("leases")).iter().all(|path| path.ends_with("lock")));

    let second = run_all(&program, &store, &never(), &|_| {});
    assert_eq!((second.ran, second.hits), (0, 3));
    assert_eq!(second.manifest_of(2), first.manifest_of(2));
}

fn name_of(event: &Event) -> String {
    let json = serde_json::to_value(event).expect("an event is JSON");
    json["event"].as_str().expect("tagged").to_owned()
}

/// Runs the chain with a middle stage that ends like this; returns the report and the failure's code, message, help.
fn failing(behaviour: &str) -> (RunReport, StageFailure) {
    let (_directory, store) = new_store();
    let said = std::cell::RefCell::new(None);
    let report = run_all(&behave(behaviour), &store, &never(), &|event| {
        if let Event::StageFailed { stage, kept, .. } = event {
            *said.borrow_mut() = Some((stage, kept));
        }
    });
    let kept = "pretrain is in the store and need not run again".to_owned();
    assert_eq!(said.into_inner(), Some(("adapt(domain)".to_owned(), kept)));
    assert_eq!((report.ran, report.skipped), (1, 1), "the stage before stays, the stage after does not start");
    assert!(files_under(&store.root().join("attempts")).is_empty());
    let failure = report.failed.first().expect("it failed").failure.clone();
    // Mended, it goes on where it stopped.
    let mended = run_all(&behave("work"), &store, &never(), &|_| {});
    assert_eq!((mended.ran, mended.hits), (2, 1));
    (report, failure)
}

#[test]
fn a_failure_keeps_its_code_message_and_help() {
    let (report, failure) = failing("fail");
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("ftp::train::diverged", "the loss is NaN"));
    // The test harness printed something, so there is a log to point to.
    assert!(failure.help.expect("one action").starts_with("lower it; its log is "));
    assert!(!report.interrupted);
}

#[test]
fn a_panic_is_a_failure_that_says_what_it_was() {
    let (_, failure) = failing("panic");
    assert_eq!(failure.code, "ftp::stage::panicked");
    assert!(failure.message.ends_with("index out of bounds"), "{}", failure.message);
}

#[test]
fn a_process_that_gives_up_shows_the_end_of_its_log() {
    let (_, failure) = failing("exit");
    assert_eq!(failure.code, "ftp::exec::ended");
    assert!(failure.message.contains("ended with exit status 3"), "{}", failure.message);
    assert!(failure.message.contains("\n  a library gave up"), "{}", failure.message);
}

#[test]
fn a_process_that_is_killed_is_a_failure_that_says_so() {
    let (_, failure) = failing("kill");
    assert_eq!(failure.code, "ftp::exec::killed");
    assert!(failure.help.expect("one action").contains("memory limit"));
}

#[test]
fn a_stage_over_its_time_limit_is_stopped() {
    let (_directory, store) = new_store();
    let mut program = behave("sleep");
    program.nodes[3].parameters["time_limit"].value = Value::Seconds(0.5);
    let report = run_all(&program, &store, &never(), &|_| {});
    let failure = report.failed.first().expect("it failed").failure.clone();
    assert_eq!(failure.code, "ftp::exec::time_limit");
    assert!(failure.message.contains("time_limit of 0.5 s"), "{}", failure.message);
}

#[test]
fn a_cancelled_run_ends_its_stage_and_keeps_those_before() {
    let (_directory, store) = new_store();
    let cancel = never();
    let pid_file = store.root().join("pid");
    let canceller = std::thread::spawn({
        let (cancel, pid_file) = (cancel.clone(), pid_file.clone());
        move || {
            wait_for("the stage", || pid_file.exists());
            cancel.store(true, Ordering::Relaxed);
        }
    });
    let report = run_all(&behave("sleep"), &store, &cancel, &|_| {});
    canceller.join().expect("it cancelled");
    assert_eq!((report.interrupted, report.ran, report.failed.is_empty()), (true, 1, true));
    let pid = fs::read_to_string(&pid_file).expect("readable").parse().expect("a number");
    assert!(!runs(pid));
    assert!(files_under(&store.root().join("attempts")).is_empty());
    let next = run_all(&behave("work"), &store, &never(), &|_| {});
    assert_eq!((next.ran, next.hits), (2, 1));
}

#[test]
fn two_and_sixteen_runs_at_once_compute_each_stage_once() {
    for runs in [2, 16] {
        let (_directory, store) = new_store();
        let all: Vec<Child> = (0..runs).map(|_| start("slow", &store)).collect();
        let mut ran = 0;
        for child in all {
            let output = child.wait_with_output().expect("it ends");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix("ran ")).unwrap_or_else(|| panic!("{text}"));
            let (count, failed) = line.split_once(" failed ").expect("both are said");
            assert_eq!(failed, "false");
            ran += count.parse::<usize>().expect("a number");
        }
        assert_eq!(ran, 3, "{runs} runs");
        let computed = fs::read_to_string(store.root().join("computed")).expect("readable");
        assert_eq!(computed.lines().collect::<Vec<_>>(), ["pretrain", "adapt(domain)", "finetune(target)"]);
        println!("{runs} runs at once: {} computations of 3 keys", computed.lines().count());
    }
}

/// The processes that this one started and that have not ended.
fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent(pid) == Some(of)).collect()
}

#[test]
fn killed_at_random_instants_engine_stage_or_both_finished_stages_stay_finished() {
    let rounds = rounds(12);
    let (mut kept, mut killed) = (0, [0; 3]);
    for round in 0..rounds {
        let (_directory, store) = new_store();
        let mut engine = start("slow", &store);
        let instant = Key::new(round, "instant").uniform(0) * 900.0;
        std::thread::sleep(Duration::from_secs_f32(instant / 1000.0));
        let finished = files_under(&store.root().join("results"));
        let stages = children(engine.id());
        if round % 3 != 0 {
            stages.iter().for_each(|pid| kill(*pid));
        }
        if round % 3 != 1 {
            engine.kill().expect("killed");
        }
        engine.wait().expect("it ended");
        for stage in stages {
            wait_for("the death of the stage", || !runs(stage));
        }
        for path in finished.iter().chain(&files_under(&store.root().join("results"))) {
            let key = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let Lookup::Hit(manifest) = store.lookup(&key) else { panic!("{} is lost", path.display()) };
            assert_whole(&store, &manifest.output);
        }
        let next = run_all(&behave("work"), &store, &never(), &|_| {});
        assert!(next.failed.is_empty() && next.hits >= finished.len() && next.ran + next.hits == 3, "round {round}");
        assert!(store.verify(&|_| {}).expect("read").damaged.is_empty());
        assert!(files_under(&store.root().join("attempts")).is_empty(), "round {round}");
        assert!(files_under(&store.root().join("leases")).iter().all(|path| path.ends_with("lock")), "round {round}");
        kept += finished.len();
        killed[(round % 3) as usize] += 1;
    }
    let [both, stage, engine] = killed;
    println!(
        "killed {engine} times the engine, {stage} the stage, {both} both: {kept} stages were finished before and stayed so"
    );
}

#[test]
fn a_stage_dies_with_its_scheduler_and_the_next_run_takes_over_at_once() {
    let (_directory, store) = new_store();
    let mut scheduler = start("sleep", &store);
    let pid_file = store.root().join("pid");
    wait_for("the stage", || pid_file.exists());
    let pid = fs::read_to_string(&pid_file).expect("readable").parse().expect("a number");
    assert!(runs(pid));
    scheduler.kill().expect("killed");
    scheduler.wait().expect("ended");
    wait_for("the death of the stage", || !runs(pid));
    let begun = Instant::now();
    let report = run_all(&behave("work"), &store, &never(), &|_| {});
    assert_eq!((report.ran, report.hits), (2, 1));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it did not wait for a heartbeat");
    println!("the leases of a killed run were taken over in {:.1} s, stages included", took.as_secs_f64());
    assert!(files_under(&store.root().join("attempts")).is_empty(), "the dead stage's attempt was swept");
}
