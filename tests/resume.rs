//! Trainings that are stopped at any step and go on: the same bits as without the interruption, and no more steps again
//! than those since the last checkpoint.
#![cfg(feature = "train")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ftp::data::FileWorld;
use ftp::event::{Event, Notice};
use ftp::lang::ir::Program;
use ftp::lang::value::Value;
use ftp::methods;
use ftp::plan::spec::{DeltaSpec, Input, Outcome, StageSpec};
use ftp::plan::{Plan, StageInput};
use ftp::random::Key;
use ftp::store::{Acquired, Lookup, Patience, Policy, Product, Store};
use ftp::syntax::Source;

mod walk;
use walk::files_under;

/// Dropout, masks, several epochs, a dev split with the best epoch kept: all that a checkpoint must get right.
const PIPELINE: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")
set pretrain(
  corpus = corpus, vocab_size = 120, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 2, batch_size = 8, learning_rate = 1e-3,
)
set adapt(epochs = 2.5, max_length = 32, batch_size = 8)
set finetune(epochs = 4, max_length = 32, batch_size = 7, learning_rate = 1e-2, checkpoint_steps = EVERY)
set pretrain(checkpoint_steps = EVERY)
set adapt(checkpoint_steps = EVERY)
let base = pretrain -> adapt(corpus)
pipeline full = base -> finetune(target)
pipeline biases = base -> peft(bitfit) -> finetune(target, patience = 2)
pipeline low_rank = base -> peft(lora, rank = 2) -> finetune(target, average = swa, average_from = 40 %, average_every = 2, cycles = 3)
pipeline movement = base -> peft(movement_pruning, keep = 20 %) -> finetune(target)
pipeline soft = base -> peft(soft_movement_pruning, score_learning_rate = 0.3) -> finetune(target, regularizer = smart)
pipeline stable = base -> finetune(
  target, regularizer = smart, noise = 0.01, noise_radius = 0.05, mixout = 0.2, unfreeze_every = 1 epoch,
  layer_decay = 0.8, schedule = slanted, reinit_layers = 1,
)
pipeline ensembled = base -> finetune(target, unlabelled = corpus, regularizer = temporal, ramp_up = 50 %, epochs = 2)
";

fn project(pipeline: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::write(root.join("p.ftp"), pipeline).expect("written");
    let corpus: String =
        (0..40).map(|n| format!("the cat number {n} sat on the mat and saw {} dogs\n", n % 7)).collect();
    fs::write(root.join("corpus.txt"), corpus).expect("written");
    fs::create_dir(root.join("target")).expect("made");
    for (split, count) in [("train", 40), ("dev", 12), ("test", 6)] {
        let row = |n: usize| {
            let (word, label) = if (n * 7 + n / 3).is_multiple_of(2) { ("good", "yes") } else { ("bad", "no") };
            format!("{{\"text\": \"the {word} cat {} {split}\", \"label\": \"{label}\"}}\n", n % 11)
        };
        let text: String = (0..count).map(row).collect();
        fs::write(root.join(format!("target/{split}.jsonl")), text).expect("written");
    }
    directory
}

fn checked(root: &Path) -> Program {
    let text = fs::read_to_string(root.join("p.ftp")).expect("readable");
    let source = Source::new("p.ftp", text);
    let checked = ftp::lang::check(&source, methods::registry(), &FileWorld::new(root), &[]);
    checked.unwrap_or_else(|found| panic!("{:?}", found.all)).program
}

/// What a stage said in one attempt.
#[derive(Default)]
struct Told {
    /// The first and the last step of this attempt; none if it took no step.
    steps: Option<(u64, u64)>,
    notices: Vec<Notice>,
}

