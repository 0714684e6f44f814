//! What can be mended, as actions.

use std::collections::HashMap;

use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, CodeActionResponse, TextEdit, WorkspaceEdit,
};

use super::diagnostics;
use super::document::Document;
use super::setup::Client;
use crate::lang::{Diagnostic, Fix};
use crate::syntax::Span;

pub(super) fn actions(document: &Document, params: &CodeActionParams, client: Client) -> CodeActionResponse {
    let here = document.span(params.range);
    let only = params.context.only.as_deref();
    // A kind asked for stands for those below it, `source` for `source.fixAll`.
    let asked = |kind: &CodeActionKind| {
        only.is_none_or(|only| {
            only.iter().any(|one| {
                kind.as_str().strip_prefix(one.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
    };
    let mut actions = vec![];
    if asked(&CodeActionKind::QUICKFIX) {
        for finding in &document.findings {
            let Some(fix) = finding.fix.as_ref().filter(|_| finding.span.is_some_and(|span| touches(span, here)))
            else {
                continue;
            };
            let was = document.slice(fix.span);
            actions.push(CodeAction {
                title: match (was.is_empty(), fix.text.is_empty()) {
                    (true, _) => format!("Insert `{}`", fix.text),
                    (false, true) => format!("Remove `{was}`"),
                    (false, false) => format!("Change `{was}` to `{}`", fix.text),
                },
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![diagnostics::diagnostic(document, finding, client)]),
                edit: Some(edit(document, [fix])),
                is_preferred: Some(true),
                ..CodeAction::default()
            });
        }
    }
    let all: Vec<&Fix> = apart(document.findings.iter().filter_map(fix));
    if asked(&CodeActionKind::SOURCE_FIX_ALL) && !all.is_empty() {
        actions.push(CodeAction {
            title: "Fix all that can be fixed without doubt".into(),
            kind: Some(CodeActionKind::SOURCE_FIX_ALL),
            edit: Some(edit(document, all)),
            ..CodeAction::default()
        });
    }
    actions.into_iter().map(CodeActionOrCommand::CodeAction).collect()
}

/// The fix of a finding, when it is one of this file.
fn fix(finding: &Diagnostic) -> Option<&Fix> {
    finding.fix.as_ref().filter(|fix| fix.span.file == 0)
}

fn touches(span: Span, other: Span) -> bool {
    span.file == other.file && span.start <= other.end && other.start <= span.end
}

/// Fixes in the order of the file; of those that overlap, the first.
fn apart<'a>(fixes: impl Iterator<Item = &'a Fix>) -> Vec<&'a Fix> {
    let mut fixes: Vec<&Fix> = fixes.collect();
    fixes.sort_by_key(|fix| fix.span);
    let mut end = 0;
    fixes.retain(|fix| {
        let apart = fix.span.start >= end;
        if apart {
            end = fix.span.end;
        }
        apart
    });
    fixes
}

fn edit<'a>(document: &Document, fixes: impl IntoIterator<Item = &'a Fix>) -> WorkspaceEdit {
    let edits = fixes.into_iter().map(|fix| TextEdit { range: document.range(fix.span), new_text: fix.text.clone() });
    WorkspaceEdit::new(HashMap::from([(document.uri.clone(), edits.collect())]))
}
