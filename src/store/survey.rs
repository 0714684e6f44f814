//! What the store holds, and why each result stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::gc::ABANDONED;
use super::pins::stem;
use super::{Manifest, Publication, RunRecord, Store, StoreError};
use crate::lang::world::Digest;

/// What is to be kept besides what is pinned and in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The results of this many runs of each file; runs that came to the same results count once.
    pub keep_runs: usize,
    /// Whatever is younger than this.
    pub grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { keep_runs: 10, grace: Duration::from_secs(14 * 24 * 3600) }
    }
}

/// Why a result stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A run that goes on found or made it.
    InUse {
        run: String,
    },
    /// A process holds the lease of its key.
    Leased,
    Pinned {
        name: String,
    },
    /// A directory holds it, as a run has published it there.
    Published {
        directory: String,
    },
    /// Of one of the last runs of this file.
    Run {
        run: String,
        file: String,
    },
    /// It has not been there for long.
    Young,
    /// What this one stays for was made from it.
    Needed {
        by: String,
        because: Box<Why>,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::InUse { run } => write!(f, "in use by run {run}"),
            Why::Leased => f.write_str("being computed"),
            Why::Pinned { name } => write!(f, "pinned as {name}"),
            Why::Published { directory } => write!(f, "published in {directory}"),
            Why::Run { run, file } => write!(f, "run {run} of {file}"),
            Why::Young => f.write_str("young"),
            Why::Needed { by, because } => write!(f, "{by} builds on it ({because})"),
        }
    }
}

/// A result, its size and age, and why it stays.
#[derive(Debug, Clone)]
pub struct StoredResult {
    pub manifest: Manifest,
    pub path: PathBuf,
    pub age: Duration,
    /// `None` when nothing keeps it.
    pub why: Option<Why>,
}

impl StoredResult {
    /// Of its files; other results may have some of them too.
    pub fn bytes(&self) -> u64 {
        self.manifest.blobs().map(|(_, file)| file.bytes).sum()
    }
}

/// A manifest's file, read.
#[derive(Debug, Clone)]
pub struct Reading {
    pub path: PathBuf,
    pub age: Duration,
    /// What is wrong with it otherwise.
    pub manifest: Result<Manifest, String>,
}

/// What the store held at one moment.
#[derive(Debug)]
pub struct Survey {
    /// Those whose manifest is whole.
    pub results: Vec<StoredResult>,
    /// Manifests that are not what was written.
    pub damaged: Vec<Reading>,
    /// All runs, the last one first.
    pub runs: Vec<RunRecord>,
    /// The runs whose records stay: those whose results are kept for them, and those that published what still stands.
    pub kept_runs: BTreeSet<String>,
    /// By output digest.
    pub(super) outputs: Vec<StoredResult>,
    /// By the file system's clock.
    pub(super) now: SystemTime,
}

impl Store {
    /// Looks through all manifests and says why each result stays.
    ///
    /// # Errors
    /// When something can't be read, for then what is in use is not known. A damaged manifest is no error.
    pub fn survey(&self, policy: &Policy) -> Result<Survey, StoreError> {
        let now = self.now()?;
        let mut damaged = vec![];
        let mut part = |name| -> Result<Vec<StoredResult>, StoreError> {
            let mut whole = vec![];
            for reading in self.manifests(name, now)? {
                let Reading { path, age, manifest } = reading;
                match manifest {
                    Ok(manifest) => whole.push(StoredResult { manifest, path, age, why: None }),
                    Err(why) => damaged.push(Reading { path, age, manifest: Err(why) }),
                }
            }
            Ok(whole)
        };
        let mut results = part("results")?;
        let mut outputs = part("outputs")?;
        let runs = self.known_runs()?;
        let mut kept_runs = kept_runs(&runs, policy.keep_runs);
        let standing = standing(&runs);
        let mut reasons = Reasons::new(&results, &outputs);
        for run in &runs {
            for stage in run.stages.iter().filter(|_| run.live) {
                reasons.root(&stage.output, &Why::InUse { run: run.id.clone() });
            }
        }
        for key in self.leased(now, ABANDONED)? {
            reasons.root_of_key(&key, &Why::Leased);
        }
        for (key, name) in self.pins()? {
            reasons.lineage(&key, &Why::Pinned { name });
        }
        for (run, publication) in &standing {
            let why = Why::Published { directory: publication.directory.clone() };
            reasons.root(&publication.output, &why);
            if let Some(key) = run.pipelines.get(&publication.pipeline) {
                reasons.lineage(key, &why);
            }
        }
        for run in runs.iter().filter(|run| kept_runs.contains(&run.id)) {
            for stage in &run.stages {
                reasons.root(&stage.output, &Why::Run { run: run.id.clone(), file: run.file.clone() });
            }
        }
        for young in results.iter().chain(&outputs).filter(|one| one.age < policy.grace) {
            reasons.root(&young.manifest.output, &Why::Young);
        }
        kept_runs.extend(standing.into_iter().map(|(run, _)| run.id.clone()));
        let found = reasons.found;
        for one in results.iter_mut().chain(&mut outputs) {
            one.why = found.get(&one.manifest.output).cloned();
        }
        Ok(Survey { results, damaged, runs, kept_runs, outputs, now })
    }

