//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::lang::world::Digest;

#[derive(Debug, Error, Diagnostic)]
pub enum StoreError {
    #[error("can't {doing} {}: {source}", path.display())]
    #[diagnostic(code(ftp::store::io), help("check the permissions and the free space of the store's directory"))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },

    #[error("the store {} was made by a newer version of ftp (layout {found})", root.display())]
    #[diagnostic(code(ftp::store::newer_schema), help("use that version, or another directory with --store"))]
    NewerSchema { root: PathBuf, found: u32 },

    #[error("the result {} is not in the store", short(output))]
    #[diagnostic(code(ftp::store::unknown_output), help("run the pipeline again: what is missing is computed again"))]
    UnknownOutput { output: Digest },

    #[error("the result of {label} has no file `{name}`")]
    #[diagnostic(
        code(ftp::store::no_such_file),
        help("it was made by another version of ftp, or is of another kind than expected")
    )]
    NoSuchFile { label: String, name: String },

    #[error("`{name}` of {label} is missing from the store: {}", path.display())]
    #[diagnostic(code(ftp::store::missing), help("run the pipeline again: what is missing is computed again"))]
    Missing { label: String, name: String, path: PathBuf },

    #[error("`{name}` of {label} is damaged: its content is not what was written. It was moved to {}", moved.display())]
    #[diagnostic(
        code(ftp::store::corrupt),
        help("run the pipeline again: it is computed again; if this recurs, check the disk")
    )]
    Corrupt { label: String, name: String, moved: PathBuf },

    #[error("the manifest {} is damaged: {why}", path.display())]
    #[diagnostic(
        code(ftp::store::corrupt_manifest),
        help("run the pipeline again: the result is computed again; if this recurs, check the disk")
    )]
    CorruptManifest { path: PathBuf, why: String },

    #[error("the stage did not write `{name}`, which it handed over as part of its result")]
    #[diagnostic(code(ftp::store::not_written), help("this is a fault of the method; nothing was stored"))]
    NotWritten { name: String },

    #[error("`{name}` is not a plain file name")]
    #[diagnostic(code(ftp::store::bad_name), help("this is a fault of the method; nothing was stored"))]
    BadName { name: String },

    #[error("the store has no result `{named}`, and no run of a pipeline of that name")]
    #[diagnostic(
        code(ftp::store::nothing_named),
        help("`ftp cache ls` shows the keys; their first characters will do")
    )]
    NothingNamed { named: String },

    #[error("`{named}` stands for several results: {keys}")]
    #[diagnostic(code(ftp::store::several_named), help("write more of the key"))]
    SeveralNamed { named: String, keys: String },

    #[error("another run took over {label} while it was being computed here")]
    #[diagnostic(code(ftp::store::lease_lost), help("nothing is lost: run again to use the other run's result"))]
    LeaseLost { label: String },
}

impl StoreError {
    /// For `map_err`: what was being done, and to what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}

/// Enough of a digest to find it by.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}
