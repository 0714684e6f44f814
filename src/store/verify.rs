//! Reading everything, to find what is not what was written before somebody needs it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::pins::stem;
use super::survey::Reading;
use super::{Manifest, Store, StoreError, digest_file};
use crate::lang::world::Digest;

/// What was read, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Verified {
    pub manifests: usize,
    pub blobs: usize,
    /// Of the blobs.
    pub bytes: u64,
    pub damaged: Vec<Damage>,
    /// Files of results that are not there: those results are computed again when they are needed.
    pub missing: Vec<String>,
}

/// A file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// What it is, in words: whose file, or what is wrong with a manifest.
    pub what: String,
    /// Where it was moved; `None` when it was replaced or removed meanwhile.
    pub moved: Option<PathBuf>,
}

impl Store {
    /// Reads every manifest and every blob. What is damaged is moved aside, and computed again when it is needed.
    /// `progress` is told the bytes of each blob that was read.
    pub fn verify(&self, progress: &dyn Fn(u64)) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let now = self.now()?;
        // Who names a blob: to say whose it is, and to see what is missing.
        let mut owners: BTreeMap<Digest, String> = BTreeMap::new();
        for part in ["results", "outputs"] {
            for Reading { path, manifest, .. } in self.manifests(part, now)? {
                verified.manifests += 1;
                match manifest {
                    Ok(manifest) => owners.extend(files(&manifest)),
                    Err(why) => verified.damaged.extend(self.set_aside_manifest(&path, part, &why)?),
                }
            }
        }
        for path in self.sharded_entries("blobs")? {
            let Some(identity) = identity(&path)? else { continue };
            let digest = match digest_file(&path) {
                Ok(digest) => digest,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            };
            verified.blobs += 1;
            verified.bytes += identity.bytes;
            progress(identity.bytes);
            let named = stem(&path);
            if digest != named {
                let what = owners.get(&named).cloned().unwrap_or_else(|| "a file of no result".into());
                let moved = self.set_aside(&path, &identity, &self.damaged_path(&named))?;
                verified.damaged.push(Damage { path, what, moved });
            }
        }
        let here = |digest: &Digest| self.blob_path(digest).exists() || self.damaged_path(digest).exists();
        verified.missing = owners.into_iter().filter(|(digest, _)| !here(digest)).map(|(_, owner)| owner).collect();
        Ok(verified)
    }

    /// `None` when it turns out to be whole: it was written anew.
    fn set_aside_manifest(&self, path: &Path, part: &str, why: &str) -> Result<Option<Damage>, StoreError> {
        let Some(identity) = identity(path)? else { return Ok(None) };
        let named = stem(path);
        let whole = fs::read(path).ok().and_then(|bytes| Manifest::from_bytes(&bytes).ok()).is_some_and(|manifest| {
            let is = if part == "results" { &manifest.key } else { &manifest.output };
            *is == named
        });
        if whole {
            return Ok(None);
        }
        let moved = self.set_aside(path, &identity, &self.damaged_manifest_path(&named))?;
        Ok(Some(Damage { path: path.to_path_buf(), what: format!("a manifest: {why}"), moved }))
    }

    /// Moves a file away, unless another one has taken its place since it was looked at.
    pub(super) fn set_aside(&self, path: &Path, identity: &Identity, to: &Path) -> Result<Option<PathBuf>, StoreError> {
        let _guard = self.alone()?;
        if self::identity(path)?.as_ref() != Some(identity) {
            return Ok(None);
        }
        fs::rename(path, to).map_err(StoreError::io("move aside", path))?;
        Ok(Some(to.to_path_buf()))
    }

    /// Where a manifest that is not what was written lies.
    pub(super) fn damaged_manifest_path(&self, named: &str) -> PathBuf {
        self.root.join("damaged").join(format!("{named}.json"))
    }
}

/// Tells a file from another one that takes its place under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

/// `None` when there is no such file.
pub(super) fn identity(path: &Path) -> Result<Option<Identity>, StoreError> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(found) => {
            Ok(Some(Identity { inode: found.ino(), bytes: found.len(), changed: (found.ctime(), found.ctime_nsec()) }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn files(manifest: &Manifest) -> impl Iterator<Item = (Digest, String)> + '_ {
    let label = &manifest.label;
    manifest.blobs().map(move |(name, file)| (file.digest.clone(), format!("`{name}` of {label}")))
}
