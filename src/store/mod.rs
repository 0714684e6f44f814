//! Where results live: immutable blobs named by their content, manifests named by key, leases, attempts.
//!
//! From outside: [`Store::open`], [`Store::lookup`], [`Store::artifact`] to read; [`Store::acquire`], [`Store::attempt`]
//! and [`Store::commit`] to write. The manifest under `results/` is written last and is the only proof that a stage
//! happened: a process killed at any instant leaves nothing that looks finished, and nothing to repair.
//!
//! `docs/store.md` describes the layout.

mod artifact;
mod attempt;
mod commit;
mod differences;
mod elsewhere;
mod error;
mod files;
mod gc;
mod guard;
mod journal;
mod lease;
mod lookup;
mod manifest;
mod pins;
mod process;
mod runs;
mod survey;
mod transfer;
mod usage;
mod verify;

use std::path::{Path, PathBuf};

pub use artifact::StoredArtifact;
pub use attempt::Attempt;
pub use commit::{Committed, Product};
pub use differences::Differing;
pub use elsewhere::Elsewhere;
pub use error::StoreError;
pub use files::digest_file;
pub use gc::{Collection, Part, Removal};
pub use journal::{JOURNAL, Journal, JournalEntry};
pub use lease::{Acquired, Lease, Patience};
pub use lookup::{Absence, Lookup};
pub use manifest::{FileEntry, Manifest, Record, is_digest};
pub use process::Process;
pub use runs::{Ended, Publication, ResolvedStage, RunEntry, RunRecord, Timed, stamp};
pub use survey::{Policy, Reading, StoredResult, Survey, Why};
pub use transfer::Sent;
pub use usage::Usage;
pub use verify::{Damage, Verified};

/// Version of the directory layout and the manifests.
pub const SCHEMA: u32 = 1;

/// A store on this machine's file systems. Any number of processes may use one at a time.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, making it where there is none.
    ///
    /// # Errors
    /// When the directory can't be made or belongs to a newer version.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for part in ["blobs", "results", "outputs", "leases", "attempts", "logs", "damaged", "runs", "pins"] {
            let directory = root.join(part);
            std::fs::create_dir_all(&directory).map_err(StoreError::io("make the store's directory", &directory))?;
        }
        // Stage processes and a scheduler started elsewhere must mean the same place.
        let root = std::fs::canonicalize(&root).map_err(StoreError::io("find the store", &root))?;
        let store = Self { root };
        store.check_schema()?;
        Ok(store)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a stage's standard error is kept.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where states of fixed layers are kept for the next run: no results, so deleting the directory loses nothing but
    /// time.
    pub fn states(&self) -> PathBuf {
        self.root.join("states")
    }

    /// Where an unfinished stage keeps what its next attempt goes on from; a commit of its key removes it. No result:
    /// deleting it loses nothing but time.
    pub fn checkpoint(&self, key: &str) -> PathBuf {
        self.root.join("checkpoints").join(key)
    }

    /// Removes the checkpoint of a key that nobody will compute, unless somebody does right now.
    pub fn drop_checkpoint(&self, key: &str) {
        if let Ok(Acquired::Ours(_lease)) = self.acquire(&key.to_owned(), &mut Patience::default()) {
            // One that stays is collected.
            let _ = std::fs::remove_file(self.checkpoint(key));
        }
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let path = self.root.join("schema");
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(found) if found > SCHEMA => Err(StoreError::NewerSchema { root: self.root.clone(), found }),
                Ok(_) => Ok(()),
                // Nothing depends on this file but the check above.
                Err(_) => self.write_atomically(&path, format!("{SCHEMA}\n").as_bytes()),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.write_atomically(&path, format!("{SCHEMA}\n").as_bytes())
            }
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.sharded("blobs", digest, "")
    }

    fn result_path(&self, key: &str) -> PathBuf {
        self.sharded("results", key, ".json")
    }

    fn output_path(&self, output: &str) -> PathBuf {
        self.sharded("outputs", output, ".json")
    }

    fn lease_path(&self, key: &str) -> PathBuf {
        self.root.join("leases").join(format!("{key}.json"))
    }

    /// `kind/ab/abcdef...`: directories of at most a few thousand entries each.
    fn sharded(&self, kind: &str, digest: &str, ending: &str) -> PathBuf {
        let shard = digest.get(..2).unwrap_or("__");
        self.root.join(kind).join(shard).join(format!("{digest}{ending}"))
    }
}
