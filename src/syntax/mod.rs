//! Text -> syntax tree with spans. Pure: no files, no names resolved, no types.
//!
//! From outside: [`parse`], the tree in [`ast`], [`Span`] and [`Source`].

pub mod ast;
mod parser;
pub mod span;

pub use parser::{SyntaxError, parse};
pub use span::{Source, Span};
