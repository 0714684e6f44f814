//! What was found in a source's files the last time, so that files that have not changed are not read again.
//!
//! Kept in the user's cache, an entry a source; nothing of it enters a key. A file counts as unchanged while path, device,
//! inode, size and both times are the same, and only when it was older than [`RACY`] when it was read: a change within
//! the resolution of a file system's clock could not be told otherwise. A stage digests what it reads in any case, so that
//! a wrong memo would end a run, never change a result.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::lang::world::{SourceFacts, SourceRequest};

/// A file that was changed within this time before it was read is read again the next time.
const RACY: Duration = Duration::from_secs(2);

/// Raised whenever the same files would be described differently.
const VERSION: u32 = 1;

/// Entries in a directory.
#[derive(Debug, Clone)]
pub struct Memo {
    directory: PathBuf,
}

/// What tells a file from what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One source's files and what they hold.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// What was asked, and from where.
    question: String,
    stamps: Vec<Stamp>,
    facts: SourceFacts,
}

/// A source that is about to be described.
pub(super) struct Asked<'a> {
    memo: &'a Memo,
    question: String,
    stamps: Vec<Stamp>,
    begun: SystemTime,
}

impl Memo {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Looks at the files of a source; `None` where one of them can't be looked at, which describing it will explain.
    pub(super) fn ask(&self, request: &SourceRequest, directory: &Path, files: &[PathBuf]) -> Option<Asked<'_>> {
        let begun = SystemTime::now();
        let here = std::env::current_dir().ok()?;
        let question = format!("{VERSION} {} {} {request:?}", here.display(), directory.display());
        let stamps = files.iter().map(|file| Stamp::of(file)).collect::<Option<Vec<_>>>()?;
        Some(Asked { memo: self, question, stamps, begun })
    }

    fn path(&self, question: &str) -> PathBuf {
        self.directory.join(blake3::hash(question.as_bytes()).to_hex().as_str())
    }
}

impl Asked<'_> {
    /// What the files held, if they have not changed. An entry that can't be read, or is not whole, counts as none.
    pub fn answer(&self) -> Option<SourceFacts> {
        let bytes = fs::read(self.memo.path(&self.question)).ok()?;
        let (digest, body) = (bytes.get(..64)?, bytes.get(64..)?);
        if blake3::hash(body).to_hex().as_bytes() != digest {
            return None;
        }
        let entry: Entry = serde_json::from_slice(body).ok()?;
        (entry.question == self.question && entry.stamps == self.stamps).then_some(entry.facts)
    }

    /// Remembers what the files hold, unless one of them has just been changed, or was while it was read. A memo that can't
    /// be written costs time the next time, and nothing else.
    pub fn remember(self, facts: &SourceFacts) {
        let settled = self.stamps.iter().all(|stamp| {
            let latest = stamp.modified.max(stamp.changed);
            let age = self.begun.duration_since(UNIX_EPOCH).unwrap_or_default();
            let latest = Duration::new(u64::try_from(latest.0).unwrap_or(0), u32::try_from(latest.1).unwrap_or(0));
            latest + RACY < age && Stamp::of(&stamp.path).as_ref() == Some(stamp)
        });
        if !settled {
            return;
        }
        let path = self.memo.path(&self.question);
        let entry = Entry { question: self.question, stamps: self.stamps, facts: facts.clone() };
        let Ok(body) = serde_json::to_vec(&entry) else { return };
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.memo.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.memo.directory)?;
            file.write_all(blake3::hash(&body).to_hex().as_bytes())?;
            file.write_all(&body)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        let _ = write();
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            path: fs::canonicalize(path).ok()?,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
