//! The outside world as files.

use std::path::PathBuf;

use super::error::problem;
use super::options::Options;
use super::{labelled, model, text};
use crate::lang::world::{SourceError, SourceFacts, SourceRequest, World};

/// Answers over the real file system.
#[derive(Debug, Clone)]
pub struct FileWorld {
    /// The `.ftp` file's directory: paths are relative to it.
    pub directory: PathBuf,
}

impl FileWorld {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl World for FileWorld {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        let options = Options::new(&request.method, &request.parameters).map_err(|error| vec![error])?;
        match request.method.as_str() {
            "text" => text::describe(&self.directory, &options),
            "labelled" | "pairs" => labelled::describe(&self.directory, &options),
            "hf" => model::describe(&self.directory, &options.path),
            other => Err(vec![problem(
                "ftp::data::unknown_source",
                None,
                format!("`{other}` is not a source of files"),
                "not a source",
                "use `text`, `labelled`, `pairs` or `hf`",
            )]),
        }
    }
}
