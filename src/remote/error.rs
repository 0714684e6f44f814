//! What can go wrong with a remote, its results and their signatures.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::key::PublicKey;
use crate::store::StoreError;

#[derive(Debug, Error, Diagnostic)]
pub enum RemoteError {
    #[error("`{address}` is no address of a remote: {why}")]
    #[diagnostic(
        code(ftp::remote::address),
        help(
            "name a directory, `s3://bucket/prefix`, or `https://host/prefix`; credentials come from the environment only"
        )
    )]
    Address { address: String, why: String },

    #[error("can't reach {remote}: {why}")]
    #[diagnostic(
        code(ftp::remote::unreachable),
        help("check the address, the network and the credentials in the environment")
    )]
    Unreachable { remote: String, why: String },

    #[error("{remote} does not allow it: {why}")]
    #[diagnostic(
        code(ftp::remote::refused),
        help(
            "check the credentials in the environment and what they may do; S3 answers so, too, for what is not there, when they may not list the bucket (s3:ListBucket)"
        )
    )]
    Refused { remote: String, why: String },

    #[error("{remote} can only be read")]
    #[diagnostic(code(ftp::remote::read_only), help("push to the place that the web server serves"))]
    ReadOnly { remote: String },

    #[error("{remote} has no result {key}")]
    #[diagnostic(code(ftp::remote::absent), help("run the pipeline where the data is, and push its results"))]
    Absent { remote: String, key: String },

    #[error("{object} of {label} is missing from {remote}")]
    #[diagnostic(code(ftp::remote::missing), help("push the result again from where it is"))]
    Missing { remote: String, object: String, label: String },

    #[error("{object} in {remote} is damaged: {why}; nothing of it was used")]
    #[diagnostic(code(ftp::remote::damaged), help("push the result again with --replace from where it is whole"))]
    Damaged { remote: String, object: String, why: String },

    #[error("{object} in {remote} is not signed, and was not used")]
    #[diagnostic(
        code(ftp::remote::unsigned),
        help("have it pushed by somebody with a key (`ftp key new`), or take it as it is with --allow-unsigned")
    )]
    Unsigned { remote: String, object: String },

    #[error("{object} in {remote} is signed by {}, who is not trusted here, and was not used", signer.fingerprint())]
    #[diagnostic(
        code(ftp::remote::untrusted),
        help("compare the fingerprint with its owner's `ftp key show`, then: ftp key trust NAME {signer}")
    )]
    Untrusted { remote: String, object: String, signer: Box<PublicKey> },

    #[error("{object} in {remote} is not what {} has signed, and was not used", signer.fingerprint())]
    #[diagnostic(
        code(ftp::remote::forged),
        help("somebody or something has changed it; find out who writes to the remote")
    )]
    Forged { remote: String, object: String, signer: Box<PublicKey> },

    #[error("there is no signing key at {}", path.display())]
    #[diagnostic(code(ftp::key::none), help("`ftp key new` makes one"))]
    NoKey { path: PathBuf },

    #[error("there is a signing key at {} already", path.display())]
    #[diagnostic(code(ftp::key::exists), help("`ftp key show` shows it; to have a new one, move that one away first"))]
    KeyExists { path: PathBuf },

    #[error("can't use the file {}: {why}", path.display())]
    #[diagnostic(code(ftp::key::bad_file), help("correct it, or move it away"))]
    BadFile { path: PathBuf, why: String },

    #[error("`{text}` is no public key")]
    #[diagnostic(
        code(ftp::key::bad_key),
        help("a public key is `ed25519:` and 64 hexadecimal digits, as `ftp key show` prints it")
    )]
    BadKey { text: String },

    #[error("`{name}` is no name for a key")]
    #[diagnostic(code(ftp::key::bad_name), help("write letters, digits and `-_.@+` only"))]
    BadName { name: String },

    #[error("{why}")]
    #[diagnostic(
        code(ftp::key::other_name),
        help("`ftp key show` lists whom you trust; `ftp key distrust NAME` ends it")
    )]
    OtherName { why: String },

    #[error("can't {doing} {}: {source}", path.display())]
    #[diagnostic(code(ftp::remote::io), help("check the permissions and the free space of the directory"))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },

    #[error("the transfer was stopped")]
    #[diagnostic(code(ftp::remote::interrupted), help("begin it again; what is there already is not moved twice"))]
    Interrupted,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// For `map_err`: what was being done, and to what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
