//! The commands as users call them: on a small pipeline of their own, in a directory of their own.
#![cfg(feature = "train")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod walk;
use walk::files_under;

const PIPELINE: &str = "\
let corpus = text(\"corpus.txt\")
let nli    = pairs(\"nli/{train,dev}.jsonl\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set adapt(epochs = 1, max_length = 32, batch_size = 8)
set intermediate(epochs = 1, max_length = 32)
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)

pipeline chain = pretrain -> adapt(corpus) -> intermediate(task=nli) -> peft(bitfit) -> finetune(target)
pipeline direct = pretrain -> peft(bitfit) -> finetune(target)
publish chain to \"out/chain\"
";

/// A directory with a pipeline, its data and a store.
struct Project {
    directory: TempDir,
}

impl Project {
    fn new(pipeline: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::write(root.join("p.ftp"), pipeline).expect("written");
        let corpus: String =
            (0..60).map(|n| format!("the cat number {n} sat on the mat and saw {} dogs\n", n % 7)).collect();
        fs::write(root.join("corpus.txt"), corpus).expect("written");
        let rows = |count: usize, row: &dyn Fn(usize) -> String| (0..count).map(|n| row(n) + "\n").collect::<String>();
        let labelled = |n: usize| match n % 2 {
            0 => format!("{{\"text\": \"the good cat {n}\", \"label\": \"good\"}}"),
            _ => format!("{{\"text\": \"the bad dog {n}\", \"label\": \"bad\"}}"),
        };
        let pair = |n: usize| {
            let label = ["yes", "no", "maybe"][n % 3];
            format!("{{\"premise\": \"the cat {n} sat\", \"hypothesis\": \"a dog sat\", \"label\": \"{label}\"}}")
        };
        for (folder, row) in [("target", &labelled as &dyn Fn(usize) -> String), ("nli", &pair)] {
            fs::create_dir(root.join(folder)).expect("made");
            for (split, count) in [("train", 48), ("dev", 12), ("test", 14)] {
                let shift = split.len() * 100;
                let text = rows(count, &|n| row(n + shift * 6));
                fs::write(root.join(folder).join(format!("{split}.jsonl")), text).expect("written");
            }
        }
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
        command.current_dir(self.path()).env("FTP_STORE", self.path().join("store")).args(arguments);
        command
    }

