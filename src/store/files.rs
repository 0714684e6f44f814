//! Files that are whole or not there: digests, durable writes, moves into place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::process::{Process, nonce};
use super::{Store, StoreError};
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

    /// Moves a stage's file among the blobs and returns its digest and size. A blob of the same content that is already
    /// there is replaced: this one was just hashed, that one may have rotted.
    pub(super) fn ingest(&self, file: &Path) -> Result<(Digest, u64), StoreError> {
        let opened = File::open(file).map_err(StoreError::io("read", file))?;
        let digest = digest_file(file).map_err(StoreError::io("read", file))?;
        opened.sync_all().map_err(StoreError::io("write", file))?;
        let metadata = opened.metadata().map_err(StoreError::io("read", file))?;
        let mut permissions = metadata.permissions();
        permissions.set_readonly(true);
        fs::set_permissions(file, permissions).map_err(StoreError::io("make read-only", file))?;
        self.move_into_place(file, &self.blob_path(&digest))?;
        Ok((digest, metadata.len()))
    }
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(StoreError::io("write", directory))
}
