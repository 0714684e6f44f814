//! `ftp lsp`.

use clap::Args;
use lsp_server::Connection;

use super::Exit;
use crate::lsp;

#[derive(Args)]
pub(super) struct Lsp {
    /// Talk over standard input and output: the only way there is, accepted because editors say so
    #[arg(long)]
    stdio: bool,
}

impl Lsp {
    pub fn run(self) -> Exit {
        let Self { stdio: _ } = self;
        let (connection, threads) = Connection::stdio();
        let orderly = match lsp::serve(&connection) {
            Ok(orderly) => orderly,
            Err(error) => {
                eprintln!("error: {error}");
                eprintln!("  help: `ftp lsp` is started by an editor; docs/editor.md says how");
                return Exit::Failed;
            }
        };
        // The writer ends when nobody can send any more; the reader when the client closes its end.
        drop(connection);
        match (orderly, threads.join()) {
            (true, Ok(())) => Exit::Ok,
            _ => Exit::Failed,
        }
    }
}
