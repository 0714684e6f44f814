//! Pairs of the grammar -> tree. Never fails: what is broken becomes an error and a [`Statement::Broken`].

use pest::Parser;
use pest::iterators::Pair;

use super::ast::{
    Argument, Binding, Call, Expect, File, Let, Measure, Name, Origin, Param, Parameter, Pipeline, Publish, Recipe,
    Set, Statement, Type, Use, Value, ValueKind,
};
use super::error::{self, SyntaxError};
use super::grammar::{Grammar, Rule};
use super::span::{Source, Span};

/// Parses a whole file. The tree holds every statement that is well-formed, whatever errors there are.
pub fn parse(source: &Source) -> (File, Vec<SyntaxError>) {
    parse_file(source, 0)
}

/// [`parse`] for the module that spans call `file`.
pub fn parse_file(source: &Source, file: usize) -> (File, Vec<SyntaxError>) {
    let mut builder = Builder::new(file);
    match Grammar::parse(Rule::file, &source.text) {
        Ok(mut pairs) => {
            for pair in pairs.next().into_iter().flat_map(Pair::into_inner) {
                builder.line(pair, &source.text);
            }
        }
        // The error productions take any text, so this is for a grammar that no longer does.
        Err(error) => builder.errors.push(error::unparsed(&error)),
    }
    builder.errors.iter_mut().for_each(|error| error.move_to(file));
    (builder.tree, builder.errors)
}

/// Parses a single value, as `--set name=value` holds it. Spans are into `text`.
///
/// # Errors
/// When `text` is not one value.
pub fn parse_value(text: &str) -> Result<Value, SyntaxError> {
    let mut builder = Builder::new(0);
    let mut pairs = Grammar::parse(Rule::override_value, text).map_err(|error| error::unparsed(&error))?;
    let pair = pairs.next().and_then(|pair| pair.into_inner().next());
    let value = pair.map(|pair| builder.value(pair));
    match (value, builder.errors.pop()) {
        (Some(value), None) => Ok(value),
        (_, Some(error)) => Err(error),
        (None, None) => Err(error::not_a_value(Span::new(0, text.len()))),
    }
}

/// Whether a text is a name as the grammar has it.
pub fn is_name(text: &str) -> bool {
    Grammar::parse(Rule::name, text).is_ok_and(|pairs| pairs.as_str() == text)
}

/// The tree as far as it is built.
pub(super) struct Builder {
    /// What spans call the file.
    file: usize,
    tree: File,
    pub(super) errors: Vec<SyntaxError>,
    /// The `##` block just read.
    docs: Option<Docs>,
}

struct Docs {
    text: String,
    /// Byte offset of the end of its last line.
    end: usize,
}

impl Builder {
    fn new(file: usize) -> Self {
        Self { file, tree: File { docs: None, statements: vec![] }, errors: vec![], docs: None }
    }

    /// The place of a pair, without the white space the grammar may have skipped after it.
    pub(super) fn span(&self, pair: &Pair<Rule>) -> Span {
        let start = pair.as_span().start();
        Span::new(start, start + pair.as_str().trim_end().len()).in_file(self.file)
    }

    pub(super) fn name(&self, pair: &Pair<Rule>) -> Name {
        Name { text: pair.as_str().trim_end().to_owned(), span: self.span(pair) }
    }

    /// One pair of the `file` rule.
    fn line(&mut self, pair: Pair<Rule>, text: &str) {
        match pair.as_rule() {
            Rule::doc => self.doc(&pair, text),
            Rule::statement => {
                let docs = self.take_docs();
                if let Some(statement) = pair.into_inner().next() {
                    let statement = self.statement(statement, docs);
                    self.tree.statements.push(statement);
                }
            }
            Rule::broken | Rule::unknown => {
                self.take_docs();
                let read = if pair.as_rule() == Rule::broken { error::broken } else { error::unknown_statement };
                let (mut broken, error) = read(self.span(&pair).in_file(0), text);
                broken.span.file = self.file;
                broken.name.iter_mut().for_each(|name| name.span.file = self.file);
                self.errors.push(error);
                self.tree.statements.push(Statement::Broken(broken));
            }
            _ => {}
        }
    }

