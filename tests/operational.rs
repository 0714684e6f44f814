//! Operational settings say how a stage is run, not what it computes: none of them, of any method, enters a key.

use ftp::lang;
use ftp::lang::ir::Program;
use ftp::lang::signature::{Class, ParameterType};
use ftp::methods;
use ftp::plan::Plan;
use ftp::syntax::Source;

mod support;

/// Every stage that can be set something operational.
const PROGRAM: &str = r#"
let base    = hf("models/minilm")
let general = text("data/general/*.txt")
let domain  = text("data/tickets/*.txt")
let mnli    = pairs("data/mnli/{train,dev}.jsonl")
let target  = labelled("data/sst2/{train,dev}.jsonl")

pipeline whole  = pretrain(general) -> adapt(domain) -> finetune(target)
pipeline staged = base -> adapt(domain) -> intermediate(task = mnli) -> peft(bitfit) -> finetune(target)
"#;

fn program(setting: &str) -> Program {
    let source = Source::new("main.ftp", format!("{PROGRAM}\n{setting}\n"));
    match lang::check(&source, methods::registry(), &support::Table, &[]) {
        Ok(checked) => checked.program,
        Err(diagnostics) => panic!("{setting}: {:?}", diagnostics.all),
    }
}

/// The key of every stage, were each stage's output named after its place.
fn keys(program: &Program) -> Vec<String> {
    let plan = Plan::new(program, "cpu");
    (0..plan.stages.len()).map(|stage| plan.key(program, stage, &|before| format!("{before:064x}")).key).collect()
}

/// Two values of a type, neither of them a likely default.
fn values(ty: &ParameterType) -> [String; 2] {
    match ty {
        ParameterType::Bool => ["true".into(), "false".into()],
        ParameterType::Int { min, max } => [(min + 1).min(*max).to_string(), (min + 2).min(*max).to_string()],
        ParameterType::Epochs => ["7 epochs".into(), "9 epochs".into()],
        ParameterType::Steps | ParameterType::StepsOrRatio => ["7 steps".into(), "9 steps".into()],
        ParameterType::Duration => ["7 min".into(), "9 h".into()],
        ParameterType::Size => ["7 MB".into(), "9 GB".into()],
        ParameterType::String => ["\"seven\"".into(), "\"nine\"".into()],
        ParameterType::Secret => ["secret(\"ONE\")".into(), "secret(\"ANOTHER\")".into()],
        ParameterType::Choice(names) => [names[0].into(), names[names.len() - 1].into()],
        other => panic!("give this test two values of {other:?}"),
    }
}

#[test]
fn no_operational_setting_of_any_method_changes_a_key() {
    let original = keys(&program(""));
    let mut settings = 0;
    for signature in methods::registry().iter() {
        for parameter in signature.parameters.iter().filter(|parameter| parameter.class == Class::Operational) {
            let (method, name) = (signature.name, parameter.name);
            let [one, other] = values(&parameter.ty).map(|value| program(&format!("set {method}({name} = {value})")));
            // What was set did arrive, or this test would show nothing.
            let arrived = |program: &Program| {
                let node = program.nodes.iter().find(|node| node.method == method);
                node.unwrap_or_else(|| panic!("use {method} in the program of this test")).parameters[name]
                    .value
                    .clone()
            };
            assert_ne!(arrived(&one), arrived(&other), "{method}({name})");
            assert_eq!(keys(&one), original, "{method}({name})");
            assert_eq!(keys(&other), original, "{method}({name})");
            settings += 1;
        }
    }
    println!("{settings} operational settings change 0 keys");
    assert!(settings > 0, "no method has an operational parameter any more");
}

#[test]
fn a_setting_that_is_not_operational_changes_the_keys_of_its_stages_only() {
    let (original, reseeded) = (program(""), program("set intermediate(seed = 7)"));
    let plan = Plan::new(&original, "cpu");
    let changed = keys(&original).iter().zip(keys(&reseeded)).map(|(one, other)| *one != other).collect::<Vec<_>>();
    let expected = (0..plan.stages.len()).map(|stage| plan.node(&original, stage).method == "intermediate");
    assert_eq!(changed, expected.collect::<Vec<_>>());
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 1);
}
