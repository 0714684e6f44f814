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
    Recipe(Recipe),
    Use(Use),
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
    pub ty: Type,
    pub default: Value,
    pub span: Span,
}

/// `int`, `float in 0.0..1.0`, `labelled`, `recipe(labelled)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub name: Name,
    /// What a recipe takes.
    pub takes: Option<Vec<Name>>,
    /// The least and the greatest value.
    pub limits: Option<(Value, Value)>,
    pub span: Span,
}

/// `recipe adaptive(base: model, domain: text, epochs: epochs = 3) = base -> adapt(domain, epochs = epochs)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub docs: Option<String>,
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub chain: Chain,
    pub span: Span,
}

/// A parameter of a recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub docs: Option<String>,
    pub name: Name,
    pub ty: Type,
    pub default: Option<Value>,
    pub span: Span,
}

/// `use std.adaptive`, `use "team/recipes.ftp" as team`, `use git("https://..", tag = "v1") as team`.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    pub origin: Origin,
    /// The name the file has here.
    pub name: Option<Name>,
    pub span: Span,
}

/// Where a module comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// `std.adaptive`: the library's name and the module's.
    Standard(Name, Name),
    /// A file, relative to the one that uses it.
    File(Value),
    /// `git("https://..", tag = "v1")`.
    Remote(Call),
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
    pub measure: Measure,
    /// What is subtracted from it: `expect a.accuracy - b.accuracy >= 0.01`.
    pub minus: Option<Measure>,
    /// `>=`, `<=`, `>` or `<`.
    pub relation: Name,
    pub bound: Value,
    pub span: Span,
}

/// `small.accuracy`, `mean(tries.accuracy)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// How the values of several models become one.
    pub fold: Option<Name>,
    pub pipeline: Name,
    pub metric: Name,
    pub span: Span,
}

/// `publish small to "out/small"`, `publish small to "out/small" as adapter`.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    pub pipeline: Name,
    pub directory: Value,
    /// What it is written as.
    pub form: Option<Name>,
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

/// Links joined by `->`; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    pub links: Vec<Link>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    Call(Call),
    Each(Each),
    If(Box<If>),
    Models(Models),
}

impl Link {
    pub fn span(&self) -> Span {
        match self {
            Link::Call(call) => call.span,
            Link::Each(each) => each.span,
            Link::If(choice) => choice.span,
            Link::Models(models) => models.span,
        }
    }
}

impl Chain {
    /// Every call in it, also those inside of other links.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.links.iter().flat_map(|link| -> Vec<&Call> {
            match link {
                Link::Call(call) => vec![call],
                Link::Each(each) => each.body.iter().collect(),
                Link::If(choice) => choice.then.iter().chain(&choice.otherwise).collect(),
                Link::Models(models) => models.members.iter().flat_map(|member| &member.calls).collect(),
            }
        })
    }
}

/// `each(seed in 1..5) finetune(target)`, or with several calls in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    pub variables: Vec<Variable>,
    pub body: Vec<Call>,
    pub span: Span,
}

/// `seed in 1..5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    pub name: Name,
    pub values: Values,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// From the first to the last, both included.
    Range(Value, Value),
    /// A list, or the name of one.
    List(Value),
}

/// `if domain_first then adapt(domain)`; without `else`, nothing happens where the condition does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct If {
    pub condition: Condition,
    pub then: Vec<Call>,
    /// Empty without `else`.
    pub otherwise: Vec<Call>,
    pub span: Span,
}

/// `quick`, `not quick`, `layers > 4`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub not: bool,
    pub left: Value,
    /// `==`, `!=`, `>=`, `<=`, `>` or `<`, and what it is compared with.
    pub comparison: Option<(Name, Value)>,
    pub span: Span,
}

/// `[small, base -> finetune(target)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Models {
    pub members: Vec<Member>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub calls: Vec<Call>,
    pub span: Span,
}

/// `adapt(domain, epochs = 3)`, or a bare name: `base`, `pretrain`, `team.robust`.
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
    /// A string with names in it: `"data/${name}.txt"`.
    Template(Vec<Part>),
    List(Vec<Value>),
    /// A name: of a `param`, a `let`, a choice; also `true`, `false` and `none`.
    Word(String),
    /// A call where only a value may stand; the name called.
    Call(Name),
    /// `if quick then 1 else 3`.
    If(Box<Either>),
    /// `stack(lora(rank = 4), bitfit)`: several deltas.
    Stack(Vec<Call>),
    /// `secret("HF_TOKEN")`: the environment variable that holds it.
    Secret(String),
    /// Its syntax error is reported already.
    Broken,
}

/// A piece of a string.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Name(Name),
}

/// `if quick then 1 else 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Either {
    pub condition: Condition,
    pub then: Value,
    pub otherwise: Value,
}
