//! A pipeline as a file of its own: everything that its keys are made of written out, and nothing else.
//!
//! Recipes, modules, `each`, `set`, choices and values of the command line are gone: what is written is the plan, a
//! statement or a link of a chain for each stage. A race is gone with those that it stopped. Planned beside the same data,
//! it has the keys of the pipeline it is of.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use indexmap::IndexMap;

use super::{Plan, StageInput};
use crate::lang;
use crate::lang::ir::{Node, NodeId, Parameter, Program};
use crate::lang::signature::{Default, Formal, ParameterType, Registry};
use crate::lang::value::Value;
use crate::syntax::{self, Source};

/// The slot of what stands left of an arrow.
const MODEL: &str = "model";

/// The parameter that says where a project's data lies, unless one of the file's own names is this.
const ROOT: &str = "root";

/// Where the files of a source lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path relative to the project's directory.
    Within(String),
    /// Somewhere else on the machine: a reader must say where they have it. The last part of the path.
    Outside(String),
    /// A model of the Hugging Face hub at a commit.
    Hub { name: String, commit: String },
}

/// What is asked for.
pub struct Request<'a> {
    pub program: &'a Program,
    pub plan: &'a Plan,
    pub registry: &'a Registry,
    /// Index into [`Program::pipelines`].
    pub pipeline: usize,
    /// Whether a race stopped a stage of the plan.
    pub stopped: &'a dyn Fn(usize) -> bool,
    /// Where a source's files lie.
    pub place: &'a dyn Fn(&Node) -> Place,
    /// From where the file will lie to the project's directory: `../..`.
    pub root: &'a str,
    /// Lines for the beginning of the file, for people.
    pub docs: &'a [String],
}

/// The text of the file, in the one style.
pub fn write(request: &Request) -> String {
    let Some(last) = request.plan.stage_of(request.program.pipelines[request.pipeline].output) else {
        // A pipeline without stages does not pass the checker.
        return String::new();
    };
    let mut writer = Writer::new(request, last);
    let text = writer.file(last);
    syntax::format(&Source::new("reproduce.ftp", text.as_str())).unwrap_or(text)
}

struct Writer<'a> {
    request: &'a Request<'a>,
    /// The stages of the pipeline, in the plan's order, with what fills their slots.
    stages: BTreeMap<usize, IndexMap<String, StageInput>>,
    taken: BTreeSet<String>,
    sources: IndexMap<NodeId, String>,
    /// Stages with a name: those that are used otherwise than by the one behind their arrow.
    named: BTreeMap<usize, String>,
}

impl<'a> Writer<'a> {
    fn new(request: &'a Request<'a>, last: usize) -> Self {
        let mut stages = BTreeMap::new();
        let mut open = vec![last];
        while let Some(stage) = open.pop() {
            if let Entry::Vacant(place) = stages.entry(stage) {
                let inputs = request.plan.inputs_left(stage, request.stopped);
                let inputs = place.insert(inputs.map_or_else(IndexMap::new, Cow::into_owned));
                open.extend(inputs.values().filter_map(|input| match input {
                    StageInput::Stage(before) => Some(*before),
                    StageInput::Source(_) => None,
                }));
            }
        }
        let mut writer =
            Self { request, stages, taken: BTreeSet::new(), sources: IndexMap::new(), named: BTreeMap::new() };
        writer.name_all(last);
        writer
    }

    fn name_all(&mut self, last: usize) {
        let (plan, program) = (self.request.plan, self.request.program);
        let pipeline = self.free(&program.pipelines[self.request.pipeline].name);
        self.named.insert(last, pipeline);
        let mut uses: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for inputs in self.stages.values() {
            for (slot, input) in inputs {
                match input {
                    StageInput::Source(node) if !self.sources.contains_key(node) => {
                        let name = free(&self.taken, self.request.registry, &program.nodes[*node].label);
                        self.taken.insert(name.clone());
                        self.sources.insert(*node, name);
                    }
                    StageInput::Source(_) => {}
                    StageInput::Stage(before) => uses.entry(*before).or_default().push(slot),
                }
            }
        }
        let several = uses.into_iter().filter(|(_, slots)| slots[..] != [MODEL]).map(|(stage, _)| stage);
        for stage in several.collect::<Vec<_>>() {
            let name = self.free(&format!("{}_{}", plan.node(program, stage).method, self.named.len()));
            self.named.insert(stage, name);
        }
    }

