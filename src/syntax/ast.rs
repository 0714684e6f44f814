//! The tree: what the text says, with spans, before anything is known about what its names mean.

use super::Span;

/// A parsed file. What could not be parsed is a [`Statement::Broken`] in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The first `##` block, when it comes before every statement.
    pub docs: Option<String>,
    pub statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Param(Param),
    Let(Let),
    Set(Set),
    Pipeline(Pipeline),
    Expect(Expect),
    Publish(Publish),
    Broken(Broken),
}

/// An identifier where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// `param epochs: int = 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub docs: Option<String>,
    pub name: Name,
    pub ty: Name,
    pub default: Value,
    pub span: Span,
}

/// `let base = hf("models/minilm")`, `let rate = 1e-4`, `let adapted = base -> adapt(domain)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Let {
    pub docs: Option<String>,
    pub name: Name,
    pub bound: Binding,
    pub span: Span,
}

/// What stands right of a `let`'s `=`.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    Value(Value),
    Chain(Chain),
}

/// `set finetune(epochs = 3)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub method: Name,
    pub arguments: Vec<Argument>,
    pub span: Span,
}

/// `pipeline small = base -> finetune(target)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub docs: Option<String>,
    pub name: Name,
    pub chain: Chain,
    pub span: Span,
}

/// `expect small.accuracy >= 0.8`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub pipeline: Name,
    pub metric: Name,
    /// `>=`, `<=`, `>` or `<`.
    pub relation: Name,
    pub bound: Value,
    pub span: Span,
}

/// `publish small to "out/small"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    pub pipeline: Name,
    pub directory: Value,
    pub span: Span,
}

/// A statement with a syntax error. The name it would have declared counts as declared, so that its uses are no
/// further errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    pub keyword: Option<String>,
    pub name: Option<Name>,
    pub span: Span,
}

/// Calls joined by `->`; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    pub calls: Vec<Call>,
    pub span: Span,
}

/// `adapt(domain, epochs = 3)`, or a bare name: `base`, `pretrain`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub name: Name,
    /// `None` without parentheses.
    pub arguments: Option<Vec<Argument>>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Value,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub kind: ValueKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    Int {
        value: i64,
        unit: Option<Name>,
    },
    Float {
        value: f64,
        unit: Option<Name>,
    },
    String(String),
    List(Vec<Value>),
    /// A name: of a `param`, a `let`, a choice; also `true`, `false` and `none`.
    Word(String),
    /// A call where only a value may stand; the name called.
    Call(Name),
    /// Its syntax error is reported already.
    Broken,
}
