//! Single objects of a remote: asked for, read, written. Contents are streamed, and digested on their way.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use object_store::path::Path as Location;
use object_store::{GetOptions, GetResult, ObjectStoreExt, PutPayload, WriteMultipart};

use super::{Remote, RemoteError, blob_path};
use crate::store::FileEntry;

/// Larger contents go in parts, of which there may be no more than [`PARTS`].
const PART: u64 = 16 << 20;
const PARTS: u64 = 9_000;

/// Parts on their way at a time: they are in memory.
const AT_ONCE: usize = 4;

/// The longest manifest that is read.
const MANIFEST: u64 = 64 << 20;

impl Remote {
    /// `None` when there is no such object.
    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>, RemoteError> {
        let found = self.get(path, GetOptions::new().with_head(true)).await?;
        Ok(found.map(|found| found.meta.size))
    }

    /// A manifest's bytes; `None` when there is no such object.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let Some(found) = self.get(path, GetOptions::new()).await? else { return Ok(None) };
        if found.meta.size > MANIFEST {
            return Err(self.damaged_object(path, format!("{} bytes are too many", found.meta.size)));
        }
        let mut bytes = vec![];
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| self.failed(&error))?);
            if bytes.len() as u64 > MANIFEST {
                return Err(self.damaged_object(path, "it does not end".into()));
            }
        }
        Ok(Some(bytes))
    }

    /// Writes the content of a blob to a file; `false` when there is no such object.
    ///
    /// # Errors
    /// When the content is not what its name says: the file is to be thrown away then.
    pub(super) async fn download(&self, blob: &FileEntry, to: &Path) -> Result<bool, RemoteError> {
        let path = blob_path(&blob.digest);
        let Some(found) = self.get(&path, GetOptions::new()).await? else { return Ok(false) };
        let mut file = File::create(to).map_err(RemoteError::io("write", to))?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.failed(&error))?;
            bytes += chunk.len() as u64;
            if bytes > blob.bytes {
                break;
            }
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(RemoteError::io("write", to))?;
        }
        let why = match bytes.cmp(&blob.bytes) {
            std::cmp::Ordering::Less => format!("it ends after {bytes} of {} bytes", blob.bytes),
            std::cmp::Ordering::Greater => format!("it is longer than {} bytes", blob.bytes),
            std::cmp::Ordering::Equal if hasher.finalize().to_hex().as_str() == blob.digest => return Ok(true),
            std::cmp::Ordering::Equal => "its content is not what its name says".into(),
        };
        self.note_damage(&blob.digest);
        Err(self.damaged_object(&path, why))
    }

    pub(super) async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<(), RemoteError> {
        let put = self.objects.put(&Location::from(path), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|error| self.failed(&error))
    }

    /// Puts a file's content among the blobs, until it is to `stop`. What was not finished is no object, and what was put of it is
    /// taken back.
    pub(super) async fn upload(&self, blob: &FileEntry, from: &Path, stop: &AtomicBool) -> Result<(), RemoteError> {
        let path = blob_path(&blob.digest);
        let mut file = File::open(from).map_err(RemoteError::io("read", from))?;
        if blob.bytes <= PART {
            let mut bytes = vec![];
            file.read_to_end(&mut bytes).map_err(RemoteError::io("read", from))?;
            return self.write(&path, bytes).await;
        }
        let part = PART.max(blob.bytes.div_ceil(PARTS));
        let upload = self.objects.put_multipart(&Location::from(path)).await;
        let upload = upload.map_err(|error| self.failed(&error))?;
        let mut writing = WriteMultipart::new_with_chunk_size(upload, usize::try_from(part).unwrap_or(usize::MAX));
        let mut buffer = vec![0; 1 << 20];
        let copied = loop {
            if stop.load(Ordering::Relaxed) {
                break Err(RemoteError::Interrupted);
            }
            let read = match file.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) => break Err(RemoteError::io("read", from)(error)),
            };
            if let Err(error) = writing.wait_for_capacity(AT_ONCE).await {
                break Err(self.failed(&error));
            }
            writing.write(&buffer[..read]);
        };
        match copied {
            Ok(()) => writing.finish().await.map(drop).map_err(|error| self.failed(&error)),
            Err(error) => {
                // Where this fails, too, the service forgets the parts in its own time.
                let _ = writing.abort().await;
                Err(error)
            }
        }
    }

    async fn get(&self, path: &str, options: GetOptions) -> Result<Option<GetResult>, RemoteError> {
        match self.objects.get_opts(&Location::from(path), options).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) fn damaged_object(&self, path: &str, why: String) -> RemoteError {
        RemoteError::Damaged { remote: self.name.clone(), object: path.to_owned(), why }
    }

    /// The causes from the outermost in, each once, in one line.
    fn failed(&self, error: &object_store::Error) -> RemoteError {
        let mut why = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(one) = cause {
            let text = one.to_string();
            if !why.contains(&text) {
                why += &format!("{}{text}", if why.is_empty() { "" } else { ": " });
            }
            cause = one.source();
        }
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        let (remote, why) = (self.name.clone(), why.chars().take(400).collect());
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                RemoteError::Refused { remote, why }
            }
            _ => RemoteError::Unreachable { remote, why },
        }
    }
}
