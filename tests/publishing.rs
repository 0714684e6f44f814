//! What lies beside a published model: a card, and a file that makes the model again.
#![cfg(feature = "train")]

mod place;

use std::fs;

use place::{PIPELINE, Place};

#[test]
fn what_is_published_can_be_reproduced_from_the_file_beside_it() {
    let here = Place::new(PIPELINE);
    here.ftp(&["run", "p.ftp", "--rate", "2e-2"], 0);
    let card = here.read("out/best/README.md");
    let file = here.read("out/best/reproduce.ftp");

    // In its place, beside the data, every stage is in the store, whatever the defaults of the file it came from.
    let plan = here.ftp(&["plan", "out/best/reproduce.ftp", "--json"], 0);
    let stages: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let stages = stages.as_array().expect("a list");
    assert_eq!(stages.len(), 5, "pretrain, adapt, two of finetune, select: {plan}");
    assert!(stages.iter().all(|stage| stage["status"] == "hit"), "{plan}");
    let key = stages.last().expect("the last one")["key"].as_str().expect("a key").to_owned();
    assert!(card.contains(&key) && file.contains(&key));
    here.ftp(&["fmt", "--check", "out/best/reproduce.ftp"], 0);

    // Somewhere else, told where the project is.
    let elsewhere = tempfile::tempdir().expect("a directory");
    fs::write(elsewhere.path().join("again.ftp"), &file).expect("written");
    let again = elsewhere.path().join("again.ftp").display().to_string();
    let plan = here.ftp(&["plan", &again, "--root", &here.path().display().to_string()], 0);
    assert!(plan.contains("5 stages: 5 in the store, 0 to run"), "{plan}");

    for part in ["learning_rate = 0.02", "blake3 ", "expect best.accuracy >= 0.0"] {
        assert!(file.contains(part), "{part} is not in:\n{file}");
    }
    assert!(!file.contains("use ") && !file.contains("recipe "), "it needs no other file:\n{file}");
}

#[test]
fn the_card_says_what_the_model_is_and_nothing_of_the_machine() {
    let here = Place::new(PIPELINE);
    here.ftp(&["run", "p.ftp"], 0);
    let card = here.read("out/best/README.md");
    let (front, body) = card.strip_prefix("---\n").and_then(|card| card.split_once("\n---\n")).expect("front matter");
    for line in [
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "datasets:\n- \"corpus\"\n- \"target\"",
        "model-index:\n- name: \"best\"",
        "    - type: accuracy\n      name: accuracy\n      value: ",
    ] {
        assert!(front.contains(line), "{line} is not in:\n{front}");
    }
    assert!(!front.contains("license"), "nobody said one:\n{front}");
    for part in [
        "# best\n\nThe better of two seeds, &amp; &lt;nothing> \\| else.",
        "in this order: `bad`, `good`",
        "It is the best of 2 models by `accuracy` on the dev split",
        "| `target` | `train.jsonl` | train | 48 | `",
        "`learning_rate = 0.01`",
        "were cut",
        "majority class (bad)",
    ] {
        assert!(body.contains(part), "{part} is not in:\n{body}");
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let here = here.path().display().to_string();
    for (text, what) in [(card.as_str(), "the card"), (&*Place::text(&here, "out/best/reproduce.ftp"), "the file")] {
        assert!(!text.contains(&here) && !text.contains("/home/"), "{what} names a place of this machine:\n{text}");
        assert!(host.trim().len() < 4 || !text.contains(host.trim()), "{what} names the host");
    }
}

#[test]
fn a_card_that_someone_wrote_on_stays_and_one_that_is_gone_comes_back() {
    let here = Place::new(PIPELINE);
    here.ftp(&["run", "p.ftp"], 0);
    here.write("out/best/README.md", "mine\n");
    fs::remove_file(here.path().join("out/best/reproduce.ftp")).expect("removed");
    here.ftp(&["run", "p.ftp"], 0);
    assert_eq!(here.read("out/best/README.md"), "mine\n");
    assert!(here.read("out/best/reproduce.ftp").contains("pipeline best"));
}
