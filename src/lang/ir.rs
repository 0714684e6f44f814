//! The typed program: names resolved, defaults filled in, everything checked. What it says can run.

use indexmap::IndexMap;

use super::signature::{Artifact, Class, Kind};
use super::value::Value;
use super::world::SourceFacts;
use crate::syntax::Span;

/// Index into [`Program::nodes`].
pub type NodeId = usize;

/// A checked `.ftp` file. Nodes are in dependency order: a node's inputs come before it. Two equal nodes may both be
/// here; the plan makes them one.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file's doc comment.
    pub docs: Option<String>,
    /// Declared `param`s with the value they have in this run.
    pub params: Vec<ParamDeclaration>,
    pub nodes: Vec<Node>,
    pub pipelines: Vec<Pipeline>,
    pub expectations: Vec<Expectation>,
    pub publications: Vec<Publication>,
}

/// `param seeds: int = 5`.
#[derive(Debug, Clone)]
pub struct ParamDeclaration {
    pub name: String,
    pub docs: Option<String>,
    pub ty: String,
    pub value: Value,
    /// Set on the command line rather than by its default.
    pub overridden: bool,
}

/// A source or a stage.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    /// Name in the registry, e.g. `finetune`.
    pub method: String,
    /// The method's semantic version.
    pub version: u32,
    /// As the reader knows it: `finetune(target)`, `pretrain`, `peft(bitfit)`; for a source the name it was bound to.
    pub label: String,
    /// Every parameter of the signature that is not an artifact, defaults filled in, in the signature's order.
    pub parameters: IndexMap<String, Parameter>,
    /// Inputs by slot: `model` for what stands left of the arrow, otherwise the parameter's name (`domain`, `target`).
    pub inputs: IndexMap<String, NodeId>,
    /// For `peft`: the delta method it names.
    pub delta: Option<Delta>,
    pub output: Artifact,
    /// For a source: what was found.
    pub source: Option<SourceFacts>,
    pub span: Span,
}

/// A resolved parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub value: Value,
    pub class: Class,
    /// Where the file says so; `None` for a default.
    pub span: Option<Span>,
}

/// The delta method of a `peft(..)` stage, e.g. `bitfit`.
#[derive(Debug, Clone)]
pub struct Delta {
    pub method: String,
    pub version: u32,
    pub parameters: IndexMap<String, Parameter>,
}

/// `pipeline chain = ...`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub docs: Option<String>,
    pub output: NodeId,
    /// The stages of the chain, first to last, for reports.
    pub stages: Vec<NodeId>,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl Relation {
    pub fn symbol(self) -> &'static str {
        match self {
            Relation::AtLeast => ">=",
            Relation::AtMost => "<=",
            Relation::Above => ">",
            Relation::Below => "<",
        }
    }

    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Relation::AtLeast => value >= bound,
            Relation::AtMost => value <= bound,
            Relation::Above => value > bound,
            Relation::Below => value < bound,
        }
    }
}

/// `expect chain.accuracy >= 0.8`: on the test split where there is one, else dev.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// Index into [`Program::pipelines`].
    pub pipeline: usize,
    pub metric: String,
    pub relation: Relation,
    pub bound: f64,
    pub span: Span,
}

/// `publish chain to "out/chain"`: relative to the `.ftp` file's directory.
#[derive(Debug, Clone)]
pub struct Publication {
    pub pipeline: usize,
    pub directory: String,
    pub span: Span,
}
