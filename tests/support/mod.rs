//! A registry with the real methods' names and a world that is a table: tests of the language need no files.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use ftp::lang::signature::{
    Artifact, Class, Default, Kind, Library, Parameter, ParameterType as T, Registry, SavedAs, Signature,
};
use ftp::lang::value::Value;
use ftp::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceFile, SourceRequest, Task, World};
use ftp::syntax::Source;
use indexmap::IndexMap;

pub fn source(text: &str) -> Source {
    Source::new("test.ftp", text)
}

pub fn registry() -> Registry {
    Registry::new([
        data("text", Artifact::Text, vec![column("column")]),
        data("labelled", Artifact::Labelled, vec![column("text"), column("label"), labels()]),
        data("pairs", Artifact::Labelled, vec![column("text"), column("text_pair"), column("label"), labels()]),
        data("hf", Artifact::Model, vec![]),
        data("delta", Artifact::Delta, vec![]),
        stage("pretrain", &[], false, pretraining()),
        stage("adapt", MODELS, false, training(input("domain", Artifact::Text))),
        stage("intermediate", MODELS, true, training(input("task", Artifact::Labelled))),
        Signature { output: Artifact::Parametrised, ..stage("peft", &[Artifact::Model], false, vec![delta()]) },
        stage("finetune", MODELS, true, finetuning()),
        stage("evaluate", &[Artifact::Model, Artifact::Loaded], true, vec![evaluated()]),
        list("race", Artifact::Models, racing()),
        list("select", Artifact::Model, vec![]),
        list("average", Artifact::Model, vec![evaluated()]),
        list("ensemble", Artifact::Ensemble, vec![evaluated()]),
        method("bitfit", Kind::Delta, Artifact::Parametrised, vec![]),
        saved(
            "lora",
            |_| Ok(Library::Peft),
            vec![
                Parameter::optional("rank", T::Int { min: 1, max: 1024 }, Value::Int(8), "Rank of the update."),
                Parameter::optional(
                    "alpha",
                    T::Float { min: 0.0, max: 1e6, above: true },
                    Value::Float(16.0),
                    "Scale.",
                ),
            ],
        ),
        saved(
            "adapter",
            of_adapter,
            vec![
                Parameter::optional(
                    "activation",
                    T::Choice(&["relu", "gelu"]),
                    Value::Name("relu".into()),
                    "Between the maps.",
                ),
                Parameter::optional("layer_norms", T::Bool, Value::Bool(false), "Whether norms train."),
            ],
        ),
        saved(
            "invertible",
            |_| Ok(Library::Adapters),
            vec![Parameter::optional(
                "activation",
                T::Choice(&["relu", "gelu"]),
                Value::Name("relu".into()),
                "Between the maps.",
            )],
        ),
    ])
}

const MODELS: &[Artifact] = &[Artifact::Model, Artifact::Parametrised, Artifact::Loaded];

fn method(name: &'static str, kind: Kind, output: Artifact, parameters: Vec<Parameter>) -> Signature {
    let input: &[Artifact] = if kind == Kind::Delta { &[Artifact::Parametrised] } else { &[] };
    Signature {
        name,
        kind,
        version: 1,
        summary: "",
        docs: "",
        input,
        output,
        parameters,
        reports: false,
        saved_as: None,
    }
}

fn of_adapter(value: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    match value("layer_norms") {
        Value::Bool(true) => Err(["norms have no place there", "leave the norms as they are"]),
        _ => Ok(Library::Adapters),
    }
}

fn saved(name: &'static str, saved_as: SavedAs, parameters: Vec<Parameter>) -> Signature {
    Signature { saved_as: Some(saved_as), ..method(name, Kind::Delta, Artifact::Parametrised, parameters) }
}

fn stage(name: &'static str, input: &'static [Artifact], reports: bool, parameters: Vec<Parameter>) -> Signature {
    Signature { input, reports, ..method(name, Kind::Stage, Artifact::Model, parameters) }
}

fn list(name: &'static str, output: Artifact, mut parameters: Vec<Parameter>) -> Signature {
    if name == "select" {
        let metrics = T::Choice(&["accuracy", "macro_f1", "pearson", "loss"]);
        parameters.push(Parameter::optional("best", metrics, Value::None, "What to choose by."));
    }
    Signature { output, ..stage(name, &[Artifact::Models], true, parameters) }
}

