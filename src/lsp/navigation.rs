//! Where a name is declared and used; what a file declares.

use std::collections::HashMap;

use lsp_types::{
    DocumentHighlight, DocumentHighlightKind, DocumentSymbol, GotoDefinitionResponse, Location, Range,
    SymbolKind as Icon,
};

use super::document::Document;
use super::hover::kind_phrase;
use super::modules;
use crate::lang::index::{Symbol, SymbolId, SymbolKind, Target};

type Documents = HashMap<String, Document>;

pub(super) fn definition(document: &Document, offset: usize) -> Option<GotoDefinitionResponse> {
    let target = &document.index.at(offset)?.target;
    if let Some((module, symbol)) = document.member(target) {
        return Some(document.location_in(module, symbol.name.span)?.into());
    }
    // From where a module is named, on into the module.
    if let Target::Declaration(symbol) = target
        && let Some(module) = document.module(*symbol)
    {
        return Some(Location::new(modules::address(&module.source)?, Range::default()).into());
    }
    let symbol = target.symbol()?;
    Some(document.location(document.index.symbols[symbol].name.span)?.into())
}

/// Something that files may know by different names: declared in a file under a name.
pub(super) struct Thing<'a> {
    file: &'a str,
    name: &'a str,
}

impl<'a> Thing<'a> {
    /// What other files can see of a target, if they can.
    pub fn new(document: &'a Document, target: &Target) -> Option<Self> {
        if let Some((module, symbol)) = document.member(target) {
            return global(symbol).then(|| Self { file: &module.source.name, name: &symbol.name.text });
        }
        let symbol = document.index.symbols.get(target.symbol()?)?;
        global(symbol).then(|| Self { file: &document.name, name: &symbol.name.text })
    }

    /// The places in a document that stand for it.
    pub fn mentions<'d>(&self, document: &'d Document) -> Vec<&'d crate::lang::index::Mention> {
        if document.name == self.file {
            let symbol = document.index.named(self.name);
            return symbol.into_iter().flat_map(|symbol| document.index.mentions(symbol)).collect();
        }
        let names = document.index.names.iter().filter(|mention| {
            document.member(&mention.target).is_some_and(|(module, symbol)| {
                module.source.name == self.file && symbol.name.text == self.name && global(symbol)
            })
        });
        names.collect()
    }
}

fn global(symbol: &Symbol) -> bool {
    symbol.kind.is_global() && symbol.kind != SymbolKind::Module
}

pub(super) fn references(
    documents: &Documents,
    document: &Document,
    offset: usize,
    declaration: bool,
) -> Vec<Location> {
    let Some(target) = document.index.at(offset).map(|mention| &mention.target) else { return vec![] };
    let is_wanted = |target: &Target| declaration || !matches!(target, Target::Declaration(_));
    let Some(thing) = Thing::new(document, target) else {
        let here = target.symbol().into_iter().flat_map(|symbol| document.index.mentions(symbol));
        return here.filter(|one| is_wanted(&one.target)).filter_map(|one| document.location(one.span)).collect();
    };
    let mut all = vec![];
    // In a fixed order, this document first.
    let mut others: Vec<&Document> = documents.values().filter(|other| other.name != document.name).collect();
    others.sort_by_key(|other| &other.name);
    for one in std::iter::once(document).chain(others) {
        let mentions = thing.mentions(one).into_iter().filter(|mention| is_wanted(&mention.target));
        all.extend(mentions.filter_map(|mention| one.location(mention.span)));
    }
    // A module that is not open is known by its declarations.
    if let Some((module, _)) = document.member(target)
        && documents.values().all(|other| other.name != module.source.name)
        && let Some(symbol) = module.index.named(thing.name)
    {
        let mentions = module.index.mentions(symbol).filter(|mention| is_wanted(&mention.target));
        all.extend(mentions.filter_map(|mention| document.location_in(module, mention.span)));
    }
    all
}

/// The same things in this file: what is declared, else the same method, parameter or the like.
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
    let index = &document.index;
    let global = index.symbols.iter().enumerate().filter(|(_, symbol)| symbol.kind.is_global());
    global.map(|(id, symbol)| outline(document, id, symbol)).collect()
}

fn outline(document: &Document, id: SymbolId, symbol: &Symbol) -> DocumentSymbol {
    let parameters = document.index.symbols.iter().enumerate().filter(|(_, one)| one.recipe == Some(id));
    let children: Vec<DocumentSymbol> = parameters.map(|(id, one)| outline(document, id, one)).collect();
    #[expect(deprecated, reason = "a field that must be given and is not used any more")]
    DocumentSymbol {
        name: symbol.name.text.clone(),
        detail: Some(kind_phrase(symbol)),
        kind: match symbol.kind {
            SymbolKind::Param => Icon::PROPERTY,
            SymbolKind::Value => Icon::CONSTANT,
            SymbolKind::Chain | SymbolKind::Parameter | SymbolKind::Variable => Icon::VARIABLE,
            SymbolKind::Pipeline | SymbolKind::Recipe => Icon::FUNCTION,
            SymbolKind::Module => Icon::MODULE,
            SymbolKind::Broken => Icon::NULL,
        },
        tags: None,
        deprecated: None,
        range: document.range(symbol.span.to(symbol.name.span)),
        selection_range: document.range(symbol.name.span),
        children: (!children.is_empty()).then_some(children),
    }
}
