//! The files below a directory.

use std::fs;
use std::path::{Path, PathBuf};

/// At any depth, sorted; none if the directory is not there, or goes away meanwhile.
pub fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => found.extend(files_under(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// The Rust files among them.
#[allow(dead_code, reason = "not every test that walks reads sources")]
pub fn sources_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = files_under(directory);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}
