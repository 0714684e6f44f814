//! Which stages run at once, what a failure stops, and what is tried again. Stage processes are this binary, started with
//! a specification.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ftp::event::Event;
use ftp::exec::stage::{run_child, run_members};
use ftp::exec::{Machine, Options, RunReport, run};
use ftp::lang::ir::Program;
use ftp::lang::signature::{Artifact, Class};
use ftp::lang::value::Value;
use ftp::plan::Plan;
use ftp::plan::spec::{Outcome, StageFailure, StageSpec};
use ftp::store::Store;

mod programs;
use programs::{chain, parameter, pipeline, source};

#[test]
fn child_entry() {
    if std::env::args().any(|argument| argument == "--together") {
        println!();
        let code = run_members(|spec, _, _| act(spec));
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    let spec = std::env::args().next_back().filter(|argument| argument.ends_with("spec.json"));
    let Some(spec) = spec else { return };
    // The test harness has begun a line.
    println!();
    let code = run_child(Path::new(&spec), |spec, _, _| act(spec));
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// What a stage process does here, as its parameters say.
fn act(spec: &StageSpec) -> Result<Outcome, StageFailure> {
    let number = spec.parameters.get("seed").and_then(Value::as_int).unwrap_or(0);
    let beside = |name: &str| spec.store.join(format!("{name}-{number}"));
    match spec.parameters.get("behaviour").map(ToString::to_string).unwrap_or_default().as_str() {
        "fail" if number % 20 == 7 => return Err(StageFailure::new("ftp::train::diverged", "the loss is NaN")),
        "killed once" if !beside("tried").exists() => {
            std::fs::write(beside("tried"), "").expect("written");
            // SAFETY: sends a signal; no memory is involved.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        "killed always" => {
            // SAFETY: as above.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        "panic" if number == 2 => panic!("index out of bounds"),
        "slow" => std::thread::sleep(Duration::from_millis(150)),
        "sleep" => std::thread::sleep(Duration::from_secs(60)),
        "on a gpu" => on_a_gpu(spec),
        "refused memory" => refused_memory(),
        "killed for memory" => killed_for_memory(&spec.store),
        _ => {}
    }
    std::fs::write(spec.attempt.join("model.safetensors"), format!("{number}")).expect("written");
    let given = ["RAYON_NUM_THREADS", "CUDA_VISIBLE_DEVICES"].map(|name| (name, std::env::var(name).ok()));
    let given = given.into_iter().filter_map(|(name, value)| Some(ftp::event::Notice::new(name, value?)));
    let device = ftp::event::Notice::new("device", spec.device.clone());
    let process = ftp::event::Notice::new("process", std::process::id().to_string());
    let notices = given.chain([device, process]).collect();
    Ok(Outcome {
        files: vec!["model.safetensors".into()],
        base: None,
        summary: serde_json::json!({ "seed": number }),
        notices,
    })
}

/// Takes the GPU it sees for itself: a second stage on it would find the file.
fn on_a_gpu(spec: &StageSpec) {
    let gpu = std::env::var("CUDA_VISIBLE_DEVICES").expect("a stage is given a GPU");
    let taken = spec.store.join(format!("gpu-{gpu}"));
    std::fs::File::create_new(&taken).expect("nobody else is on this GPU");
    std::thread::sleep(Duration::from_millis(100));
    std::fs::remove_file(taken).expect("removed");
}

/// Asks for more memory than this process may have.
fn refused_memory() {
    let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
    // SAFETY: sets a limit of this process; the struct outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    let devoured: Vec<u8> = Vec::with_capacity(4 << 30);
    drop(std::hint::black_box(devoured));
}

/// Uses more memory than a control group of its own allows, if this machine lets it make one.
fn killed_for_memory(store: &Path) {
    let name = format!("ftp-test-{}", std::process::id());
    let versions = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
    let group = versions.into_iter().find_map(|(controller, limit)| {
        let group = Path::new("/sys/fs/cgroup").join(controller).join(&name);
        std::fs::create_dir(&group).ok()?;
        let set = || {
            std::fs::write(group.join(limit), "50000000")?;
            // Where there is swap, it would take what does not fit.
            let _ = std::fs::write(group.join("memory.memsw.limit_in_bytes"), "50000000");
            let _ = std::fs::write(group.join("memory.swap.max"), "0");
            std::fs::write(group.join("cgroup.procs"), std::process::id().to_string())
        };
        if set().is_err() {
            let _ = std::fs::remove_dir(&group);
            return None;
        }
        Some(group)
    });
    let Some(group) = group else { return };
    std::fs::write(store.join("group"), group.display().to_string()).expect("written");
    let devoured: Vec<u64> = (0..50_000_000).collect();
    drop(std::hint::black_box(devoured));
}

/// `pretrain`, from there `count` times `adapt -> finetune` with different seeds.
fn fan_out(count: usize, behaviour: &str) -> Program {
    let mut program = chain();
    let (adapt, finetune) = (program.nodes[3].clone(), program.nodes[4].clone());
    program.nodes.truncate(3);
    program.pipelines.clear();
    program.expectations.clear();
    program.publications.clear();
    for number in 0..count {
        let mut first = adapt.clone();
        first.parameters.insert("seed".into(), parameter(Value::Int(number as i64), Class::Semantic));
        first.parameters.insert("behaviour".into(), parameter(Value::Name(behaviour.into()), Class::Operational));
        let mut second = finetune.clone();
        second.inputs.insert("model".into(), program.nodes.len());
        program.nodes.extend([first, second]);
        let last = program.nodes.len() - 1;
        pipeline(&mut program, &format!("p{number}"), &[2, last - 1, last]);
    }
    program
}

/// `pretrain -> peft`, and over that model `count` trainings with different seeds.
fn siblings(count: usize, behaviour: &str) -> Program {
    let mut program = chain();
    program.nodes[3].output = Artifact::Parametrised;
    let finetune = program.nodes.pop().expect("the last stage");
    program.pipelines.clear();
    program.expectations.clear();
    program.publications.clear();
    for number in 0..count {
        let mut one = finetune.clone();
        one.parameters.insert("seed".into(), parameter(Value::Int(number as i64), Class::Semantic));
        one.parameters.insert("behaviour".into(), parameter(Value::Name(behaviour.into()), Class::Operational));
        program.nodes.push(one);
        let last = program.nodes.len() - 1;
        pipeline(&mut program, &format!("p{number}"), &[2, 3, last]);
    }
    program
}

fn options(jobs: usize, keep_going: bool, retries: u32) -> Options {
    Options {
        program: std::env::current_exe().expect("this binary"),
        // What follows is for `child_entry`, not for the test harness.
        arguments: ["child_entry", "--exact", "--nocapture", "--"].map(Into::into).to_vec(),
        cancel: Arc::new(AtomicBool::new(false)),
        jobs,
        machine: Machine::default(),
        keep_going,
        retries,
        elsewhere: None,
        withheld: vec![],
        sweeps: true,
    }
}

struct Ran {
    report: RunReport,
    events: Vec<Event>,
    store: Store,
    _directory: tempfile::TempDir,
}

fn go(program: &Program, options: &Options) -> Ran {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let events = RefCell::new(vec![]);
    let sink = |event| events.borrow_mut().push(event);
    let report = run(&Plan::new(program, "cpu"), program, &source(), &store, options, &sink).expect("it begins");
    Ran { report, events: events.into_inner(), store, _directory: directory }
}

/// What stages were given under a name, in the plan's order.
fn given(ran: &Ran, name: &str) -> Vec<String> {
    let stages = ran.report.stages.iter().flatten();
    let notices = stages.flat_map(|stage| &stage.manifest.record.notices).filter(|notice| notice.code == name);
    notices.map(|notice| notice.message.clone()).collect()
}

/// The most stages that ran at the same time.
fn at_once(events: &[Event]) -> usize {
    let (mut now, mut most) = (0usize, 0);
    for event in events {
        match event {
            Event::StageStarted { .. } => now += 1,
            Event::StageFinished { .. } | Event::StageFailed { .. } | Event::StageRetried { .. } => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[test]
fn independent_stages_run_at_once_up_to_the_number_of_jobs_and_results_are_the_same() {
    let program = fan_out(4, "slow");
    let one = go(&program, &options(1, false, 0));
    let many = go(&program, &options(3, false, 0));
    assert_eq!((at_once(&one.events), at_once(&many.events)), (1, 3));
    assert_eq!((one.report.ran, many.report.ran), (9, 9));
    let outputs = |ran: &Ran| -> Vec<String> {
        ran.report.stages.iter().map(|stage| stage.as_ref().expect("it ran").manifest.output.clone()).collect()
    };
    assert_eq!(outputs(&one), outputs(&many));
    // Each of several has its share of the cores; one alone has all.
    let threads = |ran: &Ran| given(ran, "RAYON_NUM_THREADS").len();
    assert_eq!((threads(&one), threads(&many)), (0, 9));
    println!("9 stages, 3 jobs: {} at once, and the results of one after the other", at_once(&many.events));
}

#[test]
fn a_stage_begins_only_after_its_inputs() {
    let ran = go(&fan_out(5, "work"), &options(4, false, 0));
    let mut done = HashSet::new();
    for event in &ran.events {
        match event {
            Event::StageFinished { stage, .. } => drop(done.insert(stage.clone())),
            Event::StageStarted { stage, .. } if stage.starts_with("finetune") => {
                let before = stage.replace("finetune(target)", "adapt(domain)");
                assert!(done.contains(&before), "{stage} began before {before} was done");
            }
            _ => {}
        }
    }
    assert_eq!(done.len(), 11);
}

#[test]
fn fifty_failures_in_a_thousand_stages_leave_the_other_nine_hundred_and_fifty() {
    let mut program = fan_out(1000, "fail");
    // Only the fan-out itself.
    for pipeline in &mut program.pipelines {
        pipeline.stages.pop();
        pipeline.output = *pipeline.stages.last().expect("two stages");
    }
    let ran = go(&program, &options(4, true, 0));
    assert_eq!((ran.report.ran, ran.report.failed.len(), ran.report.skipped), (951, 50, 0));
    let Some(Event::RunFinished { ran: done, hits: 0, failed: 50, skipped: 0, .. }) = ran.events.last() else {
        panic!("{:?}", ran.events.last())
    };
    assert_eq!(*done, 951);
    // The next run finds them.
    let again = run(&Plan::new(&program, "cpu"), &program, &source(), &ran.store, &options(4, true, 0), &|_| {});
    let again = again.expect("it begins");
    assert_eq!((again.hits, again.failed.len()), (951, 50));
    println!("{}", ftp::report::text::line(ran.events.last().expect("there is one")).expect("it is said"));
}

#[test]
fn a_failure_stops_what_depends_on_it_and_without_keep_going_everything_not_begun() {
    let program = fan_out(30, "fail");
    let on = go(&program, &options(2, true, 0));
    // Seeds 7 and 27 fail; their two fine-tunings never begin.
    assert_eq!((on.report.ran, on.report.failed.len(), on.report.skipped), (57, 2, 2));
    let stopped = go(&program, &options(1, false, 0));
    assert_eq!(stopped.report.failed.len(), 1);
    assert_eq!(stopped.report.ran + stopped.report.skipped, 60);
    assert!(stopped.report.skipped > 0);
}

#[test]
fn a_process_that_is_killed_is_tried_again_and_a_method_that_fails_is_not() {
    let killed = go(&fan_out(1, "killed once"), &options(1, false, 2));
    assert_eq!((killed.report.ran, killed.report.failed.len()), (3, 0));
    let retries = killed.events.iter().filter(|event| matches!(event, Event::StageRetried { attempt: 2, .. })).count();
    assert_eq!(retries, 1);

    let always = go(&fan_out(1, "killed always"), &options(1, false, 2));
    assert_eq!(always.report.failed[0].failure.code, "ftp::exec::killed");
    let started = |event: &&Event| matches!(event, Event::StageStarted { stage, .. } if stage.starts_with("adapt"));
    assert_eq!(always.events.iter().filter(started).count(), 3);
    let wait = |event: &Event| if let Event::StageRetried { seconds, .. } = event { Some(*seconds) } else { None };
    let waits: Vec<f64> = always.events.iter().filter_map(wait).collect();
    assert_eq!(waits, [1.0, 2.0], "each wait is longer");
    assert!(always.report.seconds >= 3.0, "{} s", always.report.seconds);
    println!("a stage that is killed each time was tried 3 times, after waits of {waits:?} s");

    let failed = go(&fan_out(8, "fail"), &options(1, true, 3));
    assert_eq!(failed.report.failed[0].failure.code, "ftp::train::diverged");
    assert!(!failed.events.iter().any(|event| matches!(event, Event::StageRetried { .. })));
}

#[test]
fn stages_that_say_what_they_need_run_at_once_only_where_it_is_there() {
    let mut program = fan_out(4, "slow");
    for node in program.nodes.iter_mut().filter(|node| node.method == "adapt") {
        node.parameters.insert("memory".into(), parameter(Value::Bytes(40), Class::Operational));
        node.parameters.insert("cores".into(), parameter(Value::Int(3), Class::Operational));
    }
    let machine = |cores, memory| Options { machine: Machine { cores, memory }, ..options(8, false, 0) };
    // What asks for nothing may run beside.
    let asking = |ran: &Ran| {
        let mut events = ran.events.clone();
        events.retain(|event| match event {
            Event::StageStarted { stage, .. } | Event::StageFinished { stage, .. } => stage.starts_with("adapt"),
            _ => false,
        });
        at_once(&events)
    };
    let wide = go(&program, &machine(16, 1000));
    assert!(asking(&wide) > 2);
    assert_eq!(asking(&go(&program, &machine(16, 100))), 2, "of 100 bytes two stages have 40 each");
    let narrow = go(&program, &machine(7, 1000));
    assert_eq!(asking(&narrow), 2, "of seven cores two stages have three each");
    let outputs = |ran: &Ran| -> Vec<String> {
        ran.report.stages.iter().map(|stage| stage.as_ref().expect("it ran").manifest.output.clone()).collect()
    };
    assert_eq!(outputs(&wide), outputs(&narrow), "what is needed is in no key");
    // The others share what these leave.
    let threads = given(&narrow, "RAYON_NUM_THREADS");
    assert_eq!(threads.iter().filter(|threads| *threads == "3").count(), 4, "a stage has the cores it asked for");
    println!(
        "4 stages of 3 cores and 40 bytes: {} at once of 16 cores and 1,000 bytes, 2 of 100 bytes, 2 of 7 cores",
        asking(&wide)
    );

    let never = go(&program, &machine(16, 39));
    assert_eq!(never.report.failed[0].failure.code, "ftp::exec::too_large");
    assert!(never.report.failed[0].failure.help.as_ref().is_some_and(|help| help.contains("--memory")));
}

#[test]
fn each_stage_sees_its_own_gpu_only_and_no_gpu_has_two() {
    let program = fan_out(4, "on a gpu");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let events = RefCell::new(vec![]);
    let sink = |event| events.borrow_mut().push(event);
    let plan = Plan::new(&program, "cuda:0,cuda:2");
    let report = run(&plan, &program, &source(), &store, &options(8, false, 0), &sink).expect("it begins");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let ran = Ran { report, events: events.into_inner(), store, _directory: directory };
    // `pretrain` alone, then four chains on two GPUs.
    assert_eq!(at_once(&ran.events), 2);
    let seen = given(&ran, "CUDA_VISIBLE_DEVICES");
    assert_eq!(seen.len(), 9);
    assert!(seen.iter().all(|gpu| gpu == "0" || gpu == "2") && seen.contains(&"0".to_owned()), "{seen:?}");
    assert_eq!(given(&ran, "device"), vec!["cuda:0"; 9], "the only one it sees is its first");
    println!("9 stages on GPUs 0 and 2: never two on one, each saw one: {seen:?}");
}

#[test]
fn want_of_memory_is_recognised_and_not_tried_again() {
    let refused = go(&fan_out(1, "refused memory"), &options(1, false, 2));
    let failure = &refused.report.failed[0].failure;
    assert_eq!(failure.code, "ftp::exec::out_of_memory", "{failure:?}");
    assert!(
        failure.message.contains("refused memory: memory allocation of 4294967296 bytes failed"),
        "{}",
        failure.message
    );
    assert!(failure.help.as_ref().is_some_and(|help| help.contains("micro_batch_size")));
    println!("{}", failure.message.lines().next().unwrap_or_default());

    let killed = go(&fan_out(1, "killed for memory"), &options(1, false, 2));
    let Ok(group) = std::fs::read_to_string(killed.store.root().join("group")) else {
        println!("not seen here: a kill by the kernel, for no control group with a limit can be made");
        return;
    };
    let _ = std::fs::remove_dir(group);
    let failure = &killed.report.failed[0].failure;
    assert_eq!(failure.code, "ftp::exec::out_of_memory", "{failure:?}");
    println!("{}", failure.message.lines().next().unwrap_or_default());
    for ran in [&refused, &killed] {
        assert!(!ran.events.iter().any(|event| matches!(event, Event::StageRetried { .. })));
    }
}

// Stages in one process.

/// The processes that the trainings ran in, in the plan's order.
fn processes(ran: &Ran) -> Vec<String> {
    let trained = ran.report.stages.iter().skip(2).flatten();
    trained.map(|stage| stage.manifest.record.notices.last().expect("it said so").message.clone()).collect()
}

fn outputs(ran: &Ran) -> Vec<Option<String>> {
    ran.report.stages.iter().map(|stage| stage.as_ref().map(|stage| stage.manifest.output.clone())).collect()
}

#[test]
fn trainings_over_one_model_run_together_in_one_process_and_come_to_the_same() {
    let program = siblings(5, "slow");
    let together = go(&program, &options(1, false, 0));
    let apart = go(&program, &Options { sweeps: false, ..options(1, false, 0) });
    assert_eq!((at_once(&together.events), at_once(&apart.events)), (5, 1));
    assert_eq!(HashSet::<String>::from_iter(processes(&together)).len(), 1);
    assert_eq!(HashSet::<String>::from_iter(processes(&apart)).len(), 5);
    assert_eq!(outputs(&together), outputs(&apart));
    // Where several may run at once, each has its process as ever.
    let beside = go(&program, &options(2, false, 0));
    assert_eq!((at_once(&beside.events), HashSet::<String>::from_iter(processes(&beside)).len()), (2, 5));
}

#[test]
fn of_many_trainings_some_run_together_and_others_join_as_these_end() {
    let program = siblings(40, "slow");
    let machine = Options { machine: Machine { cores: 4, memory: u64::MAX }, ..options(1, false, 0) };
    let ran = go(&program, &machine);
    assert_eq!((ran.report.ran, at_once(&ran.events)), (42, 8));
    assert_eq!(HashSet::<String>::from_iter(processes(&ran)).len(), 1);
    // And no more than there is memory for.
    let mut program = siblings(6, "slow");
    for node in program.nodes.iter_mut().filter(|node| node.method == "finetune") {
        node.parameters.insert("memory".into(), parameter(Value::Bytes(40), Class::Operational));
    }
    let machine = Options { machine: Machine { cores: 4, memory: 100 }, ..options(1, false, 0) };
    let ran = go(&program, &machine);
    assert_eq!((ran.report.ran, at_once(&ran.events)), (8, 2));
}

#[test]
fn a_training_with_a_time_limit_has_its_process_to_itself() {
    let mut program = siblings(3, "slow");
    for node in program.nodes.iter_mut().filter(|node| node.method == "finetune") {
        node.parameters.insert("time_limit".into(), parameter(Value::Seconds(60.0), Class::Operational));
    }
    let ran = go(&program, &options(1, false, 0));
    assert_eq!((ran.report.ran, at_once(&ran.events)), (5, 1));
    assert_eq!(HashSet::<String>::from_iter(processes(&ran)).len(), 3);
}

#[test]
fn one_that_fails_or_panics_leaves_the_others_in_its_process() {
    for (behaviour, count, code) in [("fail", 8, "ftp::train::diverged"), ("panic", 4, "ftp::stage::panicked")] {
        let ran = go(&siblings(count, behaviour), &options(1, true, 2));
        let failed: Vec<&str> = ran.report.failed.iter().map(|failed| failed.failure.code.as_str()).collect();
        assert_eq!((ran.report.ran, failed), (1 + count, vec![code]), "{behaviour}");
        assert_eq!(HashSet::<String>::from_iter(processes(&ran)).len(), 1, "{behaviour}");
        assert!(!ran.events.iter().any(|event| matches!(event, Event::StageRetried { .. })), "{behaviour}");
    }
}

#[test]
fn when_the_process_is_killed_each_of_its_stages_runs_by_itself() {
    let program = siblings(4, "killed once");
    let ran = go(&program, &options(1, false, 2));
    assert_eq!((ran.report.ran, ran.report.failed.len()), (6, 0));
    assert_eq!(outputs(&ran), outputs(&go(&siblings(4, "work"), &options(1, false, 0))));
    assert_eq!(HashSet::<String>::from_iter(processes(&ran)).len(), 4);
    let retried = |event: &&Event| matches!(event, Event::StageRetried { code, .. } if code == "ftp::exec::killed");
    assert!(ran.events.iter().filter(retried).count() >= 4);

    // The end of a process that others may have ended does not count as a try.
    let always = go(&siblings(3, "killed always"), &options(1, true, 0));
    let codes: HashSet<&str> = always.report.failed.iter().map(|failed| failed.failure.code.as_str()).collect();
    assert_eq!((always.report.failed.len(), codes), (3, HashSet::from(["ftp::exec::killed"])));
}

#[test]
fn a_cancelled_run_ends_the_process_of_many_soon_and_cleanly() {
    let program = siblings(5, "sleep");
    let options = options(1, false, 2);
    let begun = std::time::Instant::now();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let cancel = options.cancel.clone();
    let sink = |event| {
        if matches!(&event, Event::StageStarted { stage, .. } if stage.starts_with("finetune")) {
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let report = run(&Plan::new(&program, "cpu"), &program, &source(), &store, &options, &sink).expect("it begins");
    assert!(report.interrupted && report.failed.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for folder in ["attempts", "leases"] {
        let left = std::fs::read_dir(directory.path().join(folder)).expect("there").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "lock").collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}
