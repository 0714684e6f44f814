//! Whatever is changed of whatever enters a key: every stage that will run says why, down to the leaf, with both values and the place.

use ftp::exec::{Status, status};
use ftp::lang;
use ftp::lang::ir::{Node, Parameter, Program};
use ftp::lang::signature::{Class, Kind};
use ftp::lang::value::Value;
use ftp::methods;
use ftp::plan::{Plan, Reason};
use ftp::store::Store;
use ftp::syntax::Source;

mod programs;
mod support;

const PROGRAM: &str = r#"
let base    = hf("models/minilm")
let general = text("data/general/*.txt")
let domain  = text("data/tickets/*.txt")
let mnli    = pairs("data/mnli/{train,dev}.jsonl")
let target  = labelled("data/sst2/{train,dev}.jsonl")

pipeline whole  = pretrain(general) -> adapt(domain) -> finetune(target)
pipeline staged = base -> adapt(domain) -> intermediate(task = mnli) -> peft(lora) -> finetune(target)
pipeline tries  = base -> each(seed in 1..3) finetune(target)
pipeline soup   = tries -> average
pipeline best   = tries -> select(best = accuracy)
pipeline crowd  = tries -> ensemble
"#;

/// Another value of the same kind.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(yes) => Value::Bool(!yes),
        Value::Int(number) => Value::Int(number + 1000),
        Value::Float(number) => Value::Float(number + 0.25),
        Value::Epochs(number) => Value::Epochs(number + 1.0),
        Value::Steps(number) => Value::Steps(number + 1),
        Value::Seconds(number) => Value::Seconds(number + 1.0),
        Value::Bytes(number) => Value::Bytes(number + 1),
        Value::Name(name) => Value::Name(format!("{name}_another")),
        Value::String(text) => Value::String(format!("{text} another")),
        Value::None => Value::Float(0.125),
        other => panic!("give this test another value than {other}"),
    }
}

/// The program, and a store that has a result of each of its stages.
fn filled() -> (Source, Program, tempfile::TempDir, Store) {
    let source = Source::new("main.ftp", PROGRAM);
    let checked = lang::check(&source, methods::registry(), &support::Table, &[]);
    let program: Program = checked.unwrap_or_else(|found| panic!("{:?}", found.all)).program;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let plan = Plan::new(&program, "cpu");
    programs::fill(&program, &plan, &store);
    let all = status(&plan, &program, &source, &store);
    assert!(all.iter().all(|one| matches!(one, Status::Hit { .. })));
    (source, program, directory, store)
}

#[test]
fn of_several_models_the_one_that_changed_is_named() {
    let (source, mut program, _directory, store) = filled();
    let first = |node: &Node| node.method == "finetune" && node.parameters["seed"].value == Value::Int(1);
    let node = program.nodes.iter_mut().find(|node| first(node)).expect("the first of three seeds");
    // What the second one has come to already.
    node.parameters["seed"].value = Value::Int(2);
    let reasons = status(&Plan::new(&program, "cpu"), &program, &source, &store).into_iter();
    let reasons = reasons.filter_map(|status| match status {
        Status::Run { reason, .. } => Some(reason.to_string()),
        _ => None,
    });
    let reasons: Vec<String> = reasons.collect();
    assert_eq!(reasons.len(), 3, "average, select and ensemble: {reasons:?}");
    for reason in reasons {
        assert!(reason.starts_with("one of the models changed: finetune(target) in "), "{reason}");
    }
}

#[test]
fn every_stage_that_runs_says_why_whatever_was_changed() {
    let (source, original, _directory, store) = filled();
    // Every leaf that a person can change: what it is called in the key's pre-image, and the changed program.
    let mut changes: Vec<(String, Program)> = vec![];
    let hashed = |parameter: &Parameter| parameter.class != Class::Operational;
    for (at, node) in original.nodes.iter().enumerate() {
        for (name, parameter) in node.parameters.iter().filter(|(_, parameter)| hashed(parameter)) {
            // Where data lie is no part of a key; what they hold is.
            if name == "path" || matches!(parameter.value, Value::Secret(_)) {
                continue;
            }
            let mut changed = original.clone();
            changed.nodes[at].parameters[name].value = another(&parameter.value);
            let leaf =
                if node.kind == Kind::Source { format!(".parameters.{name}") } else { format!("parameters.{name}") };
            changes.push((leaf, changed));
        }
        for (number, delta) in node.deltas.iter().enumerate() {
            for (name, parameter) in delta.parameters.iter().filter(|(_, parameter)| hashed(parameter)) {
                let mut changed = original.clone();
                changed.nodes[at].deltas[number].parameters[name].value = another(&parameter.value);
                changes.push((format!("delta.parameters.{name}"), changed));
            }
        }
        for (number, file) in node.source.iter().flat_map(|facts| &facts.files).enumerate() {
            let mut changed = original.clone();
            let facts = changed.nodes[at].source.as_mut().expect("it has facts");
            facts.files[number].digest = programs::digest(&file.digest);
            changes.push((format!(".files.{number}.digest"), changed));
        }
        let mut changed = original.clone();
        changed.nodes[at].version += 1;
        changes.push((if node.kind == Kind::Source { ".version" } else { "version" }.to_owned(), changed));
    }

    let (mut run, mut silent, mut none) = (0, vec![], 0);
    for (leaf, changed) in &changes {
        let plan = Plan::new(changed, "cpu");
        let all = status(&plan, changed, &source, &store);
        let mut first = 0;
        for (stage, status) in all.iter().enumerate() {
            match status {
                Status::Run { reason: Reason::Changed(change), .. } => {
                    let said = change.old != change.new
                        && (change.place.is_some() || change.file.is_some() || leaf.ends_with("version"));
                    assert!(change.leaf.ends_with(leaf) && said, "{leaf}: {change:?}");
                    (run, first) = (run + 1, first + 1);
                }
                Status::Run { reason, .. } => silent.push(format!("{leaf}: {} {reason}", plan.stages[stage].label)),
                Status::After { .. } | Status::Hit { .. } | Status::Stopped => {}
            }
        }
        none += usize::from(first == 0);
    }
    println!("{} changes, {run} stages to run: every one names the leaf, both values and the place", changes.len());
    assert!(silent.is_empty(), "{silent:#?}");
    // What nothing uses changes nothing: a parameter that its method leaves out of keys, such as of a source that only names files.
    assert!(none * 10 < changes.len(), "{none} of {} changes made no stage run", changes.len());
    assert!(changes.len() > 100, "only {} changes", changes.len());
}
