//! From a remote into a store.

use std::path::Path;

use super::signed::Signed;
use super::{Remote, RemoteError, Trusted, aside, output_path, result_path};
use crate::lang::world::Digest;
use crate::store::{FileEntry, JOURNAL, Store};

/// What was brought here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub label: String,
    /// Results, with those that it is a delta of and that were not here.
    pub results: usize,
    /// That were transferred.
    pub bytes: u64,
}

impl Remote {
    /// Brings the result of a key into the store, with all that it is a delta of; `None` when the remote has none. Everything is
    /// verified before any of it counts.
    ///
    /// # Errors
    /// When something of it is missing, damaged, not signed by someone trusted, or can't be reached or written. Nothing of it
    /// is in the store then.
    pub fn pull(
        &self,
        store: &Store,
        key: &Digest,
        trusted: &Trusted,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Pulled>, RemoteError> {
        self.reachable()?;
        let attempt = store.attempt()?;
        let contents = attempt.files();
        let Some((chain, bytes)) = self.drive(self.bring(store, key, trusted, &contents), goes_on)? else {
            return Ok(None);
        };
        let (label, results) = (chain[0].manifest.label.clone(), chain.len());
        let (to, files) = (store.clone(), contents.clone());
        let receive = move || {
            let manifests: Vec<&[u8]> = chain.iter().map(|signed| &signed.bytes[..]).collect();
            to.receive(&manifests, &files)
        };
        // Digests everything once more, which may take its time.
        self.drive(async { Ok(aside(receive).await?) }, goes_on)?;
        Ok(Some(Pulled { label, results, bytes }))
    }

    /// The manifests of a result and of what it is a delta of, with their files in the directory `contents`; and how many
    /// bytes of these were transferred.
    async fn bring(
        &self,
        store: &Store,
        key: &Digest,
        trusted: &Trusted,
        contents: &Path,
    ) -> Result<Option<(Vec<Signed>, u64)>, RemoteError> {
        let path = result_path(key);
        let Some(first) = self.signed(&path, |manifest| manifest.key == *key).await? else { return Ok(None) };
        trusted.check(self, &path, &first)?;
        let label = first.manifest.label.clone();
        let missing = |object| RemoteError::Missing { remote: self.name.clone(), object, label: label.clone() };
        let mut chain = vec![first];
        // A base is named by a digest that its own manifest enters, so there are no circles.
        while let Some(base) = chain.last().and_then(|last| last.manifest.base.clone())
            && !store.holds(&base)
        {
            let path = output_path(&base);
            let one = self.signed(&path, |manifest| manifest.output == base).await?;
            let one = one.ok_or_else(|| missing(path.clone()))?;
            trusted.check(self, &path, &one)?;
            chain.push(one);
        }
        let mut bytes = 0;
        for signed in &chain {
            for (name, file) in signed.manifest.blobs() {
                let to = contents.join(&file.digest);
                if to.exists() || self.is_here(store, &signed.manifest.label, name, file, &to).await {
                    continue;
                }
                if self.download(file, &to).await? {
                    bytes += file.bytes;
                } else if name != JOURNAL {
                    return Err(missing(format!("`{name}` ({})", super::blob_path(&file.digest))));
                }
            }
        }
        Ok(Some((chain, bytes)))
    }

    /// What the store has whole is not transferred.
    async fn is_here(&self, store: &Store, label: &str, name: &str, file: &FileEntry, to: &Path) -> bool {
        let here = self.verified(store, label, name, file).await;
        here.is_ok_and(|path| std::fs::hard_link(path, to).is_ok())
    }
}
