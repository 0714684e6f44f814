//! What a file declares.

use super::super::{module, types};
use super::build::Builder;
use super::{Mention, Module, Symbol, SymbolId, SymbolKind, Target};
use crate::syntax::{Span, ast};

impl Symbol {
    fn new(name: &ast::Name, kind: SymbolKind, docs: &Option<String>, span: Span) -> Self {
        Self {
            name: name.clone(),
            kind,
            docs: docs.clone(),
            span,
            artifact: None,
            value_type: None,
            ty: None,
            recipe: None,
            required: false,
        }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn declare(&mut self, statement: &'a ast::Statement) {
        use ast::Statement;
        match statement {
            Statement::Param(param) => {
                let mut symbol = Symbol::new(&param.name, SymbolKind::Param, &param.docs, param.span);
                symbol.value_type = Some(param.ty.name.text.clone());
                self.global(symbol, &param.name);
            }
            Statement::Let(binding) => {
                let kind = match binding.bound {
                    ast::Binding::Value(_) => SymbolKind::Value,
                    ast::Binding::Chain(_) => SymbolKind::Chain,
                };
                self.global(Symbol::new(&binding.name, kind, &binding.docs, binding.span), &binding.name);
            }
            Statement::Pipeline(pipeline) => {
                let symbol = Symbol::new(&pipeline.name, SymbolKind::Pipeline, &pipeline.docs, pipeline.span);
                self.global(symbol, &pipeline.name);
            }
            Statement::Recipe(recipe) => self.recipe(recipe),
            Statement::Use(used) => self.module(used),
            Statement::Broken(ast::Broken { keyword, name: Some(name), span })
                if !matches!(keyword.as_deref(), Some("set" | "expect" | "publish" | "use")) =>
            {
                self.global(Symbol::new(name, SymbolKind::Broken, &None, *span), name);
            }
            _ => {}
        }
    }

    fn recipe(&mut self, recipe: &'a ast::Recipe) {
        let symbol = Symbol::new(&recipe.name, SymbolKind::Recipe, &recipe.docs, recipe.span);
        let id = self.global(symbol, &recipe.name);
        for parameter in &recipe.parameters {
            let mut symbol = Symbol::new(&parameter.name, SymbolKind::Parameter, &parameter.docs, parameter.span);
            symbol.ty = types::of(&parameter.ty, true).ok();
            symbol.value_type = Some(parameter.ty.name.text.clone());
            symbol.recipe = Some(id);
            symbol.required = parameter.default.is_none();
            self.add(symbol);
        }
    }

    fn module(&mut self, used: &'a ast::Use) {
        let Ok(name) = module::name_of(used) else { return };
        let symbol = self.add(Symbol::new(&name, SymbolKind::Module, &None, used.span));
        self.module_names.entry(name.text).or_insert(symbol);
        let index = (self.modules)(used);
        self.index.modules.push(Module { symbol, origin: used.origin.clone(), index });
    }

    /// Declares a name that the whole file knows; the first declaration counts.
    fn global(&mut self, symbol: Symbol, name: &'a ast::Name) -> SymbolId {
        let id = self.add(symbol);
        self.declared.entry(&name.text).or_insert(id);
        id
    }

    pub(super) fn variable(&mut self, name: &ast::Name) -> SymbolId {
        self.add(Symbol::new(name, SymbolKind::Variable, &None, name.span))
    }

    fn add(&mut self, symbol: Symbol) -> SymbolId {
        let id = self.index.symbols.len();
        self.index.names.push(Mention { span: symbol.name.span, target: Target::Declaration(id) });
        self.by_place.insert(symbol.name.span.start, id);
        self.index.symbols.push(symbol);
        self.gives.push(super::build::Gives::Nothing);
        id
    }
}
