//! Another name for something the file declares, everywhere.

use lsp_types::{PrepareRenameResponse, TextEdit, WorkspaceEdit};

use super::actions::workspace_edit;
use super::answers::Refusal;
use super::document::Document;
use crate::lang::index::{Index, SymbolId, Target};
use crate::lang::{self, signature::Kind};
use crate::methods;
use crate::syntax::{self, Source, Span};

pub(super) fn prepare(document: &Document, offset: usize) -> Result<PrepareRenameResponse, Refusal> {
    let (span, _) = renamed(document, offset)?;
    let placeholder = document.slice(span).to_owned();
    Ok(PrepareRenameResponse::RangeWithPlaceholder { range: document.range(span), placeholder })
}

pub(super) fn rename(document: &Document, offset: usize, to: &str) -> Result<WorkspaceEdit, Refusal> {
    let (_, symbol) = renamed(document, offset)?;
    allowed(document, symbol, to)?;
    let spans: Vec<Span> = document.index.mentions(symbol).map(|mention| mention.span).collect();
    keeps_meaning(document, &spans, to)?;
    let edits = spans.iter().map(|span| TextEdit { range: document.range(*span), new_text: to.to_owned() });
    Ok(workspace_edit(document, edits.collect()))
}

/// The name under the cursor and what it stands for.
fn renamed(document: &Document, offset: usize) -> Result<(Span, SymbolId), Refusal> {
    let Some(mention) = document.index.at(offset) else { return refuse("there is no name here") };
    if let Some(symbol) = mention.target.symbol() {
        return Ok((mention.span, symbol));
    }
    let name = document.slice(mention.span);
    refuse(match mention.target {
        Target::Method(_) => format!("`{name}` is a method of ftp; only names this file declares can be renamed"),
        Target::Unknown => format!("nothing is named `{name}`"),
        _ => format!("`{name}` is a word of the language; only names this file declares can be renamed"),
    })
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(message.into()))
}

/// Whether the file may declare this name.
fn allowed(document: &Document, symbol: SymbolId, to: &str) -> Result<(), Refusal> {
    if !syntax::is_name(to) {
        return refuse(format!("`{to}` is not a name: write letters, digits and `_`, and no digit first"));
    }
    if lang::is_reserved(to) {
        return refuse(format!("`{to}` is a word of the language"));
    }
    if methods::registry().get(to).is_some_and(|signature| signature.kind == Kind::Stage) {
        return refuse(format!("`{to}` is the name of a stage"));
    }
    match document.index.named(to) {
        Some(other) if other != symbol => refuse(format!("`{to}` is declared already")),
        _ => Ok(()),
    }
}

/// Refuses when a name would stand for something else afterwards, whatever the reason.
fn keeps_meaning(document: &Document, spans: &[Span], to: &str) -> Result<(), Refusal> {
    let mut text = document.text().to_owned();
    for span in spans.iter().rev() {
        text.replace_range(span.start..span.end, to);
    }
    let (file, _) = syntax::parse(&Source { text, ..document.source.clone() });
    let after = Index::new(&file, methods::registry());
    let targets = |index: &Index| index.names.iter().map(|mention| mention.target.clone()).collect::<Vec<_>>();
    let (before, after) = (targets(&document.index), targets(&after));
    match before.iter().zip(&after).position(|(before, after)| before != after) {
        None if before.len() == after.len() => Ok(()),
        changed => {
            let place = changed.map_or(0, |at| document.index.names[at].span.start);
            let line = document.range(Span::new(place, place)).start.line + 1;
            refuse(format!("with the name `{to}`, line {line} would mean something else"))
        }
    }
}