    /// A name that nothing else has, as near as can be to this one.
    fn free(&mut self, wanted: &str) -> String {
        let name = free(&self.taken, self.request.registry, wanted);
        self.taken.insert(name.clone());
        name
    }

    fn file(&mut self, last: usize) -> String {
        let mut text = String::new();
        for line in self.request.docs {
            writeln!(text, "{}", format!("## {}", one_line(line)).trim_end()).expect("a string takes what is written");
        }
        text.push('\n');
        text += &self.data();
        for stage in self.stages.keys().copied() {
            if stage != last && self.named.contains_key(&stage) {
                text += &format!("let {} = {}\n\n", self.named[&stage], self.chain(stage));
            }
        }
        text += &format!("pipeline {} = {}\n\n", self.named[&last], self.chain(last));
        text + &self.expectations()
    }

    /// The sources, each with what its files must hold.
    fn data(&mut self) -> String {
        let (mut params, mut text) = (String::new(), String::new());
        let sources: Vec<(NodeId, String)> = self.sources.iter().map(|(id, name)| (*id, name.clone())).collect();
        let places: Vec<Place> =
            sources.iter().map(|(id, _)| (self.request.place)(&self.request.program.nodes[*id])).collect();
        let root = self.free(ROOT);
        if places.iter().any(|place| matches!(place, Place::Within(_))) {
            let default = Value::String(self.request.root.to_owned());
            params += &format!(
                "## The directory that the paths below are relative to.\nparam {root}: string = {default}\n\n"
            );
        }
        for ((id, name), place) in sources.iter().zip(places) {
            let node = &self.request.program.nodes[*id];
            let mut pinned = None;
            let path = match place {
                Place::Hub { name, commit } => {
                    pinned = Some(format!("revision = {}", Value::String(commit)));
                    Value::String(name).to_string()
                }
                Place::Within(path) => {
                    let written = Value::String(path).to_string();
                    format!("\"${{{root}}}/{}", &written[1..])
                }
                Place::Outside(last) => {
                    let param = self.free(&format!("{name}_path"));
                    let default = Value::String(last);
                    params += &format!(
                        "## Where `{name}` lies: it was outside of the project.\nparam {param}: string = {default}\n\n"
                    );
                    param
                }
            };
            for file in node.source.iter().flat_map(|facts| &facts.files) {
                let shown = file.shown.rsplit(['/', '\\']).next().unwrap_or_default();
                let split = file.split.as_ref().map_or(String::new(), |split| format!(", {split}"));
                let rows = if file.rows > 0 { format!(", {} rows", file.rows) } else { String::new() };
                text += &format!("# {}{split}{rows}, {} bytes, blake3 {}\n", one_line(shown), file.bytes, file.digest);
            }
            let mut arguments = vec![path];
            if let Some(revision) = pinned {
                arguments.push(revision);
                let token =
                    node.parameters.get("token").map(|token| &token.value).filter(|token| **token != Value::None);
                arguments.extend(token.map(|token| format!("token = {token}")));
            }
            arguments.extend(self.values(&node.method, &node.parameters));
            text += &format!("let {name} = {}({})\n\n", node.method, arguments.join(", "));
        }
        params + &text
    }

    /// The chain that ends in a stage, from the nearest model with a name.
    fn chain(&self, stage: usize) -> String {
        let inputs = &self.stages[&stage];
        let models: Vec<&str> =
            inputs.iter().filter(|(slot, _)| slot.starts_with("models.")).map(|(_, input)| self.name(input)).collect();
        let before = match inputs.get(MODEL) {
            Some(StageInput::Stage(before)) if !self.named.contains_key(before) => self.chain(*before),
            Some(input) => self.name(input).to_owned(),
            None if models.is_empty() => return self.call(stage),
            None => format!("[{}]", models.join(", ")),
        };
        format!("{before} -> {}", self.call(stage))
    }

