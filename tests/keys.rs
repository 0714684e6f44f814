//! What enters a key, what does not, and which stages a plan has.

use std::path::PathBuf;

use ftp::lang::ir::{Delta, Program};
use ftp::lang::signature::Class;
use ftp::lang::value::Value;
use ftp::lang::world::{SourceFacts, Task};
use ftp::plan::{Plan, StageInput};
use indexmap::IndexMap;
use proptest::prelude::*;

mod programs;
use programs::{at, chain, digest, labelled, parameter, pipeline, stage};

/// The key of the chain's last stage, were every stage before it to give the same output.
fn last_key(program: &Program) -> String {
    key_on(program, "cpu")
}

fn key_on(program: &Program, device: &str) -> String {
    let plan = Plan::new(program, device);
    plan.key(program, plan.stages.len() - 1, &|_| digest("model")).key
}

fn facts(program: &mut Program) -> &mut SourceFacts {
    program.nodes[1].source.as_mut().expect("node 1 is a source")
}

/// The key by another implementation: Python's struct and blake3 packages, after the table in `docs/store.md`. When this
/// fails, every store loses its results: raise `plan::key::SCHEMA`, and only then change it here.
#[test]
fn a_key_is_what_the_documentation_says() {
    assert_eq!(last_key(&chain()), "0aaa0f98792c412eabe32667f9db223b2d8136a2d3d0613b6cdc301e4ec54f3f");
}

#[test]
fn every_hashed_leaf_changes_the_key() {
    type Edit = fn(&mut Program);
    let edits: Vec<(&str, Edit)> = vec![
        ("method", |p| p.nodes[4].method = "intermediate".into()),
        ("version", |p| p.nodes[4].version = 2),
        ("semantic parameter", |p| p.nodes[4].parameters["learning_rate"].value = Value::Float(5e-5)),
        ("numeric parameter", |p| p.nodes[4].parameters["micro_batch_size"].value = Value::Int(16)),
        ("type of a parameter", |p| p.nodes[4].parameters["epochs"].value = Value::Float(3.0)),
        ("delta", |p| p.nodes[4].deltas = vec![bitfit(1, true)]),
        ("train file", |p| facts(p).files[0].digest = digest("other")),
        ("order of files", |p| facts(p).files.swap(0, 1)),
        ("a file more", |p| {
            let one = facts(p).files[0].clone();
            facts(p).files.push(one);
        }),
        ("split", |p| facts(p).files[1].split = Some("test".into())),
        ("labels", |p| {
            facts(p).task = Some(Task::Classification { labels: vec!["positive".into(), "negative".into()] });
        }),
        ("task", |p| facts(p).task = Some(Task::Regression)),
        ("column", |p| drop(facts(p).columns.insert("text".into(), "premise".into()))),
        ("source's method", |p| p.nodes[1].method = "pairs".into()),
        ("source's parameter", |p| p.nodes[1].parameters["bad_rows"].value = Value::Name("skip".into())),
    ];
    let original = last_key(&chain());
    let mut seen = vec![original.clone(), key_on(&chain(), "cuda:0")];
    assert_ne!(seen[0], seen[1], "device");
    for (what, edit) in edits {
        let mut edited = chain();
        edit(&mut edited);
        let key = last_key(&edited);
        assert!(!seen.contains(&key), "{what} is not in the key");
        seen.push(key);
    }
    let plan = Plan::new(&chain(), "cpu");
    assert_ne!(plan.key(&chain(), 2, &|_| digest("another model")).key, original, "input");
}

fn bitfit(version: u32, head: bool) -> Delta {
    let parameters = IndexMap::from([("head".into(), parameter(Value::Bool(head), Class::Semantic))]);
    Delta { method: "bitfit".into(), version, parameters }
}

#[test]
fn a_delta_enters_with_its_method_version_and_parameters() {
    let with = |delta: Delta| {
        let mut program = chain();
        program.nodes[4].deltas = vec![delta];
        last_key(&program)
    };
    let original = with(bitfit(1, true));
    assert_eq!(original, with(bitfit(1, true)));
    assert_ne!(original, with(bitfit(2, true)));
    assert_ne!(original, with(bitfit(1, false)));
    assert_ne!(original, with(Delta { method: "lora".into(), ..bitfit(1, true) }));
}

