//! Removing what nothing keeps: first results, then the blobs that no manifest names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pins::stem;
use super::process::{Life, Process};
use super::survey::age;
use super::usage;
use super::{Lookup, Policy, Store, StoreError, StoredResult, Survey, Why};
use crate::lang::world::Digest;

/// What processes of other hosts left unfinished, and a training that nobody went on with, is given up after this long.
pub(super) const ABANDONED: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a collection removes, in this order.
#[derive(Debug)]
pub struct Collection {
    /// Results that go. Blobs that others have too stay.
    pub results: Vec<StoredResult>,
    /// How many results stay.
    pub kept: usize,
    /// Of those, the ones that stay only because they are young.
    pub young: usize,
    pub files: Vec<Removal>,
}

/// A file that goes, or what a process left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub path: PathBuf,
    pub bytes: u64,
    pub part: Part,
}

/// What a file of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Manifests,
    Blobs,
    Checkpoints,
    States,
    Logs,
    Damaged,
    Runs,
    Attempts,
}

impl Collection {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Number and size of the files of a kind that go.
    pub fn of(&self, part: Part) -> (usize, u64) {
        let files = || self.files.iter().filter(|file| file.part == part);
        (files().count(), files().map(|file| file.bytes).sum())
    }
}

impl Store {
    /// What [`collect`](Self::collect) would remove now.
    pub fn collectable(&self, policy: &Policy) -> Result<Collection, StoreError> {
        let _guard = self.using()?;
        self.choose(policy)
    }

    /// Removes what nothing keeps. Runs may go on meanwhile; they wait while it is decided what goes and that is taken
    /// out of its place, and it is deleted after that. Killed at any instant, it leaves a store that is whole, and the
    /// next one does the rest.
    ///
    /// # Errors
    /// When something can't be read, before anything is removed; or when something can't be removed.
    pub fn collect(&self, policy: &Policy) -> Result<Collection, StoreError> {
        self.sweep()?;
        // Deleted with what is in it when it is dropped, which is after the guard; and by a later run when this process
        // is killed. Where it can't be made, on a full disk, things are deleted in their places.
        let bin = self.attempt().ok();
        let _guard = self.alone()?;
        let collection = self.choose(policy)?;
        for (number, removal) in collection.files.iter().enumerate() {
            let to = bin.as_ref().map(|bin| bin.files().join(number.to_string()));
            take(&removal.path, to.as_deref()).map_err(StoreError::io("remove", &removal.path))?;
        }
        Ok(collection)
    }

    fn choose(&self, policy: &Policy) -> Result<Collection, StoreError> {
        let survey = self.survey(policy)?;
        let mut files = vec![];
        let mut named: BTreeSet<&Digest> = BTreeSet::new();
        for one in survey.results.iter().chain(&survey.outputs) {
            match one.why {
                Some(_) => named.extend(one.manifest.blobs().map(|(_, file)| &file.digest)),
                None => files.extend(removal(&one.path, Part::Manifests)?),
            }
        }
        let old = |path: &Path, limit| Ok::<_, StoreError>(age(path, survey.now)?.is_some_and(|age| age >= limit));
        for path in self.sharded_entries("blobs")? {
            if !named.contains(&stem(&path)) && old(&path, policy.grace)? {
                files.extend(removal(&path, Part::Blobs)?);
            }
        }
        let leased = self.leased(survey.now, ABANDONED)?;
        for path in self.entries("checkpoints")? {
            let key = stem(&path);
            let over = old(&path, ABANDONED)? || matches!(self.lookup(&key), Lookup::Hit(_));
            if over && !leased.contains(&key) {
                files.extend(removal(&path, Part::Checkpoints)?);
            }
        }
        for (name, part) in [("states", Part::States), ("logs", Part::Logs), ("damaged", Part::Damaged)] {
            for path in self.entries(name)? {
                if old(&path, policy.grace)? {
                    files.extend(removal(&path, part)?);
                }
            }
        }
        for path in self.entries("runs")? {
            let id = stem(&path);
            if path == self.run_path(&id) && !survey.kept_runs.contains(&id) {
                // One that is not known began just now, or can't be made out.
                let known = survey.runs.iter().any(|run| run.id == id);
                if old(&path, if known { policy.grace } else { ABANDONED })? {
                    files.extend(removal(&path, Part::Runs)?);
                }
            }
        }
        for path in self.entries("attempts")? {
            if self.out_of_sight(&path) && newest(&path, &survey)? >= ABANDONED {
                files.extend(removal(&path, Part::Attempts)?);
            }
        }
        let Survey { results, .. } = survey;
        let (kept, gone): (Vec<_>, Vec<_>) = results.into_iter().partition(|one| one.why.is_some());
        let young = kept.iter().filter(|one| one.why == Some(Why::Young)).count();
        Ok(Collection { results: gone, kept: kept.len(), young, files })
    }

    /// Whether only its age can tell if an attempt's process is gone.
    fn out_of_sight(&self, attempt: &Path) -> bool {
        let name = attempt.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let owner = name.rsplit_once('-').map_or(name.as_str(), |(owner, _)| owner);
        Process::current().life_of_slug(owner) == Some(Life::OutOfSight)
    }
}

/// How long ago anything in an attempt was last written.
fn newest(path: &Path, survey: &Survey) -> Result<Duration, StoreError> {
    let mut newest = age(path, survey.now)?.unwrap_or_default();
    if path.is_dir() {
        for inside in super::files::list(path)? {
            newest = newest.min(self::newest(&inside, survey)?);
        }
    }
    Ok(newest)
}

/// `None` when it is gone already.
fn removal(path: &Path, part: Part) -> Result<Option<Removal>, StoreError> {
    let there = fs::symlink_metadata(path).is_ok();
    let (_, bytes) = usage::count(path).map_err(StoreError::io("read", path))?;
    Ok(there.then(|| Removal { path: path.to_path_buf(), bytes, part }))
}

/// Takes a file away, to another place where there is one.
fn take(path: &Path, to: Option<&Path>) -> io::Result<()> {
    let taken = match to {
        Some(to) => fs::rename(path, to),
        None if path.is_dir() => fs::remove_dir_all(path),
        None => fs::remove_file(path),
    };
    // What processes left may be swept by a run at the same time.
    taken.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
