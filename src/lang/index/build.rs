//! Tree -> index: the statements, and what their names come to.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::signature::{Artifact, ParameterType, Registry};
use super::{Index, Mention, SymbolId, SymbolKind, Target};
use crate::syntax::{Span, ast};

/// What a chain comes to, as far as the text says.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    Nothing,
    Artifact(Artifact),
    /// A plain value of this type.
    Value(&'static str),
    /// What another name gives.
    SameAs(SymbolId),
}

impl Index {
    /// The index of a parsed file. `modules` reads those it uses, where that is possible.
    pub fn new(file: &ast::File, registry: &Registry, modules: &dyn Fn(&ast::Use) -> Option<Arc<Index>>) -> Self {
        let mut builder = Builder {
            registry,
            modules,
            declared: HashMap::new(),
            module_names: HashMap::new(),
            by_place: HashMap::new(),
            locals: vec![],
            index: Index::default(),
            gives: vec![],
        };
        for statement in &file.statements {
            builder.declare(statement);
        }
        for statement in &file.statements {
            builder.statement(statement);
        }
        builder.finish()
    }
}

pub(super) struct Builder<'a> {
    pub registry: &'a Registry,
    pub modules: &'a dyn Fn(&ast::Use) -> Option<Arc<Index>>,
    /// The first declaration of each name that the whole file knows.
    pub declared: HashMap<&'a str, SymbolId>,
    pub module_names: HashMap<String, SymbolId>,
    /// Symbols by the offset of their declared names.
    pub by_place: HashMap<usize, SymbolId>,
    /// Names that mean something here and not everywhere, the innermost last.
    pub locals: Vec<(&'a str, SymbolId)>,
    pub index: Index,
    /// By symbol.
    pub gives: Vec<Gives>,
}

impl<'a> Builder<'a> {
    pub(super) fn mention(&mut self, span: Span, target: Target) {
        self.index.names.push(Mention { span, target });
    }

    fn statement(&mut self, statement: &'a ast::Statement) {
        use ast::Statement;
        match statement {
            Statement::Param(param) => {
                self.ty(&param.ty);
                self.value(&param.default, None);
            }
            Statement::Let(binding) => {
                let gives = match &binding.bound {
                    ast::Binding::Value(value) => {
                        self.value(value, None);
                        super::values::value_type(value).map_or(Gives::Nothing, Gives::Value)
                    }
                    ast::Binding::Chain(chain) => self.chain(chain),
                };
                self.give(&binding.name, gives);
            }
            Statement::Pipeline(pipeline) => {
                let gives = self.chain(&pipeline.chain);
                self.give(&pipeline.name, gives);
            }
            Statement::Recipe(recipe) => self.recipe_body(recipe),
            Statement::Set(set) => {
                let signature = self.registry.get(&set.method.text);
                self.mention(set.method.span, signature.map_or(Target::Unknown, |found| Target::Method(found.name)));
                let callee = signature.map(super::calls::Callee::Method);
                self.arguments(callee.as_ref(), &set.arguments);
            }
            Statement::Expect(expect) => {
                self.measure(&expect.measure);
                expect.minus.iter().for_each(|minus| self.measure(minus));
                self.value(&expect.bound, None);
            }
            Statement::Publish(publish) => {
                let target = self.symbol(&publish.pipeline.text);
                self.mention(publish.pipeline.span, target);
                self.value(&publish.directory, None);
            }
            Statement::Use(_) | Statement::Broken(_) => {}
        }
    }

    fn recipe_body(&mut self, recipe: &'a ast::Recipe) {
        // Defaults are read with the file's names.
        for parameter in &recipe.parameters {
            self.ty(&parameter.ty);
            if let Some(default) = &parameter.default {
                let ty =
                    self.by_place.get(&parameter.name.span.start).and_then(|id| self.index.symbols[*id].ty.clone());
                let slot = ty.map(|ty| super::calls::Slot { ty, target: Target::Unknown });
                self.value(default, slot.as_ref());
            }
        }
        let outside = self.locals.len();
        for parameter in &recipe.parameters {
            if let Some(id) = self.by_place.get(&parameter.name.span.start).copied() {
                self.locals.push((&parameter.name.text, id));
                if let Some(ParameterType::Artifact(artifact)) = self.index.symbols[id].ty {
                    self.gives[id] = Gives::Artifact(artifact);
                }
            }
        }
        let gives = self.chain(&recipe.chain);
        self.locals.truncate(outside);
        self.give(&recipe.name, gives);
    }

    fn ty(&mut self, ty: &ast::Type) {
        self.mention(ty.name.span, Target::Type);
        for taken in ty.takes.iter().flatten() {
            self.mention(taken.span, Target::Type);
        }
    }

    fn measure(&mut self, measure: &ast::Measure) {
        if let Some(fold) = &measure.fold {
            self.mention(fold.span, Target::Fold);
        }
        let pipeline = self.declared.get(measure.pipeline.text.as_str()).copied();
        self.mention(measure.pipeline.span, pipeline.map_or(Target::Unknown, Target::Symbol));
        self.mention(measure.metric.span, Target::Metric(pipeline));
    }

    fn give(&mut self, name: &ast::Name, gives: Gives) {
        // Of two declarations of one name each is a symbol; their places tell them apart.
        if let Some(symbol) = self.by_place.get(&name.span.start) {
            self.gives[*symbol] = gives;
        }
    }

    /// What a name stands for here.
    pub(super) fn lookup(&self, name: &str) -> Option<SymbolId> {
        let local = self.locals.iter().rev().find(|(local, _)| *local == name).map(|(_, symbol)| *symbol);
        local.or_else(|| self.declared.get(name).copied())
    }

    pub(super) fn symbol(&self, name: &str) -> Target {
        self.lookup(name).map_or(Target::Unknown, Target::Symbol)
    }

    /// The two parts of a path: a module and something it declares, if it does.
    pub(super) fn path(&mut self, module: &str, member: &str, span: Span) -> Option<(SymbolId, Arc<Index>, SymbolId)> {
        let symbol = self.module_names.get(module).copied();
        let first = Span { end: span.start + module.len(), ..span };
        self.mention(first, symbol.map_or(Target::Unknown, Target::Symbol));
        let index = symbol.and_then(|symbol| self.index.module_of(symbol)?.index.clone());
        let found = index.and_then(|index| index.named(member).map(|id| (index, id)));
        let last = Span { start: span.end - member.len(), ..span };
        match (symbol, found) {
            (Some(module), Some((index, symbol))) => {
                self.mention(last, Target::Member { module, symbol });
                Some((module, index, symbol))
            }
            _ => {
                self.mention(last, Target::Unknown);
                None
            }
        }
    }

    /// Follows names that stand for other names, and puts everything in order.
    fn finish(mut self) -> Index {
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
        self.index.names.sort_by_key(|mention| mention.span);
        self.index
    }
}