#[test]
fn each_delta_of_a_stack_and_their_order_enter_and_one_alone_has_the_key_it_had_before_stacks() {
    let with = |deltas: Vec<Delta>| {
        let mut program = chain();
        program.nodes[4].deltas = deltas;
        let plan = Plan::new(&program, "cpu");
        plan.key(&program, plan.stages.len() - 1, &|_| digest("a model"))
    };
    let lora = || Delta { method: "lora".into(), ..bitfit(1, true) };
    let (alone, both, turned) =
        (with(vec![bitfit(1, true)]), with(vec![bitfit(1, true), lora()]), with(vec![lora(), bitfit(1, true)]));
    assert!(alone.key != both.key && both.key != turned.key);
    assert_eq!(alone.pre_image.get("delta.method"), Some("bitfit"));
    assert_eq!(both.pre_image.get("delta.1.method"), Some("lora"));
    assert_eq!(both.pre_image.get("delta.0.parameters.head"), Some("true"));
}

#[test]
fn what_changes_no_result_changes_no_key() {
    let mut edited = chain();
    let node = &mut edited.nodes[4];
    node.label = "finetune(sentiment)".into();
    node.span = at(3, 3);
    node.parameters["time_limit"].value = Value::Seconds(60.0);
    node.parameters["learning_rate"].span = None;
    node.parameters.reverse();
    let data = &mut edited.nodes[1];
    data.label = "sentiment".into();
    data.span = at(4, 4);
    data.parameters["path"].value = Value::String("elsewhere/{train,dev}.jsonl".into());
    for file in &mut facts(&mut edited).files {
        file.path = PathBuf::from("/elsewhere").join(&file.shown);
        file.shown = "elsewhere".into();
    }
    facts(&mut edited).notices.push(ftp::event::Notice::new("ftp::data::guessed", "guessed"));
    facts(&mut edited).columns.reverse();
    assert_eq!(last_key(&chain()), last_key(&edited));
    assert_eq!(key_on(&chain(), "cuda:0"), key_on(&chain(), "cuda:1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn keys_are_equal_exactly_when_the_parameters_are(
        a in proptest::collection::btree_map("[a-c]{1,2}", "[a-c\\[\\]\", ]{0,3}", 0..4),
        b in proptest::collection::btree_map("[a-c]{1,2}", "[a-c\\[\\]\", ]{0,3}", 0..4),
        rotation in 0_usize..4,
    ) {
        let with = |parameters: &std::collections::BTreeMap<String, String>, rotation: usize| {
            let mut program = chain();
            let mut list: Vec<_> = parameters.iter().collect();
            let turn = rotation % list.len().max(1);
            list.rotate_left(turn);
            program.nodes[4].parameters =
                list.iter().map(|(n, v)| ((*n).clone(), parameter(Value::String((*v).clone()), Class::Semantic))).collect();
            last_key(&program)
        };
        prop_assert_eq!(with(&a, 0), with(&a, rotation));
        prop_assert_eq!(a == b, with(&a, 0) == with(&b, 0));
    }
}

#[test]
fn equal_chains_are_one_and_unused_stages_none() {
    let mut program = chain();
    // The same two stages again under another name, from the same files bound a second time; then another learning rate.
    program.nodes.push(labelled("sentiment", "data/sst2"));
    program.nodes.push(stage("pretrain", "pretrain", &[("text", 0)]));
    program.nodes.push(stage("adapt", "adapt(domain)", &[("model", 6), ("domain", 0)]));
    program.nodes.push(stage("finetune", "finetune(sentiment)", &[("model", 7), ("target", 5)]));
    program.nodes.push(stage("finetune", "finetune(target)", &[("model", 7), ("target", 1)]));
    program.nodes[9].parameters["learning_rate"].value = Value::Float(5e-5);
    program.nodes.push(stage("adapt", "adapt(target)", &[("model", 7), ("domain", 1)]));
    pipeline(&mut program, "again", &[6, 7, 8]);
    pipeline(&mut program, "faster", &[6, 7, 9]);

    let plan = Plan::new(&program, "cpu");
    let labels: Vec<&str> = plan.stages.iter().map(|stage| stage.label.as_str()).collect();
    assert_eq!(labels, ["pretrain", "adapt(domain)", "finetune(target) in chain", "finetune(target) in faster"]);
    assert_eq!(plan.stages[2].nodes, [4, 8]);
    assert_eq!([2, 6].map(|node| plan.stage_of(node)), [Some(0), Some(0)]);
    assert_eq!([0, 1, 10].map(|node| plan.stage_of(node)), [None, None, None]);
    assert_eq!(plan.stages[3].inputs["model"], StageInput::Stage(1));
    assert_eq!(plan.stages[3].inputs["target"], StageInput::Source(1));
    assert_eq!((plan.graph.node_count(), plan.graph.edge_count()), (4, 3));
    assert!(petgraph::algo::toposort(&plan.graph, None).is_ok());
}
