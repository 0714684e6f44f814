//! Files that are whole or not there: digests, durable writes, moves into place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::process::{Process, nonce};
use super::{FileEntry, Store, StoreError};
use crate::lang::world::Digest;

/// BLAKE3 of a file's content. Large files are mapped and hashed on all cores.
pub fn digest_file(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok(hasher.finalize().to_hex().to_string())
}

impl Store {
    /// Writes a file so that at every instant either nothing, or the old content, or all of the new one is there, also
    /// after a loss of power.
    pub(super) fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        // Named like an attempt, so that it is swept when this process dies here.
        let temporary = self.root.join("attempts").join(format!("{}-{}", Process::current().slug(), nonce()));
        let write = || {
            let mut file = File::create_new(&temporary)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(StoreError::io("write", &temporary))?;
        self.move_into_place(&temporary, path)
    }

    /// Renames a file that is already on the disk, makes its directory where needed, and waits for both.
    pub(super) fn move_into_place(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let directory = to.parent().unwrap_or(&self.root);
        if !directory.exists() {
            fs::create_dir_all(directory).map_err(StoreError::io("make the directory", directory))?;
            if let Some(above) = directory.parent() {
                sync_directory(above)?;
            }
        }
        fs::rename(from, to).map_err(StoreError::io("move into place", to))?;
        sync_directory(directory)
    }

    /// The files and directories of a part of the store; none where the part is not there.
    pub(super) fn entries(&self, part: &str) -> Result<Vec<PathBuf>, StoreError> {
        list(&self.root.join(part))
    }

    /// The files of a part of the store that is sharded.
    pub(super) fn sharded_entries(&self, part: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut all = vec![];
        for shard in self.entries(part)? {
            if shard.is_dir() {
                all.extend(list(&shard)?);
            }
        }
        Ok(all)
    }

    /// What the clock of the store's file system says, which may be another machine's.
    pub(super) fn now(&self) -> Result<SystemTime, StoreError> {
        let temporary = self.root.join("attempts").join(format!("{}-{}", Process::current().slug(), nonce()));
        let time = File::create_new(&temporary).and_then(|file| file.metadata()?.modified());
        let _ = fs::remove_file(&temporary);
        time.map_err(StoreError::io("write", &temporary))
    }

    /// Makes a stage's file ready to be moved among the blobs: hashed, on the disk, read-only.
    pub(super) fn seal(&self, file: &Path) -> Result<FileEntry, StoreError> {
        let opened = File::open(file).map_err(StoreError::io("read", file))?;
        let digest = digest_file(file).map_err(StoreError::io("read", file))?;
        opened.sync_all().map_err(StoreError::io("write", file))?;
        let metadata = opened.metadata().map_err(StoreError::io("read", file))?;
        let mut permissions = metadata.permissions();
        permissions.set_readonly(true);
        fs::set_permissions(file, permissions).map_err(StoreError::io("make read-only", file))?;
        Ok(FileEntry { digest, bytes: metadata.len() })
    }

    /// Moves a sealed file among the blobs. A blob of the same content that is already there is replaced: this one was
    /// just hashed, that one may have rotted.
    pub(super) fn ingest(&self, file: &Path, entry: &FileEntry) -> Result<(), StoreError> {
        self.move_into_place(file, &self.blob_path(&entry.digest))
    }
}

pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = match fs::read_dir(directory) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(StoreError::io("read", directory)(error)),
    };
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(StoreError::io("read", directory))?;
    paths.sort();
    Ok(paths)
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(StoreError::io("write", directory))
}
