//! Is a result there, whole? If not, why not?

use std::fs;
use std::io;

use super::{Manifest, Store, StoreError};
use crate::lang::world::Digest;
use crate::plan::reason::{Past, Reason};

/// The answer to [`Store::lookup`].
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    Hit(Box<Manifest>),
    Miss(Absence),
}

/// Why there is no result under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It was never committed.
    Never,
    /// This file of it is gone.
    Evicted { missing: String },
    /// This file of it is not what was written.
    Corrupt { damaged: String },
}

impl Absence {
    /// What this says to a person; `None` when the result never was.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Absence::Never => None,
            Absence::Evicted { missing } => Some(Reason::Evicted { missing: missing.clone() }),
            Absence::Corrupt { damaged } => Some(Reason::Corrupt { damaged: damaged.clone() }),
        }
    }
}

impl Store {
    /// A result counts when its manifest and all its files are there, at their sizes, and those of everything it is a
    /// delta of. Contents are verified when they are read. What its key was made of is left out of the manifest: who looks
    /// for a key knows that.
    pub fn lookup(&self, key: &Digest) -> Lookup {
        let bytes = match fs::read(self.result_path(key)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Moved aside when it was verified.
                let damaged = self.damaged_manifest_path(key).exists();
                return if damaged { damaged_manifest() } else { Lookup::Miss(Absence::Never) };
            }
            Err(error) => return Lookup::Miss(Absence::Corrupt { damaged: format!("its manifest ({error})") }),
        };
        match Manifest::from_bytes_without_pre_image(&bytes) {
            Ok(manifest) if manifest.key != *key => damaged_manifest(),
            Ok(manifest) => {
                // The same bytes as those just verified need not be made out once more.
                let output = fs::read(self.output_path(&manifest.output));
                let verified = output.is_ok_and(|output| output == bytes);
                match self.absence_but(&manifest, verified) {
                    Some(absence) => Lookup::Miss(absence),
                    None => Lookup::Hit(Box::new(manifest)),
                }
            }
            Err(_) => damaged_manifest(),
        }
    }

    /// The manifest of a key, with what the key was made of; `None` when there is none. Its files may be gone.
    ///
    /// # Errors
    /// When it can't be read or is not what was written.
    pub fn result(&self, key: &Digest) -> Result<Option<Manifest>, StoreError> {
        let path = self.result_path(key);
        match fs::read(&path) {
            Ok(bytes) => match Manifest::from_bytes(&bytes) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(why) => Err(StoreError::CorruptManifest { path, why }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// What of a manifest's content is not there, bases included.
    pub(super) fn absence(&self, manifest: &Manifest) -> Option<Absence> {
        self.absence_but(manifest, false)
    }

    /// The same, where the output's own manifest may have been `verified` already.
    fn absence_but(&self, manifest: &Manifest, verified: bool) -> Option<Absence> {
        for (name, file) in &manifest.files {
            let path = self.blob_path(&file.digest);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() == file.bytes => {}
                Ok(_) => return Some(Absence::Corrupt { damaged: name.clone() }),
                Err(_) if self.damaged_path(&file.digest).exists() => {
                    return Some(Absence::Corrupt { damaged: name.clone() });
                }
                Err(_) => return Some(Absence::Evicted { missing: name.clone() }),
            }
        }
        if verified {
            return self.absence_of_base(manifest);
        }
        // The output's own manifest is how later stages find it.
        match self.read_output(&manifest.output) {
            Ok(_) => self.absence_of_base(manifest),
            Err(StoreError::UnknownOutput { .. }) if !self.damaged_manifest_path(&manifest.output).exists() => {
                Some(Absence::Evicted { missing: "its output manifest".into() })
            }
            Err(_) => Some(Absence::Corrupt { damaged: "its output manifest".into() }),
        }
    }

    fn absence_of_base(&self, manifest: &Manifest) -> Option<Absence> {
        let base = manifest.base.as_ref()?;
        let of_base = |name: &str| format!("{name} of the model it builds on");
        match self.read_output(base) {
            // A base is named by a digest that its own manifest enters, so there are no circles.
            Ok(manifest) => self.absence(&manifest).map(|absence| match absence {
                Absence::Evicted { missing } => Absence::Evicted { missing: of_base(&missing) },
                Absence::Corrupt { damaged } => Absence::Corrupt { damaged: of_base(&damaged) },
                Absence::Never => Absence::Never,
            }),
            Err(StoreError::UnknownOutput { .. }) if !self.damaged_manifest_path(base).exists() => {
                Some(Absence::Evicted { missing: "the model it builds on".into() })
            }
            Err(_) => Some(Absence::Corrupt { damaged: "the manifest of the model it builds on".into() }),
        }
    }

    /// The pre-images of all results, to explain a miss with. Reads every manifest; those that can't be read can't
    /// explain anything and are left out.
    pub fn history(&self) -> Vec<Past> {
        let shards = fs::read_dir(self.root.join("results")).into_iter().flatten().flatten();
        let files = shards.flat_map(|shard| fs::read_dir(shard.path()).into_iter().flatten().flatten());
        let manifests = files.filter_map(|file| Manifest::from_bytes(&fs::read(file.path()).ok()?).ok());
        manifests.map(|manifest| Past { pre_image: manifest.pre_image, started: manifest.record.started }).collect()
    }
}

fn damaged_manifest() -> Lookup {
    Lookup::Miss(Absence::Corrupt { damaged: "its manifest".into() })
}
