//! Results on their way from one store to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{FileEntry, Lookup, Manifest, SCHEMA, Store, StoreError};
use crate::lang::world::Digest;

/// A result to be sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub manifest: Manifest,
    /// Of its file: the manifest with its own digest.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Results with everything that they are deltas of, each once, and behind what it is a delta of.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn closure(&self, keys: &[Digest]) -> Result<Vec<Sent>, StoreError> {
        let _guard = self.using()?;
        let mut all: Vec<Sent> = vec![];
        let mut outputs = BTreeSet::new();
        for key in keys {
            if !matches!(self.lookup(key), Lookup::Hit(_)) {
                return Err(StoreError::UnknownOutput { output: key.clone() });
            }
            let sent = sent(&self.result_path(key))?;
            outputs.insert(sent.manifest.output.clone());
            all.push(sent);
        }
        let mut at = 0;
        while let Some(above) = all.get(at) {
            if let Some(base) = above.manifest.base.clone()
                && outputs.insert(base.clone())
            {
                all.push(sent(&self.output_path(&base))?);
            }
            at += 1;
        }
        let bases: BTreeMap<Digest, Option<Digest>> =
            all.iter().map(|one| (one.manifest.output.clone(), one.manifest.base.clone())).collect();
        // A base is named by a digest that its own manifest enters, so there are no circles.
        let below = |one: &Sent| {
            let next = |base: &&Digest| bases.get(*base)?.as_ref();
            std::iter::successors(one.manifest.base.as_ref(), |base| next(base)).count()
        };
        all.sort_by_cached_key(below);
        Ok(all)
    }

    /// Where the content with this digest lies. Nothing says that it is there, or what its name says.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blob_path(digest)
    }

    /// Takes results from elsewhere: the bytes of their manifests, and a directory of this store's file system with their
    /// contents, named by digest. All of it is verified before anything is taken. A result that is here already
    /// stays as it is; returns how many were not.
    ///
    /// # Errors
    /// When a manifest or a file is not whole; nothing has been taken then.
    pub fn receive(&self, manifests: &[&[u8]], contents: &Path) -> Result<usize, StoreError> {
        let corrupt = |why: String| StoreError::CorruptManifest { path: contents.to_path_buf(), why };
        let mut results = vec![];
        for bytes in manifests {
            let manifest = Manifest::from_bytes(bytes).map_err(corrupt)?;
            if manifest.schema != SCHEMA {
                return Err(StoreError::NewerSchema { root: self.root().to_path_buf(), found: manifest.schema });
            }
            results.push((manifest, *bytes));
        }
        let mut sealed = BTreeSet::new();
        // A journal may have been lost, and nothing with it.
        let there = |file: &&FileEntry| contents.join(&file.digest).is_file();
        let blobs = || {
            results
                .iter()
                .flat_map(|(manifest, _)| manifest.files.values().chain(manifest.record.journal.iter().filter(there)))
        };
        for file in blobs() {
            if !sealed.contains(&file.digest) {
                let path = contents.join(&file.digest);
                if self.seal(&path)? != *file {
                    return Err(corrupt(format!("the content {} is not what it says", file.digest)));
                }
                sealed.insert(file.digest.clone());
            }
        }
        // From the first blob in place to the manifest that names it, nothing may be collected.
        let _guard = self.using()?;
        let blobs: Vec<&FileEntry> = blobs().collect();
        for file in blobs {
            if sealed.remove(&file.digest) {
                self.ingest(&contents.join(&file.digest), file)?;
            }
        }
        // What others are deltas of first: a result counts only with all below it.
        for (manifest, bytes) in &results {
            self.write_atomically(&self.output_path(&manifest.output), bytes)?;
        }
        let mut new = 0;
        for (manifest, bytes) in &results {
            if !matches!(self.lookup(&manifest.key), Lookup::Hit(_)) {
                self.write_atomically(&self.result_path(&manifest.key), bytes)?;
                let _ = fs::remove_file(self.checkpoint(&manifest.key));
                new += 1;
            }
        }
        Ok(new)
    }
}

/// A manifest as it lies there.
fn sent(path: &Path) -> Result<Sent, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let corrupt = |why| StoreError::CorruptManifest { path: path.to_path_buf(), why };
    Ok(Sent { manifest: Manifest::from_bytes(&bytes).map_err(corrupt)?, bytes })
}