    /// Every manifest of `results` or `outputs`, as it is now.
    pub(super) fn manifests(&self, part: &str, now: SystemTime) -> Result<Vec<Reading>, StoreError> {
        let mut all = vec![];
        for path in self.sharded_entries(part)? {
            let Some(age) = age(&path, now)? else { continue };
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            };
            let manifest = Manifest::from_bytes(&bytes).and_then(|manifest| {
                let named = if part == "results" { &manifest.key } else { &manifest.output };
                if *named == stem(&path) { Ok(manifest) } else { Err("it is another result's".into()) }
            });
            all.push(Reading { path, age, manifest });
        }
        Ok(all)
    }
}

/// How long ago a file was last written; `None` when it is gone.
pub(super) fn age(path: &Path, now: SystemTime) -> Result<Option<Duration>, StoreError> {
    match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        // Written after `now` was asked for.
        Ok(modified) => Ok(Some(now.duration_since(modified).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// The last runs of each file, of those with the same results only the last; and all that go on.
fn kept_runs(runs: &[RunRecord], keep: usize) -> BTreeSet<String> {
    let mut seen: BTreeMap<&Path, BTreeSet<BTreeSet<&Digest>>> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for run in runs {
        let of_file = seen.entry(&run.path).or_default();
        let results: BTreeSet<&Digest> = run.stages.iter().map(|stage| &stage.key).collect();
        let counts = !results.is_empty() && of_file.len() < keep && of_file.insert(results);
        if run.live || counts {
            kept.insert(run.id.clone());
        }
    }
    kept
}

/// What directories hold because it was published there, and the last run that did it.
fn standing(runs: &[RunRecord]) -> Vec<(&RunRecord, &Publication)> {
    let mut seen = BTreeSet::new();
    let all = runs.iter().flat_map(|run| run.published.iter().map(move |publication| (run, publication)));
    let last = all.filter(|(_, publication)| seen.insert((&publication.directory, &publication.output)));
    last.filter(|(_, publication)| publication.stands()).collect()
}

/// Why outputs stay; the first reason that is found is told.
struct Reasons<'a> {
    by_output: BTreeMap<&'a Digest, &'a Manifest>,
    by_key: BTreeMap<&'a Digest, &'a Manifest>,
    found: BTreeMap<Digest, Why>,
}

impl<'a> Reasons<'a> {
    fn new(results: &'a [StoredResult], outputs: &'a [StoredResult]) -> Self {
        let all = || results.iter().chain(outputs).map(|one| &one.manifest);
        Self {
            by_output: all().map(|manifest| (&manifest.output, manifest)).collect(),
            by_key: results.iter().map(|one| (&one.manifest.key, &one.manifest)).collect(),
            found: BTreeMap::new(),
        }
    }

    /// The result stays, and so does what it is a delta of.
    fn root(&mut self, output: &Digest, why: &Why) {
        let (mut output, mut why) = (output, why.clone());
        // What stays already, stays with its bases.
        while !self.found.contains_key(output) {
            self.found.insert(output.clone(), why.clone());
            let Some(manifest) = self.by_output.get(output) else { return };
            let Some(base) = &manifest.base else { return };
            (output, why) = (base, needed(manifest, why));
        }
    }

    fn root_of_key(&mut self, key: &Digest, why: &Why) {
        if let Some(manifest) = self.by_key.get(key) {
            self.root(&manifest.output, why);
        }
    }

    /// The result stays with all it was made from, so that it need not be computed again to be come to.
    fn lineage(&mut self, key: &Digest, why: &Why) {
        let Some(&manifest) = self.by_key.get(key) else { return };
        let mut seen = BTreeSet::new();
        let mut waiting = vec![(manifest, why.clone())];
        while let Some((manifest, why)) = waiting.pop() {
            if !seen.insert(&manifest.output) {
                continue;
            }
            self.root(&manifest.output, &why);
            for output in manifest.pre_image.inputs() {
                if let Some(&input) = self.by_output.get(output) {
                    waiting.push((input, needed(manifest, why.clone())));
                }
            }
        }
    }
}

/// A chain of reasons is told from its end: what is the pin, the run, the lease?
fn needed(by: &Manifest, why: Why) -> Why {
    let because = match why {
        Why::Needed { because, .. } => because,
        root => Box::new(root),
    };
    Why::Needed { by: by.label.clone(), because }
}
