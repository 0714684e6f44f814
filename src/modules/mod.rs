//! Modules from git repositories and models of the Hugging Face hub: which commit a file was written against, and where that
//! lies on this machine.
//!
//! From outside: [`Lock`] (`ftp.lock`, beside the `.ftp` file), [`shelf`] (what was fetched and vendored, by the digest of
//! its content), [`git`] (the only part that uses a network). Nothing here knows the language.

pub mod error;
pub mod git;
pub mod lock;
pub mod shelf;

pub use error::ModuleError;
pub use lock::{Lock, ModelPin, Pin};
