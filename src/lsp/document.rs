//! An open file: its text, its tree, and what its names stand for.

use std::path::{Path, PathBuf};

use lsp_types::{Position, Range, TextDocumentContentChangeEvent, Uri};

use super::position::{Encoding, Lines};
use super::uri;
use crate::lang::Diagnostic;
use crate::lang::index::Index;
use crate::lang::ir::Program;
use crate::lang::signature::Registry;
use crate::syntax::{self, Source, Span};

pub(super) struct Document {
    pub uri: Uri,
    pub version: i32,
    /// Its text, and its path as its name.
    pub source: Source,
    pub index: Index,
    lines: Lines,
    encoding: Encoding,
    /// What the last check of this text said.
    pub findings: Vec<Diagnostic>,
    /// The program of the last text without errors.
    pub program: Option<Program>,
    /// Changed since the last check, or what it asks about has.
    pub unchecked: bool,
}

impl Document {
    pub fn new(uri: Uri, version: i32, text: String, encoding: Encoding, registry: &Registry) -> Self {
        let name = uri::path(&uri).map_or_else(|| uri.as_str().to_owned(), |path| path.display().to_string());
        let mut document = Self {
            uri,
            version,
            lines: Lines::new("", encoding),
            source: Source { name, text },
            index: Index::default(),
            encoding,
            findings: vec![],
            program: None,
            unchecked: true,
        };
        document.read(registry);
        document
    }

    /// Applies edits one after the other.
    pub fn edit(&mut self, version: i32, changes: Vec<TextDocumentContentChangeEvent>, registry: &Registry) {
        for change in changes {
            match change.range {
                Some(range) => {
                    let span = self.span(range);
                    self.source.text.replace_range(span.start..span.end, &change.text);
                }
                None => self.source.text = change.text,
            }
            // The next edit's places are in the text as it is now.
            self.lines = Lines::new(&self.source.text, self.encoding);
        }
        self.version = version;
        self.read(registry);
    }

    fn read(&mut self, registry: &Registry) {
        self.lines = Lines::new(&self.source.text, self.encoding);
        let (file, _) = syntax::parse(&self.source);
        self.index = Index::new(&file, registry);
        self.unchecked = true;
    }

    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// What the paths in the file are relative to; for a file that is nowhere yet, the directory of the server.
    pub fn directory(&self) -> PathBuf {
        let path = uri::path(&self.uri);
        path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned()
    }

    pub fn offset(&self, position: Position) -> usize {
        self.lines.offset(self.text(), position)
    }

    pub fn range(&self, span: Span) -> Range {
        self.lines.range(self.text(), span)
    }

    pub fn span(&self, range: Range) -> Span {
        self.lines.span(self.text(), range)
    }

    pub fn slice(&self, span: Span) -> &str {
        self.text().get(span.start..span.end).unwrap_or("")
    }
}
