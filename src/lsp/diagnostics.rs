//! The checker's findings as the protocol has them.

use std::collections::HashMap;

use lsp_types::{
    CodeDescription, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, NumberOrString,
};

use super::document::Document;
use super::facts::Facts;
use super::setup::Client;
use crate::lang::{self, Checked, Severity};
use crate::methods;
use crate::syntax::{Source, Span};

/// Checks the document's text and keeps what was found in it. `open` are the texts of other open files. Whether what its
/// names stand for is another thing now, since a module is.
pub(super) fn check(key: &str, document: &mut Document, open: &HashMap<&str, &str>, facts: &mut Facts) -> bool {
    let directory = document.directory();
    let source = &document.source;
    let (checked, modules) =
        facts.answer(key, &directory, open, |world| lang::check(source, methods::registry(), world, &[]));
    let source = match checked {
        Ok(Checked { program, warnings, source }) => {
            document.findings = warnings;
            document.program = Some(program);
            source
        }
        Err(diagnostics) => {
            document.findings = diagnostics.all;
            diagnostics.source
        }
    };
    document.below = source.modules;
    document.set_modules(&modules)
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
                    range: document.range(if node.span.file == 0 { node.span } else { Span::new(0, 0) }),
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
    let mut places = finding.related.clone();
    // What is wrong in a module is said where the module is used.
    let module = finding.span.and_then(|span| document.below.get(span.file.checked_sub(1)?));
    if let (Some(module), Some(span)) = (module, finding.span) {
        message = format!("in {}: {message}", module.name);
        places.insert(0, (span, finding.label.clone()));
    }
    let range = document.range(match (module, finding.span) {
        (Some(module), _) => used(document, module),
        // What no place in the file is to blame for stands at its beginning.
        (None, span) => span.unwrap_or(Span::new(0, 0)),
    });
    let related = places.into_iter().filter_map(|(span, message)| {
        Some(DiagnosticRelatedInformation { location: document.location(span)?, message })
    });
    let link = client.explain.then(|| format!("ftp-explain:{}", finding.code).parse().ok()).flatten();
    Diagnostic {
        range,
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

/// The statement that uses a module; of one that another module uses, the first that uses any.
fn used(document: &Document, module: &Source) -> Span {
    let mut modules = document.index.modules.iter();
    let direct =
        modules.clone().find(|one| document.module(one.symbol).is_some_and(|it| it.source.name == module.name));
    let found = direct.or_else(|| modules.next());
    found.map_or(Span::new(0, 0), |module| document.index.symbols[module.symbol].span)
}
