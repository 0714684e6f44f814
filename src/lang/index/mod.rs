//! What every name in a file stands for, by place: the one resolution of names that editors ask.
//!
//! Built from the tree alone, so it is there for a file with errors too, and needs no answers from the outside world. It
//! follows the same rules as the checker (`lang::check`), but judges nothing: a name that leads nowhere is
//! [`Target::Unknown`].

mod build;

use super::signature::Artifact;
use crate::syntax::{Span, ast};

/// Which of [`Index::symbols`].
pub type SymbolId = usize;

/// The declarations of a file and the uses of names in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// In the order of the file.
    pub symbols: Vec<Symbol>,
    /// Every name, declarations among them, in the order of the file.
    pub names: Vec<Mention>,
}

/// Something a file declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Symbol {
    pub name: ast::Name,
    pub kind: SymbolKind,
    pub docs: Option<String>,
    /// The whole statement.
    pub span: Span,
    /// What a chain or a source ends in, as far as the text alone says.
    pub artifact: Option<Artifact>,
    /// The type of a plain value, by the name `param` has for it; `list` and `none` besides.
    pub value_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    Param,
    /// A `let` of a plain value.
    Value,
    /// A `let` of data, of a model, or of a chain.
    Chain,
    Pipeline,
    /// Declared by a statement with a syntax error.
    Broken,
}

impl SymbolKind {
    /// Whether it holds a plain value.
    pub fn is_value(self) -> bool {
        matches!(self, SymbolKind::Param | SymbolKind::Value)
    }
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
    /// A stage, a source or a delta method.
    Method(&'static str),
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
    /// The type of a `param`.
    Type,
    Unit,
    /// `true`, `false`, `none`.
    Literal,
    Unknown,
}

impl Target {
    /// The declared thing it stands for.
    pub fn symbol(&self) -> Option<SymbolId> {
        match self {
            Target::Declaration(symbol) | Target::Symbol(symbol) => Some(*symbol),
            _ => None,
        }
    }
}

impl Index {
    /// The name at a byte offset, or the one that ends right there.
    pub fn at(&self, offset: usize) -> Option<&Mention> {
        let after = self.names.partition_point(|mention| mention.span.start <= offset);
        self.names[..after].last().filter(|mention| offset <= mention.span.end)
    }

    /// The declaration of a name.
    pub fn named(&self, name: &str) -> Option<SymbolId> {
        self.symbols.iter().position(|symbol| symbol.name.text == name)
    }

    /// Every place that stands for a declared thing, its declaration among them.
    pub fn mentions(&self, symbol: SymbolId) -> impl Iterator<Item = &Mention> {
        self.names.iter().filter(move |mention| mention.target.symbol() == Some(symbol))
    }
}
