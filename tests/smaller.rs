//! Models with fewer layers or fewer numbers, in a store and published: what was left out stays out.
#![cfg(feature = "train")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftp::hub;
use ftp::methods::bundle::Bundle;
use ftp::store::{Manifest, Store};

const BASE: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 3, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2, batch_size = 8)

let base = pretrain
";

fn project(pipelines: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::write(root.join("p.ftp"), format!("{BASE}{pipelines}")).expect("written");
    let corpus: String = (0..60).map(|n| format!("the good cat {n} sat and saw {} bad dogs\n", n % 7)).collect();
    fs::write(root.join("corpus.txt"), corpus).expect("written");
    fs::create_dir(root.join("target")).expect("made");
    for (split, count) in [("train", 32), ("dev", 8), ("test", 11)] {
        let word = |n: usize| if n.is_multiple_of(2) { ("good cat", "good") } else { ("bad dog", "bad") };
        let line = |n| format!("{{\"text\": \"the {} {n}\", \"label\": \"{}\"}}\n", word(n).0, word(n).1);
        fs::write(root.join(format!("target/{split}.jsonl")), (0..count).map(line).collect::<String>())
            .expect("written");
    }
    directory
}

fn ftp(project: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(project).env("FTP_STORE", project.join("store")).args(arguments);
    command.output().expect("ftp starts")
}

fn runs(project: &Path) -> String {
    let output = ftp(project, &["run", "p.ftp"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    told
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The results of stages of a method.
fn results(project: &Path, method: &str) -> Vec<Manifest> {
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let results = files(&project.join("store/results")).into_iter().map(read);
    let manifests = results.map(|found| found.get("manifest").cloned().unwrap_or(found));
    let manifests = manifests.map(|manifest| serde_json::from_value::<Manifest>(manifest).expect("a manifest"));
    manifests.filter(|manifest| manifest.method == method).collect()
}

#[test]
fn a_model_without_its_top_layers_stays_so_in_deltas_in_later_stages_and_when_it_is_published() {
    let project = project(
        "pipeline shallow = base -> finetune(target, remove_layers = 2)\n\
pipeline small = base -> peft(bitfit) -> finetune(target, remove_layers = 2) -> finetune(target, epochs = 1)\n\
publish shallow to \"shallow\"\npublish small to \"small\"\n",
    );
    let told = runs(project.path());
    let unused = told.lines().filter(|line| line.contains("of no use here"));
    assert_eq!(unused.filter(|line| line.contains("layer.")).count(), 0, "removed layers are not left over: {told}");
    let store = Store::open(project.path().join("store")).unwrap();
    let base = Bundle::open(&store, &results(project.path(), "pretrain")[0].output).unwrap();
    for name in ["shallow", "small"] {
        let published = hub::Directory::open(project.path().join(name)).unwrap();
        assert_eq!(published.config()["num_hidden_layers"], 1, "{name}");
        let tensors = published.tensors().unwrap();
        let layer = |number: usize| tensors.keys().filter(|key| key.contains(&format!("layer.{number}."))).count();
        assert_eq!([layer(0), layer(1), layer(2)], [16, 0, 0], "{name}");
        let frozen = "bert.encoder.layer.0.output.dense.weight";
        // The second stage of `small` trains everything; the first trained no weight.
        assert_ne!(tensors[frozen], base.tensors[frozen], "{name}");
    }
    let delta =
        results(project.path(), "finetune").into_iter().find(|found| found.files.contains_key("delta.safetensors"));
    let delta = Bundle::open(&store, &delta.expect("of BitFit").output).unwrap();
    assert_eq!(delta.config["num_hidden_layers"], 1);
    assert!(delta.tensors.keys().all(|name| !name.contains("layer.1.") && !name.contains("layer.2.")));
    let weight = "bert.encoder.layer.0.output.dense.weight";
    assert_eq!(delta.tensors[weight], base.tensors[weight]);
}

#[test]
fn a_model_keeps_at_least_one_layer() {
    let project = project("pipeline empty = base -> finetune(target, remove_layers = 3)\n");
    let output = ftp(project.path(), &["run", "p.ftp"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("remove 2 or fewer"), "{told}");
}
