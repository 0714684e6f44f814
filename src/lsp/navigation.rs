//! Where a name is declared and used; what a file declares.

use lsp_types::{
    DocumentHighlight, DocumentHighlightKind, DocumentSymbol, GotoDefinitionResponse, Location, SymbolKind as Icon,
};

use super::document::Document;
use super::hover::kind_phrase;
use crate::lang::index::{SymbolKind, Target};

pub(super) fn definition(document: &Document, offset: usize) -> Option<GotoDefinitionResponse> {
    let symbol = document.index.at(offset)?.target.symbol()?;
    let declared = document.index.symbols[symbol].name.span;
    Some(Location::new(document.uri.clone(), document.range(declared)).into())
}

pub(super) fn references(document: &Document, offset: usize, with_declaration: bool) -> Vec<Location> {
    let Some(symbol) = document.index.at(offset).and_then(|mention| mention.target.symbol()) else { return vec![] };
    let mentions = document.index.mentions(symbol);
    let mentions = mentions.filter(|mention| with_declaration || !matches!(mention.target, Target::Declaration(_)));
    mentions.map(|mention| Location::new(document.uri.clone(), document.range(mention.span))).collect()
}

/// The same things in this file: what is declared here, else the same method, parameter or the like.
pub(super) fn highlights(document: &Document, offset: usize) -> Vec<DocumentHighlight> {
    let Some(here) = document.index.at(offset) else { return vec![] };
    let same = document.index.names.iter().filter(|mention| match here.target.symbol() {
        Some(symbol) => mention.target.symbol() == Some(symbol),
        None => mention.target == here.target && document.slice(mention.span) == document.slice(here.span),
    });
    same.map(|mention| DocumentHighlight {
        range: document.range(mention.span),
        kind: Some(match mention.target {
            Target::Declaration(_) => DocumentHighlightKind::WRITE,
            _ => DocumentHighlightKind::READ,
        }),
    })
    .collect()
}

pub(super) fn symbols(document: &Document) -> Vec<DocumentSymbol> {
    let symbols = document.index.symbols.iter().map(|symbol| {
        #[expect(deprecated, reason = "a field that must be given and is not used any more")]
        DocumentSymbol {
            name: symbol.name.text.clone(),
            detail: Some(kind_phrase(symbol)),
            kind: match symbol.kind {
                SymbolKind::Param => Icon::PROPERTY,
                SymbolKind::Value => Icon::CONSTANT,
                SymbolKind::Chain => Icon::VARIABLE,
                SymbolKind::Pipeline => Icon::FUNCTION,
                SymbolKind::Broken => Icon::NULL,
            },
            tags: None,
            deprecated: None,
            range: document.range(symbol.span.to(symbol.name.span)),
            selection_range: document.range(symbol.name.span),
            children: None,
        }
    });
    symbols.collect()
}
