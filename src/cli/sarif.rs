//! Findings as SARIF 2.1.0, which code hosts and editors read.

use serde_json::{Value, json};

use crate::lang::explain::{self, Block};
use crate::lang::{Diagnostic, Severity};
use crate::syntax::{Source, Span};

/// The whole log: one run with a rule for each code that occurs.
pub(super) fn log(source: &Source, findings: &[Diagnostic]) -> Value {
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.iter().map(|code| rule(code)).collect();
    let results = findings.iter().map(|finding| {
        let index = codes.iter().position(|code| *code == finding.code);
        result(source, finding, index)
    });
    let results: Vec<Value> = results.collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "ftp", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "artifacts": [{ "location": { "uri": uri(&source.name) }, "sourceLanguage": "ftp" }],
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    let mut rule = json!({ "id": code });
    if let [page] = explain::find(code).as_slice() {
        let text = page.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(*text),
            _ => None,
        });
        rule["shortDescription"] = json!({ "text": format!("{}.", page.summary().replace('\n', " ")) });
        rule["fullDescription"] = json!({ "text": text.collect::<Vec<_>>().join("\n\n") });
    }
    rule
}

fn result(source: &Source, finding: &Diagnostic, rule: Option<usize>) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    };
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut result = json!({ "ruleId": finding.code, "ruleIndex": rule, "level": level, "message": { "text": text } });
    let place = match finding.span {
        Some(span) => location(source, span, &finding.label),
        // Not in the file, but about it: a value of `--set`.
        None => json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&source.name) } } }),
    };
    result["locations"] = json!([place]);
    if !finding.related.is_empty() {
        let related = finding.related.iter().map(|(span, label)| location(source, *span, label));
        result["relatedLocations"] = related.collect();
    }
    if let Some(fix) = &finding.fix {
        result["fixes"] = json!([{
            "description": { "text": format!("write `{}`", fix.text) },
            "artifactChanges": [{
                "artifactLocation": { "uri": uri(&source.name) },
                "replacements": [{
                    "deletedRegion": region(source, fix.span),
                    "insertedContent": { "text": fix.text },
                }],
            }],
        }]);
    }
    result
}

fn location(source: &Source, span: Span, label: &str) -> Value {
    let mut location = json!({
        "physicalLocation": { "artifactLocation": { "uri": uri(&source.name) }, "region": region(source, span) },
    });
    if !label.is_empty() {
        location["message"] = json!({ "text": label });
    }
    location
}

/// Lines and columns count from 1; the end is the column behind the last character.
fn region(source: &Source, span: Span) -> Value {
    let (line, column) = source.position(span.start);
    let (end_line, end_column) = source.position(span.end);
    json!({
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
        "byteOffset": span.start,
        "byteLength": span.end - span.start,
    })
}

/// A path as a relative or absolute reference: what may not stand in one is percent-encoded.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encode = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    let path: String = path.bytes().map(encode).collect();
    if path.starts_with('/') { format!("file://{path}") } else { path }
}
