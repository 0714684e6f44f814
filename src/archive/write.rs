//! Packing.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use super::index::{BLOBS, Entry, FILES, Index, LeftOut, RESULTS};
use super::{ArchiveError, INDEX, VERSION};
use crate::lang::world::Digest;
use crate::store::{FileEntry, Sent, Store};

/// What a bundle is to hold.
#[derive(Debug, Default)]
pub struct Contents {
    /// The `.ftp` file, as one of `files` names it.
    pub file: String,
    /// Values of `param`s that were given on the command line.
    pub set: Vec<(String, String)>,
    pub files: Vec<Packed>,
    pub left_out: Vec<LeftOut>,
    /// Results, with what they are made of.
    pub results: Vec<Sent>,
}

/// A file of the project.
#[derive(Debug, Clone)]
pub struct Packed {
    /// In the bundle: with `/`, relative.
    pub path: String,
    /// On this machine.
    pub from: PathBuf,
    pub digest: Digest,
    pub bytes: u64,
}

/// Writes a bundle, whole or not at all; compressed unless its name ends in `.tar`. Returns what it holds.
///
/// # Errors
/// When something can't be read or written, or is no longer what it was when it was digested.
pub fn write(contents: Contents, store: Option<&Store>, to: &Path) -> Result<Index, ArchiveError> {
    let Contents { file, set, mut files, left_out, mut results } = contents;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|one, other| one.path == other.path);
    results.sort_by(|one, other| one.manifest.key.cmp(&other.manifest.key));
    results.dedup_by(|one, other| one.manifest.key == other.manifest.key);
    // Of a result that is a hit only its journal can be missing, which is no part of it.
    let there = |file: &FileEntry| store.is_some_and(|store| store.blob(&file.digest).is_file());
    let mut blobs: Vec<Entry> = results
        .iter()
        .flat_map(|sent| sent.manifest.blobs().map(|(_, file)| file).filter(|file| there(file)))
        .map(|file| Entry { path: file.digest.clone(), digest: file.digest.clone(), bytes: file.bytes })
        .collect();
    blobs.sort_by(|one, other| one.path.cmp(&other.path));
    blobs.dedup();
    let index = Index {
        ftp_bundle: VERSION,
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        file,
        set,
        files: files
            .iter()
            .map(|file| Entry { path: file.path.clone(), digest: file.digest.clone(), bytes: file.bytes })
            .collect(),
        left_out,
        results: results
            .iter()
            .map(|sent| Entry {
                path: sent.manifest.key.clone(),
                digest: blake3::hash(&sent.bytes).to_hex().to_string(),
                bytes: sent.bytes.len() as u64,
            })
            .collect(),
        blobs,
    };
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| ArchiveError::io("write", to)(error);
    let new = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let out = BufWriter::new(new.as_file());
    if to.extension().is_some_and(|end| end == "tar") {
        let out = entries(&index, &files, &results, store, out, to)?;
        out.into_inner().map_err(|error| failed(error.into_error()))?;
    } else {
        // Without the time and the name that a gzip may carry.
        let out = GzBuilder::new().mtime(0).write(out, Compression::default());
        let out = entries(&index, &files, &results, store, out, to)?.finish().map_err(failed)?;
        out.into_inner().map_err(|error| failed(error.into_error()))?;
    }
    new.as_file().sync_all().map_err(failed)?;
    // A temporary file is private; what it becomes is like any file that is written.
    readable(new.as_file()).map_err(failed)?;
    new.persist(to).map_err(|error| failed(error.error))?;
    Ok(index)
}

fn entries<W: Write>(
    index: &Index,
    files: &[Packed],
    results: &[Sent],
    store: Option<&Store>,
    out: W,
    to: &Path,
) -> Result<W, ArchiveError> {
    let failed = |error| ArchiveError::io("write", to)(error);
    let mut tar = tar::Builder::new(out);
    let text = format!("{:#}\n", serde_json::to_value(index).map_err(|error| failed(error.into()))?);
    append(&mut tar, INDEX, text.len() as u64, text.as_bytes()).map_err(failed)?;
    for file in files {
        let source = std::fs::File::open(&file.from).map_err(ArchiveError::io("read", &file.from))?;
        copy(&mut tar, &format!("{FILES}/{}", file.path), source, (&file.digest, file.bytes), &file.from, to)?;
    }
    for sent in results {
        append(&mut tar, &format!("{RESULTS}/{}", sent.manifest.key), sent.bytes.len() as u64, &sent.bytes[..])
            .map_err(failed)?;
    }
    for (store, entry) in store.iter().flat_map(|store| index.blobs.iter().map(move |entry| (store, entry))) {
        let path = store.blob(&entry.digest);
        let source = std::fs::File::open(&path).map_err(ArchiveError::io("read", &path))?;
        copy(&mut tar, &format!("{BLOBS}/{}", entry.path), source, (&entry.digest, entry.bytes), &path, to)?;
    }
    tar.into_inner().map_err(failed)
}

/// Appends a file that must still have this digest and size.
fn copy<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    source: impl Read,
    (digest, bytes): (&str, u64),
    from: &Path,
    to: &Path,
) -> Result<(), ArchiveError> {
    let changed = || ArchiveError::Changed { path: from.to_path_buf() };
    let mut hashed = Hashed { source: source.take(bytes), hasher: blake3::Hasher::new(), bytes: 0 };
    append(tar, name, bytes, &mut hashed).map_err(ArchiveError::io("write", to))?;
    let more = hashed.source.into_inner().read(&mut [0]).is_ok_and(|count| count > 0);
    let same = !more && hashed.bytes == bytes && hashed.hasher.finalize().to_hex().as_str() == digest;
    if same { Ok(()) } else { Err(changed()) }
}

/// An entry that says nothing of who packed it and when.
fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, content)
}

/// Digests what goes through.
struct Hashed<R> {
    source: io::Take<R>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

fn readable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
