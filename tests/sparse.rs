//! Deltas that reach every weight and store little: what lies in the store of them, and what is made of it.
#![cfg(feature = "train")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftp::methods::bundle::Bundle;
use ftp::methods::predict::{Answer, Predictor};
use ftp::store::{Manifest, Store};

mod walk;
use walk::files_under;

const BASE: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set finetune(epochs = 4, max_length = 32, batch_size = 8, learning_rate = 1e-2)
";

fn rows(split: &str, count: usize) -> Vec<(String, &'static str)> {
    let word = |n: usize| if n.is_multiple_of(2) { ("good cat", "good") } else { ("bad dog", "bad") };
    (0..count).map(|n| (format!("the {} {n} of {split}", word(n).0), word(n).1)).collect()
}

fn project(pipelines: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::write(root.join("p.ftp"), format!("{BASE}{pipelines}")).expect("written");
    let corpus: String = (0..60).map(|n| format!("the good cat {n} sat and saw {} bad dogs\n", n % 7)).collect();
    fs::write(root.join("corpus.txt"), corpus).expect("written");
    fs::create_dir(root.join("target")).expect("made");
    for (split, count) in [("train", 32), ("dev", 8), ("test", 11)] {
        let line = |(text, label): (String, &str)| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n");
        let text: String = rows(split, count).into_iter().map(line).collect();
        fs::write(root.join(format!("target/{split}.jsonl")), text).expect("written");
    }
    directory
}

fn run(project: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(project).env("FTP_STORE", project.join("store")).args(["run", "p.ftp"]);
    let output = command.output().expect("ftp starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The results that have scores on the test split.
fn evaluated(project: &Path) -> Vec<Manifest> {
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let results = files_under(&project.join("store/results")).into_iter().map(read);
    let manifests = results.map(|found| found.get("manifest").cloned().unwrap_or(found));
    manifests
        .map(|manifest| serde_json::from_value::<Manifest>(manifest).expect("a manifest"))
        .filter(|manifest| manifest.summary["metrics"]["test"]["loss"].is_number())
        .collect()
}

/// What each evaluated model says once it is opened from the store is what it said when it was trained.
fn says_the_same(project: &Path) {
    let store = Store::open(project.join("store")).unwrap();
    let (texts, labels): (Vec<String>, Vec<&str>) = rows("test", 11).into_iter().unzip();
    for manifest in evaluated(project) {
        let bundle = Bundle::open(&store, &manifest.output).unwrap();
        let (answers, _) = Predictor::new(bundle, 32, "cpu").unwrap().label(&texts).unwrap();
        let losses = answers.iter().zip(&labels).map(|(answer, wanted)| match answer {
            Answer::Label { probabilities, .. } => {
                -f64::from(probabilities.iter().find(|(label, _)| label == wanted).unwrap().1).ln()
            }
            Answer::Score(_) => panic!("a class was asked for"),
        });
        let (loss, told) = (losses.sum::<f64>() / 11.0, &manifest.summary["metrics"]["test"]["loss"]);
        assert!((loss - told.as_f64().unwrap()).abs() < 1e-3, "{}: {loss} {told}", manifest.label);
    }
}

/// The tensors of the delta that was stored, by name, with how many numbers each has.
fn stored(project: &Path, manifest: &Manifest) -> Vec<(String, usize)> {
    let store = Store::open(project.join("store")).unwrap();
    let bytes = fs::read(store.artifact(&manifest.output).unwrap().path("delta.safetensors").unwrap()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let counts = tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().iter().product()));
    counts.collect()
}

#[test]
fn diff_pruning_stores_the_target_share_and_says_the_same_when_it_is_opened_again_and_published() {
    let project = project(
        "pipeline sparse = pretrain -> peft(diff_pruning, target = 5 %) -> finetune(target)\npublish sparse to \"out\"\n",
    );
    run(project.path());
    let found = evaluated(project.path());
    assert_eq!(found.len(), 1);
    says_the_same(project.path());
    let stored = stored(project.path(), &found[0]);
    let count =
        |suffix: &str| stored.iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, count)| count).sum::<usize>();
    let head: usize = stored.iter().filter(|(name, _)| name.starts_with("classifier")).map(|(_, count)| count).sum();
    let parameters = &found[0].summary["parameters"];
    let [trained, total] = ["trained", "total"].map(|name| parameters[name].as_u64().unwrap() as usize);
    assert_eq!(trained, head + count(".diff_values"));
    assert_eq!(count(".diff_columns"), count(".diff_values"));
    // Of all but the head; the pooler, which pre-training does not make, is new and trains whole.
    assert_eq!(count(".diff_values"), ((total - head) as f64 * 0.05) as usize);
    assert!(stored.iter().all(|(name, _)| !name.ends_with("gate") && !name.ends_with(".diff")), "{stored:?}");
    let published = fs::read(project.path().join("out/model.safetensors")).unwrap();
    let published = safetensors::SafeTensors::deserialize(&published).unwrap();
    assert!(published.names().iter().all(|name| !name.contains(".diff")));
}

