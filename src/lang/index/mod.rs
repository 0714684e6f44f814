//! What every name in a file stands for, by place: the one resolution of names that editors ask.
//!
//! Built from the tree alone, so it is there for a file with errors too, and needs no answers from the outside world. It
//! follows the same rules as the checker (`lang::check`), but judges nothing: a name that leads nowhere is
//! [`Target::Unknown`].

mod build;
mod calls;
mod declare;
mod values;

use std::sync::Arc;

pub use calls::by_place;

use super::signature::{Artifact, ParameterType};
use crate::syntax::{Span, ast};

/// Which of [`Index::symbols`].
pub type SymbolId = usize;

/// The declarations of a file and the uses of names in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// What the file declares, then the variables of its `each`es.
    pub symbols: Vec<Symbol>,
    /// Every name, declarations among them, in the order of the file.
    pub names: Vec<Mention>,
    /// The modules it uses.
    pub modules: Vec<Module>,
}

/// Something a file declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Symbol {
    pub name: ast::Name,
    pub kind: SymbolKind,
    pub docs: Option<String>,
    /// The whole statement; of a recipe's parameter and a variable only that.
    pub span: Span,
    /// What a chain, a source or a recipe ends in, as far as the text alone says.
    pub artifact: Option<Artifact>,
    /// The type of a plain value, by the name `param` has for it; `list` and `none` besides.
    pub value_type: Option<String>,
    /// The declared type of a recipe's parameter.
    pub ty: Option<ParameterType>,
    /// The recipe that a parameter belongs to.
    pub recipe: Option<SymbolId>,
    /// A recipe's parameter without a default.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    Param,
    /// A `let` of a plain value.
    Value,
    /// A `let` of data, of a model, or of a chain.
    Chain,
    Pipeline,
    Recipe,
    /// Of a recipe.
    Parameter,
    /// Of an `each`.
    Variable,
    Module,
    /// Declared by a statement with a syntax error.
    Broken,
}

/// A module that the file uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    pub symbol: SymbolId,
    pub origin: ast::Origin,
    /// What it declares, when it could be read.
    pub index: Option<Arc<Index>>,
}

/// A name where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Mention {
    pub span: Span,
    pub target: Target,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This is where it is declared.
    Declaration(SymbolId),
    Symbol(SymbolId),
    /// Something that a module declares.
    Member {
        module: SymbolId,
        symbol: SymbolId,
    },
    /// A stage, a source or a delta method.
    Method(&'static str),
    /// Of a method.
    Parameter {
        method: &'static str,
        parameter: &'static str,
    },
    /// One of the names that a parameter lists.
    Choice {
        method: &'static str,
        parameter: &'static str,
    },
    /// A metric of a pipeline, where there is that pipeline.
    Metric(Option<SymbolId>),
    /// `mean`, `std` and the like.
    Fold,
    /// The type of a parameter.
    Type,
    Unit,
    /// `true`, `false`, `none`.
    Literal,
    Unknown,
}

impl Target {
    /// The thing of this file that it stands for.
    pub fn symbol(&self) -> Option<SymbolId> {
        match self {
            Target::Declaration(symbol) | Target::Symbol(symbol) => Some(*symbol),
            _ => None,
        }
    }
}

impl SymbolKind {
    /// Whether it holds a plain value.
    pub fn is_value(self) -> bool {
        matches!(self, SymbolKind::Param | SymbolKind::Value)
    }

    /// Whether the whole file knows it, rather than a recipe or an `each`.
    pub fn is_global(self) -> bool {
        !matches!(self, SymbolKind::Parameter | SymbolKind::Variable)
    }
}

impl Index {
    /// The name at a byte offset, or the one that ends right there.
    pub fn at(&self, offset: usize) -> Option<&Mention> {
        let after = self.names.partition_point(|mention| mention.span.start <= offset);
        self.names[..after].last().filter(|mention| offset <= mention.span.end)
    }

    /// The declaration of a name that the whole file knows.
    pub fn named(&self, name: &str) -> Option<SymbolId> {
        self.symbols.iter().position(|symbol| symbol.kind.is_global() && symbol.name.text == name)
    }

    /// Every place that stands for a declared thing, its declaration among them.
    pub fn mentions(&self, symbol: SymbolId) -> impl Iterator<Item = &Mention> {
        self.names.iter().filter(move |mention| mention.target.symbol() == Some(symbol))
    }

    /// The parameters of a recipe, in order.
    pub fn parameters(&self, recipe: SymbolId) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(move |symbol| symbol.recipe == Some(recipe))
    }

    /// A module by what it is called in this file.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| self.symbols[module.symbol].name.text == name)
    }

    /// The module that a symbol is.
    pub fn module_of(&self, symbol: SymbolId) -> Option<&Module> {
        self.modules.iter().find(|module| module.symbol == symbol)
    }

    /// What a name or a path (`team.robust`) leads to, and the index that it is declared in.
    pub fn find<'a>(&'a self, path: &str) -> Option<(&'a Index, SymbolId)> {
        match path.split_once('.') {
            None => Some((self, self.named(path)?)),
            Some((module, name)) => {
                let index = self.module(module)?.index.as_deref()?;
                Some((index, index.named(name)?))
            }
        }
    }
}
