//! From a store to a remote.

use std::sync::atomic::AtomicBool;

use super::signed::sign;
use super::{Remote, RemoteError, SigningKey, Trusted, blob_path, output_path, result_path};
use crate::lang::world::Digest;
use crate::store::{JOURNAL, Manifest, Sent, Store, StoreError};

/// What was given to a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Results that were not there.
    pub new: usize,
    /// Results that were.
    pub there: usize,
    /// That were transferred.
    pub bytes: u64,
    /// Results of which the remote has a different one that was made elsewhere; that one stays.
    pub divergent: Vec<String>,
}

/// How to push.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Whose results that are there already are left as they are.
    pub trusted: &'a Trusted,
    /// What results are signed with, if they are.
    pub key: Option<&'a SigningKey>,
    /// Puts again what seems to be there.
    pub replace: bool,
}

impl Remote {
    /// Gives results to the remote with all that they are deltas of. Contents go first and the manifest of a key last: it is the only proof
    /// that a result is there. What is there already is left as it is, so that any number may push at a time.
    ///
    /// # Errors
    /// When a result is not in the store or damaged, or the remote can't be reached or written.
    pub fn push(
        &self,
        store: &Store,
        keys: &[Digest],
        terms: Terms,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Pushed, RemoteError> {
        self.prepare()?;
        let mut pushed = Pushed::default();
        let stop = AtomicBool::new(false);
        // What others are deltas of comes before them: a result never lies there without.
        for sent in &store.closure(keys)? {
            self.drive_to_stop(self.give(store, sent, terms, &mut pushed, &stop), goes_on, Some(&stop))?;
        }
        Ok(pushed)
    }

    async fn give(
        &self,
        store: &Store,
        sent: &Sent,
        terms: Terms<'_>,
        pushed: &mut Pushed,
        stop: &AtomicBool,
    ) -> Result<(), RemoteError> {
        let Sent { manifest, bytes } = sent;
        let (result, output) = (result_path(&manifest.key), output_path(&manifest.output));
        let there = match self.accepted(&result, terms, |one| one.key == manifest.key).await? {
            Some(other) if other.output != manifest.output => {
                pushed.divergent.push(manifest.label.clone());
                // What this one is a delta of, or what is a delta of it, may need it by its output.
                false
            }
            there => {
                there.is_some() && self.accepted(&output, terms, |one| one.output == manifest.output).await?.is_some()
            }
        };
        let mut whole = true;
        for (name, file) in manifest.blobs() {
            let replace = terms.replace || self.is_damaged(&file.digest);
            if !replace && self.size(&blob_path(&file.digest)).await? == Some(file.bytes) {
                continue;
            }
            let path = match self.verified(store, &manifest.label, name, file).await {
                // Nobody needs it.
                Err(StoreError::Missing { .. }) if name == JOURNAL => continue,
                path => path?,
            };
            whole = false;
            self.upload(file, &path, stop).await?;
            pushed.bytes += file.bytes;
        }
        if there && whole && !terms.replace {
            pushed.there += 1;
            return Ok(());
        }
        let signed = sign(bytes, terms.key);
        self.write(&output, signed.clone()).await?;
        if !pushed.divergent.contains(&manifest.label) {
            self.write(&result, signed).await?;
            pushed.new += 1;
        }
        Ok(())
    }

    /// A manifest that lies there and that would be taken from there.
    async fn accepted(
        &self,
        path: &str,
        terms: Terms<'_>,
        is: impl FnOnce(&Manifest) -> bool,
    ) -> Result<Option<Manifest>, RemoteError> {
        match self.signed(path, is).await {
            Ok(Some(signed)) if terms.trusted.check(self, path, &signed).is_ok() => Ok(Some(signed.manifest)),
            Ok(_) | Err(RemoteError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
