//! An open file: its text, its tree, and what its names stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsp_types::{Location, Position, Range, TextDocumentContentChangeEvent, Uri};

use super::modules::{self, Answers, Module};
use super::position::{Encoding, Lines};
use super::uri;
use crate::lang::Diagnostic;
use crate::lang::index::{Index, Symbol, SymbolId, Target};
use crate::lang::ir::Program;
use crate::methods;
use crate::syntax::{self, Source, Span, ast};

pub(super) struct Document {
    pub uri: Uri,
    /// Its canonical path, as modules are named; its address when it is nowhere yet.
    pub name: String,
    pub version: i32,
    pub source: Source,
    tree: ast::File,
    pub index: Index,
    lines: Lines,
    encoding: Encoding,
    /// What the last check of this text said.
    pub findings: Vec<Diagnostic>,
    /// The program of the last text without errors.
    pub program: Option<Program>,
    /// The modules it uses directly, as of the last check.
    pub modules: Vec<(ast::Origin, Arc<Module>)>,
    /// All modules below it, in the order of [`Span::file`], as of the last check.
    pub below: Vec<Source>,
    /// Changed since the last check, or what it asks about has.
    pub unchecked: bool,
}

impl Document {
    pub fn new(uri: Uri, version: i32, text: String, encoding: Encoding) -> Self {
        let path = uri::path(&uri).map(|path| std::fs::canonicalize(&path).unwrap_or(path));
        let name = path.map_or_else(|| uri.as_str().to_owned(), |path| path.display().to_string());
        let mut document = Self {
            uri,
            version,
            lines: Lines::new("", encoding),
            source: Source::new(&name, text),
            name,
            tree: ast::File { docs: None, statements: vec![] },
            index: Index::default(),
            encoding,
            findings: vec![],
            program: None,
            modules: vec![],
            below: vec![],
            unchecked: true,
        };
        document.read();
        document
    }

    /// Applies edits one after the other.
    pub fn edit(&mut self, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
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
        self.read();
    }

    fn read(&mut self) {
        self.lines = Lines::new(&self.source.text, self.encoding);
        (self.tree, _) = syntax::parse(&self.source);
        self.index = self.index_of(&self.tree);
        self.unchecked = true;
    }

    /// The index of a tree that stands in the place of this file's.
    pub fn index_of(&self, tree: &ast::File) -> Index {
        Index::new(tree, methods::registry(), &|used| {
            let module = self.modules.iter().find(|(origin, _)| same(origin, &used.origin));
            module.map(|(_, module)| Arc::clone(&module.index))
        })
    }

    /// Takes in the modules that the last check has read; whether they are others than before.
    pub fn set_modules(&mut self, answers: &Answers) -> bool {
        let modules = modules::of_file(&self.tree, answers, &self.modules);
        let unchanged = modules.len() == self.modules.len()
            && modules.iter().zip(&self.modules).all(|(new, old)| new.0 == old.0 && Arc::ptr_eq(&new.1, &old.1));
        if !unchanged {
            self.modules = modules;
            self.index = self.index_of(&self.tree);
        }
        !unchanged
    }

    /// What a symbol that is a module holds.
    pub fn module(&self, symbol: SymbolId) -> Option<&Arc<Module>> {
        let origin = &self.index.module_of(symbol)?.origin;
        self.modules.iter().find(|(one, _)| same(one, origin)).map(|(_, module)| module)
    }

    /// A module's symbol that a name stands for.
    pub fn member(&self, target: &Target) -> Option<(&Arc<Module>, &Symbol)> {
        let Target::Member { module, symbol } = target else { return None };
        let module = self.module(*module)?;
        Some((module, module.index.symbols.get(*symbol)?))
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

    /// A place in this file or in a module below it.
    pub fn location(&self, span: Span) -> Option<Location> {
        match span.file.checked_sub(1) {
            None => Some(Location::new(self.uri.clone(), self.range(span))),
            Some(module) => modules::location(self.below.get(module)?, span, self.encoding),
        }
    }

    /// A place in a module.
    pub fn location_in(&self, module: &Module, span: Span) -> Option<Location> {
        modules::location(&module.source, span, self.encoding)
    }

    pub fn slice(&self, span: Span) -> &str {
        self.text().get(span.start..span.end).unwrap_or("")
    }
}

/// Whether two `use`s name the same module in the same way, wherever they stand.
fn same(one: &ast::Origin, other: &ast::Origin) -> bool {
    use ast::Origin;
    match (one, other) {
        (Origin::Standard(a, b), Origin::Standard(c, d)) => a.text == c.text && b.text == d.text,
        (Origin::File(a), Origin::File(b)) => a.kind == b.kind,
        // Written in the same way, wherever it stands.
        (Origin::Remote(a), Origin::Remote(b)) => {
            let said = |call: &ast::Call| {
                let arguments = call.arguments.iter().flatten();
                let said =
                    arguments.map(|one| (one.name.as_ref().map(|name| name.text.clone()), one.value.kind.clone()));
                said.collect::<Vec<_>>()
            };
            said(a) == said(b)
        }
        _ => false,
    }
}
