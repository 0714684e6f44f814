//! Unpacking: everything is read into places that do not count, verified, and moved from there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::index::{BLOBS, Entry, FILES, Index};
use super::{ArchiveError, INDEX};
use crate::store::{Attempt, Store};

/// An index may be this long; one of a million files is not.
const LONGEST_INDEX: u64 = 256 << 20;
/// A tar is filled up to a multiple of some block.
const MOST_FILLING: u64 = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A bundle whose every byte was verified; nothing of it counts yet.
#[derive(Debug)]
pub struct Opened {
    pub index: Index,
    /// On the file system of the directory that is to be.
    files: TempDir,
    /// By key.
    manifests: BTreeMap<String, Vec<u8>>,
    /// Where the blobs lie, in the store they are for.
    blobs: Option<Attempt>,
}

/// Reads a bundle that is to become `directory`. With a store, its results are read, too; else they are passed over.
///
/// # Errors
/// When it is no bundle, is damaged or holds what its index does not name, or when the directory is not empty.
pub fn unpack(archive: &Path, directory: &Path, store: Option<&Store>) -> Result<Opened, ArchiveError> {
    if fs::read_dir(directory).map_or(directory.exists(), |mut entries| entries.next().is_some()) {
        return Err(ArchiveError::Occupied { path: directory.to_path_buf() });
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(ArchiveError::io("make the directory", parent))?;
    let files = tempfile::Builder::new().prefix(".ftp-unbundle-").tempdir_in(parent);
    let files = files.map_err(ArchiveError::io("write into", parent))?;
    let source = Source { archive };
    let mut tar = tar::Archive::new(source.open()?);
    let mut entries = tar.entries().map_err(|error| source.damaged(&error))?;
    let index = source.index(entries.next())?;
    let blobs = store.map(Store::attempt).transpose()?;
    let mut opened = Opened { index, files, manifests: BTreeMap::new(), blobs };
    let expected: Vec<(&'static str, Entry)> =
        opened.index.entries().map(|(part, entry)| (part, entry.clone())).collect();
    for (part, wanted) in expected {
        let name = format!("{part}/{}", wanted.path);
        let Some(found) = entries.next() else { return Err(source.fault(format!("it ends before {name}"))) };
        let mut found = found.map_err(|error| source.damaged(&error))?;
        let path = found.path_bytes().into_owned();
        if path != name.as_bytes() || found.header().entry_type() != tar::EntryType::Regular {
            let path = String::from_utf8_lossy(&path).into_owned();
            return Err(source.fault(format!("it holds {path:?} where its index names {name}")));
        }
        if found.size() != wanted.bytes {
            return Err(source.fault(format!("{name} is {} bytes long, not {}", found.size(), wanted.bytes)));
        }
        match opened.place(part, &wanted) {
            Some(path) => {
                if let Some(above) = path.parent() {
                    fs::create_dir_all(above).map_err(ArchiveError::io("make the directory", above))?;
                }
                let mut file = File::create_new(&path).map_err(ArchiveError::io("write", &path))?;
                source.copy(&mut found, (&mut file, &path), &name, &wanted)?;
            }
            // Content of results that nobody asked for is only looked at.
            None if part == BLOBS => source.copy(&mut found, (&mut io::sink(), archive), &name, &wanted)?,
            None => {
                let mut bytes = vec![];
                source.copy(&mut found, (&mut bytes, archive), &name, &wanted)?;
                opened.manifests.insert(wanted.path.clone(), bytes);
            }
        }
    }
    if entries.next().is_some() {
        return Err(source.fault("it holds more than its index names".to_owned()));
    }
    source.end(tar.into_inner())?;
    Ok(opened)
}

impl Opened {
    /// Where an entry is written to meanwhile; `None` for what stays in memory or is passed over.
    fn place(&self, part: &str, entry: &Entry) -> Option<PathBuf> {
        match part {
            FILES => Some(self.files.path().join(&entry.path)),
            BLOBS => self.blobs.as_ref().map(|attempt| attempt.files().join(&entry.path)),
            _ => None,
        }
    }

    /// Puts the results into the store, then the project where it is to be; returns how many results there are.
    ///
    /// # Errors
    /// When a result is not whole, the store can't be written, or the directory is there meanwhile.
    pub fn install(self, store: Option<&Store>, directory: &Path) -> Result<usize, ArchiveError> {
        let mut count = 0;
        if let (Some(store), Some(attempt)) = (store, &self.blobs) {
            let manifests: Vec<&[u8]> = self.manifests.values().map(Vec::as_slice).collect();
            count = store.receive(&manifests, &attempt.files())?;
        }
        let text = format!("{:#}\n", serde_json::json!(self.index));
        let index = self.files.path().join(INDEX);
        fs::write(&index, text).map_err(ArchiveError::io("write", &index))?;
        open_to_all(self.files.path()).map_err(ArchiveError::io("write", self.files.path()))?;
        // An empty directory may be there; a rename takes its place, and that of nothing else.
        fs::rename(self.files.path(), directory).map_err(ArchiveError::io("move into place", directory))?;
        let _ = self.files.keep();
        Ok(count)
    }
}

/// A temporary directory is private; what it becomes is like any directory.
fn open_to_all(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// The archive, and how to speak of it.
struct Source<'a> {
    archive: &'a Path,
}

impl Source<'_> {
    fn open(&self) -> Result<Box<dyn Read>, ArchiveError> {
        let failed = |error| ArchiveError::io("read", self.archive)(error);
        let mut file = File::open(self.archive).map_err(failed)?;
        let mut magic = [0; 2];
        let short = file.read_exact(&mut magic).is_err();
        let file = File::open(self.archive).map_err(failed)?;
        let compressed = !short && magic == GZIP;
        Ok(if compressed { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(BufReader::new(file)) })
    }

    fn index<R: Read>(&self, first: Option<io::Result<tar::Entry<R>>>) -> Result<Index, ArchiveError> {
        let not = |why: &str| ArchiveError::NotABundle { path: self.archive.to_path_buf(), why: why.to_owned() };
        let mut first = first.and_then(Result::ok).ok_or_else(|| not("it is no tar archive, compressed or not"))?;
        if *first.path_bytes() != *INDEX.as_bytes() || first.size() > LONGEST_INDEX {
            return Err(not("its first entry is not an index"));
        }
        let mut text = vec![];
        first.read_to_end(&mut text).map_err(|error| self.damaged(&error))?;
        let version: serde_json::Value = serde_json::from_slice(&text).map_err(|_| not("its index is no JSON"))?;
        if let Some(found) = version["ftp_bundle"].as_u64().filter(|found| *found > u64::from(super::VERSION)) {
            return Err(ArchiveError::Newer { path: self.archive.to_path_buf(), found: found as u32 });
        }
        let index: Index = serde_json::from_value(version).map_err(|error| not(&format!("its index: {error}")))?;
        match index.fault() {
            Some(fault) => Err(self.fault(fault)),
            None => Ok(index),
        }
    }

    fn copy(
        &self,
        from: &mut impl Read,
        (to, path): (&mut impl Write, &Path),
        name: &str,
        wanted: &Entry,
    ) -> Result<(), ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from.read(&mut buffer).map_err(|error| self.damaged(&error))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(ArchiveError::io("write", path))?;
        }
        let same = hasher.finalize().to_hex().as_str() == wanted.digest;
        if same { Ok(()) } else { Err(self.fault(format!("{name} is not what its index says"))) }
    }

    /// Behind the last entry there is only filling, and what the compression ends with.
    fn end(&self, mut rest: impl Read) -> Result<(), ArchiveError> {
        let mut filling = vec![];
        rest.by_ref().take(MOST_FILLING).read_to_end(&mut filling).map_err(|error| self.damaged(&error))?;
        let only = filling.iter().all(|byte| *byte == 0) && (filling.len() as u64) < MOST_FILLING;
        if only { Ok(()) } else { Err(self.fault("it goes on behind its end".to_owned())) }
    }

    fn fault(&self, what: String) -> ArchiveError {
        ArchiveError::Damaged { path: self.archive.to_path_buf(), what }
    }

    fn damaged(&self, error: &io::Error) -> ArchiveError {
        self.fault(error.to_string())
    }
}
