//! The outside world as files.

use std::path::{Path, PathBuf};

use super::error::problem;
use super::memo::{Asked, Memo};
use super::options::Options;
use super::paths;
use super::pinned::{self, HubModel};
use super::{labelled, model, saved, text};
use crate::lang::value::Value;
use crate::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceRequest, World};
use crate::modules;
use crate::modules::{Lock, ModuleError, git, shelf};

/// Answers over the real file system.
#[derive(Debug, Clone)]
pub struct FileWorld {
    /// The `.ftp` file's directory: paths are relative to it.
    pub directory: PathBuf,
    /// What modules of repositories are pinned to, in place of the lock file.
    pub lock: Option<Lock>,
    /// What was found in files before.
    pub memo: Option<Memo>,
}

impl FileWorld {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), lock: None, memo: None }
    }
}

impl World for FileWorld {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        let options = Options::new(&request.method, &request.parameters).map_err(|error| vec![error])?;
        let pinned = HubModel::asked(request).map(|model| pinned::find(&self.directory, self.lock.as_ref(), &model));
        let pinned = pinned.transpose().map_err(|error| vec![error])?;
        let directory = match &pinned {
            Some((directory, _)) => directory.clone(),
            None => self.directory.join(&request.directory),
        };
        let memo = self.memo.as_ref();
        let files = || match &pinned {
            Some((directory, _)) => all_in(directory),
            None => files(request, &directory, &options),
        };
        let asked = memo.and_then(|memo| memo.ask(request, &directory, &files()?));
        if let Some(facts) = asked.as_ref().and_then(Asked::answer) {
            return Ok(facts);
        }
        let found = match &pinned {
            Some((directory, pin)) => pinned::describe(directory, pin)?,
            None => describe(request, &directory, &options)?,
        };
        if let Some(asked) = asked {
            asked.remember(&found);
        }
        Ok(found)
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        match request {
            ModuleRequest::File { directory, path } => self.file_module(directory, path),
            ModuleRequest::Git { url, tag, commit, path } => {
                self.git_module(url, tag.as_deref(), commit.as_deref(), path)
            }
        }
    }
}

/// Reads and digests a source's files.
fn describe(request: &SourceRequest, directory: &Path, options: &Options) -> Result<SourceFacts, Vec<SourceError>> {
    match request.method.as_str() {
        "text" => text::describe(directory, options),
        "labelled" | "pairs" => labelled::describe(directory, options),
        "hf" if request.parameters.get("token").is_some_and(|token| *token != Value::None) => Err(vec![problem(
            "ftp::hub::no_revision",
            Some("token"),
            "a `token` is for a model of the Hugging Face hub, and this is a directory",
            "not used",
            "write the revision too, `revision = \"main\"`, or leave `token` out",
        )]),
        "hf" => model::describe(&directory.join(&options.path), &options.path),
        "delta" => saved::describe(&directory.join(&options.path), &options.path),
        other => Err(vec![problem(
            "ftp::data::unknown_source",
            None,
            format!("`{other}` is not a source of files"),
            "not a source",
            "use `text`, `labelled`, `pairs`, `hf` or `delta`",
        )]),
    }
}

/// The files that decide what a source is; `None` where they can't be listed.
fn files(request: &SourceRequest, directory: &Path, options: &Options) -> Option<Vec<PathBuf>> {
    if !matches!(request.method.as_str(), "hf" | "delta") {
        return Some(paths::find(directory, &options.path).ok()?.into_iter().map(|found| found.path).collect());
    }
    all_in(&directory.join(&options.path))
}

fn all_in(directory: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Some(files)
}

impl FileWorld {
    fn file_module(&self, directory: &str, path: &str) -> Result<ModuleText, SourceError> {
        let within = plain(&Path::new(directory).join(path));
        let file = self.directory.join(&within);
        let root = shelf::root_of(&self.directory, &shelf::cache(), &self.directory.join(directory));
        if root.is_some_and(|root| !std::path::absolute(&file).is_ok_and(|file| file.starts_with(root))) {
            return Err(outside(path));
        }
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
        Ok(found(&file, shown, text, &within))
    }

    /// A file of a repository, as it was when the project was locked. Nothing is fetched here.
    fn git_module(
        &self,
        url: &str,
        tag: Option<&str>,
        commit: Option<&str>,
        path: &str,
    ) -> Result<ModuleText, SourceError> {
        git::address(url).map_err(|error| module_problem(&error))?;
        let read = || match &self.lock {
            Some(lock) => Ok(lock.clone()),
            None => Lock::read(&self.directory),
        };
        let lock = read().map_err(|error| module_problem(&error))?;
        let Some(pin) = lock.find(url, tag, commit) else {
            return Err(problem(
                "ftp::module::not_locked",
                None,
                format!("{url} is not in {}", modules::lock::NAME),
                "which commit, and which text, is not recorded",
                "run `ftp lock` on this file, and keep `ftp.lock` in version control",
            ));
        };
        let found_at = shelf::find(&self.directory, &shelf::cache(), pin).map_err(|error| module_problem(&error))?;
        // Its own modules are looked for from there, wherever the file that uses it lies.
        let found_at = found_at.map(|root| std::path::absolute(&root).unwrap_or(root));
        let Some(root) = found_at else {
            return Err(problem(
                "ftp::module::not_fetched",
                None,
                format!("{url} is locked at {}, but is not on this machine", &pin.commit[..12]),
                "not fetched",
                "run `ftp lock` on this file to fetch it, or `ftp vendor` where there is a network, and take the copy along",
            ));
        };
        let file = root.join(plain(Path::new(path)));
        if !file.starts_with(&root) || path.split('/').any(|part| part == "..") {
            return Err(outside(path));
        }
        let text = std::fs::read_to_string(&file).map_err(|_| {
            problem(
                "ftp::module::not_found",
                None,
                format!("{url} has no file {path} at {}", &pin.commit[..12]),
                "no such module",
                "write the path of a `.ftp` file in the repository: `path = \"recipes.ftp\"`",
            )
        })?;
        let name = format!("{url}/{path} at {}", tag.unwrap_or(&pin.commit[..12]));
        Ok(found(&file, name, text, &file))
    }
}

/// Of a repository only what was locked is used.
fn outside(path: &str) -> SourceError {
    problem(
        "ftp::module::not_found",
        None,
        format!("{path} leads out of the repository, and only what is in it was locked"),
        "no such module",
        "name a file of the repository",
    )
}

/// Two ways to the same file are one module.
fn found(file: &Path, name: String, text: String, within: &Path) -> ModuleText {
    let key = std::fs::canonicalize(file).unwrap_or(file.to_path_buf()).display().to_string();
    let directory = within.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
    ModuleText { key, name, text, directory }
}

pub(super) fn module_problem(error: &ModuleError) -> SourceError {
    let code = match error {
        ModuleError::BadLock { .. } => "ftp::module::bad_lock",
        ModuleError::ChangedTree { .. } => "ftp::module::changed_tree",
        ModuleError::Credentials { .. } => "ftp::module::credentials",
        ModuleError::BadAddress { .. } => "ftp::module::bad_address",
        _ => "ftp::module::not_found",
    };
    let help = miette::Diagnostic::help(error).map(|help| help.to_string()).unwrap_or_default();
    problem(code, None, error.to_string(), "can't be used", help)
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
