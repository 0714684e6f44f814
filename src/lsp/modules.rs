//! Modules of open files: their texts and indexes, and where they lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsp_types::{Location, Uri};

use super::position::{Encoding, Lines};
use super::uri;
use crate::lang::index::Index;
use crate::lang::module_request;
use crate::lang::stdlib;
use crate::lang::world::{ModuleRequest, ModuleText};
use crate::methods;
use crate::syntax::{self, Source, Span, ast};

/// What a check asked the world about modules, and the answers.
pub(super) type Answers = Vec<(ModuleRequest, ModuleText)>;

/// A module as it was last read.
#[derive(Debug)]
pub(super) struct Module {
    /// Named by its canonical path, or `std.adaptive`.
    pub source: Source,
    pub index: Arc<Index>,
}

impl Module {
    fn new(name: &str, text: &str) -> Self {
        let source = Source::new(name, text);
        let (tree, _) = syntax::parse(&source);
        // The modules of a module add nothing to what a file can say of it.
        let index = Arc::new(Index::new(&tree, methods::registry(), &|_| None));
        Self { source, index }
    }
}

/// The modules a file uses directly, in the order of its `use`s that could be read; those that are as they were are kept.
pub(super) fn of_file(
    tree: &ast::File,
    answers: &Answers,
    before: &[(ast::Origin, Arc<Module>)],
) -> Vec<(ast::Origin, Arc<Module>)> {
    let uses = tree.statements.iter().filter_map(|statement| match statement {
        ast::Statement::Use(used) => Some(used),
        _ => None,
    });
    let read = uses.filter_map(|used: &ast::Use| {
        let (name, text) = match &used.origin {
            ast::Origin::Standard(library, module) if library.text == "std" => {
                (format!("std.{}", module.text), stdlib::module(&module.text)?)
            }
            _ => {
                let request = module_request(used)?;
                let (_, found) = answers.iter().find(|(asked, _)| *asked == request)?;
                (found.name.clone(), found.text.as_str())
            }
        };
        let same = |module: &&Arc<Module>| module.source.name == name && module.source.text == text;
        let kept = before.iter().map(|(_, module)| module).find(same).cloned();
        Some((used.origin.clone(), kept.unwrap_or_else(|| Arc::new(Module::new(&name, text)))))
    });
    read.collect()
}

/// A place in a module.
pub(super) fn location(source: &Source, span: Span, encoding: Encoding) -> Option<Location> {
    let lines = Lines::new(&source.text, encoding);
    Some(Location::new(address(source)?, lines.range(&source.text, span)))
}

/// Where an editor can open a module. One of the standard library is part of this program, and is written out for that.
pub(super) fn address(source: &Source) -> Option<Uri> {
    let path = match source.name.strip_prefix("std.") {
        Some(name) => written(name, &source.text)?,
        None => PathBuf::from(&source.name),
    };
    uri::of_path(&path)
}

/// The file of a standard module in the user's cache directory.
fn written(name: &str, text: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    let directory = cache.join("ftp-stdlib").join(env!("CARGO_PKG_VERSION"));
    let path = directory.join(format!("{name}.ftp"));
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Some(path);
    }
    write(&directory, &path, text).ok()?;
    Some(path)
}

/// Writes a file whole or not at all.
fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let new = tempfile::NamedTempFile::new_in(directory)?;
    std::fs::write(new.path(), text)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}
