//! Changes to a whole file, as few as will do, so that cursors and marks stay where they are.

use lsp_types::TextEdit;
use similar::{Algorithm, DiffOp, TextDiff};

use super::document::Document;
use crate::syntax::{self, Span};

/// The edits of `ftp fmt`; `None` for a file with a syntax error, which has no style.
pub(super) fn format(document: &Document) -> Option<Vec<TextEdit>> {
    let formatted = syntax::format(&document.source).ok()?;
    Some(between(document, &formatted))
}

/// The edits that make another text of the document's, line by line.
fn between(document: &Document, new: &str) -> Vec<TextEdit> {
    let old = document.text();
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(old, new);
    let (before, after) = (starts(old), starts(new));
    let edits = diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. })).map(|op| {
        let (from, to) = (op.old_range(), op.new_range());
        let range = document.range(Span::new(before[from.start], before[from.end]));
        TextEdit { range, new_text: new[after[to.start]..after[to.end]].to_owned() }
    });
    edits.collect()
}

/// Where each line begins, and the end; lines as `similar` cuts them.
fn starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' || *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n') {
            starts.push(at + 1);
        }
    }
    if starts.last() != Some(&text.len()) {
        starts.push(text.len());
    }
    starts
}
