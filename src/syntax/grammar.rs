//! The parser pest makes of the grammar.

/// One function a rule; see `grammar/ftp.pest`.
#[derive(pest_derive::Parser)]
#[grammar = "grammar/ftp.pest"]
pub(super) struct Grammar;
