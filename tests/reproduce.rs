//! A pipeline written as a file of its own: planned beside the same data it has the same keys.

mod support;

use std::borrow::Cow;
use std::collections::BTreeSet;
#[cfg(feature = "train")]
use std::path::Path;

#[cfg(feature = "train")]
use ftp::data::FileWorld;
use ftp::lang;
use ftp::lang::ir::{Node, Program};
use ftp::lang::signature::Registry;
use ftp::lang::value::Value;
use ftp::lang::world::World;
use ftp::plan::reproduce::{self, Place, Request};
use ftp::plan::{Plan, StageInput};
use ftp::syntax::{self, Source};
use indexmap::IndexMap;
use support::{Table, registry, source};

/// Of a race, every second one goes on.
fn stopped(plan: &Plan, stage: usize) -> bool {
    plan.stages[stage].contest.is_some_and(|contest| contest.number % 2 == 0)
}

/// The keys of what a pipeline is made of when its races are decided, the last one last, with each stage's key for its
/// output digest.
fn keys(program: &Program, plan: &Plan, pipeline: usize) -> Vec<String> {
    let mut keys: Vec<String> = vec![];
    let inputs =
        |stage| plan.inputs_left(stage, &|before| stopped(plan, before)).map_or_else(IndexMap::new, Cow::into_owned);
    for stage in 0..plan.stages.len() {
        let key = plan.key_with(program, stage, &inputs(stage), &|before| keys[before].clone()).key;
        keys.push(key);
    }
    let last = plan.stage_of(program.pipelines[pipeline].output).expect("a pipeline has stages");
    let (mut used, mut open) = (BTreeSet::new(), vec![last]);
    while let Some(stage) = open.pop() {
        if used.insert(stage) {
            open.extend(inputs(stage).values().filter_map(|input| match input {
                StageInput::Stage(before) => Some(*before),
                StageInput::Source(_) => None,
            }));
        }
    }
    let mut found: Vec<String> = used.iter().map(|stage| keys[*stage].clone()).collect();
    found.sort();
    found.push(keys[last].clone());
    found
}

fn within(node: &Node) -> Place {
    let Some(Value::String(path)) = node.parameters.get("path").map(|path| &path.value) else { panic!("no path") };
    if path.starts_with('/') { Place::Outside("elsewhere".into()) } else { Place::Within(path.clone()) }
}

/// Writes every pipeline of a file, reads what was written, and compares the keys. Returns the texts.
fn round_trips(text: &str, set: &[(&str, &str)], registry: &Registry, world: &dyn World) -> Vec<String> {
    let set: Vec<(String, String)> = set.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let program = lang::check(&source(text), registry, world, &set).unwrap_or_else(|found| panic!("{found}")).program;
    let plan = Plan::new(&program, "cpu");
    let stopped = |stage| stopped(&plan, stage);
    // What a race stopped is not published.
    let made = |pipeline: &usize| plan.stage_of(program.pipelines[*pipeline].output).is_some_and(|last| !stopped(last));
    (0..program.pipelines.len())
        .filter(made)
        .map(|pipeline| {
            let docs = ["What it is.".to_owned(), "a\nb".to_owned()];
            let request = Request {
                program: &program,
                plan: &plan,
                registry,
                pipeline,
                stopped: &stopped,
                place: &within,
                root: ".",
                docs: &docs,
            };
            let written = reproduce::write(&request);
            let again = Source::new("reproduce.ftp", written.as_str());
            assert_eq!(syntax::format(&again).as_deref(), Ok(written.as_str()), "it is in the one style");
            let checked =
                lang::check(&again, registry, world, &[]).unwrap_or_else(|found| panic!("{found}\n{written}"));
            assert_eq!(checked.warnings.len(), 0, "{:?}\n{written}", checked.warnings);
            let other = Plan::new(&checked.program, "cpu");
            assert_eq!(keys(&program, &plan, pipeline), keys(&checked.program, &other, 0), "{written}");
            assert_eq!(checked.program.pipelines.len(), 1);
            written
        })
        .collect()
}

