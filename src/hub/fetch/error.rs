//! What can go wrong between the Hugging Face hub and a directory.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

#[derive(Debug, Error, Diagnostic)]
pub enum FetchError {
    #[error("the environment variable {variable}, which is to hold the token for {model}, is not set")]
    #[diagnostic(
        code(ftp::hub::no_secret),
        help("set it to an access token of yours (huggingface.co/settings/tokens), or remove `token` from the file")
    )]
    NoSecret { variable: String, model: String },

    #[error("the secret in {variable} can't be sent: it has line breaks or other control characters in it")]
    #[diagnostic(code(ftp::hub::bad_secret), help("set it to the access token alone"))]
    BadSecret { variable: String },

    #[error("{endpoint} is no address of a hub: {why}")]
    #[diagnostic(
        code(ftp::hub::endpoint),
        help("set HF_ENDPOINT to an address such as `https://huggingface.co`, or to nothing")
    )]
    Endpoint { endpoint: String, why: String },

    #[error("the token for {model} was not sent: {endpoint} is not encrypted")]
    #[diagnostic(code(ftp::hub::insecure), help("set HF_ENDPOINT to an address that begins with `https://`"))]
    Insecure { endpoint: String, model: String },

    #[error("can't reach {endpoint}: {why}")]
    #[diagnostic(
        code(ftp::hub::unreachable),
        help("check the network; what was fetched already is kept, and the next attempt goes on from there")
    )]
    Unreachable { endpoint: String, why: String },

    #[error("the hub does not give out {model}: {why}")]
    #[diagnostic(
        code(ftp::hub::refused),
        help(
            "a private or gated model needs a token of somebody who may read it: `token = secret(\"HF_TOKEN\")`; a gated one also has terms to accept on its page"
        )
    )]
    Refused { model: String, why: String },

    #[error("the hub has no {model} at {revision}: {why}")]
    #[diagnostic(
        code(ftp::hub::not_found),
        help("compare name and revision with the model's page; a private one needs `token = secret(\"HF_TOKEN\")`")
    )]
    NotFound { model: String, revision: String, why: String },

    #[error("{model} at {revision} has no {what}; it has {}", found.join(", "))]
    #[diagnostic(
        code(ftp::hub::not_usable),
        help(
            "weights must be safetensors: try `revision = \"refs/pr/1\"`, where the hub's own converter may have put them, or load the model with `transformers` and save it again"
        )
    )]
    NotUsable { model: String, revision: String, what: &'static str, found: Vec<String> },

    #[error("{file} of {model} did not arrive as the hub says it is: {why}")]
    #[diagnostic(code(ftp::hub::damaged), help("it was removed; try again, and if it stays so tell the model's owner"))]
    Damaged { model: String, file: String, why: String },

    #[error("the answer of {endpoint} can't be read: {why}")]
    #[diagnostic(code(ftp::hub::bad_answer), help("check that HF_ENDPOINT is a Hugging Face hub"))]
    BadAnswer { endpoint: String, why: String },

    #[error("can't {doing} {}: {source}", path.display())]
    #[diagnostic(code(ftp::hub::io), help("check the permissions and the free space of the directory"))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl FetchError {
    /// For `map_err`: what was being done, and to what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether another attempt may go better.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
