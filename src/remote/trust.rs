//! Whose results are taken.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::signed::Signed;
use super::{PublicKey, Remote, RemoteError, SigningKey, config_directory};

/// Names another file of trusted keys, such as one that a team keeps with its code.
const VARIABLE: &str = "FTP_TRUST";

const HEADER: &str = "# Whose results ftp takes from remotes: a name and a public key a line.\n";

/// The keys whose results are taken.
#[derive(Debug, Clone, Default)]
pub struct Trusted {
    /// With the names they were given.
    pub keys: Vec<(String, PublicKey)>,
    /// Results of others, and unsigned ones, are taken as well.
    pub anyone: bool,
}

impl Trusted {
    /// Where the keys are listed: `$FTP_TRUST`, else `trusted` in the user's configuration.
    pub fn place() -> PathBuf {
        let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        named.map_or_else(|| config_directory().join("trusted"), PathBuf::from)
    }

    /// The keys that are listed, and the user's own.
    ///
    /// # Errors
    /// When the list can't be read or has a line that is none.
    pub fn load(own: Option<&SigningKey>) -> Result<Self, RemoteError> {
        let mut keys = read(&Self::place())?;
        keys.extend(own.map(|own| ("you".to_owned(), own.public())));
        Ok(Self { keys, anyone: false })
    }

    /// Adds a key to the list; `false` when it is there already.
    ///
    /// # Errors
    /// When the name stands for another key, or is none.
    pub fn add(path: &Path, name: &str, key: PublicKey) -> Result<bool, RemoteError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(RemoteError::BadName { name: name.to_owned() });
        }
        let keys = read(path)?;
        if keys.iter().any(|(known, other)| known == name && *other == key) {
            return Ok(false);
        }
        if keys.iter().any(|(known, _)| known == name) {
            return Err(RemoteError::OtherName { why: format!("{name} has another key") });
        }
        if let Some((known, _)) = keys.iter().find(|(_, other)| *other == key) {
            return Err(RemoteError::OtherName { why: format!("this key is trusted already, as {known}") });
        }
        let text = text(path)?.unwrap_or_else(|| HEADER.to_owned());
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        replace(path, &format!("{text}{gap}{name} {key}\n"))?;
        Ok(true)
    }

    /// Takes a name from the list; `false` when it is not there.
    ///
    /// # Errors
    /// When the list can't be read or written.
    pub fn remove(path: &Path, name: &str) -> Result<bool, RemoteError> {
        let Some(text) = text(path)? else { return Ok(false) };
        let others = |line: &&str| line.split_whitespace().next() != Some(name);
        let kept: String = text.lines().filter(others).map(|line| format!("{line}\n")).collect();
        if kept.lines().count() == text.lines().count() {
            return Ok(false);
        }
        replace(path, &kept).map(|()| true)
    }

    /// Whether the signature of a manifest is good, and one to take it by.
    pub(super) fn check(&self, remote: &Remote, object: &str, signed: &Signed) -> Result<(), RemoteError> {
        let (remote, object) = (remote.name().to_owned(), object.to_owned());
        let Some((signer, signature)) = &signed.signature else {
            return if self.anyone { Ok(()) } else { Err(RemoteError::Unsigned { remote, object }) };
        };
        if !signer.has_signed(&signed.bytes, signature) {
            return Err(RemoteError::Forged { remote, object, signer: Box::new(*signer) });
        }
        if self.anyone || self.keys.iter().any(|(_, key)| key == signer) {
            return Ok(());
        }
        Err(RemoteError::Untrusted { remote, object, signer: Box::new(*signer) })
    }
}

/// Nothing where there is no such file.
fn text(path: &Path) -> Result<Option<String>, RemoteError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RemoteError::io("read", path)(error)),
    }
}

fn read(path: &Path) -> Result<Vec<(String, PublicKey)>, RemoteError> {
    let mut keys = vec![];
    for (number, line) in text(path)?.unwrap_or_default().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split_once(char::is_whitespace).and_then(|(name, key)| Some((name, key.trim().parse().ok()?)));
        let Some((name, key)) = key else {
            let why = format!("line {} is not a name and a public key", number + 1);
            return Err(RemoteError::BadFile { path: path.to_path_buf(), why });
        };
        keys.push((name.to_owned(), key));
    }
    Ok(keys)
}

/// All or nothing: half a list would be no list.
fn replace(path: &Path, text: &str) -> Result<(), RemoteError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(directory)?;
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(RemoteError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_trusted_can_be_named_once_and_taken_off_the_list() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config/trusted");
        let key = |name: &str| SigningKey::create(&directory.path().join(name)).expect("made").public();
        let (ada, bob) = (key("ada"), key("bob"));
        assert!(Trusted::add(&path, "ada", ada).expect("added"));
        assert!(!Trusted::add(&path, "ada", ada).expect("there already"));
        assert!(Trusted::add(&path, "bob@lab", bob).expect("added"));
        assert!(matches!(Trusted::add(&path, "ada", bob), Err(RemoteError::OtherName { .. })));
        assert!(matches!(Trusted::add(&path, "eve", bob), Err(RemoteError::OtherName { .. })));
        assert!(matches!(Trusted::add(&path, "ada lovelace", ada), Err(RemoteError::BadName { .. })));
        assert_eq!(read(&path).expect("read"), [("ada".to_owned(), ada), ("bob@lab".to_owned(), bob)]);
        assert!(Trusted::remove(&path, "ada").expect("removed"));
        assert!(!Trusted::remove(&path, "ada").expect("gone already"));
        assert_eq!(read(&path).expect("read"), [("bob@lab".to_owned(), bob)]);
        fs::write(&path, "bob ed25519:123\n").expect("written");
        let error = read(&path).expect_err("no key").to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