fn evaluated() -> Parameter {
    let set = T::Artifact(Artifact::Labelled);
    Parameter::optional("target", set, Value::None, "The set to report on.").positional()
}

fn data(name: &'static str, output: Artifact, mut others: Vec<Parameter>) -> Signature {
    others.insert(0, Parameter::required("path", T::String, "Where the files are.").positional());
    method(name, Kind::Source, output, others)
}

fn column(name: &'static str) -> Parameter {
    Parameter::optional(name, T::String, Value::None, "A column.")
}

fn labels() -> Parameter {
    Parameter::optional("labels", T::Strings, Value::None, "The label names in order.")
}

fn input(name: &'static str, artifact: Artifact) -> Parameter {
    Parameter::required(name, T::Artifact(artifact), "The data.").positional()
}

fn delta() -> Parameter {
    Parameter::new("method", T::Delta, Default::Required, "The delta method.").positional()
}

fn pretraining() -> Vec<Parameter> {
    let mut parameters = training(input("corpus", Artifact::Text));
    parameters.push(Parameter::optional("hidden_size", T::Int { min: 1, max: 65_536 }, Value::Int(256), "Width."));
    parameters.push(Parameter::optional("mask_probability", T::Ratio, Value::Float(0.15), "Share to mask."));
    parameters
}

fn finetuning() -> Vec<Parameter> {
    let mut parameters = training(input("target", Artifact::Labelled));
    parameters.push(Parameter::optional("until", T::Ratio, Value::None, "Where to end."));
    parameters
}

fn racing() -> Vec<Parameter> {
    let metrics = T::Choice(&["accuracy", "macro_f1", "pearson", "loss"]);
    vec![
        Parameter::required("keep", T::Int { min: 1, max: 10_000 }, "How many go on."),
        Parameter::optional("at", T::Ratio, Value::Float(0.25), "When they are compared."),
        Parameter::optional("best", metrics, Value::None, "What to compare by."),
    ]
}

fn training(first: Parameter) -> Vec<Parameter> {
    let learning_rate = T::Float { min: 0.0, max: 1.0, above: true };
    vec![
        first,
        Parameter::optional("epochs", T::Epochs, Value::Epochs(3.0), "Passes over the rows."),
        Parameter::optional("steps", T::Steps, Value::None, "Optimizer steps, instead of epochs."),
        Parameter::optional("batch_size", T::Int { min: 1, max: 1_000_000_000 }, Value::Int(32), "Rows in a step."),
        Parameter::optional("learning_rate", learning_rate, Value::Float(2e-5), "The highest rate."),
        Parameter::optional("warmup", T::StepsOrRatio, Value::Float(0.1), "Steps or share of them."),
        Parameter::optional(
            "schedule",
            T::Choice(&["linear", "cosine", "constant"]),
            Value::Name("linear".into()),
            "How the rate falls.",
        ),
        Parameter::optional("bias_correction", T::Bool, Value::Bool(true), "AdamW's correction."),
        Parameter::optional("seed", T::Int { min: 0, max: i64::MAX }, Value::Int(42), "Seed."),
        Parameter::optional("time_limit", T::Duration, Value::None, "Stops after this time.").class(Class::Operational),
    ]
}

/// Everything is there, but for paths that say otherwise.
pub struct Table;