    fn name(&self, input: &StageInput) -> &str {
        match input {
            StageInput::Source(node) => &self.sources[node],
            StageInput::Stage(stage) => &self.named[stage],
        }
    }

    fn call(&self, stage: usize) -> String {
        let node = self.request.plan.node(self.request.program, stage);
        let mut arguments = vec![];
        match &node.deltas[..] {
            [] => {}
            [delta] => arguments.push(delta.method.clone()),
            stack => {
                let written = stack.iter().map(|delta| {
                    let values = self.values(&delta.method, &delta.parameters);
                    if values.is_empty() {
                        delta.method.clone()
                    } else {
                        format!("{}({})", delta.method, values.join(", "))
                    }
                });
                arguments.push(format!("stack({})", written.collect::<Vec<_>>().join(", ")));
            }
        }
        for (slot, input) in &self.stages[&stage] {
            if slot != MODEL && !slot.starts_with("models.") {
                arguments.push(format!("{slot} = {}", self.name(input)));
            }
        }
        arguments.extend(self.values(&node.method, &node.parameters));
        if let [delta] = &node.deltas[..] {
            arguments.extend(self.values(&delta.method, &delta.parameters));
        }
        if arguments.is_empty() { node.method.clone() } else { format!("{}({})", node.method, arguments.join(", ")) }
    }

    /// Parameters with another value than their default.
    fn values(&self, method: &str, parameters: &IndexMap<String, Parameter>) -> Vec<String> {
        let signature = self.request.registry.get(method);
        let formal = |name: &str| signature.and_then(|signature| signature.parameter(name));
        changed(parameters, &formal).map(|(name, value)| format!("{name} = {value}")).collect()
    }

    /// What was expected of this pipeline alone.
    fn expectations(&self) -> String {
        let program = self.request.program;
        let own = |one: &&lang::ir::Expectation| {
            one.minus.is_none() && one.measure.fold.is_none() && one.measure.pipelines == [self.request.pipeline]
        };
        let name = self.request.plan.stage_of(program.pipelines[self.request.pipeline].output);
        let Some(name) = name.and_then(|stage| self.named.get(&stage)) else { return String::new() };
        let lines = program.expectations.iter().filter(own).map(|one| {
            format!("expect {name}.{} {} {}\n", one.measure.metric, one.relation.symbol(), Value::Float(one.bound))
        });
        lines.collect()
    }
}

/// The parameters that decide a result and have another value than their default.
pub fn changed<'p>(
    parameters: &'p IndexMap<String, Parameter>,
    formal: &'p dyn Fn(&str) -> Option<&'p Formal<'static>>,
) -> impl Iterator<Item = (&'p str, &'p Value)> {
    parameters.iter().filter_map(move |(name, parameter)| {
        let formal = formal(name);
        let default = formal.is_some_and(|formal| formal.default == Default::Value(parameter.value.clone()));
        let path = name == "path" && formal.is_some_and(|formal| formal.ty == ParameterType::String);
        let decides = parameter.class != lang::signature::Class::Operational;
        (!default && !path && decides).then_some((name.as_str(), &parameter.value))
    })
}

fn free(taken: &BTreeSet<String>, registry: &Registry, wanted: &str) -> String {
    let mut name: String = wanted.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    name = name.trim_end_matches('_').to_owned();
    if !syntax::is_name(&name) {
        name.insert(0, '_');
    }
    let usable = |name: &str| !taken.contains(name) && registry.get(name).is_none() && !lang::is_reserved(name);
    if usable(&name) {
        return name;
    }
    let numbered = (2..).map(|number| format!("{name}_{number}")).find(|name| usable(name));
    numbered.unwrap_or(name)
}

/// A comment ends with its line, and control characters have no place in one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