/// Runs the stages of a plan in this process. Each is attempted until it is done; an attempt ends after the step that
/// `stop` names for it (label, attempts before). Returns output digests by label.
fn run(
    root: &Path,
    store: &Store,
    stop: &dyn Fn(&str, usize) -> Option<u64>,
    told: &mut Vec<(String, Told)>,
) -> Vec<(String, String)> {
    let program = checked(root);
    let plan = Plan::new(&program, "cpu");
    let mut outputs: Vec<(String, String)> = Vec::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        let keyed = plan.key(&program, index, &|before| outputs[before].1.clone());
        if let Lookup::Hit(manifest) = store.lookup(&keyed.key) {
            outputs.push((stage.label.clone(), manifest.output));
            continue;
        }
        let node = plan.node(&program, index);
        let values = |parameters: &indexmap::IndexMap<String, ftp::lang::ir::Parameter>| {
            parameters
                .iter()
                .map(|(name, parameter)| (name.clone(), parameter.value.clone()))
                .collect::<indexmap::IndexMap<_, _>>()
        };
        let mut parameters = values(&node.parameters);
        parameters.insert("log_interval".into(), Value::Seconds(0.0));
        let inputs = stage.inputs.iter().map(|(slot, input)| {
            let input = match input {
                StageInput::Stage(before) => Input::Artifact { output: outputs[*before].1.clone() },
                StageInput::Source(id) => {
                    let node = &program.nodes[*id];
                    let facts = node.source.clone().expect("described");
                    Input::Source {
                        name: node.label.clone(),
                        method: node.method.clone(),
                        parameters: values(&node.parameters),
                        facts,
                    }
                }
            };
            (slot.clone(), input)
        });
        let inputs: indexmap::IndexMap<String, Input> = inputs.collect();
        let deltas = node.deltas.iter().map(|delta| DeltaSpec {
            method: delta.method.clone(),
            version: delta.version,
            parameters: values(&delta.parameters),
        });
        let deltas: Vec<DeltaSpec> = deltas.collect();
        let mut attempts = 0;
        let outcome = loop {
            let attempt = store.attempt().expect("a directory");
            let spec = StageSpec {
                label: stage.label.clone(),
                method: node.method.clone(),
                version: node.version,
                key: keyed.key.clone(),
                whole: plan.key_of_whole(&program, index, &|before| outputs[before].1.clone()),
                parameters: parameters.clone(),
                deltas: deltas.clone(),
                inputs: inputs.clone(),
                store: store.root().to_path_buf(),
                attempt: attempt.files(),
                device: "cpu".into(),
            };
            let (outcome, said) = attempt_at(&spec, store, stop(&stage.label, attempts));
            told.push((stage.label.clone(), said));
            attempts += 1;
            if let Some(outcome) = outcome {
                let Acquired::Ours(lease) = store.acquire(&keyed.key, &mut Patience::default()).expect("asked") else {
                    panic!("nobody else computes this");
                };
                let product = Product {
                    key: keyed.key.clone(),
                    method: node.method.clone(),
                    version: node.version,
                    label: stage.label.clone(),
                    pre_image: keyed.pre_image.clone(),
                    artifact: node.output,
                    outcome,
                    started: 0.0,
                    seconds: 0.0,
                };
                break store.commit(product, &attempt.files(), lease.nonce()).expect("committed").manifest.output;
            }
        };
        assert!(!store.checkpoint(&keyed.key).exists(), "a commit removes the checkpoint");
        outputs.push((stage.label.clone(), outcome));
    }
    outputs
}

/// Runs a stage until it is done (its outcome) or until after the step to stop at.
fn attempt_at(spec: &StageSpec, store: &Store, stop: Option<u64>) -> (Option<Outcome>, Told) {
    let told = RefCell::new(Told::default());
    let sink = |event| match event {
        Event::Progress { step, .. } => {
            let first = told.borrow().steps.map_or(step, |(first, _)| first);
            told.borrow_mut().steps = Some((first, step));
            let steps = std::env::var_os(STEPS);
            if let Some(file) = &steps {
                let mut file = fs::File::options().create(true).append(true).open(file).expect("opens");
                writeln!(file, "{step} {}", spec.label).expect("written");
            }
            if stop == Some(step) && steps.is_some() {
                // SAFETY: sends a signal; no memory is involved.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
            if stop == Some(step) {
                resume_unwind(Box::new("stopped"));
            }
        }
        Event::Notice { notice, .. } => told.borrow_mut().notices.push(notice),
        _ => {}
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| methods::run(spec, store, &sink)));
    let outcome = match outcome {
        Ok(outcome) => Some(outcome.expect("the stage succeeds")),
        Err(panic) => {
            assert_eq!(panic.downcast_ref(), Some(&"stopped"), "it panicked by itself");
            None
        }
    };
    (outcome, told.into_inner())
}

