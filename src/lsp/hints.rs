//! Types behind the names of declarations that do not say them.

use lsp_types::{InlayHint, InlayHintKind, InlayHintLabel, Range};

use super::document::Document;
use crate::lang::index::SymbolKind;
use crate::lang::signature::Artifact;

/// Those of a part of the file.
pub(super) fn hints(document: &Document, range: Range) -> Vec<InlayHint> {
    let part = document.span(range);
    let symbols = document.index.symbols.iter().filter(|symbol| {
        let end = symbol.name.span.end;
        symbol.kind == SymbolKind::Chain && (part.start..=part.end).contains(&end)
    });
    let hints = symbols.filter_map(|symbol| {
        Some(InlayHint {
            position: document.range(symbol.name.span).end,
            label: InlayHintLabel::String(format!(": {}", short(symbol.artifact?))),
            kind: Some(InlayHintKind::TYPE),
            text_edits: None,
            tooltip: Some(symbol.artifact?.phrase().to_owned().into()),
            padding_left: None,
            padding_right: Some(true),
            data: None,
        })
    });
    hints.collect()
}

/// A type in a word or two.
pub(super) fn short(artifact: Artifact) -> &'static str {
    match artifact {
        Artifact::Text => "Text",
        Artifact::Labelled => "Labelled",
        Artifact::Model => "Model",
        Artifact::Delta => "Delta",
        Artifact::Parametrised | Artifact::Loaded => "Model + delta",
        Artifact::Models => "Models",
        Artifact::Ensemble => "Ensemble",
    }
}
