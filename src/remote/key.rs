//! Keys that results are signed with (Ed25519, RFC 8032).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, VerifyingKey};

use super::RemoteError;

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";

/// Names another place for the signing key.
const VARIABLE: &str = "FTP_SIGNING_KEY";

/// Before what is signed, so that a signature of something else is none of a result.
const PURPOSE: &[u8] = b"ftp result 1\n";

/// A secret key. It is shown nowhere and leaves its file only to sign.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// What signatures are verified with, and somebody is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl SigningKey {
    /// Where the user's key lies: `$FTP_SIGNING_KEY`, else `signing.key` in the user's configuration.
    ///
    /// # Errors
    /// When the variable holds a key in place of a path.
    pub fn place() -> Result<PathBuf, RemoteError> {
        match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            // Not to be repeated in any message.
            Some(value) if is_key(&value.to_string_lossy()) => Err(RemoteError::BadFile {
                path: format!("${VARIABLE}").into(),
                why: "the variable holds a key; write that into a file, and the file's path into the variable".into(),
            }),
            Some(value) => Ok(value.into()),
            None => Ok(config_directory().join("signing.key")),
        }
    }

    /// The user's key.
    ///
    /// # Errors
    /// When there is none ([`RemoteError::NoKey`]), others may read it, or it is none.
    pub fn load() -> Result<Self, RemoteError> {
        Self::read(&Self::place()?)
    }

    /// The user's key, if there is one. One that is asked for by `$FTP_SIGNING_KEY` must be there.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn load_if_any() -> Result<Option<Self>, RemoteError> {
        match Self::load() {
            Err(RemoteError::NoKey { .. }) if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) => {
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    fn read(path: &Path) -> Result<Self, RemoteError> {
        use std::os::unix::fs::PermissionsExt;
        let bad = |why: String| RemoteError::BadFile { path: path.to_path_buf(), why };
        let mode = match fs::metadata(path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RemoteError::NoKey { path: path.to_path_buf() });
            }
            Err(error) => return Err(RemoteError::io("read", path)(error)),
        };
        if mode & 0o077 != 0 {
            return Err(bad(format!("others may read the key (mode {:03o}); `chmod 600` it", mode & 0o777)));
        }
        let text = fs::read_to_string(path).map_err(RemoteError::io("read", path))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let seed = lines.map(|line| line.strip_prefix(SECRET).and_then(bytes::<32>)).collect::<Vec<_>>();
        match seed[..] {
            [Some(seed)] => Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed))),
            _ => Err(bad(format!("it is no signing key: one line `{SECRET}` and 64 hexadecimal digits"))),
        }
    }

    /// Makes a new key and writes it to a file that only its owner may read. One that is there stays.
    ///
    /// # Errors
    /// When there is a file, or it can't be written.
    pub fn create(path: &Path) -> Result<Self, RemoteError> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| RemoteError::io("make a key for", path)(io::Error::other(error.to_string())))?;
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&seed));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(RemoteError::io("make the directory", directory))?;
        }
        let mut options = File::options();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => RemoteError::KeyExists { path: path.to_path_buf() },
                _ => RemoteError::io("write", path)(error),
            })?;
        let text = format!("# Signs results of ftp. Keep it to yourself.\n{SECRET}{}\n", hex(&seed));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(RemoteError::io("write", path))?;
        Ok(key)
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Of a manifest's bytes, in hexadecimal.
    pub(super) fn sign(&self, manifest: &[u8]) -> String {
        hex(&self.0.sign(&[PURPOSE, manifest].concat()).to_bytes())
    }
}

impl PublicKey {
    /// Whether a signature in hexadecimal is this key's, of a manifest's bytes.
    pub(super) fn has_signed(&self, manifest: &[u8], signature: &str) -> bool {
        let Some(signature) = bytes::<64>(signature) else { return false };
        self.0.verify_strict(&[PURPOSE, manifest].concat(), &Signature::from_bytes(&signature)).is_ok()
    }

    /// For people to compare: half of the BLAKE3 digest of the key.
    pub fn fingerprint(&self) -> String {
        let digest = blake3::hash(self.0.as_bytes()).to_hex();
        let groups: Vec<&str> = (0..8).map(|group| &digest.as_str()[4 * group..4 * group + 4]).collect();
        groups.join(" ")
    }
}

impl FromStr for PublicKey {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let key = text.strip_prefix(PUBLIC).and_then(bytes::<32>);
        let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok()).filter(|key| !key.is_weak());
        key.map(Self).ok_or_else(|| {
            // Somebody's secret key is not to be repeated.
            let text = if text.contains("secret") { "ed25519-secret:..." } else { text };
            RemoteError::BadKey { text: text.to_owned() }
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret key of {}", self.public())
    }
}

/// Whether a text is a key by itself, or holds one.
fn is_key(text: &str) -> bool {
    text.contains(SECRET) || bytes::<32>(text.trim()).is_some()
}

/// Where a user's settings lie: `$XDG_CONFIG_HOME/ftp`, else `~/.config/ftp`.
pub fn config_directory() -> PathBuf {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    config.or_else(home).unwrap_or_else(|| PathBuf::from(".config")).join("ftp")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes in hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_are_those_of_rfc_8032() {
        // Section 7.1, tests 1 and 2.
        let known = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            ),
        ];
        for (seed, public) in known {
            let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&bytes(seed).expect("hexadecimal")));
            assert_eq!(key.public().to_string(), format!("ed25519:{public}"));
            assert_eq!(format!("ed25519:{public}").parse::<PublicKey>().expect("a key"), key.public());
            assert!(!format!("{key:?}").contains(seed));
        }
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [ours, theirs] = ["a", "b"].map(|name| SigningKey::create(&directory.path().join(name)).expect("made"));
        let signature = ours.sign(b"a manifest");
        assert!(ours.public().has_signed(b"a manifest", &signature));
        assert!(!ours.public().has_signed(b"a manifesto", &signature));
        assert!(!theirs.public().has_signed(b"a manifest", &signature));
        assert!(!ours.public().has_signed(b"a manifest", &signature[2..]));
        assert_ne!(ours.public().fingerprint(), theirs.public().fingerprint());
    }

    #[test]
    fn a_key_is_only_its_owners_and_never_written_over() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("new/signing.key");
        let key = SigningKey::create(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(SigningKey::create(&path), Err(RemoteError::KeyExists { .. })));
        assert_eq!(SigningKey::read(&path).expect("read").public(), key.public());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let error = SigningKey::read(&path).expect_err("others may read it").to_string();
        assert!(error.contains("others may read") && error.contains("644"), "{error}");
    }

    #[test]
    fn a_secret_key_in_the_place_of_a_public_one_is_not_repeated() {
        let error = "ed25519-secret:0123456789".parse::<PublicKey>().expect_err("no public key").to_string();
        assert!(!error.contains("0123456789"), "{error}");
        // The neutral element: everything would be signed by it.
        let weak = format!("ed25519:01{}", "00".repeat(31));
        assert!(weak.parse::<PublicKey>().is_err());
    }
}
