//! `ftp.lock`: the commit and the content that each module of a repository, and each model of the hub, had when the file was
//! locked.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ModuleError;

/// Name of the file, beside the `.ftp` file.
pub const NAME: &str = "ftp.lock";

/// All that is pinned, in the order of addresses and tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    #[serde(default, rename = "module", skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Pin>,
    #[serde(default, rename = "model", skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelPin>,
}

/// One repository at one place in its history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub git: String,
    /// The tag that the file names; none where it names the commit itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Digest of its `.ftp` files, as [`shelf::digest`](super::shelf::digest) makes it.
    pub tree: String,
}

/// One model of the Hugging Face hub at one place in its history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPin {
    /// `organisation/name`, or the name alone.
    pub hub: String,
    /// A branch, a tag or a commit, as the file names it.
    pub revision: String,
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Digest of the files that decide what the model is, as [`shelf::model_digest`](super::shelf::model_digest) makes it.
    pub tree: String,
}

impl Lock {
    /// The lock beside the files of a directory; empty where there is none.
    pub fn read(directory: &Path) -> Result<Self, ModuleError> {
        let path = directory.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ModuleError::BadLock { path, why: error.to_string() }),
        };
        let lock: Self = toml::from_str(&text)
            .map_err(|error| ModuleError::BadLock { path: path.clone(), why: error.message().into() })?;
        let hexadecimal =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let modules = lock.modules.iter().map(|pin| (&pin.git, &pin.commit, &pin.tree));
        let mut all = modules.chain(lock.models.iter().map(|pin| (&pin.hub, &pin.commit, &pin.tree)));
        match all.find(|(_, commit, tree)| !hexadecimal(commit, 40) || !hexadecimal(tree, 64)) {
            Some((name, ..)) => Err(ModuleError::BadLock { path, why: format!("the entry of {name} is not whole") }),
            None => Ok(lock),
        }
    }

    /// Writes the lock whole or not at all.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, ModuleError> {
        let path = directory.join(NAME);
        let mut sorted = self.clone();
        sorted.modules.sort();
        sorted.models.sort();
        let body = toml::to_string(&sorted)
            .map_err(|error| ModuleError::BadLock { path: path.clone(), why: error.to_string() })?;
        let text = format!(
            "# Which modules and models this project uses, exactly. Written by `ftp lock`; keep it in version control.\n\n{body}"
        );
        let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let write = || {
            let mut new = tempfile::NamedTempFile::new_in(place)?;
            new.write_all(text.as_bytes())?;
            new.as_file().sync_all()?;
            new.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| ModuleError::Unwritable { path: path.clone(), source })?;
        Ok(path)
    }

    /// The pin of a repository at a tag or a commit.
    pub fn find(&self, git: &str, tag: Option<&str>, commit: Option<&str>) -> Option<&Pin> {
        self.modules
            .iter()
            .find(|pin| pin.git == git && pin.tag.as_deref() == tag && commit.is_none_or(|commit| pin.commit == commit))
    }

    /// The pin of a model of the hub at a branch, tag or commit.
    pub fn find_model(&self, hub: &str, revision: &str) -> Option<&ModelPin> {
        self.models.iter().find(|pin| pin.hub == hub && pin.revision == revision)
    }

    /// Adds the pin of a model in the place of the one of the same name.
    pub fn put_model(&mut self, pin: ModelPin) {
        self.models.retain(|one| one.hub != pin.hub || one.revision != pin.revision);
        self.models.push(pin);
        self.models.sort();
    }

    /// Adds a pin in the place of the one of the same name.
    pub fn put(&mut self, pin: Pin) {
        let named =
            |one: &Pin| one.git == pin.git && one.tag == pin.tag && (pin.tag.is_some() || one.commit == pin.commit);
        self.modules.retain(|one| !named(one));
        self.modules.push(pin);
        self.modules.sort();
    }
}
