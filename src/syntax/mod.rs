//! Text -> syntax tree with spans. Pure: no files, no names resolved, no types.
//!
//! From outside: [`parse`], [`format`], the tree in [`ast`], [`Span`] and [`Source`]. The grammar is `grammar/ftp.pest`.

pub mod ast;
mod chain;
mod error;
mod format;
mod grammar;
mod literal;
mod parser;
pub mod span;

pub use error::SyntaxError;
pub use format::format;
pub use literal::is_variable;
pub use parser::{is_name, parse, parse_file, parse_value};
pub use span::{Source, Span};
