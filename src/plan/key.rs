//! The key of a stage's result: BLAKE3 over everything that could change it, and nothing else.
//!
//! A key is made of *leaves*, each a dotted path and a typed value: `parameters.learning_rate` = the float 2e-5. Paths of
//! files, labels, names, spans, users and hosts are never among them, so a renamed or moved project keeps its results.
//! The encoding is canonical (leaves sorted by path, floats by their bits) and unambiguous (every field has a type tag
//! and its length before it).

use std::borrow::Cow;
use std::ops::Range;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::StageInput;
use crate::lang::ir::{Node, Parameter, Program};
use crate::lang::signature::Class;
use crate::lang::value::Value;
use crate::lang::world::{Digest, SourceFacts, Task};

/// Version of what is hashed and how. Raised whenever equal stages would get other keys than before.
pub const SCHEMA: i64 = 2;

const DOMAIN: &[u8] = b"ftp stage key";

/// The leaves of a key as a person reads them: dotted path -> value as written in the language. Stored beside the
/// result, so that a later run can say what is different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PreImage {
    pub leaves: IndexMap<String, String>,
}

impl PreImage {
    pub fn get(&self, path: &str) -> Option<&str> {
        self.leaves.get(path).map(String::as_str)
    }

    /// The output digests of the results that this one is made from.
    pub fn inputs(&self) -> impl Iterator<Item = &Digest> {
        let leaves = self.leaves.iter().filter(|(path, _)| path.starts_with("inputs.") && path.ends_with(".output"));
        leaves.map(|(_, output)| output)
    }

    /// The paths that differ from another pre-image's, this one's first, in its order.
    pub fn differences<'a>(&'a self, other: &'a PreImage) -> Vec<&'a str> {
        let changed = self.leaves.iter().filter(|(path, value)| other.leaves.get(*path) != Some(value));
        let gone = other.leaves.iter().filter(|(path, _)| !self.leaves.contains_key(*path));
        changed.chain(gone).map(|(path, _)| path.as_str()).collect()
    }
}

/// A key and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    pub key: Digest,
    pub pre_image: PreImage,
}

/// The key of a node of kind [`Stage`](crate::lang::signature::Kind::Stage) with these inputs on this device, given the
/// output digests of the stages among its inputs, and what it is made of.
pub fn of(
    program: &Program,
    node: &Node,
    inputs: &IndexMap<String, StageInput>,
    device: &str,
    output_of: &dyn Fn(usize) -> Digest,
) -> Keyed {
    let leaves = leaves(program, node, inputs, device, output_of);
    Keyed { key: leaves.key(), pre_image: leaves.pre_image() }
}

/// The key alone.
pub fn alone(
    program: &Program,
    node: &Node,
    inputs: &IndexMap<String, StageInput>,
    device: &str,
    output_of: &dyn Fn(usize) -> Digest,
) -> Digest {
    leaves(program, node, inputs, device, output_of).key()
}

fn leaves<'a>(
    program: &'a Program,
    node: &'a Node,
    inputs: &IndexMap<String, StageInput>,
    device: &str,
    output_of: &dyn Fn(usize) -> Digest,
) -> Leaves<'a> {
    let mut leaves = Leaves::default();
    leaves.push("", "method", Value::Name(node.method.clone()));
    leaves.parameters("parameters", &node.parameters);
    for (number, delta) in node.deltas.iter().enumerate() {
        // One alone has no number: its keys are older than stacks.
        let at = if node.deltas.len() == 1 { "delta".to_owned() } else { format!("delta.{number}") };
        leaves.push(&at, "method", Value::Name(delta.method.clone()));
        leaves.push(&at, "version", Value::Int(i64::from(delta.version)));
        leaves.parameters(&format!("{at}.parameters"), &delta.parameters);
    }
    for (slot, input) in inputs {
        let at = format!("inputs.{slot}");
        match input {
            StageInput::Stage(stage) => leaves.push(&at, "output", Value::Name(output_of(*stage))),
            StageInput::Source(id) => leaves.source(&at, &program.nodes[*id]),
        }
    }
    leaves.push("", "version", Value::Int(i64::from(node.version)));
    let kind = device.split(':').next().unwrap_or(device);
    leaves.push("numerics", "device", Value::Name(kind.to_owned()));
    leaves.push("numerics", "dtype", Value::Name("f32".into()));
    leaves.push("numerics", "deterministic", Value::Bool(kind == "cpu"));
    leaves.push("", "schema", Value::Int(SCHEMA));
    leaves
}

/// What changes a result. A parameter that is left out has no leaf, so that a method may get another one, and what was
/// computed before stays.
fn counts(parameter: &Parameter) -> bool {
    parameter.class != Class::Operational && !matches!(parameter.value, Value::None | Value::Secret(_))
}

/// Leaves in the order to show them. A plan has a hundred for each stage: their paths lie in one string, and values stay
/// where they are.
#[derive(Default)]
struct Leaves<'a> {
    paths: String,
    leaves: Vec<(Range<usize>, Cow<'a, Value>)>,
}

impl<'a> Leaves<'a> {
    fn push(&mut self, at: &str, name: &str, value: Value) {
        self.add(at, name, Cow::Owned(value));
    }

    fn add(&mut self, at: &str, name: &str, value: Cow<'a, Value>) {
        let start = self.paths.len();
        self.paths.push_str(at);
        if !at.is_empty() {
            self.paths.push('.');
        }
        self.paths.push_str(name);
        self.leaves.push((start..self.paths.len(), value));
    }

