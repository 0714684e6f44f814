//! Results that are to stay until somebody says otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::error::short;
use super::{RunRecord, Store, StoreError};
use crate::lang::world::Digest;

/// The fewest characters of a key that stand for it.
const FEWEST: usize = 4;

impl Store {
    /// Keeps a result, with all it was made from, until it is unpinned. `name` is what it was asked for by.
    pub fn pin(&self, key: &Digest, name: &str) -> Result<(), StoreError> {
        self.write_atomically(&self.pin_path(key), format!("{name}\n").as_bytes())
    }

    /// `false` when it was not pinned.
    pub fn unpin(&self, key: &Digest) -> Result<bool, StoreError> {
        let path = self.pin_path(key);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove the pin", &path)(error)),
        }
    }

    /// The keys that are pinned, and by what name each was.
    pub fn pins(&self) -> Result<BTreeMap<Digest, String>, StoreError> {
        let mut pins = BTreeMap::new();
        for path in self.entries("pins")? {
            // A pin without a readable name is a pin.
            let name = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            pins.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), name);
        }
        Ok(pins)
    }

    /// The key that a person means: the first characters of one, or the name of a pipeline or a stage, which stands for what the
    /// last run that finished it came to.
    pub fn find(&self, named: &str) -> Result<Digest, StoreError> {
        let hexadecimal = named.len() >= FEWEST && named.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut keys: Vec<Digest> = vec![];
        if hexadecimal {
            let begins = named.to_ascii_lowercase();
            let pinned = self.pins()?.into_keys();
            let stored = self.sharded_entries("results")?.into_iter().map(|path| stem(&path));
            keys = stored.chain(pinned).filter(|key| key.starts_with(&begins)).collect();
            keys.sort();
            keys.dedup();
        }
        if keys.is_empty() {
            let runs = self.known_runs()?;
            let stage =
                |run: &RunRecord| run.stages.iter().find(|stage| stage.stage == named).map(|stage| stage.key.clone());
            keys.extend(runs.into_iter().find_map(|run| run.pipelines.get(named).cloned().or_else(|| stage(&run))));
        }
        match &keys[..] {
            [] => Err(StoreError::NothingNamed { named: named.to_owned() }),
            [key] => Ok(key.clone()),
            several => {
                let keys = several.iter().map(|key| short(key)).collect::<Vec<_>>().join(", ");
                Err(StoreError::SeveralNamed { named: named.to_owned(), keys })
            }
        }
    }

    fn pin_path(&self, key: &str) -> PathBuf {
        self.root.join("pins").join(key)
    }
}

/// The digest that a manifest's file is named by.
pub(super) fn stem(path: &std::path::Path) -> Digest {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
