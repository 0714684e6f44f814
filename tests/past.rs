//! `ftp log`, `ftp show` and `ftp diff`: what people can find out about what was run.
#![cfg(feature = "train")]

use serde_json::Value;

mod project;
use project::{call, ftp, project, run, write};

const TWO: &str = "\
param rate: float = 1e-2
pipeline small = base -> peft(bitfit) -> finetune(target, learning_rate = rate)
pipeline full = base -> adapt(corpus, epochs = 1, max_length = 32, batch_size = 8) -> finetune(target)
expect small.accuracy >= 0.0
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn runs_and_results_are_listed_shown_and_compared() {
    let directory = project();
    let root = directory.path();
    assert!(ftp(root, &["log"]).contains("no runs are known"));
    run(root, TWO);
    ftp(root, &["run", "p.ftp", "--rate", "5e-3"]);

    let log = json(&ftp(root, &["log", "--json"]));
    let runs = log.as_array().expect("a list");
    assert_eq!(runs.len(), 2);
    // Five stages; the second run has another training of `small` only.
    assert_eq!((&runs[0]["ran"], &runs[0]["found"], &runs[0]["set"]["rate"]), (&1.into(), &4.into(), &"0.005".into()));
    assert_eq!((&runs[1]["ran"], &runs[1]["found"], &runs[1]["state"]), (&5.into(), &0.into(), &"ok".into()));
    assert_eq!(ftp(root, &["log", "p.ftp"]).lines().count(), 2 + 2);
    assert_eq!(json(&ftp(root, &["log", "elsewhere.ftp", "--json"])), json("[]"));

    let first = runs[1]["run"].as_str().expect("a number");
    let shown = json(&ftp(root, &["show", first, "--json"]));
    let stages = shown["stages"].as_array().expect("a list");
    assert!(stages.iter().all(|stage| stage["outcome"] == "ran" && stage["seconds"].as_f64().is_some()), "{shown}");
    assert_eq!(shown["expectations"][0]["holds"], true);
    let shown = ftp(root, &["show"]);
    assert_eq!(shown.matches(" found ").count(), 4, "{shown}");
    assert!(shown.contains("with rate = 0.005"), "{shown}");

    // A result by its pipeline, by its stage, and by its key.
    let by_pipeline = json(&ftp(root, &["show", "small", "--json"]));
    let key = by_pipeline["key"].as_str().expect("a key");
    assert_eq!(json(&ftp(root, &["show", &key[..10], "--json"]))["key"], key);
    let by_stage = json(&ftp(root, &["show", "adapt(corpus)", "--json"]));
    assert_eq!(by_stage["method"], "adapt");
    let text = ftp(root, &["show", "small"]);
    for part in [
        "parameters.learning_rate = 0.005",
        "scores\n  dev.accuracy",
        "delta.safetensors",
        "training, at its end: epoch 4.0/4",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let journal = by_pipeline["journal"].as_array().expect("a list");
    let evaluations = journal.iter().filter(|entry| entry["event"] == "evaluated" && entry["split"] == "dev");
    assert_eq!(evaluations.count(), 4, "one each epoch");
    assert!(journal.iter().any(|entry| entry["event"] == "progress" && entry["loss"].is_f64()));

    // The difference is the rate, which is in one stage's key only.
    let diff = json(&ftp(root, &["diff", "--json"]));
    assert_eq!(diff["set"][0]["name"], "rate");
    let differences = diff["differences"].as_array().expect("a list");
    assert_eq!(differences.len(), 1, "{diff}");
    assert_eq!(
        (&differences[0]["leaf"], &differences[0]["old"], &differences[0]["new"]),
        (&"parameters.learning_rate".into(), &"0.01".into(), &"0.005".into())
    );
    let text = ftp(root, &["diff"]);
    assert!(
        text.contains("full: the same result") && text.contains("parameters.learning_rate: 0.01 -> 0.005"),
        "{text}"
    );
}

#[test]
fn a_difference_is_followed_down_to_what_the_first_stage_was_made_from() {
    let directory = project();
    let root = directory.path();
    run(root, TWO);
    let text = std::fs::read_to_string(root.join("corpus.txt")).expect("readable");
    std::fs::write(root.join("corpus.txt"), text.replace("cat number 3 ", "cow number 3 ")).expect("written");
    run(root, TWO);
    let diff = json(&ftp(root, &["diff", "--json"]));
    let differences = diff["differences"].as_array().expect("a list");
    let leaves: Vec<(&str, &str)> = differences
        .iter()
        .map(|one| (one["stage"].as_str().unwrap_or(""), one["leaf"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        leaves,
        [("adapt(corpus)", "inputs.domain.files.0.digest"), ("pretrain", "inputs.corpus.files.0.digest")]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let scores = diff["results"][0]["scores"].as_array().expect("a list");
    assert!(
        scores.iter().any(|score| score["name"] == "test.accuracy" && score["old"].is_f64() && score["new"].is_f64())
    );
}

#[test]
fn a_failed_run_shows_what_failed_and_what_is_unknown_is_said() {
    let directory = project();
    let root = directory.path();
    write(
        root,
        "pipeline small = base -> finetune(target, learning_rate = 1.0, max_grad_norm = 0, epochs = 30, time_limit = 0.01 s)\n",
    );
    assert_eq!(call(root, &["run", "p.ftp"]).status.code(), Some(1));
    let shown = ftp(root, &["show"]);
    assert!(shown.contains("failed: finetune(target)") && shown.contains("ftp::exec::time_limit"), "{shown}");
    let unknown = call(root, &["show", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("ftp::store::nothing_named") && said.contains("nonsense"), "{said}");
}
