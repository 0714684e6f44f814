//! What there is to say about a file, and how it is shown.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use serde::Serialize;

use crate::syntax::{Source, Span, SyntaxError};

/// Columns a report may take.
const WIDTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One finding: what, where, why, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable, e.g. `ftp::name::unknown_stage`.
    pub code: &'static str,
    pub message: String,
    /// The place at fault; `None` when it is not in the file (`--set`).
    pub span: Option<Span>,
    /// What the mark under `span` says.
    pub label: String,
    /// Further places, and what they have to do with it.
    pub related: Vec<(Span, String)>,
    /// One action.
    pub help: Option<String>,
    /// The action as an edit, where there is no doubt about it.
    pub fix: Option<Fix>,
}

/// An edit of the file: `text` in place of `span`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    pub span: Span,
    pub text: String,
}

impl Diagnostic {
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, Some(span), message)
    }

    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, Some(span), message)
    }

    /// An error that no place in the file is to blame for.
    pub fn elsewhere(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, None, message)
    }

    fn new(severity: Severity, code: &'static str, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            span,
            label: String::new(),
            related: vec![],
            help: None,
            fix: None,
        }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The report for people, with the lines of the file it is about; ends with a newline.
    pub fn render(&self, source: &Source, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false).with_context_lines(1);
        let mut report = String::new();
        let shown = Shown { diagnostic: self, source: self.span.map(|span| named(source.of(span))) };
        if handler.render_report(&mut report, &shown).is_err() {
            report = format!("{}: {}", self.code, self.message);
        }
        // One picture is of one file; places in others have their own.
        for (span, label) in self.in_other_files() {
            let place = Place { span: *span, label, source: named(source.of(*span)) };
            let _ = handler.render_report(&mut report, &place);
        }
        let mut report: String = report.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        if !report.ends_with('\n') {
            report.push('\n');
        }
        report
    }

    /// One JSON object on one line. Lines and columns count from 1, columns in characters; `offset` and `length` are
    /// bytes.
    pub fn to_json(&self, source: &Source) -> String {
        let place = |span: Span, label: &str| {
            let file = source.of(span);
            let (line, column) = file.position(span.start);
            let (end_line, end_column) = file.position(span.end);
            serde_json::json!({
                "label": label,
                "file": file.name,
                "line": line,
                "column": column,
                "end_line": end_line,
                "end_column": end_column,
                "offset": span.start,
                "length": span.end - span.start,
            })
        };
        let fix = self.fix.as_ref().map(|fix| {
            let mut edit = place(fix.span, "");
            edit["text"] = fix.text.clone().into();
            edit
        });
        let position = self.span.map(|span| source.of(span).position(span.start));
        let labels = self.span.iter().map(|span| place(*span, &self.label));
        let labels = labels.chain(self.related.iter().map(|(span, label)| place(*span, label)));
        serde_json::json!({
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "help": self.help,
            "file": self.span.map_or(&source.name, |span| &source.of(span).name),
            "line": position.map(|(line, _)| line),
            "column": position.map(|(_, column)| column),
            "labels": labels.collect::<Vec<_>>(),
            "fix": fix,
        })
        .to_string()
    }
}

impl Diagnostic {
    /// Further places that are not in the file at fault.
    fn in_other_files(&self) -> impl Iterator<Item = &(Span, String)> {
        self.related.iter().filter(|(span, _)| self.span.is_some_and(|own| own.file != span.file))
    }
}

/// A text as miette wants it. A mark behind the last character is only drawn when a line ends there.
fn named(source: &Source) -> NamedSource<String> {
    let text = source.shown().into_owned();
    let text = if text.ends_with('\n') { text } else { text + "\n" };
    NamedSource::new(&source.name, text)
}

impl From<SyntaxError> for Diagnostic {
    fn from(error: SyntaxError) -> Self {
        Self {
            label: error.label,
            help: error.help,
            related: error.related.into_iter().map(|related| *related).collect(),
            ..Self::error(error.code, error.span, error.message)
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let primary = self.span.map(|span| {
            let label = (!self.label.is_empty()).then(|| self.label.clone());
            LabeledSpan::new_primary_with_span(label, span)
        });
        let here = self.related.iter().filter(|(span, _)| self.span.is_none_or(|own| own.file == span.file));
        let related = here.map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), *span));
        Some(Box::new(primary.into_iter().chain(related)))
    }
}

/// A diagnostic together with the text it is about, as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        self.diagnostic.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.diagnostic.labels()
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }
}

/// A place in another file that has to do with a diagnostic.
#[derive(Debug)]
struct Place<'a> {
    span: Span,
    label: &'a str,
    source: NamedSource<String>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("because of this:")
    }
}

impl std::error::Error for Place<'_> {}

impl miette::Diagnostic for Place<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(Some(self.label.to_owned()), self.span))))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
}

/// Codes of what may be a secret that stands in a file.
const OF_SECRETS: [&str; 2] = ["ftp::syntax::secret", "ftp::value::plain_secret"];

/// Everything there is to say about a file with errors, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostics {
    pub all: Vec<Diagnostic>,
    /// The text with those of the modules it uses, to show them in.
    pub source: Source,
}

impl Diagnostics {
    /// What was found, to be shown in `source`; what may be a secret in it is not shown.
    pub fn new(all: Vec<Diagnostic>, mut source: Source) -> Self {
        for diagnostic in all.iter().filter(|diagnostic| OF_SECRETS.contains(&diagnostic.code)) {
            let related = diagnostic.related.iter().map(|(span, _)| *span);
            diagnostic.span.into_iter().chain(related).for_each(|span| source.hide(span));
        }
        Self { all, source }
    }

    /// How many of them are errors.
    pub fn errors(&self) -> usize {
        self.all.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.all.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        f.write_str(&messages.join("\n"))
    }
}

impl std::error::Error for Diagnostics {}