/// How often what is random is tried: `FTP_TEST_ROUNDS`, or a number that suits every day.
fn rounds(usual: u64) -> u64 {
    std::env::var("FTP_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn store_in(root: &Path, name: &str) -> Store {
    Store::open(root.join(name)).expect("a store")
}

/// Steps of each training stage, in an attempt that nothing stopped.
fn steps_of(told: &[(String, Told)]) -> Vec<(String, u64)> {
    told.iter().filter_map(|(label, told)| Some((label.clone(), told.steps?.1))).collect()
}

#[test]
fn a_training_stopped_at_any_step_repeats_at_most_the_steps_since_its_checkpoint_and_ends_at_the_same_bits() {
    let draws = Key::new(11, "where to stop");
    let (mut stops, mut most) = (0, 0);
    for round in 0..rounds(4) {
        let draws = draws.at(round);
        let every = 1 + u64::from(draws.below(0, 7));
        let directory = project(&PIPELINE.replace("EVERY", &every.to_string()));
        let root = directory.path();
        let mut whole = Vec::new();
        let expected = run(root, &store_in(root, "uninterrupted"), &|_, _| None, &mut whole);
        let steps = steps_of(&whole);
        assert_eq!(steps.len(), 9, "pretrain, adapt and seven times finetune");

        // Two interruptions of each training, the second after the first.
        let stop = |label: &str, attempt: usize| {
            let place = steps.iter().position(|(known, _)| known == label)?;
            let total = steps[place].1;
            let mut at: Vec<u64> =
                (0..2).map(|n| 1 + u64::from(draws.below(8 * place as u64 + n + 1, total as u32))).collect();
            at.sort_unstable();
            at.dedup();
            at.get(attempt).copied()
        };
        let mut told = Vec::new();
        let found = run(root, &store_in(root, "interrupted"), &stop, &mut told);
        assert_eq!(found, expected, "round {round}, a checkpoint every {every} steps");

        let mut done: Option<(&str, u64)> = None;
        for (label, said) in &told {
            let Some((first, last)) = said.steps else { continue };
            if let Some((stopped, after)) = done.filter(|(stopped, _)| stopped == label) {
                assert!(
                    first <= after + 1 && after + 1 - first <= every,
                    "{stopped}: stopped after {after}, began again at {first}"
                );
                (stops, most) = (stops + 1, most.max(after + 1 - first));
                let resumed = said.notices.iter().find(|notice| notice.code == "ftp::train::resumed");
                assert_eq!(resumed.is_some(), first > 1, "{label} {first}");
                if let Some(resumed) = resumed {
                    assert!(resumed.message.contains(&format!("step {} of", first - 1)), "{}", resumed.message);
                }
            }
            done = Some((label, last));
        }
    }
    println!("{stops} trainings stopped at random steps: at most {most} steps again, the same bits in the end");
}

/// Where a process of the test below writes down each step, and after which step of which stage it kills itself.
const STEPS: &str = "FTP_TEST_STEPS";
const STOP: &str = "FTP_TEST_STOP";

#[test]
fn child_entry() {
    let Some(steps) = std::env::var_os(STEPS) else { return };
    let stop = std::env::var(STOP).unwrap_or_default();
    let stop = |label: &str, _| stop.strip_suffix(label)?.trim().parse().ok();
    let root = Path::new(&steps).parent().expect("in the project");
    run(root, &store_in(root, "killed"), &stop, &mut Vec::new());
}

#[test]
fn processes_killed_at_any_step_repeat_at_most_the_steps_since_their_checkpoint_and_end_at_the_same_bits() {
    const EVERY: u64 = 4;
    let directory = project(&PIPELINE.replace("EVERY", &EVERY.to_string()));
    let root = directory.path();
    let mut whole = Vec::new();
    let expected = run(root, &store_in(root, "uninterrupted"), &|_, _| None, &mut whole);
    let trainings = steps_of(&whole);

    let file = root.join("steps");
    let process = |stop: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["child_entry", "--exact"]).env(STEPS, &file).env(STOP, stop).stdout(Stdio::null());
        command.status().expect("it starts")
    };
    let (mut killed, mut most) = (0, 0);
    for round in 0..rounds(1) {
        let _ = (fs::remove_dir_all(root.join("killed")), fs::remove_file(&file));
        let draws = Key::new(12, "where to kill").at(round);
        for (at, (label, steps)) in trainings.iter().enumerate() {
            let status = process(&format!("{} {label}", 1 + draws.below(at as u64, *steps as u32)));
            assert_eq!(status.signal(), Some(libc::SIGKILL), "round {round}, {label}");
            killed += 1;
        }
        assert!(process("").success());
        let store = store_in(root, "killed");
        assert_eq!(run(root, &store, &|_, _| panic!("nothing is left to train"), &mut Vec::new()), expected);
        let mut reached = BTreeMap::new();
        for line in fs::read_to_string(&file).expect("readable").lines() {
            let (step, label) = line.split_once(' ').expect("both are said");
            let step: u64 = step.parse().expect("a number");
            if let Some(before) = reached.insert(label.to_owned(), step) {
                let again = (before + 1).saturating_sub(step);
                assert!(step <= before + 1 && again <= EVERY, "{label} was killed after {before}, went on at {step}");
                most = most.max(again);
            }
        }
    }
    println!(
        "{killed} processes killed at random steps, a checkpoint every {EVERY}: at most {most} again, the same bits"
    );
}

