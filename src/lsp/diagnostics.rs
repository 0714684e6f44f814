//! The checker's findings as the protocol has them.

use lsp_types::{
    CodeDescription, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, Location,
    NumberOrString,
};

use super::document::Document;
use super::facts::Facts;
use super::setup::Client;
use crate::lang::{self, Checked, Severity};
use crate::methods;
use crate::syntax::Span;

/// Checks the document's text and keeps what was found in it.
pub(super) fn check(key: &str, document: &mut Document, facts: &mut Facts) {
    let directory = document.directory();
    let source = &document.source;
    let checked = facts.answer(key, &directory, |world| lang::check(source, methods::registry(), world, &[]));
    match checked {
        Ok(Checked { program, warnings }) => {
            document.findings = warnings;
            document.program = Some(program);
        }
        Err(diagnostics) => document.findings = diagnostics.all,
    }
}

/// All findings of the last check.
pub(super) fn all(document: &Document, client: Client) -> Vec<Diagnostic> {
    let mut all: Vec<Diagnostic> =
        document.findings.iter().map(|finding| diagnostic(document, finding, client)).collect();
    // What was guessed about data is no fault, but worth knowing.
    if !document.findings.iter().any(|finding| finding.severity == Severity::Error) {
        for node in document.program.iter().flat_map(|program| &program.nodes) {
            for notice in node.source.iter().flat_map(|facts| &facts.notices) {
                all.push(Diagnostic {
                    range: document.range(node.span),
                    severity: Some(DiagnosticSeverity::INFORMATION),
                    code: Some(NumberOrString::String(notice.code.to_string())),
                    source: Some("ftp".into()),
                    message: notice.message.clone(),
                    ..Diagnostic::default()
                });
            }
        }
    }
    all
}

/// One finding.
pub(super) fn diagnostic(document: &Document, finding: &lang::Diagnostic, client: Client) -> Diagnostic {
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        message += &format!("\nhelp: {help}");
    }
    let location = |span: Span| Location::new(document.uri.clone(), document.range(span));
    let related = finding
        .related
        .iter()
        .map(|(span, label)| DiagnosticRelatedInformation { location: location(*span), message: label.clone() });
    let link = client.explain.then(|| format!("ftp-explain:{}", finding.code).parse().ok()).flatten();
    Diagnostic {
        // What no place in the file is to blame for stands at its beginning.
        range: document.range(finding.span.unwrap_or(Span::new(0, 0))),
        severity: Some(match finding.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(finding.code.to_owned())),
        code_description: link.map(|href| CodeDescription { href }),
        source: Some("ftp".into()),
        message,
        related_information: client.related.then(|| related.collect()).filter(|all: &Vec<_>| !all.is_empty()),
        tags: finding.code.ends_with("::unused").then(|| vec![DiagnosticTag::UNNECESSARY]),
        data: None,
    }
}
