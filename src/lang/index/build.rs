//! Tree -> index.

use std::collections::HashMap;

use super::super::signature::{Artifact, Kind, Parameter, ParameterType, Registry, Signature};
use super::{Index, Mention, Symbol, SymbolId, SymbolKind, Target};
use crate::syntax::{Span, ast};

/// What a chain comes to, as far as the text says.
#[derive(Clone, Copy)]
enum Gives {
    Nothing,
    Artifact(Artifact),
    /// A plain value of this type.
    Value(&'static str),
    /// Another name's.
    SameAs(SymbolId),
}

impl Index {
    /// The index of a parsed file.
    pub fn new(file: &ast::File, registry: &Registry) -> Self {
        let mut builder = Builder { registry, declared: HashMap::new(), index: Index::default(), gives: vec![] };
        for statement in &file.statements {
            builder.declare(statement);
        }
        for statement in &file.statements {
            builder.statement(statement);
        }
        builder.artifacts();
        let mut index = builder.index;
        index.names.sort_by_key(|mention| mention.span);
        index
    }
}

struct Builder<'a> {
    registry: &'a Registry,
    /// The first declaration of each name.
    declared: HashMap<&'a str, SymbolId>,
    index: Index,
    /// By symbol.
    gives: Vec<Gives>,
}

impl<'a> Builder<'a> {
    fn mention(&mut self, span: Span, target: Target) {
        self.index.names.push(Mention { span, target });
    }

    fn declare(&mut self, statement: &'a ast::Statement) {
        use ast::Statement;
        let (name, kind, docs, span) = match statement {
            Statement::Param(param) => (&param.name, SymbolKind::Param, &param.docs, param.span),
            Statement::Let(binding) => {
                let kind = match binding.bound {
                    ast::Binding::Value(_) => SymbolKind::Value,
                    ast::Binding::Chain(_) => SymbolKind::Chain,
                };
                (&binding.name, kind, &binding.docs, binding.span)
            }
            Statement::Pipeline(pipeline) => (&pipeline.name, SymbolKind::Pipeline, &pipeline.docs, pipeline.span),
            Statement::Broken(ast::Broken { keyword, name: Some(name), span })
                if !matches!(keyword.as_deref(), Some("set" | "expect" | "publish")) =>
            {
                (name, SymbolKind::Broken, &None, *span)
            }
            _ => return,
        };
        let id = self.index.symbols.len();
        self.declared.entry(&name.text).or_insert(id);
        self.mention(name.span, Target::Declaration(id));
        let value_type = match statement {
            Statement::Param(param) => Some(param.ty.text.clone()),
            _ => None,
        };
        let (name, docs) = (name.clone(), docs.clone());
        self.index.symbols.push(Symbol { name, kind, docs, span, artifact: None, value_type });
        self.gives.push(Gives::Nothing);
    }

    fn statement(&mut self, statement: &'a ast::Statement) {
        use ast::Statement;
        match statement {
            Statement::Param(param) => {
                self.mention(param.ty.span, Target::Type);
                self.value(&param.default, None);
            }
            Statement::Let(binding) => {
                let gives = match &binding.bound {
                    ast::Binding::Value(value) => {
                        self.value(value, None);
                        value_type(value).map_or(Gives::Nothing, Gives::Value)
                    }
                    ast::Binding::Chain(chain) => self.chain(chain),
                };
                self.give(&binding.name, gives);
            }
            Statement::Pipeline(pipeline) => {
                let gives = self.chain(&pipeline.chain);
                self.give(&pipeline.name, gives);
            }
            Statement::Set(set) => {
                let signature = self.registry.get(&set.method.text);
                self.mention(set.method.span, signature.map_or(Target::Unknown, |found| Target::Method(found.name)));
                self.arguments(signature, &set.arguments);
            }
            Statement::Expect(expect) => {
                let pipeline = self.declared.get(expect.pipeline.text.as_str()).copied();
                self.mention(expect.pipeline.span, pipeline.map_or(Target::Unknown, Target::Symbol));
                self.mention(expect.metric.span, Target::Metric(pipeline));
                self.value(&expect.bound, None);
            }
            Statement::Publish(publish) => {
                let target = self.symbol(&publish.pipeline.text);
                self.mention(publish.pipeline.span, target);
                self.value(&publish.directory, None);
            }
            Statement::Broken(_) => {}
        }
    }

    /// What a declared name stands for.
    fn symbol(&self, name: &str) -> Target {
        self.declared.get(name).map_or(Target::Unknown, |symbol| Target::Symbol(*symbol))
    }

    fn give(&mut self, name: &ast::Name, gives: Gives) {
        // Of two declarations of one name each is a symbol; their places tell them apart.
        if let Ok(symbol) = self.index.symbols.binary_search_by_key(&name.span, |symbol| symbol.name.span) {
            self.gives[symbol] = gives;
        }
    }

    fn chain(&mut self, chain: &'a ast::Chain) -> Gives {
        let mut gives = Gives::Nothing;
        for (position, call) in chain.calls.iter().enumerate() {
            gives = self.call(call, position == 0);
        }
        gives
    }

    fn call(&mut self, call: &'a ast::Call, begins: bool) -> Gives {
        let name = call.name.text.as_str();
        if let (Some(ty), None) = (literal_type(name), &call.arguments) {
            self.mention(call.name.span, Target::Literal);
            return Gives::Value(ty);
        }
        let method = self.registry.get(name);
        let declared = self.declared.get(name).copied();
        // As `lang::chain` has it: a declared name begins a chain where it can't be a call; behind an arrow a stage comes
        // first.
        let is_declared = match (declared, method) {
            (Some(_), None) => true,
            (Some(_), Some(method)) => call.arguments.is_none() && (begins || method.kind == Kind::Source),
            (None, _) => false,
        };
        let (target, gives) = match (declared.filter(|_| is_declared), method) {
            (Some(symbol), _) => (Target::Symbol(symbol), Gives::SameAs(symbol)),
            (None, Some(method)) => (Target::Method(method.name), Gives::Artifact(method.output)),
            (None, None) => (Target::Unknown, Gives::Nothing),
        };
        self.mention(call.name.span, target);
        self.arguments(method.filter(|_| !is_declared), call.arguments.as_deref().unwrap_or(&[]));
        gives
    }