#[test]
fn damaged_and_foreign_checkpoints_are_named_and_not_used() {
    let directory = project(&PIPELINE.replace("EVERY", "2"));
    let root = directory.path();
    let expected = run(root, &store_in(root, "uninterrupted"), &|_, _| None, &mut Vec::new());
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&str, Spoil); 3] = [
        ("damaged", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        }),
        ("damaged", |bytes| bytes.truncate(100)),
        ("another stage", |bytes| {
            let end = bytes.len() - 32;
            let text = String::from_utf8_lossy(&bytes[..end.min(4000)]).into_owned();
            let at = text.find("\"key\":\"").expect("a key") + 7;
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let digest = *blake3::hash(&bytes[..end]).as_bytes();
            bytes[end..].copy_from_slice(&digest);
        }),
    ];
    for (index, (why, spoil)) in cases.into_iter().enumerate() {
        let store = store_in(root, &format!("spoilt {index}"));
        let stopped = Cell::new(false);
        // The first training is stopped, and then its checkpoint is spoilt.
        let stop = |label: &str, attempt: usize| {
            if label == "pretrain" && attempt == 1 {
                stopped.set(true);
                let file = fs::read_dir(store.root().join("checkpoints"))
                    .expect("there")
                    .next()
                    .expect("one")
                    .expect("readable");
                let mut bytes = fs::read(file.path()).expect("readable");
                spoil(&mut bytes);
                fs::write(file.path(), bytes).expect("written");
            }
            (label == "pretrain" && attempt == 0).then_some(5)
        };
        let mut told = Vec::new();
        let found = run(root, &store, &stop, &mut told);
        assert!(stopped.get());
        assert_eq!(found, expected);
        let second = &told[1].1;
        assert_eq!(second.steps.expect("it trained").0, 1, "from the first step");
        let notice = second.notices.iter().find(|notice| notice.code == "ftp::train::checkpoint_ignored");
        let message = &notice.expect("it is said").message;
        assert!(message.contains(why) && message.contains("checkpoints"), "{message}");
    }
}

#[test]
fn snapshots_of_one_training_go_on_from_each_other_and_are_those_of_trainings_by_themselves() {
    let snapshots = "\
pipeline together = base -> each(snapshot in 1..3) finetune(target, cycles = 3) -> ensemble
pipeline whole = base -> finetune(target, cycles = 3, keep = last)
";
    let pipelines = PIPELINE.find("pipeline full").expect("there");
    let directory = project(&(PIPELINE[..pipelines].replace("EVERY", "1000") + snapshots));
    let root = directory.path();
    let steps = |told: &[(String, Told)]| {
        let trained = told.iter().filter(|(label, told)| label.starts_with("finetune") && told.steps.is_some());
        trained.map(|(_, told)| told.steps.expect("it trained")).collect::<Vec<_>>()
    };
    let (mut shared, mut alone) = (Vec::new(), Vec::new());
    let store = store_in(root, "shared");
    let expected = run(root, &store, &|_, _| None, &mut shared);
    // Six steps an epoch, four epochs, three cycles.
    assert_eq!(steps(&shared), [(1, 8), (9, 16), (17, 24), (1, 24)]);
    assert!(files_under(&store.root().join("checkpoints")).is_empty(), "the last snapshot leaves nothing behind");
    let output = |place: usize| {
        let trained: Vec<&(String, String)> =
            expected.iter().filter(|(label, _)| label.starts_with("finetune")).collect();
        trained[place].1.clone()
    };
    assert_eq!(output(2), output(3), "the last snapshot is the whole training");
    assert_ne!(output(0), output(1));

    let store = store_in(root, "alone");
    let forget = |_: &str, _| {
        let _ = fs::remove_dir_all(store.root().join("checkpoints"));
        None
    };
    assert_eq!(run(root, &store, &forget, &mut alone), expected);
    assert_eq!(steps(&alone), [(1, 8), (1, 16), (1, 24), (1, 24)]);
}

// Through the program, with processes that are killed.

