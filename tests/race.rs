//! Races, run as a user runs them: who goes on, what is stored of it, and that it is what it would have been alone.
#![cfg(feature = "train")]

use std::fs;

use serde_json::Value;

mod project;
use project::{ftp, project, run};

const RACE: &str = "\
pipeline kept = base -> each(seed in 1..4) finetune(target) -> race(keep = 2, at = 30 %)
pipeline best = kept -> select
pipeline soup = kept -> average
expect mean(kept.accuracy) >= 0.0
";

/// The events of a kind: which stage, and its output digest where there is one.
fn of<'a>(events: &'a [Value], kind: &str) -> Vec<(&'a str, &'a str)> {
    let of_kind = events.iter().filter(|event| event["event"] == kind);
    of_kind.map(|event| (event["stage"].as_str().unwrap_or(""), event["output"].as_str().unwrap_or(""))).collect()
}

fn count(stages: &[(&str, &str)], beginning: &str) -> usize {
    stages.iter().filter(|(stage, _)| stage.starts_with(beginning)).count()
}

#[test]
fn of_several_trainings_the_best_are_gone_on_with_and_come_to_what_they_come_to_alone() {
    let directory = project();
    let root = directory.path();
    let events = run(root, RACE);
    let ran = of(&events, "stage_finished");
    // pretrain; four beginnings and two whole trainings; race, select, average.
    assert_eq!(ran.len(), 1 + 4 + 2 + 3, "{ran:?}");
    assert_eq!(count(&ran, "finetune(target) until 30 %"), 4);
    assert_eq!(of(&events, "stage_stopped").len(), 2);
    let steps = |event: &&Value| {
        event["event"] == "progress" && event["stage"].as_str().is_some_and(|stage| stage.starts_with("finetune"))
    };
    let last = events.iter().filter(steps).map(|event| event["steps"].as_u64()).max();
    // Six steps an epoch; a beginning is 30 % of 24, at least.
    assert_eq!(last, Some(Some(24)));
    let resumed = events.iter().filter(|event| event["notice"]["code"] == "ftp::train::resumed").count();
    assert_eq!(resumed, 2, "whole trainings go on from their beginnings");
    let expectation = events.iter().find(|event| event["event"] == "expectation").expect("it is looked at");
    assert_eq!(expectation["holds"], true, "a fold is over what is left: {expectation}");
    let checkpoints = fs::read_dir(root.join("store/checkpoints")).expect("there").count();
    assert_eq!(checkpoints, 0, "nothing is kept of those that were stopped");

    let again = run(root, RACE);
    assert!(of(&again, "stage_finished").is_empty(), "the decision is stored");
    assert_eq!(of(&again, "stage_hit").len(), 10);
    let plan = ftp(root, &["plan", "p.ftp"]);
    assert_eq!(plan.matches("stopped by a race").count(), 2 + 1, "{plan}");
    assert!(plan.contains("0 to run"), "{plan}");

    // The same trainings alone, in a store of their own.
    let all = "pipeline tries = base -> each(seed in 1..4) finetune(target)\n";
    let elsewhere = project();
    let alone = run(elsewhere.path(), all);
    let alone: Vec<&str> = of(&alone, "stage_finished")
        .into_iter()
        .filter(|(stage, _)| stage.starts_with("finetune"))
        .map(|(_, output)| output)
        .collect();
    assert_eq!(alone.len(), 4);
    let whole: Vec<&str> = ran
        .iter()
        .filter(|(stage, _)| stage.starts_with("finetune") && !stage.contains("until"))
        .map(|(_, output)| *output)
        .collect();
    let numbers: Vec<usize> =
        whole.iter().map(|output| 1 + alone.iter().position(|other| other == output).expect("the same bits")).collect();

    // What was made of the survivors is what is made of these models without a race.
    let [one, other] = numbers.as_slice() else { panic!("{numbers:?}") };
    let pair = format!(
        "let one = base -> finetune(target, seed = {one})\nlet other = base -> finetune(target, seed = {other})\npipeline soup = [one, other] -> average\n"
    );
    let found = run(root, &pair);
    assert!(of(&found, "stage_finished").is_empty(), "{found:?}");
}

#[test]
fn what_is_left_of_a_race_is_published_and_compared() {
    let directory = project();
    let root = directory.path();
    let text = RACE.to_owned() + "publish best to \"out/best\"\n";
    let events = run(root, &text);
    assert_eq!(events.iter().filter(|event| event["event"] == "published").count(), 1);
    assert!(root.join("out/best/model.safetensors").exists());
    let human = ftp(root, &["run", "p.ftp"]);
    let rows: Vec<&str> = human.lines().filter(|line| line.trim_start().starts_with("kept[")).collect();
    assert_eq!(rows.len(), 2, "only those that were kept have a row:\n{human}");
}
