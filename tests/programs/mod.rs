//! Programs as the checker would hand them over, written down in Rust.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;

use ftp::lang::ir::{Node, NodeId, Parameter, Pipeline, Program};
use ftp::lang::signature::{Artifact, Class, Kind};
use ftp::lang::value::Value;
use ftp::lang::world::{SourceFacts, SourceFile, Task};
use ftp::plan::Plan;
use ftp::plan::spec::Outcome;
use ftp::store::{Acquired, Patience, Product, Store};
use ftp::syntax::{Source, Span};
use indexmap::IndexMap;

/// A text of 20 lines of 20 characters, for spans to point into.
pub fn source() -> Source {
    Source::new("x.ftp", "....................\n".repeat(20))
}

/// The span that begins at this line and column.
pub fn at(line: usize, column: usize) -> Span {
    let start = (line - 1) * 21 + column - 1;
    Span::new(start, start + 1)
}

pub fn parameter(value: Value, class: Class) -> Parameter {
    Parameter { value, class, span: None }
}

/// A digest like no other string's.
pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

pub fn program() -> Program {
    Program { docs: None, params: vec![], nodes: vec![], pipelines: vec![], expectations: vec![], publications: vec![] }
}

/// `labelled("<directory>/{train,dev}.jsonl")`, bound to `name`.
pub fn labelled(name: &str, directory: &str) -> Node {
    let file = |split: &str| SourceFile {
        split: Some(split.into()),
        path: PathBuf::from(format!("/somewhere/{directory}/{split}.jsonl")),
        shown: format!("{directory}/{split}.jsonl"),
        digest: digest(split),
        bytes: 100,
        rows: 10,
    };
    Node {
        kind: Kind::Source,
        method: "labelled".into(),
        version: 1,
        label: name.into(),
        parameters: IndexMap::from([
            ("path".into(), parameter(Value::String(format!("{directory}/{{train,dev}}.jsonl")), Class::Semantic)),
            ("bad_rows".into(), parameter(Value::Name("error".into()), Class::Semantic)),
        ]),
        inputs: IndexMap::new(),
        deltas: vec![],
        contest: None,
        output: Artifact::Labelled,
        source: Some(SourceFacts {
            files: vec![file("train"), file("dev")],
            task: Some(Task::Classification { labels: vec!["negative".into(), "positive".into()] }),
            columns: IndexMap::from([("text".into(), "sentence".into()), ("label".into(), "label".into())]),
            architecture: None,
            notices: vec![],
        }),
        span: at(2, 1),
    }
}

/// A stage with a semantic, a numeric and an operational parameter.
pub fn stage(method: &str, label: &str, inputs: &[(&str, NodeId)]) -> Node {
    Node {
        kind: Kind::Stage,
        method: method.into(),
        version: 1,
        label: label.into(),
        parameters: IndexMap::from([
            (
                "learning_rate".into(),
                Parameter { span: Some(at(12, 17)), ..parameter(Value::Float(2e-5), Class::Semantic) },
            ),
            ("epochs".into(), parameter(Value::Epochs(3.0), Class::Semantic)),
            ("micro_batch_size".into(), parameter(Value::Int(8), Class::Numeric)),
            ("time_limit".into(), parameter(Value::None, Class::Operational)),
        ]),
        inputs: inputs.iter().map(|(slot, id)| ((*slot).to_owned(), *id)).collect(),
        deltas: vec![],
        contest: None,
        output: Artifact::Model,
        source: None,
        span: at(10, 5),
    }
}

pub fn pipeline(program: &mut Program, name: &str, stages: &[NodeId]) {
    let output = *stages.last().expect("a pipeline has stages");
    program.pipelines.push(Pipeline {
        name: name.into(),
        declared: name.into(),
        docs: None,
        output,
        stages: stages.to_vec(),
        span: at(10, 1),
    });
}

/// `pipeline chain = pretrain -> adapt(domain) -> finetune(target)`, nodes 2, 3 and 4.
pub fn chain() -> Program {
    let mut program = program();
    program.nodes.push(labelled("domain", "data/domain"));
    program.nodes.push(labelled("target", "data/sst2"));
    if let Some(facts) = &mut program.nodes[0].source {
        facts.files[0].digest = digest("domain");
    }
    program.nodes.push(stage("pretrain", "pretrain", &[("text", 0)]));
    program.nodes.push(stage("adapt", "adapt(domain)", &[("model", 2), ("domain", 0)]));
    program.nodes.push(stage("finetune", "finetune(target)", &[("model", 3), ("target", 1)]));
    pipeline(&mut program, "chain", &[2, 3, 4]);
    program
}

/// Puts a result of every stage of a plan into a store, as if all had run.
pub fn fill(program: &Program, plan: &Plan, store: &Store) {
    let mut outputs: Vec<String> = vec![];
    for stage in 0..plan.stages.len() {
        let keyed = plan.key(program, stage, &|before| outputs[before].clone());
        let Acquired::Ours(lease) = store.acquire(&keyed.key, &mut Patience::default()).expect("asked") else {
            panic!("nobody else computes this");
        };
        let attempt = store.attempt().expect("a directory");
        let files = ["config.json", "tokenizer.json", "model.safetensors"].map(String::from).to_vec();
        for name in &files {
            // Only the weights differ from stage to stage.
            let content = if name == "model.safetensors" { format!("weights {stage}") } else { name.clone() };
            fs::write(attempt.files().join(name), content).expect("written");
        }
        let node = plan.node(program, stage);
        let product = Product {
            key: keyed.key,
            method: node.method.clone(),
            version: node.version,
            label: plan.stages[stage].label.clone(),
            pre_image: keyed.pre_image,
            artifact: Artifact::Model,
            outcome: Outcome { files, base: None, summary: serde_json::json!({ "stage": stage }), notices: vec![] },
            started: stage as f64,
            seconds: 1.0,
        };
        outputs.push(store.commit(product, &attempt.files(), lease.nonce()).expect("committed").manifest.output);
    }
}
