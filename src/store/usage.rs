//! How much each part of the store takes.

use std::fs;
use std::io;
use std::path::Path;

use super::{Store, StoreError};

/// A part of the store, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub name: &'static str,
    pub files: u64,
    pub bytes: u64,
}

const PARTS: [&str; 11] =
    ["blobs", "results", "outputs", "checkpoints", "states", "attempts", "logs", "damaged", "runs", "pins", "leases"];

impl Store {
    pub fn usage(&self) -> Result<Vec<Usage>, StoreError> {
        let mut all = vec![];
        for name in PARTS {
            let path = self.root.join(name);
            let (files, bytes) = count(&path).map_err(StoreError::io("read", &path))?;
            all.push(Usage { name, files, bytes });
        }
        Ok(all)
    }
}

/// Files and bytes under a path; none where there is nothing, as others may be removing it.
pub(super) fn count(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Ok((1, metadata.len()));
    }
    let inside = match fs::read_dir(path) {
        Ok(inside) => inside,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error),
    };
    let mut sum = (0, 0);
    for entry in inside {
        let (files, bytes) = count(&entry?.path())?;
        sum = (sum.0 + files, sum.1 + bytes);
    }
    Ok(sum)
}
