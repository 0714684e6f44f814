//! What a bundle says it holds.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::lang::world::Digest;
use crate::store::is_digest;

/// The first entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// [`VERSION`](super::VERSION) of the layout.
    pub ftp_bundle: u32,
    /// Version of ftp.
    pub made_by: String,
    /// The `.ftp` file, relative to the directory that is unpacked.
    pub file: String,
    /// Values of `param`s that were given on the command line.
    pub set: Vec<(String, String)>,
    /// Files of the project, in the order of their paths.
    pub files: Vec<Entry>,
    /// Files that the project reads and that are not here.
    pub left_out: Vec<LeftOut>,
    /// Manifests of results by their key.
    pub results: Vec<Entry>,
    /// Content of results by its digest.
    pub blobs: Vec<Entry>,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// With `/`, relative; of a result its key, of a blob its digest.
    pub path: String,
    pub digest: Digest,
    pub bytes: u64,
}

/// A file that whoever unpacks the bundle must have, or need not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The source that reads it.
    pub source: String,
    /// As the project names it; of what lies outside of the project, only its name.
    pub path: String,
    pub digest: Digest,
    pub bytes: u64,
}

/// Where entries lie in the archive.
pub(super) const FILES: &str = "files";
pub(super) const RESULTS: &str = "results";
pub(super) const BLOBS: &str = "blobs";

impl Index {
    /// Every entry with the directory of the archive that it lies in, in the archive's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        let of = |part: &'static str| move |entry| (part, entry);
        let files = self.files.iter().map(of(FILES));
        files.chain(self.results.iter().map(of(RESULTS))).chain(self.blobs.iter().map(of(BLOBS)))
    }

    /// What is wrong with an index from elsewhere.
    pub(super) fn fault(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        for (part, entry) in self.entries() {
            let path = &entry.path;
            let named = part == FILES || is_digest(path);
            if !(is_within(path) && named && is_digest(&entry.digest)) {
                return Some(format!("it names a file {path:?}"));
            }
            if part == BLOBS && *path != entry.digest {
                return Some(format!("it names a blob {path}, but its digest is {}", entry.digest));
            }
            // Names that differ only in case are one file on some systems.
            if !seen.insert((part, path.to_lowercase())) {
                return Some(format!("it names {path:?} twice"));
            }
        }
        let whole = self.files.iter().any(|entry| entry.path == self.file);
        (!whole).then(|| format!("its file {:?} is not in it", self.file))
    }
}

/// Whether a path stays below the directory that it is relative to.
fn is_within(path: &str) -> bool {
    let odd = |c: char| c.is_control() || c == '\\' || c == ':';
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    plain && !path.contains(odd) && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_below_are_taken() {
        for good in ["a", "a/b.ftp", "data/{x}/ü y.jsonl", ".hidden/..a"] {
            assert!(is_within(good), "{good}");
        }
        for bad in ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "C:/a", "a\\b", "a\nb", "a\0b"] {
            assert!(!is_within(bad), "{bad:?}");
        }
    }
}
