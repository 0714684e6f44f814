//! Pairs of the grammar -> tree. Never fails: what is broken becomes an error and a [`Statement::Broken`].

use pest::Parser;
use pest::iterators::Pair;

use super::ast::{
    Argument, Binding, Call, Chain, Expect, File, Let, Name, Param, Pipeline, Publish, Set, Statement, Value,
};
use super::error::{self, SyntaxError};
use super::grammar::{Grammar, Rule};
use super::literal;
use super::span::{Source, Span};

/// Parses a whole file. The tree holds every statement that is well-formed, whatever errors there are.
pub fn parse(source: &Source) -> (File, Vec<SyntaxError>) {
    let mut builder = Builder::default();
    match Grammar::parse(Rule::file, &source.text) {
        Ok(mut pairs) => {
            for pair in pairs.next().into_iter().flat_map(Pair::into_inner) {
                builder.line(pair, &source.text);
            }
        }
        // The error productions take any text, so this is for a grammar that no longer does.
        Err(error) => builder.errors.push(error::unparsed(&error)),
    }
    (builder.file, builder.errors)
}

/// Parses a single value, as `--set name=value` holds it. Spans are into `text`.
///
/// # Errors
/// When `text` is not one value.
pub fn parse_value(text: &str) -> Result<Value, SyntaxError> {
    let mut builder = Builder::default();
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

/// The place of a pair, without the white space the grammar may have skipped after it.
pub(super) fn span(pair: &Pair<Rule>) -> Span {
    let start = pair.as_span().start();
    Span::new(start, start + pair.as_str().trim_end().len())
}

/// The tree as far as it is built.
struct Builder {
    file: File,
    errors: Vec<SyntaxError>,
    /// The `##` block just read.
    docs: Option<Docs>,
}

struct Docs {
    text: String,
    /// Byte offset of the end of its last line.
    end: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self { file: File { docs: None, statements: vec![] }, errors: vec![], docs: None }
    }
}

impl Builder {
    /// One pair of the `file` rule.
    fn line(&mut self, pair: Pair<Rule>, text: &str) {
        match pair.as_rule() {
            Rule::doc => self.doc(&pair, text),
            Rule::statement => {
                let docs = self.take_docs();
                if let Some(statement) = pair.into_inner().next() {
                    let statement = self.statement(statement, docs);
                    self.file.statements.push(statement);
                }
            }
            Rule::broken | Rule::unknown => {
                self.take_docs();
                let read = if pair.as_rule() == Rule::broken { error::broken } else { error::unknown_statement };
                let (broken, error) = read(span(&pair), text);
                self.errors.push(error);
                self.file.statements.push(Statement::Broken(broken));
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
        if self.file.docs.is_none() && self.file.statements.is_empty() {
            self.file.docs = self.docs.take().map(|docs| docs.text);
        }
    }

    /// The documentation of the statement that follows.
    fn take_docs(&mut self) -> Option<String> {
        self.take_file_docs();
        self.docs.take().map(|docs| docs.text)
    }

    fn statement(&mut self, pair: Pair<Rule>, docs: Option<String>) -> Statement {
        let (rule, span) = (pair.as_rule(), span(&pair));
        let mut parts = pair.into_inner().filter(|pair| !is_token(pair.as_rule()));
        let mut next = || parts.next().expect("the grammar gives each statement its parts");
        match rule {
            Rule::param => Statement::Param(Param {
                docs,
                name: name(&next()),
                ty: name(&next()),
                default: self.value(next()),
                span,
            }),
            Rule::binding => {
                let name = name(&next());
                let bound = next();
                let bound = match bound.as_rule() {
                    Rule::chain => Binding::Chain(self.chain(bound)),
                    _ => Binding::Value(self.value(bound)),
                };
                Statement::Let(Let { docs, name, bound, span })
            }
            Rule::set => Statement::Set(Set { method: name(&next()), arguments: self.arguments(next()), span }),
            Rule::pipeline => {
                Statement::Pipeline(Pipeline { docs, name: name(&next()), chain: self.chain(next()), span })
            }
            Rule::expect => Statement::Expect(Expect {
                pipeline: name(&next()),
                metric: name(&next()),
                relation: name(&next()),
                bound: self.value(next()),
                span,
            }),
            _ => Statement::Publish(Publish { pipeline: name(&next()), directory: self.value(next()), span }),
        }
    }

    fn chain(&mut self, pair: Pair<Rule>) -> Chain {
        let span = span(&pair);
        let calls = pair.into_inner().filter(|pair| pair.as_rule() == Rule::call);
        Chain { calls: calls.map(|call| self.call(call)).collect(), span }
    }

    fn call(&mut self, pair: Pair<Rule>) -> Call {
        let span = span(&pair);
        let mut parts = pair.into_inner();
        let name = name(&parts.next().expect("a call begins with its name"));
        Call { name, arguments: parts.next().map(|arguments| self.arguments(arguments)), span }
    }

    fn arguments(&mut self, pair: Pair<Rule>) -> Vec<Argument> {
        let arguments = pair.into_inner().filter(|pair| pair.as_rule() == Rule::argument);
        arguments.map(|argument| self.argument(argument)).collect()
    }

    fn argument(&mut self, pair: Pair<Rule>) -> Argument {
        let span = span(&pair);
        let mut parts = pair.into_inner().filter(|pair| !is_token(pair.as_rule())).peekable();
        let name = parts.next_if(|part| part.as_rule() == Rule::name).map(|part| name(&part));
        let value = self.value(parts.next().expect("an argument ends with its value"));
        Argument { name, value, span }
    }

    fn value(&mut self, pair: Pair<Rule>) -> Value {
        let span = span(&pair);
        if pair.as_rule() == Rule::list {
            let items = pair.into_inner().filter(|pair| !is_token(pair.as_rule()));
            let items = items.map(|item| self.value(item)).collect();
            return Value { kind: super::ast::ValueKind::List(items), span };
        }
        Value { kind: literal::read(pair, &mut self.errors), span }
    }
}

/// Punctuation, keywords and comments: there for messages, not for the tree.
fn is_token(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::arrow
            | Rule::equals
            | Rule::colon
            | Rule::comma
            | Rule::dot
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
            | Rule::kw_to
    )
}

fn name(pair: &Pair<Rule>) -> Name {
    Name { text: pair.as_str().to_owned(), span: span(pair) }
}
