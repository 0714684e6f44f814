//! Another name for something the file declares, everywhere.

use std::collections::HashMap;

use lsp_types::{PrepareRenameResponse, TextEdit, WorkspaceEdit};

use super::answers::Refusal;
use super::document::Document;
use super::navigation::Thing;
use crate::lang::index::{Index, Symbol, SymbolId, SymbolKind, Target};
use crate::lang::{self, signature::Kind};
use crate::methods;
use crate::syntax::{self, Source, Span};

pub(super) fn prepare(document: &Document, offset: usize) -> Result<PrepareRenameResponse, Refusal> {
    let (span, _) = renamed(document, offset)?;
    let placeholder = document.slice(span).to_owned();
    Ok(PrepareRenameResponse::RangeWithPlaceholder { range: document.range(span), placeholder })
}

pub(super) fn rename(
    documents: &HashMap<String, Document>,
    document: &Document,
    offset: usize,
    to: &str,
) -> Result<WorkspaceEdit, Refusal> {
    let (_, symbol) = renamed(document, offset)?;
    allowed(document, symbol, to)?;
    let spans: Vec<Span> = document.index.mentions(symbol).map(|mention| mention.span).collect();
    keeps_meaning(document, &spans, to)?;
    let mut changes = vec![(document.uri.clone(), edits(document, spans, to))];
    // Open files that use this one as a module know it by the same name.
    if let Some(thing) = Thing::new(document, &Target::Symbol(symbol)) {
        for other in documents.values().filter(|other| other.name != document.name) {
            let spans: Vec<Span> = thing.mentions(other).into_iter().map(|mention| mention.span).collect();
            if !spans.is_empty() {
                changes.push((other.uri.clone(), edits(other, spans, to)));
            }
        }
    }
    Ok(WorkspaceEdit::new(changes.into_iter().collect()))
}

fn edits(document: &Document, spans: Vec<Span>, to: &str) -> Vec<TextEdit> {
    spans.into_iter().map(|span| TextEdit { range: document.range(span), new_text: to.to_owned() }).collect()
}

/// The name under the cursor and what it stands for.
fn renamed(document: &Document, offset: usize) -> Result<(Span, SymbolId), Refusal> {
    let Some(mention) = document.index.at(offset) else { return refuse("there is no name here") };
    let name = document.slice(mention.span);
    if let Some(symbol) = mention.target.symbol() {
        let declared = &document.index.symbols[symbol];
        // The module's own name, or its file's.
        if declared.kind == SymbolKind::Module && !is_given(document, declared) {
            return refuse(format!(
                "`{name}` is what the module is called; write `as` and another name behind its `use`"
            ));
        }
        return Ok((mention.span, symbol));
    }
    refuse(match mention.target {
        Target::Member { .. } => format!("`{name}` is declared in another file; rename it there"),
        Target::Method(_) => format!("`{name}` is a method of ftp; only names this file declares can be renamed"),
        Target::Unknown => format!("nothing is named `{name}`"),
        _ => format!("`{name}` is a word of the language; only names this file declares can be renamed"),
    })
}

/// Whether a module's name is said behind `as`.
fn is_given(document: &Document, module: &Symbol) -> bool {
    let before = document.slice(Span::new(module.span.start, module.name.span.start));
    before.trim_end().ends_with(" as")
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
    // Modules have names of their own; parameters of a recipe share theirs.
    let kind = |id: SymbolId| document.index.symbols[id].kind == SymbolKind::Module;
    let taken = document.index.symbols.iter().enumerate().any(|(id, other)| {
        let together = match document.index.symbols[symbol].recipe {
            Some(recipe) => other.recipe == Some(recipe),
            None => other.kind.is_global() && kind(id) == kind(symbol),
        };
        id != symbol && together && other.name.text == to
    });
    if taken { refuse(format!("`{to}` is declared already")) } else { Ok(()) }
}

/// Refuses when a name would stand for something else afterwards, whatever the reason.
fn keeps_meaning(document: &Document, spans: &[Span], to: &str) -> Result<(), Refusal> {
    let mut text = document.text().to_owned();
    for span in spans.iter().rev() {
        text.replace_range(span.start..span.end, to);
    }
    let (file, _) = syntax::parse(&Source::new(document.source.name.as_str(), text));
    let after = document.index_of(&file);
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
