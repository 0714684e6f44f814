//! What the language asks about the outside world, and the answers.
//!
//! Implemented over real files by `data::FileWorld`, over tables in tests.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::value::Value;

/// A BLAKE3 digest in lower-case hexadecimal (64 characters).
pub type Digest = String;

/// A source as declared: `labelled("data/{train,test}.jsonl", label = "class")`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRequest {
    /// The source's method: `text`, `labelled`, `pairs` or `hf`.
    pub method: String,
    /// All parameters, defaults filled in, `path` among them.
    pub parameters: IndexMap<String, Value>,
    /// The directory of the module it is declared in, relative to that of the file itself; empty for that file's own.
    pub directory: String,
}

/// A module as a file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleRequest {
    /// A file, relative to `directory`, which is relative to that of the file itself.
    File { directory: String, path: String },
    /// A file of a git repository at a tag or a commit.
    Git { url: String, tag: Option<String>, commit: Option<String>, path: String },
}

/// A module that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleText {
    /// Equal for the same module, however it was named.
    pub key: String,
    /// As to be shown.
    pub name: String,
    pub text: String,
    /// The directory it lies in, as in [`SourceRequest::directory`].
    pub directory: String,
}

/// What was found there. The default is that nothing is known of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// In the order they are read.
    pub files: Vec<SourceFile>,
    /// For a labelled set.
    pub task: Option<Task>,
    /// Columns used, by role (`text`, `text_pair`, `label`), after guessing. Empty for text and models.
    pub columns: IndexMap<String, String>,
    /// For a model: its `model_type`.
    pub architecture: Option<String>,
    /// What was guessed or will be skipped, to be shown.
    pub notices: Vec<crate::event::Notice>,
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFile {
    /// `train`, `dev` or `test` of a labelled set; `None` for text and models.
    pub split: Option<String>,
    /// Where it lies on this machine. Never part of a key.
    pub path: PathBuf,
    /// As to be shown, relative to the `.ftp` file.
    pub shown: String,
    pub digest: Digest,
    pub bytes: u64,
    /// Rows (documents) that will be used.
    pub rows: u64,
}

/// What a labelled set asks a model to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// One of these labels, in this order (index = class id).
    Classification { labels: Vec<String> },
    /// A number.
    Regression,
}

/// Why a source can't be used.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceError {
    /// e.g. `ftp::data::missing_file`.
    pub code: &'static str,
    /// A sentence; names the data file and line where there is one (`data/x.jsonl:17`).
    pub message: String,
    /// What the label under the declaration says, short.
    pub label: String,
    /// One action.
    pub help: Option<String>,
    /// The parameter at fault, to underline it; the whole declaration when `None`.
    pub parameter: Option<&'static str>,
}

/// Answers about the outside.
pub trait World {
    /// Finds, reads and digests a source's files. All problems found, not only the first.
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>>;

    /// Reads a module.
    ///
    /// # Errors
    /// Where there is none, or it can't be read. Unless a world says otherwise, there are no modules in it.
    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        let shown = match request {
            ModuleRequest::File { path, .. } => path,
            ModuleRequest::Git { url, .. } => url,
        };
        Err(SourceError {
            code: "ftp::module::not_found",
            message: format!("there is no module {shown:?} here"),
            label: "not found".into(),
            help: None,
            parameter: None,
        })
    }
}
