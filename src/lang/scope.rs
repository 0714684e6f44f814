//! The names a file declares and what each of them means.

use indexmap::IndexMap;

use super::ir::NodeId;
use super::literal::Literal;
use super::signature::Artifact;
use crate::syntax::{Span, ast};

/// The declared names of a file: `param`, `let`, `pipeline` and `recipe` share one namespace.
pub(super) type Scope<'a> = IndexMap<&'a str, Entry<'a>>;

/// One declared name.
pub(super) struct Entry<'a> {
    pub name: &'a ast::Name,
    pub declaration: Declaration<'a>,
    pub state: State,
    pub used: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Declaration<'a> {
    Param,
    Let(&'a ast::Let),
    Pipeline(&'a ast::Pipeline),
    /// By its number among all recipes.
    Recipe(usize),
    /// Has a syntax error.
    Broken,
}

/// How far a declaration is evaluated. Declarations may come in any order, so each is evaluated when first needed.
pub(super) enum State {
    Waiting,
    /// Being evaluated: meeting it again is a cycle.
    Working,
    Done(Meaning),
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    Value(Literal),
    Flow(Flow),
    /// Things that are not all plain values, each with the name it was given by.
    List(Vec<(String, Meaning)>),
    /// A delta method; `None` while it may be any.
    Delta(Option<&'static str>),
    /// Deltas to be trained together.
    Stack(Vec<super::ir::Delta>),
    Recipe(Callable),
    /// Reported already; fits everything.
    Error,
}

/// What can stand behind an arrow by a name that is not a method's own.
#[derive(Debug, Clone)]
pub(super) enum Callable {
    /// By its number among all recipes.
    Recipe(usize),
    /// A stage, given to a recipe as an argument.
    Stage(String),
    /// Any that takes these: a recipe's parameter while the recipe itself is checked.
    Any(Vec<Artifact>),
}

/// What a chain has come to at some point.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// `None` after an error: anything may follow.
    pub artifact: Option<Artifact>,
    pub node: NodeId,
    /// All stages up to here, first to last, those behind names included.
    pub stages: Vec<NodeId>,
    /// The call or name that gave it.
    pub span: Span,
    /// The models of a list; of one in a recipe that is only checked, a single one stands for all.
    pub members: Vec<Member>,
}

/// One model of a list.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What tells it from the others: `seed = 1`, or the name it was given by.
    pub name: String,
    pub node: NodeId,
    pub stages: Vec<NodeId>,
}

impl Flow {
    pub(super) fn new(artifact: Artifact, node: NodeId, stages: Vec<NodeId>, span: Span) -> Self {
        Self { artifact: Some(artifact), node, stages, span, members: vec![] }
    }

    /// A list of models, of which there is at least one.
    pub(super) fn of_members(members: Vec<Member>, span: Span) -> Option<Self> {
        let node = members.first()?.node;
        let mut stages = vec![];
        let mut known = std::collections::HashSet::new();
        stages.extend(members.iter().flat_map(|member| &member.stages).copied().filter(|stage| known.insert(*stage)));
        Some(Self { artifact: Some(Artifact::Models), node, stages, span, members })
    }
}

/// Names that mean something only within a recipe or an `each`, and the file that what is read there belongs to.
#[derive(Default)]
pub(super) struct Frame<'a> {
    pub file: usize,
    pub locals: IndexMap<&'a str, Local>,
}

/// A recipe's parameter or an `each`'s variable.
pub(super) struct Local {
    pub meaning: Meaning,
    pub declared: Span,
    /// A variable of `each`, which also gives its value to the parameter of its name.
    pub varies: bool,
    /// How often it was asked for.
    pub uses: usize,
}

impl<'a> Entry<'a> {
    pub(super) fn new(name: &'a ast::Name, declaration: Declaration<'a>) -> Self {
        let state = match declaration {
            Declaration::Broken => State::Done(Meaning::Error),
            Declaration::Recipe(number) => State::Done(Meaning::Recipe(Callable::Recipe(number))),
            _ => State::Waiting,
        };
        Self { name, declaration, state, used: false }
    }
}

impl Meaning {
    /// What it is, as messages name it.
    pub(super) fn phrase(&self) -> String {
        match self {
            Meaning::Value(literal) => literal.phrase(),
            Meaning::Flow(flow) => flow.artifact.map_or("an error", Artifact::phrase).to_owned(),
            Meaning::List(_) => "a list".into(),
            Meaning::Delta(_) => "a delta method".into(),
            Meaning::Stack(_) => "a stack of deltas".into(),
            Meaning::Recipe(Callable::Stage(_)) => "a stage".into(),
            Meaning::Recipe(_) => "a recipe".into(),
            Meaning::Error => "an error".into(),
        }
    }

    /// Reported already, or what only follows from something that was.
    pub(super) fn is_error(&self) -> bool {
        match self {
            Meaning::Error | Meaning::Value(Literal::Error) => true,
            Meaning::Flow(flow) => flow.artifact.is_none(),
            _ => false,
        }
    }
}
