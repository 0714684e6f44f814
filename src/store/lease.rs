//! One lease per key: of any number of runs on one store, one computes a result and the others wait for it.
//!
//! A lease is a file that is linked into place, whole, and only where there is none. Removing or renewing one happens
//! under a lock that the operating system drops with its process, after looking whose lease it is; so a lease that was
//! taken over can't be removed, renewed or committed under by its former holder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::process::{Life, Process, nonce};
use super::survey::age;
use super::{Store, StoreError};
use crate::lang::world::Digest;

/// How often a holder shows that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// The content of a lease file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    process: Process,
    nonce: String,
    /// Counts up while the holder lives.
    heartbeat: u64,
}

/// The right to compute the result of one key; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    key: Digest,
    claim: Claim,
    renewed: Instant,
}

/// The answer to [`Store::acquire`].
#[derive(Debug)]
pub enum Acquired {
    Ours(Lease),
    /// Another process has it: `host, process 123`.
    Held {
        holder: String,
    },
}

/// What a waiting run has seen of a holder it can't look at, by its own clock.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    seen: Option<(Claim, Instant)>,
}

impl Default for Patience {
    /// Twelve missed heartbeats.
    fn default() -> Self {
        Self::new(12 * HEARTBEAT)
    }
}

impl Patience {
    /// A holder on another host is given up when its heartbeat stood still for this long.
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: None }
    }

    fn exhausted(&mut self, claim: &Claim) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == claim => since.elapsed() >= self.limit,
            _ => {
                self.seen = Some((claim.clone(), Instant::now()));
                self.limit.is_zero()
            }
        }
    }
}

impl Store {
    /// Takes the lease of a key, also from a holder that is gone. Call again, with the same `patience`, to wait.
    pub fn acquire(&self, key: &Digest, patience: &mut Patience) -> Result<Acquired, StoreError> {
        let claim = Claim { process: Process::current(), nonce: nonce(), heartbeat: 0 };
        loop {
            if self.place(key, &claim)? {
                let lease = Lease { store: self.clone(), key: key.clone(), claim, renewed: Instant::now() };
                return Ok(Acquired::Ours(lease));
            }
            // It may have been given back since.
            let Some(held) = self.claim(key)? else { continue };
            let gone = match claim.process.life_of(&held.process) {
                Life::Alive => false,
                Life::Dead => true,
                Life::OutOfSight => patience.exhausted(&held),
            };
            if !gone {
                return Ok(Acquired::Held { holder: format!("{}, process {}", held.process.host, held.process.pid) });
            }
            self.with_leases_locked(|| {
                if self.claim(key)?.as_ref() == Some(&held) { self.remove_claim(key) } else { Ok(()) }
            })?;
        }
    }

    /// Runs `action` when the lease of a key is still the one with this nonce, and keeps others from taking it
    /// meanwhile; `None` when it is not.
    pub(super) fn under_lease<T>(
        &self,
        key: &Digest,
        nonce: &str,
        action: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.with_leases_locked(|| match self.claim(key)? {
            Some(claim) if claim.nonce == nonce => action().map(Some),
            _ => Ok(None),
        })
    }

    /// The keys that somebody may be computing: whose lease is of a process that is there, or of one out of sight that
    /// has shown itself within this time.
    pub(super) fn leased(&self, now: SystemTime, within: Duration) -> Result<BTreeSet<Digest>, StoreError> {
        let this = Process::current();
        let mut keys = BTreeSet::new();
        for (key, claim) in self.claims()? {
            let counts = match this.life_of(&claim.process) {
                Life::Alive => true,
                Life::Dead => false,
                Life::OutOfSight => age(&self.lease_path(&key), now)?.is_some_and(|age| age < within),
            };
            if counts {
                keys.insert(key);
            }
        }
        Ok(keys)
    }

    /// Removes the leases of processes that are known to be gone, of keys that nobody asks for.
    pub(super) fn sweep_leases(&self) -> Result<(), StoreError> {
        let this = Process::current();
        for (key, claim) in self.claims()? {
            if this.life_of(&claim.process) == Life::Dead {
                self.with_leases_locked(|| {
                    if self.claim(&key)?.as_ref() == Some(&claim) { self.remove_claim(&key) } else { Ok(()) }
                })?;
            }
        }
        Ok(())
    }

    fn claims(&self) -> Result<Vec<(Digest, Claim)>, StoreError> {
        let mut claims = vec![];
        for path in self.entries("leases")? {
            let Some(key) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else { continue };
            let key = key.to_owned();
            if let Some(claim) = self.claim(&key)? {
                claims.push((key, claim));
            }
        }
        Ok(claims)
    }

    /// Links a claim into place; `false` when there is one already.
    fn place(&self, key: &Digest, claim: &Claim) -> Result<bool, StoreError> {
        let path = self.lease_path(key);
        let temporary = self.root.join("attempts").join(format!("{}-{}", claim.process.slug(), nonce()));
        self.write_claim(&temporary, claim)?;
        let linked = fs::hard_link(&temporary, &path);
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io("make the lease", &path)(error)),
        }
    }

    fn write_claim(&self, path: &Path, claim: &Claim) -> Result<(), StoreError> {
        let json = serde_json::to_vec(claim).map_err(io::Error::from);
        json.and_then(|json| fs::write(path, json)).map_err(StoreError::io("write the lease", path))
    }

    fn claim(&self, key: &Digest) -> Result<Option<Claim>, StoreError> {
        let path = self.lease_path(key);
        match fs::read(&path) {
            // Leases are not synced: after a loss of power one may be empty, and then its holder is gone.
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| Claim::of_nobody()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read the lease", &path)(error)),
        }
    }

    fn remove_claim(&self, key: &Digest) -> Result<(), StoreError> {
        let path = self.lease_path(key);
        fs::remove_file(&path).map_err(StoreError::io("remove the lease", &path))
    }

    fn with_leases_locked<T>(&self, action: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let path = self.root.join("leases").join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.and_then(|file| file.lock().map(|()| file)).map_err(StoreError::io("lock", &path))?;
        let result = action();
        drop(lock);
        result
    }
}

