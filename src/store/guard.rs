//! The lock between those who use results and the collector that removes them.
//!
//! Whoever looks a result up and writes down that it is needed, or moves a result into place, holds it shared, for
//! milliseconds; the collector holds it alone while it decides and removes. The operating system drops it with its
//! process.

use std::fs::File;
use std::path::PathBuf;

use super::{Store, StoreError};

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Guard {
    _file: File,
}

impl Store {
    /// Keeps results from being removed meanwhile.
    pub(super) fn using(&self) -> Result<Guard, StoreError> {
        self.guarded(File::lock_shared)
    }

    /// Keeps results from being looked up for use, and committed, meanwhile.
    pub(super) fn alone(&self) -> Result<Guard, StoreError> {
        self.guarded(File::lock)
    }

    fn guarded(&self, lock: impl FnOnce(&File) -> std::io::Result<()>) -> Result<Guard, StoreError> {
        let path = self.guard_path();
        // Opened each time: a lock belongs to the opening, so that threads keep each other out as processes do.
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.and_then(|file| lock(&file).map(|()| file)).map_err(StoreError::io("lock", &path))?;
        Ok(Guard { _file: file })
    }

    fn guard_path(&self) -> PathBuf {
        self.runs().join("lock")
    }
}
