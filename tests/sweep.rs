//! Seeds that train together in one process, run as a user runs them: each comes to the bits that it comes to alone, whatever happens
//! to the process and to the others.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod project;
use project::{call, project, write};
mod walk;
use walk::files_under;

const METHODS: &str = "\
pipeline biases = base -> peft(bitfit) -> each(seed in 1..3) finetune(target)
pipeline low = base -> peft(lora, rank = 2, dropout = 0.1) -> each(rate in [1e-2, 1e-3]) finetune(target, learning_rate = rate, patience = 1)
pipeline head = base -> peft(last_layers) -> each(seed in 1..3) finetune(target)
pipeline top = base -> peft(last_layers, layers = 1) -> each(seed in 1..2) finetune(target, regularizer = r3f)
pipeline beside = base -> peft(adapter, reduction_factor = 4) -> each(seed in 1..2) finetune(target, average = swa)
";

fn events(root: &Path, arguments: &[&str]) -> Vec<Value> {
    let ended = call(root, &[&["run", "p.ftp", "--json"], arguments].concat());
    let out = String::from_utf8_lossy(&ended.stdout);
    out.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

/// Output digests by stage.
fn outputs(events: &[Value]) -> BTreeMap<String, String> {
    let finished = events.iter().filter(|event| event["event"] == "stage_finished");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    finished.map(|event| (text(&event["stage"]), text(&event["output"]))).collect()
}

/// The most stages that ran at the same time.
fn at_once(events: &[Value]) -> i32 {
    let mut now = 0;
    let counts = events.iter().map(|event| match event["event"].as_str() {
        Some("stage_started") => 1,
        Some("stage_finished" | "stage_failed" | "stage_retried") => -1,
        _ => 0,
    });
    counts
        .map(|change| {
            now += change;
            now
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn seeds_that_train_together_come_to_the_bits_that_each_comes_to_alone() {
    let (together, apart) = (project(), project());
    write(together.path(), METHODS);
    write(apart.path(), METHODS);
    let (one, other) = (events(together.path(), &[]), events(apart.path(), &["--no-sweep"]));
    assert_eq!((at_once(&one), at_once(&other)), (3, 1));
    // pretrain, five deltas, twelve trainings.
    assert_eq!(outputs(&one).len(), 1 + 5 + 12);
    assert_eq!(outputs(&one), outputs(&other));
    // What each said of its own: the same evaluations and notices.
    let said = |events: &[Value], stage: &str| -> Vec<Value> {
        let own = events.iter().filter(|event| event["stage"] == stage);
        own.filter(|event| event["event"] == "evaluated" || event["event"] == "notice").cloned().collect()
    };
    for stage in outputs(&one).keys() {
        assert_eq!(said(&one, stage), said(&other, stage), "{stage}");
    }
    for folder in ["attempts", "checkpoints", "logs"] {
        let left = fs::read_dir(together.path().join("store").join(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder}");
    }
    // What fixed layers make of a split is computed once for all seeds.
    let states = |root: &Path| fs::read_dir(root.join("store/states")).expect("there").count();
    assert_eq!((states(together.path()), states(apart.path())), (6, 6));
    // Those that are in the store are left as they are, and two more do not depend on them.
    let more = METHODS.replacen("1..3", "1..5", 1);
    write(together.path(), &more);
    write(apart.path(), &more);
    let (one, other) = (events(together.path(), &[]), events(apart.path(), &["--no-sweep"]));
    assert_eq!((outputs(&one).len(), at_once(&one)), (2, 2));
    assert_eq!(outputs(&one), outputs(&other));
}

#[test]
fn one_that_fails_leaves_the_others_their_results() {
    let directory = project();
    let root = directory.path();
    write(
        root,
        "\
let light = base -> peft(bitfit)
pipeline first = light -> finetune(target)
pipeline wrong = light -> finetune(target, remove_layers = 5)
pipeline last = light -> finetune(target, seed = 2)
",
    );
    let ran = events(root, &["--keep-going"]);
    let failed: Vec<&Value> = ran.iter().filter(|event| event["event"] == "stage_failed").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["stage"], "finetune(target) in wrong");
    assert_eq!((outputs(&ran).len(), at_once(&ran)), (4, 3));
}

const LONG: &str = "\
pipeline tries = base -> peft(bitfit) -> each(seed in 1..4) finetune(target, epochs = 40, checkpoint_steps = 5)
";

fn start(root: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(root).env("FTP_STORE", root.join("store")).args(["run", "p.ftp", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ftp starts")
}

/// Waits until each of so many trainings has a checkpoint.
fn checkpoints(root: &Path, count: usize, child: &mut Child) {
    let begun = Instant::now();
    while fs::read_dir(root.join("store/checkpoints")).map_or(0, Iterator::count) < count {
        assert!(child.try_wait().expect("asked").is_none(), "it ended before");
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint is written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn finish(child: Child) -> Vec<Value> {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    out.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

fn expected() -> BTreeMap<String, String> {
    let alone = project();
    write(alone.path(), LONG);
    outputs(&events(alone.path(), &["--no-sweep"]))
}

fn resumed(events: &[Value]) -> usize {
    events.iter().filter(|event| event["notice"]["code"] == "ftp::train::resumed").count()
}

#[test]
fn trainings_whose_process_is_killed_go_on_by_themselves_from_their_checkpoints() {
    let directory = project();
    let root = directory.path();
    write(root, LONG);
    let mut child = start(root);
    checkpoints(root, 4, &mut child);
    let children = fs::read_dir("/proc").expect("Linux").flatten().filter_map(|entry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let of = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = of.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (parent == child.id() && line.contains("--together")).then(|| entry.file_name().to_string_lossy().into_owned())
    });
    let children: Vec<String> = children.collect();
    let [one] = children.as_slice() else { panic!("{children:?}") };
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(one.parse().expect("a process number"), libc::SIGKILL) };
    let ran = finish(child);
    let retried = ran.iter().filter(|event| event["event"] == "stage_retried" && event["code"] == "ftp::exec::killed");
    assert_eq!((retried.count(), resumed(&ran)), (4, 4));
    assert_eq!(outputs(&ran), expected());
}

#[test]
fn a_run_that_is_killed_leaves_checkpoints_that_the_next_one_goes_on_from_together() {
    let directory = project();
    let root = directory.path();
    write(root, LONG);
    let mut child = start(root);
    checkpoints(root, 4, &mut child);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let ran = finish(start(root));
    assert_eq!((resumed(&ran), at_once(&ran)), (4, 4));
    let all = expected();
    let tries = outputs(&ran);
    assert_eq!(tries.len(), 4);
    assert!(tries.iter().all(|(stage, output)| all[stage] == *output));
    for folder in ["attempts", "checkpoints"] {
        assert_eq!(fs::read_dir(root.join("store").join(folder)).expect("there").count(), 0, "{folder}");
    }
}

#[test]
fn a_hundred_deltas_lie_over_one_copy_of_their_base() {
    let directory = project();
    let root = directory.path();
    write(root, "pipeline tries = base -> peft(bitfit) -> each(seed in 1..100) finetune(target, steps = 1)\n");
    assert_eq!(outputs(&events(root, &[])).len(), 1 + 1 + 100);
    let sizes = |name: &str| -> Vec<u64> {
        let manifests = files_under(&root.join("store/results"))
            .into_iter()
            .map(|path| -> Value { serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON") });
        manifests.filter_map(|found| found["manifest"]["files"][name]["bytes"].as_u64()).collect()
    };
    let (models, deltas) = (sizes("model.safetensors"), sizes("delta.safetensors"));
    assert_eq!((models.len(), deltas.len()), (1, 100));
    // Biases, head and what names them.
    assert!(deltas.iter().all(|bytes| *bytes < models[0] / 2), "{deltas:?} {models:?}");
    let large = |blob: &PathBuf| fs::metadata(blob).expect("there").len() >= models[0];
    assert_eq!(files_under(&root.join("store/blobs")).iter().filter(|blob| large(blob)).count(), 1);
}
