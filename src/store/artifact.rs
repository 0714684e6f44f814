//! Reading results: a file is handed out only after its content was verified.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::verify::identity;
use super::{FileEntry, Manifest, Store, StoreError, digest_file};
use crate::lang::world::Digest;

/// A result in the store.
#[derive(Debug, Clone)]
pub struct StoredArtifact {
    pub manifest: Manifest,
    store: Store,
}

impl Store {
    /// The result with this output digest, whichever stage made it.
    pub fn artifact(&self, output: &Digest) -> Result<StoredArtifact, StoreError> {
        Ok(StoredArtifact { manifest: self.read_output(output)?, store: self.clone() })
    }

    /// Whether a result with this output digest is there with all its files, and all that it is a delta of.
    pub fn holds(&self, output: &Digest) -> bool {
        self.read_output(output).is_ok_and(|manifest| self.absence(&manifest).is_none())
    }

    pub(super) fn read_output(&self, output: &Digest) -> Result<Manifest, StoreError> {
        let path = self.output_path(output);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownOutput { output: output.clone() });
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) if manifest.output == *output => Ok(manifest),
            Ok(_) => Err(StoreError::CorruptManifest { path, why: "it is another result's".into() }),
            Err(why) => Err(StoreError::CorruptManifest { path, why }),
        }
    }

    /// Where a blob that is not what its name says lies, so that it is never used and still can be looked at.
    pub(super) fn damaged_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("damaged").join(digest)
    }
}

impl StoredArtifact {
    pub fn has(&self, name: &str) -> bool {
        self.manifest.files.contains_key(name)
    }

    /// The path of a file of the result, to be read and never written. Its content is digested on every call.
    ///
    /// # Errors
    /// When the result has no such file, or its content is gone or damaged; damaged content is moved aside, so that
    /// the next plan says so and computes it again.
    pub fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let label = &self.manifest.label;
        let Some(file) = self.manifest.files.get(name) else {
            return Err(StoreError::NoSuchFile { label: label.clone(), name: name.to_owned() });
        };
        self.store.verified(label, name, file)
    }
}

impl Store {
    /// The path of a blob, after its content was digested; one that is damaged is moved aside.
    ///
    /// # Errors
    /// When it is gone or damaged. `label` and `name` say whose it is.
    pub fn verified(&self, label: &str, name: &str, file: &FileEntry) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(&file.digest);
        let before = identity(&path)?;
        match digest_file(&path) {
            Ok(digest) if digest == file.digest => Ok(path),
            Ok(_) => {
                let moved = self.damaged_path(&file.digest);
                if let Some(before) = &before {
                    self.set_aside(&path, before, &moved)?;
                }
                Err(StoreError::Corrupt { label: label.to_owned(), name: name.to_owned(), moved })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { label: label.to_owned(), name: name.to_owned(), path })
            }
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }
}
