//! What can be wrong with a bundle.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::store::StoreError;

#[derive(Debug, Error, Diagnostic)]
pub enum ArchiveError {
    #[error("can't {doing} {}: {source}", path.display())]
    #[diagnostic(code(ftp::bundle::io), help("check the permissions and the free space of the directory"))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },

    #[error("{} is no bundle: {why}", path.display())]
    #[diagnostic(code(ftp::bundle::not_a_bundle), help("`ftp bundle FILE -o x.tar.gz` makes one"))]
    NotABundle { path: PathBuf, why: String },

    #[error("{} was made by a newer version of ftp (layout {found})", path.display())]
    #[diagnostic(code(ftp::bundle::newer), help("unpack it with that version"))]
    Newer { path: PathBuf, found: u32 },

    #[error("{} is damaged: {what}", path.display())]
    #[diagnostic(code(ftp::bundle::damaged), help("get it again; nothing of it was used"))]
    Damaged { path: PathBuf, what: String },

    #[error("{} holds files already", path.display())]
    #[diagnostic(code(ftp::bundle::occupied), help("name another directory: `ftp unbundle ARCHIVE DIR`"))]
    Occupied { path: PathBuf },

    #[error("{} changed while it was packed", path.display())]
    #[diagnostic(code(ftp::bundle::changed), help("run the same command again: it packs the file as it is now"))]
    Changed { path: PathBuf },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    /// For `map_err`: what was being done, and to what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