    fn arguments(&mut self, signature: Option<&'a Signature>, arguments: &'a [ast::Argument]) {
        let Some(signature) = signature else {
            for argument in arguments {
                if let Some(name) = &argument.name {
                    self.mention(name.span, Target::Unknown);
                }
                self.value(&argument.value, None);
            }
            return;
        };
        let mut positional = signature.parameters.iter().filter(|parameter| parameter.positional);
        let mut delta = None;
        for argument in arguments {
            let found = match &argument.name {
                Some(name) => {
                    let found = parameter(Some(signature), &name.text).or_else(|| parameter(delta, &name.text));
                    let target = found.map_or(Target::Unknown, |(method, parameter)| Target::Parameter {
                        method: method.name,
                        parameter: parameter.name,
                    });
                    self.mention(name.span, target);
                    found
                }
                None => positional.next().map(|parameter| (signature, parameter)),
            };
            if let (Some((_, Parameter { ty: ParameterType::Delta, .. })), ast::ValueKind::Word(name)) =
                (found, &argument.value.kind)
            {
                delta = self.registry.get(name);
            }
            self.value(&argument.value, found);
        }
    }

    /// A value for a parameter of a method, if it is known which.
    fn value(&mut self, value: &'a ast::Value, slot: Option<(&'a Signature, &'a Parameter)>) {
        match &value.kind {
            ast::ValueKind::Word(name) => {
                let target = self.word(name, slot);
                self.mention(value.span, target);
            }
            ast::ValueKind::List(items) => items.iter().for_each(|item| self.value(item, None)),
            ast::ValueKind::Call(name) => {
                let method = self.registry.get(&name.text);
                self.mention(name.span, method.map_or(Target::Unknown, |method| Target::Method(method.name)));
            }
            ast::ValueKind::Int { unit: Some(unit), .. } | ast::ValueKind::Float { unit: Some(unit), .. } => {
                self.mention(unit.span, Target::Unit);
            }
            ast::ValueKind::Int { .. }
            | ast::ValueKind::Float { .. }
            | ast::ValueKind::String(_)
            | ast::ValueKind::Broken => {}
        }
    }

    fn word(&self, name: &str, slot: Option<(&'a Signature, &'a Parameter)>) -> Target {
        if let Some((method, parameter)) = slot {
            match &parameter.ty {
                ParameterType::Delta => {
                    let delta = self.registry.get(name).filter(|method| method.kind == Kind::Delta);
                    return delta.map_or(Target::Unknown, |delta| Target::Method(delta.name));
                }
                ParameterType::Artifact(_) => return self.symbol(name),
                ParameterType::Choice(choices) if choices.contains(&name) => {
                    return Target::Choice { method: method.name, parameter: parameter.name };
                }
                _ => {}
            }
        }
        if literal_type(name).is_some() { Target::Literal } else { self.symbol(name) }
    }

    /// Follows names that stand for other names.
    fn artifacts(&mut self) {
        for symbol in 0..self.gives.len() {
            let mut gives = self.gives[symbol];
            let mut last = symbol;
            // Names may lead in a circle; more steps than names do not help.
            for _ in 0..self.gives.len() {
                let Gives::SameAs(other) = gives else { break };
                (gives, last) = (self.gives[other], other);
            }
            let value_type = match gives {
                Gives::Artifact(artifact) => {
                    self.index.symbols[symbol].artifact = Some(artifact);
                    continue;
                }
                Gives::Value(ty) => Some(ty.to_owned()),
                Gives::Nothing | Gives::SameAs(_) => self.index.symbols[last].value_type.clone(),
            };
            let symbol = &mut self.index.symbols[symbol];
            if value_type.is_some() && symbol.kind == SymbolKind::Chain {
                symbol.kind = SymbolKind::Value;
            }
            symbol.value_type = value_type;
        }
    }
}

/// The type of a word that stands for itself.
fn literal_type(name: &str) -> Option<&'static str> {
    match name {
        "true" | "false" => Some("bool"),
        "none" => Some("none"),
        _ => None,
    }
}

/// The type of a value as written, by the name a `param` would have for it.
fn value_type(value: &ast::Value) -> Option<&'static str> {
    let unit = |unit: &Option<ast::Name>, plain| match unit.as_ref().map(|unit| unit.text.as_str()) {
        None => Some(plain),
        Some("%") => Some("ratio"),
        Some("epoch" | "epochs") => Some("epochs"),
        Some("step" | "steps") => Some("steps"),
        Some("s" | "min" | "h") => Some("duration"),
        Some(_) => None,
    };
    match &value.kind {
        ast::ValueKind::Int { unit: of, .. } => unit(of, "int"),
        ast::ValueKind::Float { unit: of, .. } => unit(of, "float"),
        ast::ValueKind::String(_) => Some("string"),
        ast::ValueKind::List(_) => Some("list"),
        ast::ValueKind::Word(name) => literal_type(name),
        ast::ValueKind::Call(_) | ast::ValueKind::Broken => None,
    }
}

fn parameter<'a>(method: Option<&'a Signature>, name: &str) -> Option<(&'a Signature, &'a Parameter)> {
    let method = method?;
    method.parameter(name).map(|parameter| (method, parameter))
}