impl World for Table {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        let Some(Value::String(path)) = request.parameters.get("path") else {
            panic!("a source was asked about without its path: {request:?}");
        };
        if path.contains("missing") {
            return Err(vec![SourceError {
                code: "ftp::data::missing_file",
                message: format!("there is no file {path}"),
                label: "no such file".into(),
                help: Some("correct the path; it is relative to the `.ftp` file".into()),
                parameter: Some("path"),
            }]);
        }
        if let Some(Value::String(label)) = request.parameters.get("label")
            && label == "klass"
        {
            return Err(vec![
                SourceError {
                    code: "ftp::data::no_column",
                    message: format!("{path} has no column `klass`; it has `sentence` and `class`"),
                    label: "no such column".into(),
                    help: Some("write `label = \"class\"`".into()),
                    parameter: Some("label"),
                },
                SourceError {
                    code: "ftp::data::empty_text",
                    message: format!("{path}:7 has an empty text"),
                    label: "declared here".into(),
                    help: Some("skip such rows with `bad_rows = skip`".into()),
                    parameter: None,
                },
            ]);
        }
        let task = match request.method.as_str() {
            "labelled" | "pairs" if path.contains("score") => Some(Task::Regression),
            "labelled" | "pairs" => Some(Task::Classification { labels: vec!["no".into(), "yes".into()] }),
            _ => None,
        };
        let split = task.as_ref().map(|_| "train".to_owned());
        let file = SourceFile {
            split,
            path: PathBuf::from(path),
            shown: path.clone(),
            digest: "0".repeat(64),
            bytes: 1,
            rows: 1,
        };
        Ok(SourceFacts {
            files: vec![file],
            task,
            columns: IndexMap::new(),
            architecture: match request.method.as_str() {
                "hf" => Some("bert".into()),
                "delta" => Some("peft".into()),
                _ => None,
            },
            notices: vec![],
        })
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        let ModuleRequest::File { directory, path } = request else {
            return Err(SourceError {
                code: "ftp::module::not_locked",
                message: "nothing is locked here".into(),
                label: "not recorded".into(),
                help: Some("run `ftp lock` on this file".into()),
                parameter: None,
            });
        };
        let key = if directory.is_empty() { path.clone() } else { format!("{directory}/{path}") };
        let directory = key.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        match MODULES.iter().find(|(name, _)| *name == key) {
            Some((_, text)) => Ok(ModuleText { name: key.clone(), key, text: (*text).into(), directory }),
            None => Err(SourceError {
                code: "ftp::module::not_found",
                message: format!("there is no file {key}"),
                label: "no such module".into(),
                help: Some("write the path of a `.ftp` file, relative to this one".into()),
                parameter: None,
            }),
        }
    }
}

/// The modules there are.
const MODULES: &[(&str, &str)] = &[
    (
        "team/recipes.ftp",
        "## Learn it.
recipe tuned(base: model, target: labelled, rate: float = 5e-5, seed: int in 0..100 = 42) =
  base -> finetune(target, learning_rate = rate, seed = seed)

use \"more.ftp\"

let mnli = pairs(\"mnli.jsonl\")

recipe two_steps(base: model, target: labelled) = base -> more.first(mnli) -> tuned(target)
",
    ),
    ("team/more.ftp", "recipe first(base: model, middle: labelled) = base -> intermediate(middle)\n"),
    ("team/broken.ftp", "recipe odd(base: model) = base -> finetun(base)\n"),
];

/// A program without its places, to compare and to read.
pub fn outline(program: &ftp::lang::ir::Program) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "docs: {:?}", program.docs).unwrap();
    for param in &program.params {
        let set = if param.overridden { " (set)" } else { "" };
        writeln!(out, "param {}: {} = {}{set}  {:?}", param.name, param.ty, param.value, param.docs).unwrap();
    }
    for (id, node) in program.nodes.iter().enumerate() {
        let inputs: Vec<String> = node.inputs.iter().map(|(slot, node)| format!("{slot}=#{node}")).collect();
        writeln!(out, "#{id} {} -> {:?} [{}]", node.label, node.output, inputs.join(" ")).unwrap();
        for (name, parameter) in &node.parameters {
            writeln!(out, "    {name} = {}", parameter.value).unwrap();
        }
        for delta in &node.deltas {
            writeln!(out, "    delta {}", delta.method).unwrap();
            for (name, parameter) in &delta.parameters {
                writeln!(out, "        {name} = {}", parameter.value).unwrap();
            }
        }
    }
    for pipeline in &program.pipelines {
        writeln!(
            out,
            "pipeline {} = #{} through {:?}  {:?}",
            pipeline.name, pipeline.output, pipeline.stages, pipeline.docs
        )
        .unwrap();
    }
    for expectation in &program.expectations {
        let (pipeline, relation) = (expectation.measure.pipelines[0], expectation.relation.symbol());
        writeln!(out, "expect {pipeline}.{} {relation} {}", expectation.measure.metric, expectation.bound).unwrap();
    }
    for publication in &program.publications {
        writeln!(out, "publish {} to {:?}", publication.pipeline, publication.directory).unwrap();
    }
    text
}
