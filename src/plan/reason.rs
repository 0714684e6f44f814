//! Why a stage must run, said in terms of the file: the first thing that is different from the closest earlier result.

use serde::Serialize;

use super::key::PreImage;
use super::{Plan, StageInput};
use crate::lang::ir::{Node, Parameter, Program};
use crate::lang::world::SourceFacts;
use crate::syntax::Source;

/// Why a stage must run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// No result of this method is in the store.
    Never,
    /// It was here, but not all of it is any more.
    Evicted { missing: String },
    /// It is here, but not as it was written.
    Corrupt { damaged: String },
    /// It differs from the closest earlier result.
    Changed(Change),
}

/// The first difference from the closest earlier result of the same method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Path of the leaf: `parameters.learning_rate`.
    pub leaf: String,
    /// A phrase: `learning_rate 2e-5 -> 5e-5`, `the train file of target changed`.
    pub what: String,
    pub old: Option<String>,
    pub new: Option<String>,
    /// `x.ftp:12:17`, where the file says so.
    pub place: Option<String>,
    /// For a file of the user that changed: as to be shown.
    pub file: Option<String>,
    /// How many more leaves differ.
    pub others: usize,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Never => f.write_str("never computed in this store"),
            Reason::Evicted { missing } => write!(f, "its result was evicted: {missing} is missing"),
            Reason::Corrupt { damaged } => write!(f, "its result was damaged: {damaged} is not as it was written"),
            Reason::Changed(change) => {
                f.write_str(&change.what)?;
                match change.file.as_ref().or(change.place.as_ref()) {
                    Some(place) => write!(f, " ({place})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The pre-image of an earlier result and when that was made, in seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub pre_image: PreImage,
    pub started: f64,
}

/// Why the stage with this pre-image, which has no result, must run, given all earlier results.
pub fn explain(
    plan: &Plan,
    program: &Program,
    source: &Source,
    stage: usize,
    pre_image: &PreImage,
    history: &[Past],
) -> Reason {
    let same_method = history.iter().filter(|past| past.pre_image.get("method") == pre_image.get("method"));
    let closest = same_method
        .map(|past| (past, pre_image.differences(&past.pre_image)))
        .filter(|(_, differences)| !differences.is_empty())
        .min_by(|(a, a_differences), (b, b_differences)| {
            a_differences.len().cmp(&b_differences.len()).then(b.started.total_cmp(&a.started))
        });
    let Some((past, differences)) = closest else { return Reason::Never };
    // `min_by_key` keeps the first of equals, so leaves of one rank stay in the pre-image's order.
    let Some(leaf) = differences.iter().min_by_key(|leaf| rank(leaf)) else { return Reason::Never };
    let view = View { plan, program, source, stage };
    let (old, new) = (past.pre_image.get(leaf), pre_image.get(leaf));
    Reason::Changed(view.change(leaf, old, new, differences.len() - 1))
}

/// All that makes a stage with this pre-image another one than an earlier one's, the most telling first.
pub fn changes(
    plan: &Plan,
    program: &Program,
    source: &Source,
    stage: usize,
    pre_image: &PreImage,
    past: &PreImage,
) -> Vec<Change> {
    let mut leaves = pre_image.differences(past);
    leaves.sort_by_key(|leaf| rank(leaf));
    let view = View { plan, program, source, stage };
    leaves.iter().map(|leaf| view.change(leaf, past.get(leaf), pre_image.get(leaf), 0)).collect()
}

/// Parameters are named before data, data before the model, and those before what the user did not write.
fn rank(leaf: &str) -> u8 {
    match leaf.split('.').next() {
        Some("parameters") => 0,
        Some("delta") => 1,
        Some("inputs") if !["inputs.model.", "inputs.models."].iter().any(|slot| leaf.starts_with(slot)) => 2,
        Some("inputs") => 3,
        _ => 4,
    }
}

struct View<'a> {
    plan: &'a Plan,
    program: &'a Program,
    source: &'a Source,
    stage: usize,
}

impl View<'_> {
    fn change(&self, leaf: &str, old: Option<&str>, new: Option<&str>, others: usize) -> Change {
        let node = self.plan.node(self.program, self.stage);
        let mut parts = leaf.splitn(3, '.');
        let (what, place, file) = match (parts.next(), parts.next(), parts.next()) {
            (Some("parameters"), Some(name), None) => {
                (written(name, old, new), self.parameter(node, node.parameters.get(name)), None)
            }
            (Some("delta"), Some(first), rest) => {
                // `delta.method` of one alone, `delta.1.method` in a stack.
                let number = first.parse::<usize>();
                let rest = if number.is_ok() { rest.unwrap_or_default() } else { &leaf["delta.".len()..] };
                let (what, place) = self.delta(node, number.unwrap_or(0), rest, old, new);
                (what, place, None)
            }
            (Some("inputs"), ..) => {
                let (slot, rest) = self.slot(&leaf["inputs.".len()..]);
                self.input(slot, rest, old, new)
            }
            (Some("version"), ..) => (arrow(&format!("the version of {}", node.method), old, new), None, None),
            (Some("numerics"), Some("device"), _) => (arrow("the kind of device", old, new), None, None),
            (Some("schema"), ..) => (arrow("the version of the keys", old, new), None, None),
            _ => (arrow(leaf, old, new), None, None),
        };
        let owned = |value: Option<&str>| value.map(str::to_owned);
        Change { leaf: leaf.to_owned(), what, old: owned(old), new: owned(new), place, file, others }
    }

    fn delta(
        &self,
        node: &Node,
        number: usize,
        leaf: &str,
        old: Option<&str>,
        new: Option<&str>,
    ) -> (String, Option<String>) {
        let delta = node.deltas.get(number);
        let method = delta.map_or("the delta", |delta| delta.method.as_str());
        match leaf.split_once('.') {
            Some(("parameters", name)) => {
                let parameter = delta.and_then(|delta| delta.parameters.get(name));
                (written(&format!("{name} of {method}"), old, new), self.parameter(node, parameter))
            }
            _ if leaf == "method" => (arrow("the delta method", old, new), self.parameter(node, None)),
            _ => (arrow(&format!("the version of {method}"), old, new), None),
        }
    }

    /// The slot and what is said of it: `model`, `output`; of one of several models `models.0`, `output`.
    fn slot<'l>(&self, leaf: &'l str) -> (&'l str, &'l str) {
        let ends = leaf.match_indices('.').map(|(at, _)| at);
        let mut parts = ends.map(|at| (&leaf[..at], &leaf[at + 1..]));
        let numbered = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_digit());
        let is_slot =
            |(slot, rest): &(&str, &str)| self.plan.stages[self.stage].inputs.contains_key(*slot) || !numbered(rest);
        parts.find(is_slot).unwrap_or((leaf, ""))
    }

    fn input(
        &self,
        slot: &str,
        rest: &str,
        old: Option<&str>,
        new: Option<&str>,
    ) -> (String, Option<String>, Option<String>) {
        let node = self.plan.node(self.program, self.stage);
        let shown =
            slot.split_once('.').map_or_else(|| format!("the {slot}"), |(list, _)| format!("one of the {list}"));
        match self.plan.stages[self.stage].inputs.get(slot) {
            Some(StageInput::Stage(before)) => {
                let label = &self.plan.stages[*before].label;
                let what = match old.filter(|_| rest == "output") {
                    Some(_) => format!("{shown} changed: {label} has another result than before"),
                    None => format!("{shown} is made by {label} now"),
                };
                (what, Some(self.source.place(node.span)), None)
            }
            Some(StageInput::Source(id)) => {
                let input = &self.program.nodes[*id];
                let place = Some(self.source.place(input.span));
                let label = &input.label;
                let mut parts = rest.splitn(3, '.');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some("parameters"), Some(name), _) => {
                        let place = self.parameter(input, input.parameters.get(name));
                        (arrow(&format!("{name} of {label}"), old, new), place, None)
                    }
                    (Some("labels"), ..) => (arrow(&format!("the labels of {label}"), old, new), place, None),
                    (Some("columns"), Some(role), _) => {
                        (arrow(&format!("the {role} column of {label}"), old, new), place, None)
                    }
                    (Some("files"), Some(index), Some(_)) => {
                        let (what, file) = file_change(label, input.source.as_ref(), index, old, new);
                        (what, place, file)
                    }
                    (Some("method"), ..) => (arrow(&format!("the kind of {label}"), old, new), place, None),
                    (Some("version"), ..) => {
                        (arrow(&format!("the version of {}", input.method), old, new), place, None)
                    }
                    _ => (format!("{shown} is {label} now"), place, None),
                }
            }
            None => (format!("{shown} is gone"), Some(self.source.place(node.span)), None),
        }
    }

    /// Where a parameter is written; a default has no place of its own, but its stage has.
    fn parameter(&self, node: &Node, parameter: Option<&Parameter>) -> Option<String> {
        let span = parameter.and_then(|parameter| parameter.span).unwrap_or(node.span);
        Some(self.source.place(span))
    }
}

fn file_change(
    label: &str,
    facts: Option<&SourceFacts>,
    index: &str,
    old: Option<&str>,
    new: Option<&str>,
) -> (String, Option<String>) {
    let file = index.parse::<usize>().ok().and_then(|index| facts?.files.get(index));
    let name = file.and_then(|file| file.split.as_ref()).map_or("a file".into(), |split| format!("the {split} file"));
    let verb = match (old, new) {
        (None, _) => "is new",
        (_, None) => "is gone",
        _ => "changed",
    };
    (format!("{name} of {label} {verb}"), file.map(|file| file.shown.clone()))
}

/// A parameter; one without a leaf was left out.
fn written(name: &str, old: Option<&str>, new: Option<&str>) -> String {
    arrow(name, old.or(Some("none")), new.or(Some("none")))
}

fn arrow(name: &str, old: Option<&str>, new: Option<&str>) -> String {
    match (old, new) {
        (Some(old), Some(new)) => format!("{name} {old} -> {new}"),
        (None, Some(new)) => format!("{name} is new: {new}"),
        (_, None) => format!("{name} is gone"),
    }
}
