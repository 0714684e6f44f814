//! Content digests of files.

use std::io;
use std::path::Path;

use crate::lang::world::Digest;

/// BLAKE3 of a file's bytes; large files are mapped and hashed by all threads.
pub fn file(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// BLAKE3 of bytes in memory.
pub fn bytes(bytes: &[u8]) -> Digest {
    blake3::hash(bytes).to_hex().to_string()
}
