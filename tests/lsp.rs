//! The language server, driven over its protocol.

#[path = "lsp/client.rs"]
mod client;
#[path = "lsp/edits.rs"]
mod edits;
#[path = "lsp/features.rs"]
mod features;
#[path = "lsp/protocol.rs"]
mod protocol;
#[path = "lsp/stdio.rs"]
mod stdio;
