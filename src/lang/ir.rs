//! The typed program: names resolved, defaults filled in, everything checked. What it says can run.

use indexmap::IndexMap;

use super::signature::{Artifact, Class, Kind, Library};
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

impl Program {
    /// The environment variables that hold secrets, each once.
    pub fn secrets(&self) -> Vec<String> {
        let of_nodes = self.nodes.iter().flat_map(|node| {
            let of_deltas = node.deltas.iter().flat_map(|delta| delta.parameters.values());
            node.parameters.values().chain(of_deltas).map(|parameter| &parameter.value)
        });
        let secret = |value: &Value| match value {
            Value::Secret(variable) => Some(variable.clone()),
            _ => None,
        };
        let of_params = self.params.iter().map(|param| &param.value);
        let mut names: Vec<String> = of_nodes.chain(of_params).filter_map(secret).collect();
        names.sort();
        names.dedup();
        names
    }
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
    /// For `peft`: the delta methods it attaches, in the order in which they act.
    pub deltas: Vec<Delta>,
    /// For a training that goes on only if it does well in a race.
    pub contest: Option<Contest>,
    pub output: Artifact,
    /// For a source: what was found.
    pub source: Option<SourceFacts>,
    pub span: Span,
}

/// The parameter of a training that ends it after a share of its steps; a race sets it.
pub const UNTIL: &str = "until";

/// The parameter of a training that ends it at one of its cycles; the next one goes on from there.
pub const SNAPSHOT: &str = "snapshot";

/// A place in a race: the stage is run to its end only if the race keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// The race.
    pub race: NodeId,
    /// Which of its models, from 0.
    pub number: usize,
}

/// A resolved parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub value: Value,
    pub class: Class,
    /// Where the file says so; `None` for a default.
    pub span: Option<Span>,
}

/// A delta method of a `peft(..)` stage, e.g. `bitfit`.
#[derive(Debug, Clone)]
pub struct Delta {
    pub method: String,
    pub version: u32,
    pub parameters: IndexMap<String, Parameter>,
}

/// `pipeline chain = ...`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Unique: `small`, or for one of several models `tries[seed = 1]`.
    pub name: String,
    /// As declared: `tries`.
    pub declared: String,
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

/// How the values of several models become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    Mean,
    Min,
    Max,
    /// The sample standard deviation.
    Std,
}

impl Fold {
    pub const ALL: [Fold; 4] = [Fold::Mean, Fold::Min, Fold::Max, Fold::Std];

    pub fn name(self) -> &'static str {
        match self {
            Fold::Mean => "mean",
            Fold::Min => "min",
            Fold::Max => "max",
            Fold::Std => "std",
        }
    }

    /// Of at least one value.
    pub fn of(self, values: &[f64]) -> f64 {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        match self {
            Fold::Mean => mean,
            Fold::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Fold::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Fold::Std if values.len() < 2 => 0.0,
            Fold::Std => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt(),
        }
    }
}

/// `chain.accuracy`, `mean(tries.accuracy)`: on the test split where there is one, else dev.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Indices into [`Program::pipelines`]; several only where there is a fold.
    pub pipelines: Vec<usize>,
    pub fold: Option<Fold>,
    pub metric: String,
    /// As written.
    pub shown: String,
}

/// `expect chain.accuracy >= 0.8`.
#[derive(Debug, Clone)]
pub struct Expectation {
    pub measure: Measure,
    /// What is subtracted.
    pub minus: Option<Measure>,
    pub relation: Relation,
    pub bound: f64,
    pub span: Span,
}

/// What a publication is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A whole model.
    Model,
    /// The delta alone, as a library saves it, over a base that others can get.
    Adapter { library: Library, base: PublishedBase },
}

/// Where others find the model that a delta lies over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedBase {
    /// A source of the program.
    Source(NodeId),
    /// A directory that the same file publishes it to.
    Directory(String),
}

/// `publish chain to "out/chain"`: relative to the `.ftp` file's directory.
#[derive(Debug, Clone)]
pub struct Publication {
    pub pipeline: usize,
    pub directory: String,
    pub form: Form,
    pub span: Span,
}
