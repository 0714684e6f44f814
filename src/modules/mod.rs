//! Modules from git repositories: which commit a file was written against, and where its text lies on this machine.
//!
//! From outside: [`Lock`] (`ftp.lock`, beside the `.ftp` file), [`shelf`] (fetched and vendored texts, by the digest of
//! their content), [`git`] (the only part that uses a network). Nothing here knows the language.

pub mod error;
pub mod git;
pub mod lock;
pub mod shelf;

pub use error::ModuleError;
pub use lock::{Lock, Pin};