fn start(root: &Path, store: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(root).env("FTP_STORE", root.join(store)).args(["run", "p.ftp", "full", "low_rank"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ftp starts")
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

/// Label and output digest of every result.
fn results(store: &Path) -> Vec<(String, String)> {
    let store = Store::open(store).expect("it opens");
    let keys = files_under(&store.root().join("results")).into_iter();
    let mut found: Vec<(String, String)> = keys
        .map(|path| {
            let key = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let Lookup::Hit(manifest) = store.lookup(&key) else { panic!("{key} is half-made") };
            (manifest.label, manifest.output)
        })
        .collect();
    found.sort();
    found
}

/// Waits until some checkpoint is written or written again, or the run ends: false.
fn checkpoint_changes(store: &Path, child: &mut Child) -> bool {
    let state = || {
        let of = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        files_under(&store.join("checkpoints")).iter().map(|path| (path.clone(), of(path))).collect::<Vec<_>>()
    };
    let (before, begun) = (state(), Instant::now());
    loop {
        let now = state();
        if now != before && now.iter().any(|one| !before.contains(one)) {
            return true;
        }
        if child.try_wait().expect("asked").is_some() {
            return false;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint is written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn runs_that_are_killed_again_and_again_resume_and_end_at_the_digests_of_one_that_was_not() {
    let longer =
        PIPELINE.replace("EVERY", "3").replace("epochs = 2.5", "epochs = 12").replace("epochs = 4", "epochs = 20");
    let directory = project(&longer);
    let root = directory.path();
    let told = finish(start(root, "uninterrupted"));
    assert!(!told.contains("resumed"), "{told}");

    let store = root.join("killed");
    let (mut killed, mut told) = (0, String::new());
    for round in 0..8u64 {
        let mut child = start(root, "killed");
        if !checkpoint_changes(&store, &mut child) {
            break;
        }
        std::thread::sleep(Duration::from_micros(round * 7919 % 20_000));
        // The scheduler; its stage dies with it.
        child.kill().expect("killed");
        told += &String::from_utf8_lossy(&child.wait_with_output().expect("ended").stderr);
        killed += 1;
    }
    assert!(killed >= 3, "only {killed} runs had a checkpoint");
    // The last run need not be one that resumes: the one before may have died between two stages.
    told += &finish(start(root, "killed"));
    assert!(told.contains("resumed at step"), "{told}");
    assert_eq!(results(&store), results(&root.join("uninterrupted")));
    assert!(files_under(&store.join("attempts")).is_empty());
    // One that died between a commit and the removal of its checkpoint leaves it to collection.
    Store::open(&store).and_then(|store| store.collect(&Policy::default())).expect("collected");
    assert!(files_under(&store.join("checkpoints")).is_empty(), "{told}");
    println!("{killed} runs killed while they trained: the digests of one that was not");
}

#[test]
fn an_interrupted_run_keeps_the_checkpoint_and_the_next_one_resumes() {
    let directory = project(&PIPELINE.replace("EVERY", "2").replace("epochs = 2,", "epochs = 200,"));
    let root = directory.path();
    let mut child = start(root, "store");
    assert!(checkpoint_changes(&root.join("store"), &mut child));
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files_under(&root.join("store/checkpoints")).len(), 1);
    assert!(files_under(&root.join("store/attempts")).is_empty());
    let told = finish(start(root, "store"));
    assert!(told.contains("pretrain: note: resumed at step"), "{told}");
}

#[test]
fn a_training_goes_on_from_where_its_beginning_ended() {
    let pipelines = PIPELINE.find("pipeline full").expect("there");
    let beginning = "\
let light = base -> peft(lora, rank = 2)
pipeline begun = light -> finetune(target, until = 30 %)
pipeline whole = light -> finetune(target)
";
    let directory = project(&(PIPELINE[..pipelines].replace("EVERY", "1000") + beginning));
    let root = directory.path();
    let store = store_in(root, "one after the other");
    let mut told = Vec::new();
    let expected = run(root, &store, &|_, _| None, &mut told);
    let steps = |told: &[(String, Told)]| {
        let trained = told.iter().filter(|(label, told)| label.starts_with("finetune") && told.steps.is_some());
        trained.map(|(_, told)| told.steps.expect("it trained")).collect::<Vec<_>>()
    };
    // 30 % of six steps an epoch and four epochs: within the second epoch.
    assert_eq!(steps(&told), [(1, 8), (9, 24)]);
    assert!(files_under(&store.root().join("checkpoints")).is_empty());

    let alone = store_in(root, "alone");
    let forget = |_: &str, _| {
        let _ = fs::remove_dir_all(alone.root().join("checkpoints"));
        None
    };
    let mut told = Vec::new();
    assert_eq!(run(root, &alone, &forget, &mut told), expected);
    assert_eq!(steps(&told), [(1, 8), (1, 24)]);
}
