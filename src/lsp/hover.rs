//! What there is to say about the name under the cursor.

use std::fmt::Write;

use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};

use super::document::Document;
use super::modules::Module;
use crate::lang::explain::{self, Block, Page};
use crate::lang::index::{Mention, Symbol, SymbolKind, Target};
use crate::lang::metric;
use crate::lang::signature::{Default, Kind, Parameter};
use crate::lang::world::{SourceFacts, Task};
use crate::methods;
use crate::report::manual;
use crate::syntax::{Source, Span};

/// Lines of a declaration that are shown.
const LINES: usize = 12;

pub(super) fn hover(document: &Document, offset: usize) -> Option<Hover> {
    let mention = document.index.at(offset);
    let mut parts: Vec<String> = mention.and_then(|mention| about(document, mention)).into_iter().collect();
    let here =
        |span: Option<Span>| span.is_some_and(|span| span.file == 0 && span.start <= offset && offset <= span.end);
    let mut codes: Vec<&str> =
        document.findings.iter().filter(|one| here(one.span)).map(|finding| finding.code).collect();
    codes.dedup();
    for code in codes {
        for page in explain::find(code) {
            parts.push(format!("`{code}`: {}. `ftp explain {code}` says more.", page.summary().replace('\n', " ")));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let contents = HoverContents::Markup(markdown(parts.join("\n\n---\n\n")));
    Some(Hover { contents, range: mention.map(|mention| document.range(mention.span)) })
}

pub(super) fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}

fn about(document: &Document, mention: &Mention) -> Option<String> {
    let name = document.slice(mention.span);
    match &mention.target {
        Target::Declaration(symbol) | Target::Symbol(symbol) => {
            let declared = document.index.symbols.get(*symbol)?;
            let module = document.module(*symbol).map(|module| contents(module));
            Some(said(&document.source, declared) + &module.unwrap_or_default() + &data(document, declared))
        }
        Target::Member { .. } => document.member(&mention.target).map(|(module, symbol)| said(&module.source, symbol)),
        Target::Method(method) => methods::registry().get(method).map(manual::page),
        Target::Parameter { method, parameter: name } => parameter_of(method, name),
        Target::Choice { method, parameter } => {
            Some(format!("`{name}`, a choice of\n\n{}", parameter_of(method, parameter)?))
        }
        Target::Metric(_) => {
            let known = metric::CLASSIFICATION.contains(&name) || metric::REGRESSION.contains(&name);
            let better = if metric::rises(name) { "more is better" } else { "less is better" };
            known
                .then(|| format!("`{name}`: a metric, {better}; on the `test` split where there is one, else on `dev`"))
        }
        Target::Fold => match name {
            "mean" | "min" | "max" => Some(format!("the `{name}` over the models of a list")),
            "std" => Some("the standard deviation over the models of a list".into()),
            _ => None,
        },
        Target::Type | Target::Unit | Target::Literal | Target::Unknown => None,
    }
}

/// A declaration with what it is and its documentation.
fn said(source: &Source, symbol: &Symbol) -> String {
    let statement = source.text.get(symbol.span.start..symbol.span.end).unwrap_or("");
    let mut shown: Vec<&str> = statement.lines().take(LINES).collect();
    if statement.lines().count() > LINES {
        shown.push("# ..");
    }
    let mut text = format!("```ftp\n{}\n```\n\n{}", shown.join("\n"), kind_phrase(symbol));
    if let Some(docs) = &symbol.docs {
        let _ = write!(text, "\n\n{docs}");
    }
    text
}

/// What the files of declared data hold, as of the last text without errors.
fn data(document: &Document, symbol: &Symbol) -> String {
    let mut nodes = document.program.iter().flat_map(|program| &program.nodes);
    let node = nodes.find(|node| node.kind == Kind::Source && node.span.file == 0 && node.label == symbol.name.text);
    node.and_then(|node| node.source.as_ref()).map(found).unwrap_or_default()
}

/// What a module says of itself and declares.
fn contents(module: &Module) -> String {
    let (tree, _) = crate::syntax::parse(&module.source);
    let mut text = tree.docs.map(|docs| format!("\n\n{docs}")).unwrap_or_default();
    let global = module.index.symbols.iter().filter(|symbol| symbol.kind.is_global());
    for symbol in global.filter(|symbol| symbol.kind != SymbolKind::Module) {
        let docs = symbol.docs.as_deref().and_then(|docs| docs.lines().next()).unwrap_or("");
        let _ = write!(text, "\n- `{}`, {}. {docs}", symbol.name.text, kind_phrase(symbol));
    }
    text
}

/// What the files of a source hold.
fn found(facts: &SourceFacts) -> String {
    let mut text = String::new();
    for file in facts.files.iter().take(LINES) {
        let split = file.split.as_ref().map_or_else(String::new, |split| format!("{split}: "));
        let rows = if file.rows > 0 { format!(", {} rows", file.rows) } else { String::new() };
        let _ = write!(text, "\n- {split}`{}`, {} bytes{rows}", file.shown, file.bytes);
    }
    if facts.files.len() > LINES {
        let _ = write!(text, "\n- and {} more files", facts.files.len() - LINES);
    }
    match &facts.task {
        Some(Task::Classification { labels }) => {
            let shown: Vec<String> = labels.iter().take(LINES).map(|label| format!("`{label}`")).collect();
            let more = labels.len().saturating_sub(LINES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = write!(text, "\n- labels: {}{more}", shown.join(", "));
        }
        Some(Task::Regression) => text += "\n- a score to predict",
        None => {}
    }
    if let Some(architecture) = &facts.architecture {
        let _ = write!(text, "\n- architecture: `{architecture}`");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// What a declared name is, in words.
pub(super) fn kind_phrase(symbol: &Symbol) -> String {
    let ty = symbol.value_type.as_deref();
    match symbol.kind {
        SymbolKind::Param => ty.map_or_else(|| "param".into(), |ty| format!("param, {ty}")),
        SymbolKind::Value => ty.map_or_else(|| "a plain value".into(), str::to_owned),
        SymbolKind::Chain => symbol.artifact.map_or("a chain", |artifact| artifact.phrase()).to_owned(),
        SymbolKind::Pipeline => "a pipeline".into(),
        SymbolKind::Recipe => "a recipe".into(),
        SymbolKind::Parameter => ty.map_or_else(|| "a parameter".into(), |ty| format!("parameter, {ty}")),
        SymbolKind::Variable => ty.map_or_else(|| "a variable".into(), |ty| format!("variable, {ty}")),
        SymbolKind::Module => "a module".into(),
        SymbolKind::Broken => "has a syntax error".into(),
    }
}

fn parameter_of(method: &str, name: &str) -> Option<String> {
    let parameter = methods::registry().get(method)?.parameter(name)?;
    Some(format!("`{name}` of `{method}`: {}", parameter_page(parameter)))
}

/// Type, default and documentation of a parameter.
pub(super) fn parameter_page(parameter: &Parameter) -> String {
    let default = match &parameter.default {
        Default::Required => "required".to_owned(),
        Default::Value(value) => format!("default `{value}`"),
        Default::Written => "has a default".to_owned(),
    };
    let ty = manual::type_text(&parameter.ty);
    format!("{ty}; {default}\n\n{}{}", parameter.doc, manual::notes(parameter))
}

/// A code's page.
pub(super) fn page(page: &Page) -> String {
    let mut text = format!("# {}\n", page.code);
    for block in &page.blocks {
        text += &match block {
            Block::Text(paragraph) => format!("\n{paragraph}\n"),
            Block::Wrong(file) => format!("\nWrong:\n\n```ftp\n{}\n```\n", file.trim_end()),
            Block::Right(file) => format!("\nRight:\n\n```ftp\n{}\n```\n", file.trim_end()),
            Block::Data { path, content, .. } => format!("\n{path}:\n\n```text\n{}\n```\n", content.trim_end()),
        };
    }
    text
}
