//! Directories that stages write into before anything of theirs counts.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::{Life, Process, nonce};
use super::{Store, StoreError};

/// A stage's own directory. Removed when dropped; swept by a later run when its process was killed.
#[derive(Debug)]
pub struct Attempt {
    directory: PathBuf,
}

impl Store {
    /// A fresh directory on the store's file system, so that files can be moved from it.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let directory = self.root.join("attempts").join(format!("{}-{}", Process::current().slug(), nonce()));
        let files = directory.join("files");
        fs::create_dir_all(&files).map_err(StoreError::io("make the directory", &files))?;
        Ok(Attempt { directory })
    }

    /// Removes what dead processes of this host left unfinished, and their leases; returns how many attempts that were. What other hosts
    /// left is theirs to sweep.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        self.sweep_leases()?;
        let attempts = self.root.join("attempts");
        let this = Process::current();
        let mut swept = 0;
        for entry in fs::read_dir(&attempts).map_err(StoreError::io("read", &attempts))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.rsplit_once('-').map_or(name.as_str(), |(owner, _)| owner);
            if this.life_of_slug(owner) != Some(Life::Dead) {
                continue;
            }
            let path = entry.path();
            // Another run may be sweeping the same one.
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            swept += usize::from(removed.is_ok());
        }
        Ok(swept)
    }
}

impl Attempt {
    /// Where the stage writes its files.
    pub fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// Where the scheduler writes what the stage is told.
    pub fn spec(&self) -> PathBuf {
        self.directory.join("spec.json")
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // What can't be removed now is swept by a later run.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
