//! From a path on the command line to a checked program, or its errors on standard error.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::{Exit, FileArguments, StoreArguments};
use crate::data::FileWorld;
use crate::data::memo::Memo;
use crate::lang::ir::Program;
use crate::lang::{self, Checked, Diagnostics};
use crate::methods;
use crate::report::github::{self, Place};
use crate::store::Store;
use crate::syntax::{Source, Span};

/// A file that checked.
pub(super) struct Project {
    pub source: Source,
    pub program: Program,
    /// Paths in the file are relative to this.
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only a run publishes"))]
    pub directory: PathBuf,
}

impl Project {
    /// Keeps only the pipelines of these names, with what is expected of them and published; all when there are none.
    pub fn choose(&mut self, names: &[String]) -> Result<(), Exit> {
        if names.is_empty() {
            return Ok(());
        }
        let program = &mut self.program;
        let known: Vec<String> = program.pipelines.iter().map(|pipeline| pipeline.name.clone()).collect();
        let declared: Vec<String> = program.pipelines.iter().map(|pipeline| pipeline.declared.clone()).collect();
        if let Some(name) = names.iter().find(|name| !known.contains(name) && !declared.contains(name)) {
            eprintln!("error: {} has no pipeline `{name}`; it has {}", self.source.name, known.join(", "));
            return Err(Exit::Usage);
        }
        let chosen = |index: &usize| names.contains(&known[*index]) || names.contains(&declared[*index]);
        let kept: Vec<usize> = (0..known.len()).filter(chosen).collect();
        let renumbered = |old: usize| kept.iter().position(|index| *index == old);
        // What compares a chosen pipeline with one that is not chosen can't be told.
        program.expectations.retain_mut(|one| {
            let mut all = true;
            for pipeline in
                one.measure.pipelines.iter_mut().chain(one.minus.iter_mut().flat_map(|minus| &mut minus.pipelines))
            {
                match renumbered(*pipeline) {
                    Some(new) => *pipeline = new,
                    None => all = false,
                }
            }
            all
        });
        program.publications.retain_mut(|one| renumbered(one.pipeline).map(|new| one.pipeline = new).is_some());
        let mut index = 0;
        program.pipelines.retain(|_| {
            index += 1;
            kept.contains(&(index - 1))
        });
        Ok(())
    }
}

impl StoreArguments {
    /// Opens the store, or says why it can't be.
    pub fn open(&self) -> Result<Store, Exit> {
        Store::open(store_directory(self.store.as_deref())).map_err(|error| {
            print_error(&error);
            Exit::Failed
        })
    }
}

/// An error without a place in the file: what, and how to mend it.
pub(super) fn print_error(error: &dyn miette::Diagnostic) {
    let code = error.code().map_or_else(String::new, |code| format!(" ({code})"));
    eprintln!("error: {error}{code}");
    if let Some(help) = error.help() {
        eprintln!("  help: {help}");
    }
}

/// Reads a file, or says why it can't be.
pub(super) fn read(file: &Path) -> Result<Source, Exit> {
    let name = file.display().to_string();
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Source::new(name, text)),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            eprintln!("error: {name} is not UTF-8 text (byte {at}); save it as UTF-8");
            Err(Exit::WrongFile)
        }
        Err(error) => {
            eprintln!("error: can't read {name}: {}", reason(&error));
            Err(Exit::Usage)
        }
    }
}

/// Reads and checks a file; what is found is for the caller to show. The source comes with the modules it uses.
pub(super) fn check(arguments: &FileArguments) -> Result<(Source, Result<Checked, Diagnostics>), Exit> {
    let checked = check_source(arguments, &read(&arguments.file)?);
    let source = match &checked {
        Ok(checked) => checked.source.clone(),
        Err(diagnostics) => diagnostics.source.clone(),
    };
    Ok((source, checked))
}