    /// Adds a `##` line to the block above it, or begins a block.
    fn doc(&mut self, pair: &Pair<Rule>, text: &str) {
        let line = pair.as_str().trim_start_matches('#').trim_end();
        let line = line.strip_prefix(' ').unwrap_or(line);
        let at = pair.as_span();
        match &mut self.docs {
            // Nothing but one line's end between them: the same block.
            Some(docs) if text[docs.end..at.start()].matches('\n').count() == 1 => {
                docs.text.push('\n');
                docs.text.push_str(line);
                docs.end = at.end();
            }
            _ => {
                self.take_file_docs();
                self.docs = Some(Docs { text: line.to_owned(), end: at.end() });
            }
        }
    }

    /// The first block of a file is the file's, unless a statement came before.
    fn take_file_docs(&mut self) {
        if self.tree.docs.is_none() && self.tree.statements.is_empty() {
            self.tree.docs = self.docs.take().map(|docs| docs.text);
        }
    }

    /// The documentation of the statement that follows.
    fn take_docs(&mut self) -> Option<String> {
        self.take_file_docs();
        self.docs.take().map(|docs| docs.text)
    }

    fn statement(&mut self, pair: Pair<Rule>, docs: Option<String>) -> Statement {
        let (rule, span) = (pair.as_rule(), self.span(&pair));
        let mut parts = parts(pair);
        let mut next = || parts.next().expect("the grammar gives each statement its parts");
        match rule {
            Rule::param => {
                let (name, ty, default) = (self.name(&next()), self.ty(next()), self.value(next()));
                Statement::Param(Param { docs, name, ty, default, span })
            }
            Rule::binding => {
                let name = self.name(&next());
                let bound = next();
                let bound = match bound.as_rule() {
                    Rule::chain => Binding::Chain(self.chain(bound)),
                    _ => Binding::Value(self.value(bound)),
                };
                Statement::Let(Let { docs, name, bound, span })
            }
            Rule::set => Statement::Set(Set { method: self.name(&next()), arguments: self.arguments(next()), span }),
            Rule::pipeline => {
                Statement::Pipeline(Pipeline { docs, name: self.name(&next()), chain: self.chain(next()), span })
            }
            Rule::recipe => {
                let (name, parameters) = (self.name(&next()), self.parameters(next()));
                Statement::Recipe(Recipe { docs, name, parameters, chain: self.chain(next()), span })
            }
            Rule::using => {
                let origin = self.origin(next());
                Statement::Use(Use { origin, name: parts.next().map(|name| self.name(&name)), span })
            }
            Rule::expect => {
                let measure = self.measure(next());
                let mut part = next();
                let mut minus = None;
                if part.as_rule() == Rule::measure {
                    minus = Some(self.measure(part));
                    part = next();
                }
                Statement::Expect(Expect {
                    measure,
                    minus,
                    relation: self.name(&part),
                    bound: self.value(next()),
                    span,
                })
            }
            _ => {
                let (pipeline, directory) = (self.name(&next()), self.value(next()));
                Statement::Publish(Publish {
                    pipeline,
                    directory,
                    form: parts.next().map(|form| self.name(&form)),
                    span,
                })
            }
        }
    }

    fn ty(&mut self, pair: Pair<Rule>) -> Type {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let name = self.name(&parts.next().expect("a type begins with its name"));
        let mut ty = Type { name, takes: None, limits: None, span };
        for part in parts {
            if part.as_rule() == Rule::takes {
                let names = part.into_inner().filter(|pair| pair.as_rule() == Rule::name);
                ty.takes = Some(names.map(|name| self.name(&name)).collect());
            } else {
                let mut numbers = part.into_inner().filter(|pair| pair.as_rule() == Rule::number);
                let mut next = || numbers.next().expect("limits are two numbers");
                ty.limits = Some((self.value(next()), self.value(next())));
            }
        }
        ty
    }

