//! Remote stores: results in a directory, an S3-compatible service or behind a web server, for other machines.
//!
//! From outside: [`Remote::open`] makes one out of an address, [`Remote::push`] and [`Remote::pull`] move results with all that they are
//! deltas of, [`Remote::has`] asks cheaply, and [`Session`] is what a run asks before it computes. Results are signed
//! ([`SigningKey`]), and taken only from those who are trusted ([`Trusted`]). Nothing of a remote is believed: every byte is
//! verified before anything gets its name in the store.
//!
//! Transfers are asynchronous in here and nowhere else. `docs/remotes.md` describes the layout.

mod address;
mod error;
mod key;
mod objects;
mod pull;
mod push;
mod session;
mod signed;
mod trust;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

pub use error::RemoteError;
pub use key::{PublicKey, SigningKey, config_directory};
pub use pull::Pulled;
pub use push::{Pushed, Terms};
pub use session::{Session, Summary, Tally, divergent};
pub use trust::Trusted;

use crate::lang::world::Digest;
use crate::store::{FileEntry, Store, StoreError};

/// How often a transfer asks whether it is still wanted.
const TICK: Duration = Duration::from_millis(100);

/// How long a push that is stopped may take to take back what it had half done.
const TIDYING: Duration = Duration::from_secs(3);

/// Results that lie elsewhere.
pub struct Remote {
    objects: Arc<dyn ObjectStore>,
    /// As it was named; never holds credentials.
    name: String,
    read_only: bool,
    /// Of a remote that is one.
    directory: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
    /// Contents that were found damaged, to be written anew by who has them whole.
    damaged: Mutex<BTreeSet<Digest>>,
}

impl Remote {
    /// A remote by its address: a directory (`/mnt/results`, `file:///mnt/results`), `s3://bucket/prefix`, or a web server
    /// (`https://host/prefix`), which can only be read. Nothing is asked of it yet. Credentials, region and endpoint of S3 are
    /// taken from the environment (`AWS_ACCESS_KEY_ID` ...).
    ///
    /// # Errors
    /// When the address is none, or the environment does not say what it must.
    pub fn open(address: &str) -> Result<Self, RemoteError> {
        let address::Place { objects, name, read_only, directory } = address::place(address)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| RemoteError::Unreachable { remote: name.clone(), why: error.to_string() })?;
        Ok(Self { objects, name, read_only, directory, runtime, damaged: Mutex::default() })
    }

    /// The address, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it ready to be pushed to: a directory is made, if the one that it lies in is there.
    ///
    /// # Errors
    /// When it can only be read, or the directory can't be made.
    pub fn prepare(&self) -> Result<(), RemoteError> {
        if self.read_only {
            return Err(RemoteError::ReadOnly { remote: self.name.clone() });
        }
        match &self.directory {
            Some(directory) if !directory.is_dir() => {
                std::fs::create_dir(directory).map_err(RemoteError::io("make the directory", directory))
            }
            _ => Ok(()),
        }
    }

    /// A directory that is not there, or not mounted, is not the same as one without results.
    fn reachable(&self) -> Result<(), RemoteError> {
        match &self.directory {
            Some(directory) if !directory.is_dir() => {
                Err(RemoteError::Unreachable { remote: self.name.clone(), why: "there is no such directory".into() })
            }
            _ => Ok(()),
        }
    }

    /// Which of these keys there are results of. Asks only whether their manifests are there, some at a time.
    ///
    /// # Errors
    /// When it can't be reached.
    pub fn has(&self, keys: &[Digest]) -> Result<Vec<bool>, RemoteError> {
        self.reachable()?;
        let asked = keys.iter().map(|key| async move { Ok(self.size(&result_path(key)).await?.is_some()) });
        let asked = futures_util::stream::iter(asked).buffered(16);
        self.drive(asked.try_collect(), &mut || true)
    }

    /// Waits for something asynchronous, as long as it is wanted.
    fn drive<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<T, RemoteError> {
        self.drive_to_stop(work, goes_on, None)
    }

    /// The same; work that looks at `stop` has a while to tidy up when it is not wanted any more.
    fn drive_to_stop<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
        goes_on: &mut dyn FnMut() -> bool,
        stop: Option<&AtomicBool>,
    ) -> Result<T, RemoteError> {
        let mut until = None;
        self.runtime.block_on(async {
            tokio::pin!(work);
            loop {
                match tokio::time::timeout(TICK, &mut work).await {
                    Ok(done) => return done,
                    Err(_) if until.is_none() && goes_on() => {}
                    Err(_) => {
                        let Some(stop) = stop else { return Err(RemoteError::Interrupted) };
                        stop.store(true, Ordering::Relaxed);
                        if Instant::now() > *until.get_or_insert_with(|| Instant::now() + TIDYING) {
                            return Err(RemoteError::Interrupted);
                        }
                    }
                }
            }
        })
    }

    /// Where a file of a result lies in the store, after its content was digested beside what else is under way.
    async fn verified(&self, store: &Store, label: &str, name: &str, file: &FileEntry) -> Result<PathBuf, StoreError> {
        let (store, label, name, file) = (store.clone(), label.to_owned(), name.to_owned(), file.clone());
        aside(move || store.verified(&label, &name, &file)).await
    }

    fn is_damaged(&self, digest: &Digest) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn note_damage(&self, digest: &Digest) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone());
    }
}

/// Does what takes long without waiting for anything on another thread, so that time limits and leases are looked after.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The runtime outlives all that is driven on it, so nothing was cancelled.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("name", &self.name).finish_non_exhaustive()
    }
}

fn result_path(key: &str) -> String {
    sharded("results", key, ".json")
}

fn output_path(output: &str) -> String {
    sharded("outputs", output, ".json")
}

fn blob_path(digest: &str) -> String {
    sharded("blobs", digest, "")
}

/// As in a store.
fn sharded(kind: &str, digest: &str, ending: &str) -> String {
    format!("{kind}/{}/{digest}{ending}", digest.get(..2).unwrap_or("__"))
}