#[test]
fn pruning_stores_what_is_left_and_says_the_same_when_it_is_opened_again_and_published() {
    let project = project(
        "pipeline movement = pretrain -> peft(movement_pruning, keep = 20 %) -> finetune(target)\n\
         pipeline magnitude = pretrain -> peft(magnitude_pruning, keep = 20 %) -> finetune(target)\n\
         pipeline soft = pretrain -> peft(soft_movement_pruning, score_learning_rate = 0.5) -> finetune(target)\n\
         publish movement to \"out\"\n",
    );
    run(project.path());
    let found = evaluated(project.path());
    assert_eq!(found.len(), 3);
    says_the_same(project.path());
    // Two layers of four maps of 16 by 16 and two of 16 by 64, as `pretrain` has them by default.
    for manifest in &found {
        let sparsity = &manifest.summary["sparsity"];
        let [zeros, of] = ["zeros", "of"].map(|name| sparsity[name].as_u64().unwrap() as usize);
        assert_eq!(of, 2 * (4 * 16 * 16 + 2 * 16 * 64));
        let stored = stored(project.path(), manifest);
        let left: usize = stored.iter().filter(|(name, _)| name.ends_with(".kept")).map(|(_, count)| count).sum();
        assert_eq!(left, of - zeros);
        assert!(
            stored.iter().all(|(name, _)| !name.contains("embeddings") && !name.ends_with("_scores")),
            "{stored:?}"
        );
    }
    let published = fs::read(project.path().join("out/model.safetensors")).unwrap();
    let published = safetensors::SafeTensors::deserialize(&published).unwrap();
    let mut zeros = 0;
    for (name, tensor) in published.iter() {
        assert!(!name.ends_with(".mask") && !name.ends_with(".kept") && !name.ends_with("_scores"), "{name}");
        let dense: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let kept = dense.iter().filter(|value| **value != 0.0).count();
        if name.contains(".layer.") && tensor.shape().len() == 2 {
            assert_eq!(kept, (dense.len() as f64 * 0.2 + 1e-9) as usize, "{name}");
            zeros += dense.len() - kept;
        }
    }
    let card = fs::read_to_string(project.path().join("out/README.md")).unwrap();
    assert!(zeros > 0 && card.contains("80.1 % of the 6,144 weights"), "{card}");
}

#[test]
fn the_intrinsic_dimension_stores_its_numbers_and_says_the_same_when_it_is_opened_again() {
    let project = project(
        "pipeline small = pretrain -> peft(intrinsic, dimension = 30) -> finetune(target)\n\
         pipeline plain = pretrain -> peft(intrinsic, dimension = 30, per_layer = false, projection = dense) -> finetune(target)\n",
    );
    run(project.path());
    let found = evaluated(project.path());
    assert_eq!(found.len(), 2);
    says_the_same(project.path());
    for manifest in &found {
        let stored = stored(project.path(), manifest);
        let numbers = |name: &str| stored.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count);
        // The embeddings, two layers and the pooler have scales; without `per_layer` they are all 1.
        assert_eq!(numbers("intrinsic.layer_scales"), 4);
        assert!([26, 30].contains(&numbers("intrinsic.vector")), "{stored:?}");
        let own = |name: &str| {
            name.starts_with("intrinsic.") || name.starts_with("classifier.") || name.starts_with("bert.pooler.")
        };
        assert!(stored.iter().all(|(name, _)| own(name)), "{stored:?}");
    }
}
