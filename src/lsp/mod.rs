//! `ftp lsp`: a language server, as editors talk to one (Language Server Protocol 3.17).
//!
//! From outside: [`serve`] talks over a connection, until the client says goodbye. One file a feature; names are
//! resolved by [`Index`](crate::lang::index::Index) alone, findings are the checker's. Data files are read in the
//! background (`facts`), so that a keystroke never waits for them.

mod actions;
mod answers;
mod completion;
mod context;
mod diagnostics;
mod document;
mod edits;
mod facts;
mod hints;
mod hover;
mod modules;
mod navigation;
mod position;
mod rename;
mod server;
mod setup;
mod slots;
mod uri;

pub use server::serve;