    fn parameters(&mut self, pair: Pair<Rule>) -> Vec<Parameter> {
        let mut docs: Option<String> = None;
        let mut parameters = vec![];
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::comment if part.as_str().starts_with("##") => {
                    let line = part.as_str().trim_start_matches('#').trim();
                    match &mut docs {
                        Some(docs) => *docs += &format!("\n{line}"),
                        None => docs = Some(line.to_owned()),
                    }
                }
                Rule::parameter => {
                    let docs = docs.take();
                    parameters.push(self.parameter(part, docs));
                }
                _ => {}
            }
        }
        parameters
    }

    fn parameter(&mut self, pair: Pair<Rule>, docs: Option<String>) -> Parameter {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let mut next = || parts.next().expect("a parameter has a name and a type");
        let (name, ty) = (self.name(&next()), self.ty(next()));
        Parameter { docs, name, ty, default: parts.next().map(|value| self.value(value)), span }
    }

    fn origin(&mut self, pair: Pair<Rule>) -> Origin {
        match pair.as_rule() {
            Rule::string => Origin::File(self.value(pair)),
            Rule::origin => Origin::Remote(self.call(pair)),
            _ => {
                let mut names = pair.into_inner();
                let mut next = || names.next().expect("a library's name and a module's");
                Origin::Standard(self.name(&next()), self.name(&next()))
            }
        }
    }

    fn measure(&mut self, pair: Pair<Rule>) -> Measure {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("a measure is of one kind or the other");
        let mut fold = None;
        let mut metric = inner.clone();
        if inner.as_rule() == Rule::folded {
            let mut parts = parts(inner);
            fold = parts.next().map(|name| self.name(&name));
            metric = parts.next().expect("a metric stands in the parentheses");
        }
        let mut names = parts(metric);
        let mut next = || names.next().expect("a metric is two names");
        Measure { fold, pipeline: self.name(&next()), metric: self.name(&next()), span }
    }

    pub(super) fn call(&mut self, pair: Pair<Rule>) -> Call {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let name = self.name(&parts.next().expect("a call begins with its name"));
        Call { name, arguments: parts.next().map(|arguments| self.arguments(arguments)), span }
    }

    fn arguments(&mut self, pair: Pair<Rule>) -> Vec<Argument> {
        let arguments = pair.into_inner().filter(|pair| matches!(pair.as_rule(), Rule::argument | Rule::option));
        arguments.map(|argument| self.argument(argument)).collect()
    }

    fn argument(&mut self, pair: Pair<Rule>) -> Argument {
        let span = self.span(&pair);
        let mut parts = parts(pair).peekable();
        let name = parts.next_if(|part| part.as_rule() == Rule::name).map(|part| self.name(&part));
        let value = self.value(parts.next().expect("an argument ends with its value"));
        Argument { name, value, span }
    }

    pub(super) fn value(&mut self, pair: Pair<Rule>) -> Value {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::list => ValueKind::List(parts(pair).map(|item| self.value(item)).collect()),
            Rule::either => self.either(pair),
            Rule::stack => ValueKind::Stack(parts(pair).map(|delta| self.call(delta)).collect()),
            _ => self.plain(pair),
        };
        Value { kind, span }
    }
}

/// What a pair is made of, without punctuation, keywords and comments: those are there for messages, not for the tree.
pub(super) fn parts(pair: Pair<'_, Rule>) -> impl Iterator<Item = Pair<'_, Rule>> {
    pair.into_inner().filter(|pair| !is_token(pair.as_rule()))
}

fn is_token(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::arrow
            | Rule::equals
            | Rule::colon
            | Rule::comma
            | Rule::dot
            | Rule::dots
            | Rule::minus
            | Rule::open
            | Rule::close
            | Rule::open_list
            | Rule::close_list
            | Rule::comment
            | Rule::kw_param
            | Rule::kw_let
            | Rule::kw_set
            | Rule::kw_pipeline
            | Rule::kw_expect
            | Rule::kw_publish
            | Rule::kw_recipe
            | Rule::kw_use
            | Rule::kw_to
            | Rule::kw_as
            | Rule::kw_in
            | Rule::kw_each
            | Rule::kw_if
            | Rule::kw_then
            | Rule::kw_else
            | Rule::kw_stack
            | Rule::kw_secret
    )
}
