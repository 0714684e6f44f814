//! What can go wrong between a repository and a file that uses it.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

#[derive(Debug, Error, Diagnostic)]
pub enum ModuleError {
    #[error("the lock file {} can't be read: {why}", path.display())]
    #[diagnostic(code(ftp::module::bad_lock), help("restore it from version control, or remove it and run `ftp lock`"))]
    BadLock { path: PathBuf, why: String },

    #[error("can't write {}: {source}", path.display())]
    #[diagnostic(code(ftp::module::unwritable), help("check the permissions of the directory and the space left"))]
    Unwritable { path: PathBuf, source: std::io::Error },

    #[error("git can't be run: {source}")]
    #[diagnostic(code(ftp::module::no_git), help("install git; modules of repositories are fetched with it"))]
    NoGit { source: std::io::Error },

    #[error("git could not {doing} {url}: {said}")]
    #[diagnostic(
        code(ftp::module::git_failed),
        help("try `git ls-remote` on it; access is git's own: its credential helpers and ssh keys")
    )]
    GitFailed { doing: &'static str, url: String, said: String },

    #[error("the address {shown} holds a name or a password")]
    #[diagnostic(
        code(ftp::module::credentials),
        help(
            "write the address alone; git asks its credential helpers, and neither file nor lock should hold a secret"
        )
    )]
    Credentials { shown: String },

    #[error("{url} is not the address of a repository")]
    #[diagnostic(
        code(ftp::module::bad_address),
        help("write `https://..`, `ssh://..`, `git@host:path` or `file:///..`")
    )]
    BadAddress { url: String },

    #[error("{url} has no tag `{tag}`")]
    #[diagnostic(code(ftp::module::no_tag), help("`git ls-remote --tags` lists the tags there are"))]
    NoTag { url: String, tag: String },

    #[error("the tag `{tag}` of {url} was moved: locked at {locked}, now at {found}")]
    #[diagnostic(
        code(ftp::module::moved_tag),
        help("ask its owner why; if the new commit is what you want, `ftp update` takes it")
    )]
    MovedTag { url: String, tag: String, locked: String, found: String },

    #[error("the files of {url} at {commit} are not those that were locked")]
    #[diagnostic(
        code(ftp::module::changed_tree),
        help(
            "someone changed history or a vendored copy; restore it, or run `ftp update` if the new text is what you want"
        )
    )]
    ChangedTree { url: String, commit: String },
}