const DATA: &str = "let base = hf(\"models/minilm\")
let target = labelled(\"data/{train,dev}.jsonl\", label = \"class\", labels = [\"no\", \"y\\\"e\\\\s\"])
let domain = text(\"data/$\\${x}/*.txt\")
param rate: float = 1e-4
";

#[test]
fn a_chain_a_command_line_and_a_set_are_written_out() {
    let text = format!(
        "{DATA}set finetune(schedule = cosine, warmup = 100 steps, time_limit = 2 h)
         pipeline a = base -> adapt(domain, epochs = 0.5 epochs) -> peft(lora, rank = 4) -> finetune(target, learning_rate = rate)
         expect a.accuracy >= 0.25"
    );
    let written = round_trips(&text, &[("rate", "3e-5")], &registry(), &Table).remove(0);
    for part in ["learning_rate = 3e-5", "rank = 4", "0.5 epochs", "100 steps", "expect a.accuracy >= 0.25"] {
        assert!(written.contains(part), "{part} is not in:\n{written}");
    }
    assert!(!written.contains("time_limit"), "what decides nothing is left out:\n{written}");
    assert!(!written.contains("set "), "{written}");
}

#[test]
fn recipes_modules_lists_and_choices_become_the_stages_they_are() {
    let text = format!(
        "{DATA}use \"team/recipes.ftp\" as team
         param quick: bool = true
         let adapted = base -> adapt(domain)
         recipe light(base: model, target: labelled, method: delta) = base -> peft(method) -> finetune(target)
         pipeline tuned = adapted -> if quick then team.tuned(target, seed = 7) else finetune(target)
         pipeline one = adapted -> each(seed in 1..3) finetune(target) -> select(best = macro_f1)
         pipeline two = [one, tuned, base -> light(target, lora)] -> average(target)
         pipeline three = [one, two] -> ensemble
         pipeline scratch = pretrain(domain, hidden_size = 32) -> finetune(target)
         pipeline tries = base -> each(seed in 1..2) finetune(target)
         pipeline shared = [tuned, tuned] -> average"
    );
    let written = round_trips(&text, &[], &registry(), &Table);
    assert!(written.iter().all(|text| !text.contains("each(") && !text.contains("use ")), "{written:#?}");
}

#[test]
#[cfg(feature = "train")]
fn a_race_is_gone_with_those_that_it_stopped() {
    let text = format!(
        "{DATA}pipeline kept = base -> each(seed in 1..5) finetune(target) -> race(keep = 2)
         pipeline best = kept -> select
         pipeline soup = [best, base -> finetune(target, seed = 9)] -> average"
    );
    let written = round_trips(&text, &[], ftp::methods::registry(), &Table);
    assert_eq!(written.len(), 4, "two that are kept, and two that are made of them");
    assert!(written[2].contains("seed = 2") && written[2].contains("seed = 4"), "{}", written[2]);
    assert!(!written[2].contains("seed = 1") && !written[2].contains("race"), "{}", written[2]);
}

#[test]
#[cfg(feature = "train")]
fn stacks_of_deltas_are_written_as_they_are() {
    let text = format!(
        "{DATA}let both = stack(bitfit, lora(rank = 4))
         pipeline a = base -> peft(both) -> finetune(target)
         pipeline b = base -> each(method in [both, bitfit]) (peft(method) -> finetune(target)) -> ensemble"
    );
    let written = round_trips(&text, &[], ftp::methods::registry(), &Table);
    assert!(
        written[0].contains("stack(lora(rank = 4), bitfit)") || written[0].contains("stack(bitfit, lora(rank = 4))"),
        "{}",
        written[0]
    );
}

#[test]
fn names_that_could_not_be_declared_get_others() {
    let text = "let root = hf(\"m\")
        pipeline root_path = root -> each(seed in 1..2) finetune(labelled_1) -> select
        pipeline pipeline_of = root -> adapt(text_) -> finetune(labelled_1)
        let labelled_1 = labelled(\"/abs/olute/{train,dev}.jsonl\")
        let text_ = text(\"a.txt\")";
    let written = round_trips_with_outside(text);
    assert!(written.iter().all(|text| !text.contains("/abs")), "no place of this machine: {written:#?}");
}

/// As [`round_trips`], where the table has everything wherever it lies.
fn round_trips_with_outside(text: &str) -> Vec<String> {
    round_trips(text, &[], &registry(), &Table)
}

#[test]
fn comments_and_docs_can_not_break_out_of_their_line() {
    let text = format!("{DATA}pipeline a = base -> finetune(target)");
    let written = round_trips(&text, &[], &registry(), &Table).remove(0);
    assert!(written.starts_with("## What it is.\n## a b\n"), "{written}");
}

#[test]
#[cfg(feature = "train")]
fn the_pipelines_of_this_repository_can_be_written_out() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let world = FileWorld::new(&directory);
    for name in ["quickstart.ftp", "seeds.ftp"] {
        let text = std::fs::read_to_string(directory.join(name)).expect("the file is there");
        let written = round_trips(&text, &[], ftp::methods::registry(), &world);
        assert!(written.iter().all(|text| text.contains("blake3 ")));
    }
}
