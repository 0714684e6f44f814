//! What is made of several models is what it is said to be: the best on the dev split, the mean of the weights, the answer of
//! the mean logits.
#![cfg(feature = "train")]

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

mod project;
use project::{ftp, project, run};

const SEVERAL: &str = "\
pipeline a = base -> finetune(target, seed = 1)
pipeline b = base -> finetune(target, seed = 2, epochs = 2)
pipeline c = base -> finetune(target, seed = 3, learning_rate = 5e-3)
pipeline best = [a, b, c] -> select(best = loss)
pipeline soup = [a, b, c] -> average
pipeline vote = [a, b, c] -> ensemble
publish a to \"out/a\"
publish b to \"out/b\"
publish c to \"out/c\"
publish best to \"out/best\"
publish soup to \"out/soup\"
expect best.accuracy - a.accuracy >= -1.0
expect vote.accuracy >= 0.0
";

/// Names and values of a published model's weights.
fn weights(root: &Path, name: &str) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(root.join("out").join(name).join("model.safetensors")).expect("published");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file").tensors();
    let numbers = |data: &[u8]| -> Vec<f32> {
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    };
    let mut all: Vec<_> = tensors.into_iter().map(|(name, view)| (name, numbers(view.data()))).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// The last evaluation of a stage on a split.
fn evaluated<'a>(events: &'a [Value], stage: &str, split: &str) -> &'a Value {
    let of = |event: &&Value| event["event"] == "evaluated" && event["stage"] == stage && event["split"] == split;
    events.iter().rfind(of).unwrap_or_else(|| panic!("{stage} was not evaluated on {split}"))
}

#[test]
fn the_best_the_mean_and_the_vote_are_what_their_names_say() {
    let directory = project();
    let root = directory.path();
    // Runs on two models of one label set differ enough for a choice to mean something.
    let events = run(root, SEVERAL);
    let names = ["a", "b", "c"];
    let of_each: Vec<_> = names.iter().map(|name| weights(root, name)).collect();

    // The one with the least loss on dev, bit for bit.
    let shown: Vec<Value> =
        names.iter().map(|name| serde_json::from_str(&ftp(root, &["show", name, "--json"])).expect("JSON")).collect();
    let loss = |shown: &Value| {
        let found = shown.pointer("/summary/metrics/dev/loss").or_else(|| shown.pointer("/metrics/dev/loss"));
        found.and_then(Value::as_f64).unwrap_or_else(|| panic!("no loss on dev in {shown:#}"))
    };
    let losses: Vec<f64> = shown.iter().map(loss).collect();
    let least = (0..3).min_by(|one, other| losses[*one].total_cmp(&losses[*other])).expect("three");
    assert!(losses.iter().all(|loss| *loss == losses[least] || *loss > losses[least] + 1e-6), "{losses:?}");
    assert!(weights(root, "best") == of_each[least], "{losses:?}");

    // Every weight the mean of three, as wide sums round it.
    let mut differ = 0;
    for (number, (name, soup)) in weights(root, "soup").into_iter().enumerate() {
        for (at, value) in soup.iter().enumerate() {
            let three = of_each.iter().map(|model| f64::from(model[number].1[at]));
            let mean = three.clone().sum::<f64>() / 3.0;
            assert!((f64::from(*value) - mean).abs() <= mean.abs() * 1e-7 + 1e-30, "{name}[{at}]: {value}, not {mean}");
            differ += usize::from(three.clone().any(|one| one != mean));
        }
    }
    assert!(differ > 1000, "the models are the same");

    // Logits are logarithms of probabilities but for a number of each row, which makes no difference.
    let rows: Vec<Value> = fs::read_to_string(root.join("target/test.jsonl"))
        .expect("there")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().expect("a text")).collect();
    let answers: Vec<Vec<Value>> = names
        .iter()
        .map(|name| {
            let model = format!("out/{name}");
            let out = ftp(root, &[&["predict", &model, "--json", "--max-length", "32"][..], &texts].concat());
            out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        })
        .collect();
    let labels = ["yes", "no"];
    let (mut loss, mut right) = (0.0, 0.0);
    for (at, row) in rows.iter().enumerate() {
        let mean = |label: &str| {
            let logarithm = |answer: &Vec<Value>| answer[at]["probabilities"][label].as_f64().expect("one").ln();
            answers.iter().map(logarithm).sum::<f64>() / 3.0
        };
        let logits = labels.map(mean);
        let sum = logits.iter().map(|logit| logit.exp()).sum::<f64>();
        let truth = labels.iter().position(|label| row["label"] == *label).expect("a label");
        loss -= (logits[truth].exp() / sum).ln() / rows.len() as f64;
        right += f64::from(u8::from(logits[truth] >= logits[1 - truth])) / rows.len() as f64;
    }
    let vote = evaluated(&events, "ensemble", "test");
    let said = vote["loss"].as_f64().expect("a loss");
    assert!((said - loss).abs() < 1e-4, "{said}, not {loss}");
    let accuracy = vote["metrics"].as_array().expect("metrics").iter().find(|metric| metric[0] == "accuracy");
    assert!((accuracy.expect("it has one")[1].as_f64().expect("a number") - right).abs() < 1e-9, "{vote}");

    let expectations: Vec<&Value> = events.iter().filter(|event| event["event"] == "expectation").collect();
    assert_eq!(expectations.len(), 2);
    assert!(expectations.iter().all(|one| one["holds"] == true), "{expectations:?}");
}
