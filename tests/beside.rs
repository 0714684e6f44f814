//! Deltas that stay beside their model, from stage to stage: adapters in a store, and what is made of them.
#![cfg(feature = "train")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftp::methods::bundle::Bundle;
use ftp::methods::predict::{Answer, Predictor};
use ftp::store::{Manifest, Store};

const PIPELINE: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set intermediate(epochs = 1, max_length = 32, learning_rate = 1e-2)
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)

let adapted = pretrain -> peft(adapter, style = houlsby, reduction_factor = 4) -> intermediate(task = target)
pipeline stacked = adapted -> peft(adapter, reduction_factor = 4) -> finetune(target) -> finetune(target, epochs = 1)
pipeline mixed = adapted -> peft(lora, rank = 2) -> finetune(target)
pipeline soup = adapted -> each(seed in [1, 2]) finetune(target) -> average
";

fn rows(split: &str, count: usize) -> Vec<(String, &'static str)> {
    let word = |n: usize| if n.is_multiple_of(2) { ("good cat", "good") } else { ("bad dog", "bad") };
    (0..count).map(|n| (format!("the {} {n} of {split}", word(n).0), word(n).1)).collect()
}

fn project(pipeline: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::write(root.join("p.ftp"), pipeline).expect("written");
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

fn ftp(project: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(project).env("FTP_STORE", project.join("store")).args(arguments);
    command.output().expect("ftp starts")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn test_loss(store: &Store, manifest: &Manifest) -> f64 {
    let (texts, labels): (Vec<String>, Vec<&str>) = rows("test", 11).into_iter().unzip();
    let bundle = Bundle::open(store, &manifest.output).unwrap();
    let (answers, _) = Predictor::new(bundle, 32, "cpu").unwrap().label(&texts).unwrap();
    let losses = answers.iter().zip(&labels).map(|(answer, wanted)| match answer {
        Answer::Label { probabilities, .. } => {
            -f64::from(probabilities.iter().find(|(label, _)| label == wanted).unwrap().1).ln()
        }
        Answer::Score(_) => panic!("a class was asked for"),
    });
    losses.sum::<f64>() / 11.0
}

/// The results that have scores on the test split.
fn evaluated(project: &Path) -> Vec<Manifest> {
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let results = files(&project.join("store/results")).into_iter().map(read);
    let manifests = results.map(|found| found.get("manifest").cloned().unwrap_or(found));
    manifests
        .map(|manifest| serde_json::from_value::<Manifest>(manifest).expect("a manifest"))
        .filter(|manifest| manifest.summary["metrics"]["test"]["loss"].is_number())
        .collect()
}

#[test]
fn a_model_opened_with_its_adapters_says_what_it_said_when_it_was_trained() {
    let project = project(PIPELINE);
    let output = ftp(project.path(), &["run", "p.ftp"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    // The adapted model, two stages of `stacked`, one of `mixed`, two seeds and their mean.
    assert_eq!(found.len(), 7);
    for manifest in found {
        let bundle = Bundle::open(&store, &manifest.output).unwrap();
        let adapters = bundle.tensors.keys().filter(|name| name.starts_with("adapters.0.")).count();
        assert_eq!(adapters, 2 * 2 * 4, "{}", manifest.label);
        assert!(bundle.tensors.keys().all(|name| !name.contains("lora")), "what folds is folded");
        assert_eq!(
            Bundle::open(&store, &manifest.output).unwrap().tidy().err().unwrap().code,
            "ftp::publish::delta_beside"
        );
        let (loss, told) = (test_loss(&store, &manifest), &manifest.summary["metrics"]["test"]["loss"]);
        assert!((loss - told.as_f64().unwrap()).abs() < 1e-3, "{}: {loss} {told}", manifest.label);
    }
}

#[test]
fn a_later_delta_stores_its_own_parameters_only_and_leaves_the_adapters_below_alone() {
    let project = project(PIPELINE);
    let output = ftp(project.path(), &["run", "p.ftp", "stacked"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let deltas: Vec<Manifest> =
        evaluated(project.path()).into_iter().filter(|found| found.files.contains_key("delta.safetensors")).collect();
    assert_eq!(deltas.len(), 2);
    let adapters = |manifest: &Manifest, number: &str| {
        let mut tensors = Bundle::open(&store, &manifest.output).unwrap().tensors;
        tensors.retain(|name, _| name.starts_with(number));
        tensors
    };
    let (first, second) = match deltas[0].method.as_str() {
        "intermediate" => (&deltas[0], &deltas[1]),
        _ => (&deltas[1], &deltas[0]),
    };
    assert_eq!(adapters(first, "adapters.0."), adapters(second, "adapters.0."));
    assert_eq!((adapters(first, "adapters.1.").len(), adapters(second, "adapters.1.").len()), (0, 2 * 4));
    let stored = fs::read(store.artifact(&second.output).unwrap().path("delta.safetensors").unwrap()).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&stored).unwrap();
    let own = |name: &&str| name.starts_with("adapters.1.") || name.starts_with("classifier.");
    assert!(stored.names().iter().all(own), "{:?}", stored.names());
}

const STACKS: &str = "\
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)
let small = pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
pipeline folded = small -> peft(stack(lora(rank = 2), bitfit)) -> finetune(target)
pipeline again  = small -> peft(stack(bitfit, lora(rank = 2))) -> finetune(target)
pipeline both   = small -> peft(stack(adapter(reduction_factor = 4), ia3)) -> finetune(target)
pipeline later  = both -> peft(lora, rank = 2) -> finetune(target)
";

#[test]
fn a_stack_is_stored_as_one_delta_over_a_base_that_is_stored_once() {
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let project = project(&(data + STACKS));
    let output = ftp(project.path(), &["run", "p.ftp"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    assert_eq!(found.len(), 3, "the order in which a stack is written makes no other result");
    for manifest in &found {
        let (loss, told) = (test_loss(&store, manifest), &manifest.summary["metrics"]["test"]["loss"]);
        assert!((loss - told.as_f64().unwrap()).abs() < 1e-3, "{}: {loss} {told}", manifest.label);
        let stored = fs::read(store.artifact(&manifest.output).unwrap().path("delta.safetensors").unwrap()).unwrap();
        let stored = safetensors::SafeTensors::deserialize(&stored).unwrap();
        let own = |name: &&str| {
            let methods = ["lora_", "ia3_l", "adapters.0.", "classifier.", "pooler.dense."];
            methods.iter().any(|method| name.contains(method)) || name.ends_with(".bias")
        };
        assert!(stored.names().iter().all(own), "{:?}", stored.names());
    }
    let whole = |path: &PathBuf| {
        fs::read(path).is_ok_and(|bytes| {
            safetensors::SafeTensors::deserialize(&bytes)
                .is_ok_and(|tensors| tensors.tensor("bert.embeddings.word_embeddings.weight").is_ok())
        })
    };
    assert_eq!(files(&project.path().join("store")).iter().filter(|path| whole(path)).count(), 1);
}

const FROZEN: &str = "\
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)
let small = pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
pipeline folded = small -> peft(stack(freeze(layers = 1), lora(rank = 2), bitfit)) -> finetune(target)
pipeline beside = small -> peft(stack(adapter(reduction_factor = 4), freeze(layers = 1))) -> finetune(target)
pipeline later  = beside -> peft(lora, rank = 2) -> finetune(target)
pipeline top    = small -> peft(freeze, layers = 1) -> finetune(target)
";

#[test]
fn what_a_stack_freezes_is_not_stored_and_stays_so_when_the_result_is_opened_and_trained_over() {
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let project = project(&(data + FROZEN));
    let output = ftp(project.path(), &["run", "p.ftp"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    assert_eq!(found.len(), 4);
    for manifest in &found {
        let (loss, told) = (test_loss(&store, manifest), &manifest.summary["metrics"]["test"]["loss"]);
        assert!((loss - told.as_f64().unwrap()).abs() < 1e-3, "{}: {loss} {told}", manifest.label);
        let stored = fs::read(store.artifact(&manifest.output).unwrap().path("delta.safetensors").unwrap()).unwrap();
        let stored = safetensors::SafeTensors::deserialize(&stored).unwrap();
        let (lowest, embeddings) =
            (|name: &&&str| name.contains("layer.0."), |name: &&&str| name.contains("embeddings"));
        // `later` was not told to freeze anything, and lies over adapters of one layer.
        let below = Bundle::open(&store, &manifest.output).unwrap().tensors;
        let has = |part: &str| below.keys().any(|name| name.starts_with(part));
        let over = has("adapters.") && stored.names().iter().all(|name| !name.starts_with("adapters."));
        assert_eq!(stored.names().iter().filter(lowest).count(), if over { 2 * 2 } else { 0 }, "{:?}", stored.names());
        assert_eq!(stored.names().iter().filter(embeddings).count(), 0, "{:?}", stored.names());
    }
    let wrong = FROZEN.split("pipeline").next().unwrap().to_owned()
        + "pipeline wrong = small -> peft(stack(last_layers(layers = 1), freeze(layers = 1))) -> finetune(target)\n";
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(project.path().join("wrong.ftp"), data + &wrong).unwrap();
    let output = ftp(project.path(), &["check", "wrong.ftp"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(3) && told.contains("not_stackable"), "{told}");
}

#[test]
fn the_average_of_several_models_has_the_mean_of_their_weights() {
    let project = project(PIPELINE);
    let output = ftp(project.path(), &["run", "p.ftp", "soup"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    let of = |method: &str| {
        let of_method = found.iter().filter(|manifest| manifest.method == method);
        of_method.map(|manifest| Bundle::open(&store, &manifest.output).unwrap().tensors).collect::<Vec<_>>()
    };
    let (means, members) = (of("average"), of("finetune"));
    assert_eq!((means.len(), members.len()), (1, 2));
    for (name, mean) in &means[0] {
        for (at, value) in mean.data.iter().enumerate() {
            let sum: f64 = members.iter().map(|member| f64::from(member[name].data[at])).sum();
            assert!((f64::from(*value) - sum / 2.0).abs() < 1e-6, "{name} {at}");
        }
    }
}

#[test]
fn several_deltas_over_one_base_answer_in_one_process_and_read_it_once() {
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let project = project(&(data + STACKS));
    let output = ftp(project.path(), &["run", "p.ftp"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = "the good cat 3 of test";
    let said = |arguments: &[&str]| {
        let output = ftp(project.path(), arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let alone: Vec<String> =
        ["folded", "both", "later"].iter().map(|name| format!("{name}\t{}", said(&["predict", name, text]))).collect();
    assert_eq!(said(&["predict", "folded", "--delta", "both", "--delta", "later", text]), alone.concat());
    let json = said(&["predict", "both", "--delta", "later", "--json", text]);
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((last["model"].as_str(), last["text"].as_str()), (Some("later"), Some(text)));

    let output = ftp(project.path(), &["predict", "nothing", text]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("ftp::predict::no_model"), "{told}");

    // What was read is not read again: not even when the file is gone.
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    let mut bases = ftp::methods::bases::Bases::keeping();
    let first = bases.open(&store, &found[0].output).unwrap();
    let below = ftp::methods::bases::Bases::below(&store, &found[0].output).unwrap();
    let blob = files(&project.path().join("store/blobs")).into_iter().find(|path| path.ends_with(&below)).unwrap();
    fs::remove_file(blob).unwrap();
    let second = bases.open(&store, &found[1].output).unwrap();
    let words = "bert.embeddings.word_embeddings.weight";
    assert!(first.tensors[words] == second.tensors[words] && first.origin != second.origin);
    assert!(Bundle::open(&store, &found[1].output).is_err());
}

const LANGUAGES: &str = "\
let other = text(\"other.txt\")
let small = pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set adapt(epochs = 1, max_length = 32, learning_rate = 1e-2, batch_size = 8)
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)
let language = stack(adapter(reduction_factor = 2), invertible)
let english  = small -> peft(language) -> adapt(corpus)
let german   = small -> peft(language) -> adapt(other)
pipeline task      = english -> peft(adapter, reduction_factor = 4) -> finetune(target)
pipeline zero_shot = task -> swap(german, target)
pipeline back      = zero_shot -> swap(english, target)
pipeline wrong     = task -> swap(small, target)
";

#[test]
fn language_adapters_are_swapped_under_a_task_adapter_that_stays_as_it_is() {
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let project = project(&(data + LANGUAGES));
    let other: String = (0..60).map(|n| format!("die gute katze {n} sah {} boese hunde\n", n % 7)).collect();
    fs::write(project.path().join("other.txt"), other).expect("written");
    let output = ftp(project.path(), &["run", "p.ftp", "task", "zero_shot", "back"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let manifest = |pipeline: &str| match store.lookup(&store.find(pipeline).unwrap()) {
        ftp::store::Lookup::Hit(manifest) => *manifest,
        ftp::store::Lookup::Miss(_) => panic!("{pipeline} was run"),
    };
    let (task, zero_shot, back) = (manifest("task"), manifest("zero_shot"), manifest("back"));
    for manifest in [&task, &zero_shot, &back] {
        let (loss, told) = (test_loss(&store, manifest), manifest.summary["metrics"]["test"]["loss"].as_f64().unwrap());
        assert!((loss - told).abs() < 1e-3, "{loss} {told}");
    }
    let losses = [&task, &zero_shot, &back].map(|manifest| test_loss(&store, manifest));
    assert!(losses[0] == losses[2] && losses[0] != losses[1], "{losses:?}");
    let tensors = |manifest: &Manifest| Bundle::open(&store, &manifest.output).unwrap().tensors;
    let (before, after) = (tensors(&task), tensors(&zero_shot));
    let of_language = |name: &str| name.starts_with("adapters.0.") || name.starts_with("invertibles.0.");
    assert_eq!(before.len(), after.len());
    for (name, tensor) in &before {
        // Biases too: those of a language's `down` maps move with its other weights.
        assert_eq!(tensor != &after[name], of_language(name), "{name}");
    }
    let output = ftp(project.path(), &["run", "p.ftp", "wrong"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("ftp::swap::different_models"), "{told}");
}

const FUSION: &str = "\
let small = pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set intermediate(epochs = 2, max_length = 32, learning_rate = 1e-2)
set finetune(epochs = 2, max_length = 32, learning_rate = 1e-2)
pipeline one   = small -> peft(adapter, reduction_factor = 4) -> intermediate(task = target)
pipeline two   = small -> peft(adapter, reduction_factor = 2) -> finetune(target)
pipeline fused = [one, two] -> fusion -> finetune(target)
pipeline wrong = [one, two -> peft(adapter) -> finetune(target)] -> fusion -> finetune(target)
";

#[test]
fn fused_adapters_stay_as_they_are_and_only_the_attention_over_them_is_stored() {
    let data = PIPELINE.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let project = project(&(data + FUSION));
    let output = ftp(project.path(), &["run", "p.ftp", "fused"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = Store::open(project.path().join("store")).unwrap();
    let found = evaluated(project.path());
    assert_eq!(found.len(), 3);
    let fused = |manifest: &&Manifest| manifest.summary["trained_delta"]["method"] == "fusion";
    let (fused, members): (Vec<&Manifest>, Vec<&Manifest>) = found.iter().partition(fused);
    let (loss, told) = (test_loss(&store, fused[0]), fused[0].summary["metrics"]["test"]["loss"].as_f64().unwrap());
    assert!((loss - told).abs() < 1e-3, "{loss} {told}");
    let stored = fs::read(store.artifact(&fused[0].output).unwrap().path("delta.safetensors").unwrap()).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&stored).unwrap();
    let own = |name: &&str| ["fusions.0.layer.", "classifier.", "bert.pooler."].iter().any(|of| name.starts_with(of));
    assert!(stored.names().iter().all(own), "{:?}", stored.names());
    let tensors = Bundle::open(&store, &fused[0].output).unwrap().tensors;
    for member in members {
        // Fused in the order of the list: the narrow one first.
        let number = usize::from(member.method == "finetune");
        for (name, tensor) in Bundle::open(&store, &member.output).unwrap().tensors {
            if let Some(rest) = name.strip_prefix("adapters.0.") {
                let here = format!("fusions.0.adapter.{number}.{}", rest.replace(".output.", "."));
                assert!(tensors[&here] == tensor, "{here}");
            }
        }
    }
    let output = ftp(project.path(), &["run", "p.ftp", "wrong"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("ftp::fusion::different_models"), "{told}");
}

#[test]
fn publishing_a_model_with_adapters_is_refused_with_a_reason_and_writes_nothing() {
    let project = project(&format!("{PIPELINE}publish mixed to \"out\"\n"));
    let output = ftp(project.path(), &["run", "p.ftp", "mixed"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("`adapter` stays beside its model"), "{told}");
    assert!(!project.path().join("out").exists());
}
