//! The names a file declares and what each of them means.

use indexmap::IndexMap;

use super::ir::NodeId;
use super::literal::Literal;
use super::signature::Artifact;
use crate::syntax::{Span, ast};

/// All declared names: `param`, `let` and `pipeline` share one namespace.
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
    /// Reported already; fits everything.
    Error,
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
}

impl<'a> Entry<'a> {
    pub(super) fn new(name: &'a ast::Name, declaration: Declaration<'a>) -> Self {
        let state = match declaration {
            Declaration::Broken => State::Done(Meaning::Error),
            _ => State::Waiting,
        };
        Self { name, declaration, state, used: false }
    }
}
