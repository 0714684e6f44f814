//! `ftp fmt`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use similar::TextDiff;

use super::{Exit, project};
use crate::lang::Diagnostic;
use crate::syntax::{self, Source};

#[derive(Args)]
pub(super) struct Fmt {
    /// Files, and directories to search for `.ftp` files
    #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
    files: Vec<PathBuf>,
    /// Write nothing: print what would change as a unified diff, and exit with 1 if anything would
    #[arg(long)]
    check: bool,
    /// Format standard input to standard output
    #[arg(long)]
    stdin: bool,
}

impl Fmt {
    pub fn run(self) -> Exit {
        if self.stdin {
            return self.pipe();
        }
        let mut worst = Exit::Ok;
        for file in &self.files {
            let files = match found(file) {
                Ok(files) => files,
                Err(error) => {
                    eprintln!("error: can't read {}: {}", file.display(), project::reason(&error));
                    return Exit::Usage;
                }
            };
            if files.is_empty() {
                eprintln!("note: there are no .ftp files in {}", file.display());
            }
            for file in files {
                worst = worse(worst, self.file(&file));
            }
        }
        worst
    }

    fn pipe(&self) -> Exit {
        let mut text = String::new();
        if let Err(error) = std::io::stdin().read_to_string(&mut text) {
            eprintln!("error: can't read standard input: {}", project::reason(&error));
            return Exit::Usage;
        }
        let source = Source::new("<stdin>", text);
        match formatted(&source) {
            Ok(text) if self.check => differs(&source, &text),
            Ok(text) => {
                print!("{text}");
                Exit::Ok
            }
            Err(exit) => exit,
        }
    }

    fn file(&self, file: &Path) -> Exit {
        let source = match project::read(file) {
            Ok(source) => source,
            Err(exit) => return exit,
        };
        match formatted(&source) {
            Ok(text) if self.check => differs(&source, &text),
            Ok(text) if text == source.text => Exit::Ok,
            Ok(text) => project::replace(file, &text).err().unwrap_or(Exit::Ok),
            Err(exit) => exit,
        }
    }
}

/// The text in the one style; syntax errors go to standard error.
fn formatted(source: &Source) -> Result<String, Exit> {
    syntax::format(source).map_err(|errors| {
        for error in errors {
            project::print(&Diagnostic::from(error), source, false);
        }
        eprintln!("{}: not formatted", source.name);
        Exit::WrongFile
    })
}

fn differs(source: &Source, text: &str) -> Exit {
    if text == source.text {
        return Exit::Ok;
    }
    let diff = TextDiff::from_lines(source.text.as_str(), text);
    print!("{}", diff.unified_diff().header(&source.name, &format!("{} (formatted)", source.name)));
    Exit::Failed
}

/// A file that can't be read counts more than one that is not formatted.
fn worse(one: Exit, other: Exit) -> Exit {
    if (other as u8) > (one as u8) { other } else { one }
}

/// The file itself, or the `.ftp` files below a directory, without hidden ones; in the order of their names.
fn found(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = vec![];
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            files.extend(found(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "ftp") {
            files.push(path);
        }
    }
    Ok(files)
}
