//! Data sets as a user has them: files in a directory, a declaration, and what is said about them.

#[path = "data/files.rs"]
mod files;
#[path = "data/meaning.rs"]
mod meaning;
#[path = "data/models.rs"]
mod models;
#[cfg(feature = "train")]
#[path = "data/parquet.rs"]
mod parquet;
#[path = "data/rows.rs"]
mod rows;
#[cfg(feature = "train")]
#[path = "data/tokenizers.rs"]
mod tokenizers;

use std::path::Path;

use ftp::data::set::{LabelledSet, Target};
use ftp::data::{DataError, FileWorld, read_labelled, read_text};
use ftp::lang::value::Value;
use ftp::lang::world::{SourceError, SourceFacts, SourceRequest, World};

/// A directory with files, and a declaration over it.
struct Case {
    directory: tempfile::TempDir,
    request: SourceRequest,
}

impl Case {
    fn new(method: &str, path: &str) -> Self {
        let parameters = [("path".to_string(), Value::String(path.into()))].into_iter().collect();
        let request = SourceRequest { method: method.into(), parameters, directory: String::new() };
        Self { directory: tempfile::tempdir().unwrap(), request }
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let value = match name {
            "task" | "bad_rows" => Value::Name(value.into()),
            _ => Value::String(value.into()),
        };
        self.request.parameters.insert(name.into(), value);
        self
    }

    fn labels(mut self, labels: &[&str]) -> Self {
        let labels = labels.iter().map(|label| Value::String(label.to_string())).collect();
        self.request.parameters.insert("labels".into(), Value::List(labels));
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn describe(&self) -> Result<SourceFacts, Vec<SourceError>> {
        FileWorld::new(self.path()).describe(&self.request)
    }

    #[track_caller]
    fn facts(&self) -> SourceFacts {
        self.describe().unwrap()
    }

    /// The one error, as code and message.
    #[track_caller]
    fn error(&self) -> SourceError {
        let mut errors = self.describe().expect_err("an error");
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors.remove(0)
    }

    #[track_caller]
    fn fails(&self, code: &str, message: &str) {
        let error = self.error();
        assert_eq!((error.code, error.message.as_str()), (code, message));
        assert!(error.help.is_some_and(|help| !help.is_empty()));
    }

    /// The notices, as code and message.
    #[track_caller]
    fn notices(&self, expected: &[(&str, &str)]) {
        let notices = self.facts().notices;
        let notices: Vec<(&str, &str)> =
            notices.iter().map(|notice| (notice.code.as_str(), notice.message.as_str())).collect();
        assert_eq!(notices, expected);
    }

    fn read_labelled(&self, facts: &SourceFacts) -> Result<LabelledSet, DataError> {
        read_labelled(&self.request.method, &self.request.parameters, facts)
    }

    #[track_caller]
    fn set(&self) -> LabelledSet {
        self.read_labelled(&self.facts()).unwrap()
    }

    #[track_caller]
    fn documents(&self) -> Vec<String> {
        read_text(&self.request.parameters, &self.facts()).unwrap()
    }
}

/// Text, second text and target of a split's rows.
fn rows<'a>(set: &'a LabelledSet, split: &str) -> Vec<(&'a str, Option<&'a str>, Target)> {
    set.splits[split].iter().map(|row| (row.text.as_str(), row.pair.as_deref(), row.target)).collect()
}

/// A train file every labelled case may use: labels `bad` and `good`.
const TRAIN: &str = "{\"text\": \"fine\", \"label\": \"good\"}\n{\"text\": \"awful\", \"label\": \"bad\"}\n";
