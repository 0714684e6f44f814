//! `hf(.., revision = ..)`: a model of the Hugging Face hub, as it was when the project was locked. Nothing is fetched here.

use std::path::{Path, PathBuf};

use super::error::problem;
use super::{model, world};
use crate::lang::ir::Node;
use crate::lang::value::Value;
use crate::lang::world::{SourceError, SourceFacts, SourceRequest};
use crate::modules::{Lock, ModelPin, lock, shelf};

/// A model of the hub as a file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// `organisation/name`, or the name alone.
    pub name: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The environment variable that holds the token to fetch it with.
    pub token: Option<String>,
}

impl HubModel {
    /// The model that a source names, if it names one of the hub.
    pub fn of(method: &str, parameter: impl Fn(&str) -> Option<Value>) -> Option<Self> {
        match (method, parameter("path"), parameter("revision")) {
            ("hf", Some(Value::String(name)), Some(Value::String(revision))) => {
                let token = match parameter("token") {
                    Some(Value::Secret(variable)) => Some(variable),
                    _ => None,
                };
                Some(Self { name, revision, token })
            }
            _ => None,
        }
    }

    /// The model that a question is about, if it is about one of the hub.
    pub fn asked(request: &SourceRequest) -> Option<Self> {
        Self::of(&request.method, |name| request.parameters.get(name).cloned())
    }

    /// The model that a source of a program is, if it is one of the hub.
    pub fn in_plan(node: &Node) -> Option<Self> {
        Self::of(&node.method, |name| node.parameters.get(name).map(|parameter| parameter.value.clone()))
    }

    /// # Errors
    /// When no model can have this name, or no revision.
    pub fn check(&self) -> Result<(), SourceError> {
        let plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('.') && !part.contains("..")
        };
        if !self.name.split('/').all(plain) || self.name.split('/').count() > 2 {
            return Err(problem(
                "ftp::hub::bad_name",
                Some("path"),
                format!("{:?} can't be the name of a model of the Hugging Face hub", self.name),
                "not `organisation/name`",
                "write the name as the model's page shows it, or leave `revision` out to read a directory",
            ));
        }
        if !self.revision.split('/').all(plain) {
            return Err(problem(
                "ftp::hub::bad_name",
                Some("revision"),
                format!("{:?} can't be a revision", self.revision),
                "not a branch, tag or commit",
                "write a branch, a tag or a commit: `revision = \"main\"`",
            ));
        }
        Ok(())
    }
}

/// Where a model lies that is locked, and its pin.
pub(super) fn find(project: &Path, lock: Option<&Lock>, model: &HubModel) -> Result<(PathBuf, ModelPin), SourceError> {
    model.check()?;
    let read = || lock.cloned().map_or_else(|| Lock::read(project), Ok);
    let lock = read().map_err(|error| world::module_problem(&error))?;
    let (name, revision) = (&model.name, &model.revision);
    let Some(pin) = lock.find_model(name, revision) else {
        return Err(problem(
            "ftp::hub::not_locked",
            None,
            format!("{name} at {revision} is not in {}", lock::NAME),
            "which commit, and which weights, is not recorded",
            "run `ftp lock` on this file, and keep `ftp.lock` in version control",
        ));
    };
    match shelf::find_model(project, pin) {
        Some(directory) => Ok((directory, pin.clone())),
        None => Err(problem(
            "ftp::hub::not_fetched",
            None,
            format!("{name} is locked at {}, but is not on this machine", &pin.commit[..12]),
            "not fetched",
            "run `ftp lock` on this file to fetch it, or `ftp vendor` where there is a network, and take the copy along",
        )),
    }
}

/// What was found in the directory of a pinned model, which must be what was locked.
pub(super) fn describe(directory: &Path, pin: &ModelPin) -> Result<SourceFacts, Vec<SourceError>> {
    let shown = format!("{}@{}", pin.hub, &pin.commit[..12]);
    let facts = model::describe(directory, &shown)?;
    if digest(&facts) == pin.tree {
        return Ok(facts);
    }
    Err(vec![problem(
        "ftp::hub::changed",
        None,
        format!("the files of {shown} in {} are not those that were locked", directory.display()),
        "changed since",
        "remove that directory and run `ftp lock` on this file, which fetches them again",
    )])
}

/// What a lock file records of a model's files.
pub fn digest(facts: &SourceFacts) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files: Vec<(String, &str)> = facts.files.iter().map(|file| (name(&file.path), &*file.digest)).collect();
    shelf::model_digest(files.iter().map(|(name, digest)| (name.as_str(), *digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(name: &str, revision: &str) -> bool {
        HubModel { name: name.into(), revision: revision.into(), token: None }.check().is_ok()
    }

    #[test]
    fn names_stay_within_the_hub_and_within_its_directory() {
        assert!(usable("bert-base-uncased", "main") && usable("org/model.v1_2", "refs/pr/3") && usable("a/b", "v1.0"));
        for name in ["", "a/b/c", "../x", "a/..", "/etc", "a//b", "a b", "a/b?x", "https://x"] {
            assert!(!usable(name, "main"), "{name}");
        }
        for revision in ["", "../main", "a b", "main?x=1", "/x"] {
            assert!(!usable("a/b", revision), "{revision}");
        }
    }
}