    fn parameters(&mut self, at: &str, parameters: &'a IndexMap<String, Parameter>) {
        for (name, parameter) in parameters.iter().filter(|(_, parameter)| counts(parameter)) {
            self.add(at, name, Cow::Borrowed(&parameter.value));
        }
    }

    fn source(&mut self, at: &str, node: &'a Node) {
        self.push(at, "method", Value::Name(node.method.clone()));
        self.push(at, "version", Value::Int(i64::from(node.version)));
        for (name, parameter) in node.parameters.iter().filter(|(_, parameter)| counts(parameter)) {
            // Where the files lie does not matter; what is in them does.
            if name != "path" {
                self.add(at, &format!("parameters.{name}"), Cow::Borrowed(&parameter.value));
            }
        }
        if let Some(facts) = &node.source {
            self.facts(at, facts);
        }
    }

    fn facts(&mut self, at: &str, facts: &SourceFacts) {
        match &facts.task {
            Some(Task::Classification { labels }) => {
                let labels = labels.iter().cloned().map(Value::String).collect();
                self.push(at, "labels", Value::List(labels));
            }
            Some(Task::Regression) => self.push(at, "labels", Value::Name("scores".into())),
            None => {}
        }
        for (role, column) in &facts.columns {
            self.push(at, &format!("columns.{role}"), Value::String(column.clone()));
        }
        for (index, file) in facts.files.iter().enumerate() {
            let split = file.split.clone().map_or(Value::None, Value::Name);
            self.push(at, &format!("files.{index}.split"), split);
            self.push(at, &format!("files.{index}.digest"), Value::Name(file.digest.clone()));
        }
    }

    fn pre_image(&self) -> PreImage {
        let leaf =
            |(path, value): &(Range<usize>, Cow<Value>)| (self.paths[path.clone()].to_owned(), value.to_string());
        PreImage { leaves: self.leaves.iter().map(leaf).collect() }
    }

    fn key(&self) -> Digest {
        let path = |leaf: &(Range<usize>, Cow<Value>)| &self.paths.as_bytes()[leaf.0.clone()];
        let mut sorted: Vec<&(Range<usize>, Cow<Value>)> = self.leaves.iter().collect();
        sorted.sort_by(|one, other| path(one).cmp(path(other)));
        let mut bytes = Vec::with_capacity(64 * sorted.len());
        encode_bytes(&mut bytes, b'k', DOMAIN);
        encode_bytes(&mut bytes, b'n', &(sorted.len() as u64).to_le_bytes());
        for leaf in sorted {
            encode_bytes(&mut bytes, b'p', path(leaf));
            encode(&mut bytes, &leaf.1);
        }
        blake3::hash(&bytes).to_hex().to_string()
    }
}

/// Type tag, length of the payload in bytes (8 bytes, little-endian), payload.
fn encode_bytes(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(payload);
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        // No parameter with a secret counts.
        Value::None | Value::Secret(_) => encode_bytes(out, b'0', &[]),
        Value::Bool(value) => encode_bytes(out, b'b', &[u8::from(*value)]),
        Value::Int(value) => encode_bytes(out, b'i', &value.to_le_bytes()),
        Value::Float(value) => encode_bytes(out, b'f', &bits(*value)),
        Value::String(value) => encode_bytes(out, b's', value.as_bytes()),
        Value::Name(value) => encode_bytes(out, b'm', value.as_bytes()),
        Value::Epochs(value) => encode_bytes(out, b'e', &bits(*value)),
        Value::Steps(value) => encode_bytes(out, b't', &value.to_le_bytes()),
        Value::Seconds(value) => encode_bytes(out, b'd', &bits(*value)),
        Value::Bytes(value) => encode_bytes(out, b'z', &value.to_le_bytes()),
        Value::List(values) => {
            let mut inner = Vec::new();
            for value in values {
                encode(&mut inner, value);
            }
            encode_bytes(out, b'l', &inner);
        }
    }
}

/// A float's bits; both zeros are one number.
fn bits(value: f64) -> [u8; 8] {
    (if value == 0.0 { 0.0 } else { value }).to_bits().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, value);
        bytes
    }

    fn strings(values: &[&str]) -> Value {
        Value::List(values.iter().map(|value| Value::String((*value).into())).collect())
    }

    #[test]
    fn moving_a_character_from_one_string_to_the_next_changes_the_encoding() {
        assert_ne!(encoded(&strings(&["ab", "c"])), encoded(&strings(&["a", "bc"])));
        assert_ne!(encoded(&strings(&["abc"])), encoded(&strings(&["abc", ""])));
        assert_ne!(encoded(&strings(&["a", "s"])), encoded(&strings(&["as"])));
    }

    #[test]
    fn equal_numbers_of_different_types_are_different() {
        let ones = [
            Value::Bool(true),
            Value::Int(1),
            Value::Float(1.0),
            Value::Epochs(1.0),
            Value::Steps(1),
            Value::Seconds(1.0),
            Value::String("1".into()),
            Value::Name("1".into()),
            Value::None,
        ];
        for (index, one) in ones.iter().enumerate() {
            for other in &ones[index + 1..] {
                assert_ne!(encoded(one), encoded(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_next_representable_float_is_another_value() {
        let next = f64::from_bits(2e-5_f64.to_bits() + 1);
        assert_ne!(encoded(&Value::Float(2e-5)), encoded(&Value::Float(next)));
        assert_eq!(encoded(&Value::Float(0.0)), encoded(&Value::Float(-0.0)));
    }
}