    fn ftp(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ftp starts")
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output, expected: i32) -> (String, String) {
    let (out, err) = (out(output), err(output));
    assert_eq!(output.status.code(), Some(expected), "standard output:\n{out}\nstandard error:\n{err}");
    (out, err)
}

/// Names of the tensors in a safetensors file, and the number of their elements.
fn tensors(bytes: &[u8]) -> Vec<(String, usize)> {
    let found = safetensors::SafeTensors::deserialize(bytes).expect("a safetensors file");
    found.tensors().into_iter().map(|(name, view)| (name, view.shape().iter().product())).collect()
}

#[test]
fn a_chain_runs_publishes_and_is_not_trained_again() {
    let project = Project::new(PIPELINE);
    let (plan, _) = code(&project.ftp(&["plan", "p.ftp"]), 0);
    assert!(plan.contains("run  pretrain") && plan.contains("never computed"), "{plan}");

    let (table, told) = code(&project.ftp(&["run", "p.ftp"]), 0);
    for expected in ["chain", "direct", "majority class", "accuracy", "published in out/chain"] {
        assert!(table.contains(expected), "{expected} is not in\n{table}");
    }
    assert!(told.contains("pretrain: running"), "{told}");
    let published: Vec<_> =
        ["config.json", "model.safetensors", "tokenizer.json"].map(|f| project.read(&format!("out/chain/{f}"))).into();
    let config: serde_json::Value = serde_json::from_slice(&published[0]).expect("JSON");
    assert_eq!(config["id2label"], serde_json::json!({"0": "bad", "1": "good"}));
    assert!(tensors(&published[1]).iter().any(|(name, _)| name == "bert.encoder.layer.1.output.dense.weight"));

    let began = Instant::now();
    let (again, _) = code(&project.ftp(&["run", "p.ftp"]), 0);
    assert!(again.contains("nothing to train"), "{again}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(again.lines().take(6).collect::<Vec<_>>(), table.lines().take(6).collect::<Vec<_>>());

    let (plan, _) = code(&project.ftp(&["plan", "p.ftp", "direct"]), 0);
    assert!(plan.contains("hit  pretrain") && !plan.contains("run "), "{plan}");
    let text = fs::read_to_string(project.path().join("p.ftp")).expect("text").replace("1e-2", "2e-2");
    fs::write(project.path().join("p.ftp"), text).expect("written");
    let (plan, _) = code(&project.ftp(&["plan", "p.ftp"]), 0);
    assert!(plan.contains("learning_rate 0.01 -> 0.02 (p.ftp:11:"), "{plan}");

    let (labels, _) = code(&project.ftp(&["predict", "out/chain", "the good cat", "the bad dog"]), 0);
    assert_eq!(labels.lines().count(), 2, "{labels}");
    let (json, _) = code(&project.ftp(&["predict", "out/chain", "--json", "the good cat"]), 0);
    let answer: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(answer["probabilities"].as_object().expect("an object").len(), 2);
}

#[test]
fn bitfit_stores_biases_and_head_only() {
    let project = Project::new(PIPELINE);
    code(&project.ftp(&["run", "p.ftp", "chain"]), 0);
    let stored = delta_of(&project);
    assert!(stored.iter().all(|(name, _)| name.ends_with(".bias") || name == "classifier.weight"), "{stored:?}");
    // L (7 d + ff) + 2 d biases (methods: Ben-Zaken et al. 2021), and a head of 2 (d + 1).
    let count: usize = stored.iter().map(|(_, count)| count).sum();
    assert_eq!(count, 2 * (7 * 16 + 64) + 2 * 16 + 2 * 17);
}

/// Names and sizes of the tensors in the one delta of the project's store.
fn delta_of(project: &Project) -> Vec<(String, usize)> {
    let results = files_under(&project.path().join("store/results"));
    let manifests =
        results.iter().map(|path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap());
    let delta = manifests.map(|found| found.get("manifest").cloned().unwrap_or(found));
    let delta =
        delta.into_iter().find(|manifest| manifest["files"].get("delta.safetensors").is_some()).expect("a delta");
    assert!(delta["base"].is_string());
    let digest = delta["files"]["delta.safetensors"]["digest"].as_str().expect("a digest");
    let bytes = fs::read(project.path().join(format!("store/blobs/{}/{digest}", &digest[..2]))).expect("the blob");
    tensors(&bytes)
}

#[test]
fn lora_stores_its_matrices_and_the_head_and_publishes_a_model_without_them() {
    let project = Project::new(&PIPELINE.replace("peft(bitfit)", "peft(lora, rank = 2)"));
    code(&project.ftp(&["run", "p.ftp", "chain"]), 0);
    let stored = delta_of(&project);
    // Queries and values of two layers, each A `[2, 16]` and B `[16, 2]`; a head of 2 (d + 1).
    assert_eq!(stored.iter().filter(|(name, _)| name.contains("lora_")).count(), 2 * 2 * 2, "{stored:?}");
    assert_eq!(stored.iter().map(|(_, count)| count).sum::<usize>(), 8 * 32 + 2 * 17);
    let published = tensors(&project.read("out/chain/model.safetensors"));
    assert!(published.iter().all(|(name, _)| !name.contains("lora")), "{published:?}");
    let (first, _) = code(&project.ftp(&["predict", "out/chain", "the good cat"]), 0);
    assert_eq!(first.lines().count(), 1, "{first}");
}

#[test]
fn last_layers_stores_the_head_and_the_layers_that_trained_and_publishes_a_whole_model() {
    let head = ["classifier.weight", "classifier.bias"];
    for (layers, top) in [(0, false), (1, true)] {
        let peft = format!("peft(last_layers, layers = {layers})");
        let project = Project::new(&PIPELINE.replace("peft(bitfit)", &peft));
        code(&project.ftp(&["run", "p.ftp", "chain"]), 0);
        let stored = delta_of(&project);
        let expected =
            |name: &str| head.contains(&name) || top && (name.contains("encoder.layer.1.") || name.contains("pooler"));
        assert!(stored.iter().all(|(name, _)| expected(name)), "{stored:?}");
        // 16 tensors a layer, two of the pooler, two of the head.
        assert_eq!(stored.len(), if top { 20 } else { 2 }, "{stored:?}");
        let (labels, _) = code(&project.ftp(&["predict", "out/chain", "the good cat"]), 0);
        assert_eq!(labels.lines().count(), 1, "{labels}");
    }
    let project = Project::new(&PIPELINE.replace("peft(bitfit)", "peft(last_layers, layers = 3)"));
    let output = project.ftp(&["run", "p.ftp", "chain"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && told.contains("too_many_layers") && told.contains("this model has 2"),
        "{told}"
    );
}

#[test]
fn two_runs_give_the_same_bytes_whatever_the_number_of_threads() {
    let models = ["1", "3"].map(|threads| {
        let project = Project::new(PIPELINE);
        let output =
            project.command(&["run", "p.ftp", "chain"]).env("RAYON_NUM_THREADS", threads).output().expect("ftp starts");
        code(&output, 0);
        project.read("out/chain/model.safetensors")
    });
    assert!(models[0] == models[1]);
}

#[test]
fn wrong_files_usage_and_failing_stages_have_their_exit_codes() {
    let project = Project::new(
        &PIPELINE.replace("peft(bitfit) -> finetune(target)\npublish", "peft(bitft) -> finetune(target)\npublish"),
    );
    let (_, told) = code(&project.ftp(&["check", "p.ftp"]), 3);
    assert!(told.contains("bitfit"), "{told}");
    let (json, _) = code(&project.ftp(&["check", "p.ftp", "--json"]), 3);
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{json}");
    code(&project.ftp(&["run", "p.ftp"]), 3);
    code(&project.ftp(&["run"]), 2);
    code(&project.ftp(&["run", "missing.ftp"]), 2);
    code(&project.ftp(&["frobnicate"]), 2);

    let project = Project::new(&PIPELINE.replace("publish chain", "expect direct.accuracy >= 1.0\npublish chain"));
    fs::write(
        project.path().join("target/test.jsonl"),
        "{\"text\": \"a\", \"label\": \"good\"}\n{\"text\": \"a\", \"label\": \"bad\"}\n",
    )
    .expect("written");
    let (_, told) = code(&project.ftp(&["run", "p.ftp"]), 1);
    assert!(told.contains("expect direct.accuracy >= 1"), "{told}");

    let project = Project::new(PIPELINE);
    fs::create_dir_all(project.path().join("out/chain")).expect("made");
    fs::write(project.path().join("out/chain/thesis.tex"), "mine").expect("written");
    let (_, told) = code(&project.ftp(&["run", "p.ftp"]), 1);
    assert!(told.contains("ftp::publish::occupied"), "{told}");
    assert_eq!(project.read("out/chain/thesis.tex"), b"mine");
}

#[test]
fn a_stage_that_can_not_do_its_work_says_why_and_what_was_kept() {
    // How many layers a model has is known only when it is opened.
    let project = Project::new(&PIPELINE.replace("peft(bitfit)", "peft(last_layers, layers = 9)"));
    let (_, told) = code(&project.ftp(&["run", "p.ftp", "direct"]), 1);
    assert!(told.contains("failed (ftp::peft::too_many_layers)") && told.contains("kept:"), "{told}");
    let (plan, _) = code(&project.ftp(&["plan", "p.ftp", "direct"]), 0);
    assert!(plan.contains("hit  pretrain"), "{plan}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_exits_with_130_and_leaves_nothing_half_made() {
    let long = PIPELINE.replace(
        "epochs = 1, batch_size = 8, learning_rate = 1e-3",
        "epochs = 100000, batch_size = 8, learning_rate = 1e-3",
    );
    let project = Project::new(&long);
    let child =
        project.command(&["run", "p.ftp"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ftp starts");
    let started = Instant::now();
    while files_under(&project.path().join("store/attempts")).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30), "no stage was started");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    // SAFETY: the process is a child of this one and has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let output = child.wait_with_output().expect("ftp ends");
    let (_, told) = code(&output, 130);
    assert!(told.contains("interrupted"), "{told}");
    for left in ["attempts", "results"] {
        assert!(files_under(&project.path().join("store").join(left)).is_empty(), "{left}");
    }
}

#[test]
fn events_are_json_lines_and_graphs_are_drawn() {
    let project = Project::new(PIPELINE);
    let (events, _) = code(&project.ftp(&["run", "p.ftp", "direct", "--json"]), 0);
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events[0]["event"], "run_started");
    assert!(events.iter().any(|event| event["event"] == "progress" && event["tokens_per_second"].is_number()));
    assert!(events.iter().any(|event| event["event"] == "run_finished" && event["ran"] == 3));

    assert!(out(&project.ftp(&["graph", "p.ftp"])).starts_with("digraph"));
    assert!(out(&project.ftp(&["graph", "p.ftp", "--format", "mermaid"])).contains("pretrain"));
    let graph: serde_json::Value =
        serde_json::from_str(&out(&project.ftp(&["graph", "p.ftp", "--format", "json"]))).expect("JSON");
    let stages = graph["nodes"].as_array().expect("nodes").iter().filter(|node| node["kind"] == "stage").count();
    assert_eq!(stages, 7, "a prefix that two pipelines share is one stage");
}

#[cfg(unix)]
#[test]
fn a_run_goes_on_when_nobody_reads_its_events_any_more() {
    let project = Project::new(PIPELINE);
    let mut command = project.command(&["run", "p.ftp", "direct", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ftp starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ftp ends");
    code(&output, 0);
    let (again, _) = code(&project.ftp(&["run", "p.ftp", "direct"]), 0);
    assert!(again.contains("nothing to train"), "{again}");
}

#[test]
fn doctor_names_the_devices_and_says_when_the_store_is_not_usable() {
    let project = Project::new(PIPELINE);
    code(&project.ftp(&["run", "p.ftp", "direct"]), 0);
    let (out, _) = code(&project.ftp(&["doctor", "--json"]), 0);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&found["devices"][0]["name"], &found["devices"][0]["usable"]), (&"cpu".into(), &true.into()));
    assert_eq!(found["store"]["results"], 3, "pretrain, peft and finetune");
    assert!(found["threads"].as_u64().is_some_and(|threads| threads >= 1));
    let (out, _) = code(&project.ftp(&["doctor"]), 0);
    assert!(["processor", "threads", "device", "store"].iter().all(|line| out.contains(line)), "{out}");
    let (out, _) = code(&project.ftp(&["doctor", "--store", "/proc/ftp"]), 1);
    assert!(out.contains("not usable") && out.contains("--store"), "{out}");
}

#[test]
fn a_device_that_is_not_there_is_refused_before_anything_runs() {
    let project = Project::new(PIPELINE);
    for device in ["cuda:97", "gpu"] {
        let (_, told) = code(&project.ftp(&["run", "p.ftp", "--device", device]), 2);
        assert!(told.contains(device) && told.contains("help"), "{told}");
        assert!(!project.path().join("store/results").exists(), "nothing ran");
    }
    let (_, told) = code(&project.ftp(&["plan", "p.ftp", "--device", "gpu"]), 2);
    assert!(told.contains("cuda:0"), "{told}");
    code(&project.ftp(&["plan", "p.ftp", "--device", "cuda:97"]), 0); // another machine may have it
    let (_, told) = code(&project.ftp(&["predict", "nowhere", "text", "--device", "cuda:97"]), 2);
    assert!(told.contains("cuda:97") && told.contains("help"), "{told}");
}