impl Claim {
    /// What an unreadable lease says: a process that can't exist.
    fn of_nobody() -> Self {
        Self {
            process: Process { pid: 0, boot: "none".into(), ..Process::current() },
            nonce: String::new(),
            heartbeat: 0,
        }
    }
}

impl Lease {
    /// What a stage process needs to commit under this lease.
    pub fn nonce(&self) -> &str {
        &self.claim.nonce
    }

    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// Shows other hosts that the holder is there, when that is due; call often. `false` when the lease was taken over.
    pub fn renew(&mut self) -> Result<bool, StoreError> {
        if self.renewed.elapsed() < HEARTBEAT {
            return Ok(true);
        }
        let next = Claim { heartbeat: self.claim.heartbeat + 1, ..self.claim.clone() };
        let temporary = self.store.root.join("attempts").join(format!("{}-{}", next.process.slug(), nonce()));
        let path = self.store.lease_path(&self.key);
        let renewed = self.store.under_lease(&self.key, &self.claim.nonce, || {
            self.store.write_claim(&temporary, &next)?;
            fs::rename(&temporary, &path).map_err(StoreError::io("renew the lease", &path))
        })?;
        self.claim = next;
        self.renewed = Instant::now();
        Ok(renewed.is_some())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A lease that can't be given back now is stale as soon as this process ends.
        let _ = self.store.under_lease(&self.key, &self.claim.nonce, || self.store.remove_claim(&self.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store, Digest) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path()).expect("a new store");
        (directory, store, "0".repeat(64))
    }

    fn ours(store: &Store, key: &Digest, patience: &mut Patience) -> Option<Lease> {
        match store.acquire(key, patience).expect("the lease can be asked for") {
            Acquired::Ours(lease) => Some(lease),
            Acquired::Held { .. } => None,
        }
    }

    fn held_by(store: &Store, key: &Digest, process: Process) {
        let claim = Claim { process, nonce: "theirs".into(), heartbeat: 7 };
        store.write_claim(&store.lease_path(key), &claim).expect("the lease is written");
    }

    #[test]
    fn a_lease_is_had_once_and_again_after_it_was_given_back() {
        let (_directory, store, key) = store();
        let first = ours(&store, &key, &mut Patience::default()).expect("free");
        assert!(ours(&store, &key, &mut Patience::default()).is_none());
        drop(first);
        assert!(ours(&store, &key, &mut Patience::default()).is_some());
    }

    #[test]
    fn a_lease_of_a_dead_process_or_an_earlier_boot_is_taken_over_at_once() {
        let (_directory, store, key) = store();
        let this = Process::current();
        held_by(&store, &key, Process { started: this.started + 1, ..this.clone() });
        drop(ours(&store, &key, &mut Patience::default()).expect("the number was reused"));
        held_by(&store, &key, Process { boot: "earlier".into(), ..this });
        drop(ours(&store, &key, &mut Patience::default()).expect("the machine was restarted"));
        fs::write(store.lease_path(&key), b"").expect("written");
        assert!(ours(&store, &key, &mut Patience::default()).is_some(), "an empty lease is nobody's");
    }

    #[test]
    fn a_lease_of_another_host_is_kept_while_its_heartbeat_moves() {
        let (_directory, store, key) = store();
        let elsewhere = Process { host: "elsewhere".into(), ..Process::current() };
        held_by(&store, &key, elsewhere.clone());
        let mut patience = Patience::new(Duration::from_millis(150));
        assert!(ours(&store, &key, &mut patience).is_none());
        std::thread::sleep(Duration::from_millis(100));
        let moved = Claim { process: elsewhere, nonce: "theirs".into(), heartbeat: 8 };
        store.write_claim(&store.lease_path(&key), &moved).expect("the lease is written");
        assert!(ours(&store, &key, &mut patience).is_none());
        std::thread::sleep(Duration::from_millis(100));
        assert!(ours(&store, &key, &mut patience).is_none(), "100 ms after the last heartbeat");
        std::thread::sleep(Duration::from_millis(100));
        assert!(ours(&store, &key, &mut patience).is_some(), "200 ms after the last heartbeat");
    }

    #[test]
    fn a_lost_lease_neither_commits_nor_removes_the_new_one() {
        let (_directory, store, key) = store();
        let mut lost = ours(&store, &key, &mut Patience::default()).expect("free");
        held_by(&store, &key, Process::current());
        assert_eq!(store.under_lease(&key, lost.nonce(), || Ok(())).expect("asked"), None);
        lost.renewed = Instant::now() - HEARTBEAT;
        assert!(!lost.renew().expect("asked"));
        drop(lost);
        assert_eq!(store.claim(&key).expect("read").map(|claim| claim.nonce), Some("theirs".into()));
    }

    #[test]
    fn of_many_that_find_a_stale_lease_one_gets_it() {
        let (_directory, store, key) = store();
        let this = Process::current();
        for round in 0..20 {
            held_by(&store, &key, Process { started: this.started + 1 + round, ..this.clone() });
            let together = std::sync::Barrier::new(8);
            let got = std::thread::scope(|scope| {
                let ask = || {
                    together.wait();
                    ours(&store, &key, &mut Patience::default())
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                all.into_iter().filter_map(|one| one.join().expect("no panic")).collect::<Vec<Lease>>()
            });
            assert_eq!(got.len(), 1, "round {round}");
        }
    }
}
