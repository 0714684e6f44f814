//! The outside world as files.

use std::path::{Path, PathBuf};

use super::error::problem;
use super::options::Options;
use super::{labelled, model, text};
use crate::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceRequest, World};

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
        let directory = self.directory.join(&request.directory);
        match request.method.as_str() {
            "text" => text::describe(&directory, &options),
            "labelled" | "pairs" => labelled::describe(&directory, &options),
            "hf" => model::describe(&directory, &options.path),
            other => Err(vec![problem(
                "ftp::data::unknown_source",
                None,
                format!("`{other}` is not a source of files"),
                "not a source",
                "use `text`, `labelled`, `pairs` or `hf`",
            )]),
        }
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        match request {
            ModuleRequest::File { directory, path } => self.file_module(directory, path),
            ModuleRequest::Git { url, .. } => Err(problem(
                "ftp::module::not_found",
                None,
                format!("modules of git repositories, such as {url}, can't be read yet"),
                "not read",
                "clone the repository and use its file: `use \"recipes/team.ftp\" as team`",
            )),
        }
    }
}

impl FileWorld {
    fn file_module(&self, directory: &str, path: &str) -> Result<ModuleText, SourceError> {
        let within = plain(&Path::new(directory).join(path));
        let file = self.directory.join(&within);
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no file {shown}"),
                std::io::ErrorKind::InvalidData => format!("{shown} is not UTF-8 text"),
                std::io::ErrorKind::PermissionDenied => format!("{shown} may not be read"),
                _ => format!("can't read {shown}: {error}"),
            };
            problem(
                "ftp::module::not_found",
                None,
                message,
                "no such module",
                "write the path of a `.ftp` file, relative to this one",
            )
        })?;
        // Two ways to the same file are one module.
        let key = std::fs::canonicalize(&file).unwrap_or(file).display().to_string();
        let directory = within.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
        Ok(ModuleText { key, name: shown, text, directory })
    }
}

/// A path without `.` and, where that is possible, `..`.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