/// Checks a text in the place of the file.
pub(super) fn check_source(arguments: &FileArguments, source: &Source) -> Result<Checked, Diagnostics> {
    lang::check(source, methods::registry(), &world(arguments), &arguments.set)
}

/// The files around the one that is read, and what was found in them before.
pub(super) fn world(arguments: &FileArguments) -> FileWorld {
    // For tests, and for file systems whose clocks can't be trusted.
    let off = std::env::var_os("FTP_MEMO").is_some_and(|value| value == "off");
    let memo = (!off).then(|| Memo::new(store_directory(None).join("memo")));
    FileWorld { memo, ..FileWorld::new(directory(arguments)) }
}

/// Paths in the file are relative to this.
pub(super) fn directory(arguments: &FileArguments) -> &Path {
    arguments.file.parent().unwrap_or(Path::new(""))
}

/// Reads and checks a file; prints everything that is wrong with it.
pub(super) fn open(arguments: &FileArguments, json: bool) -> Result<Project, Exit> {
    let (source, checked) = check(arguments)?;
    match checked {
        Ok(Checked { program, warnings, .. }) => {
            for warning in &warnings {
                print(warning, &source, json);
            }
            Ok(Project { source, program, directory: directory(arguments).to_path_buf() })
        }
        Err(diagnostics) => {
            for diagnostic in &diagnostics.all {
                print(diagnostic, &source, json);
            }
            let errors = diagnostics.errors();
            if !json {
                eprintln!("{}: {errors} error{}", source.name, if errors == 1 { "" } else { "s" });
            }
            Err(Exit::WrongFile)
        }
    }
}

/// Writes a file whole or not at all. What a link points to is written, and keeps its permissions.
pub(super) fn replace(file: &Path, text: &str) -> Result<(), Exit> {
    let write = || {
        let file = std::fs::canonicalize(file)?;
        let mut new = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
        new.write_all(text.as_bytes())?;
        std::fs::set_permissions(new.path(), std::fs::metadata(&file)?.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&file).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error: std::io::Error| {
        eprintln!("error: can't write {}: {}", file.display(), reason(&error));
        Exit::Failed
    })
}

pub(super) fn print(diagnostic: &lang::Diagnostic, source: &Source, json: bool) {
    if json {
        println!("{}", diagnostic.to_json(source));
    } else {
        eprint!("{}", diagnostic.render(source, std::io::stderr().is_terminal()));
    }
    if github::is_there() {
        eprintln!("{}", annotation(diagnostic, source));
    }
}

/// A finding as GitHub shows it beside the line.
fn annotation(diagnostic: &lang::Diagnostic, source: &Source) -> String {
    let place = diagnostic.span.map(|span| place(source, span));
    let level = if diagnostic.severity == lang::Severity::Error { "error" } else { "warning" };
    let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"));
    github::annotation(level, place.as_ref(), diagnostic.code, &format!("{}{help}", diagnostic.message))
}

/// Where a place of the file is, as GitHub names it.
pub(super) fn place(source: &Source, span: Span) -> Place {
    let file = source.of(span);
    let (line, column) = file.position(span.start);
    // A step may work in a folder of the repository; annotations are about the repository's files.
    let workspace = std::env::var_os("GITHUB_WORKSPACE").and_then(|path| std::fs::canonicalize(path).ok());
    let inside = workspace.and_then(|workspace| {
        let path = std::fs::canonicalize(&file.name).ok()?;
        Some(path.strip_prefix(workspace).ok()?.display().to_string())
    });
    Place { file: inside.unwrap_or_else(|| file.name.clone()), line, column }
}

/// An I/O error in words, without the operating system's number.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a directory".into(),
        _ => error.to_string(),
    }
}

/// Where results are kept: as told, else the user's cache directory.
pub(super) fn store_directory(told: Option<&Path>) -> PathBuf {
    if let Some(directory) = told {
        return directory.to_path_buf();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("ftp")
}
