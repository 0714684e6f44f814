//! What people call runs and results by, on the command line.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::project;
use crate::lang::world::Digest;
use crate::store::{Manifest, RunRecord, Store, StoreError};

/// How much of a key is shown.
pub(super) const SHOWN: usize = 12;

/// What every command that looks back takes.
#[derive(Args)]
pub(super) struct Past {
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE")]
    pub store: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Past {
    pub fn open(&self) -> Result<Store, StoreError> {
        Store::open(project::store_directory(self.store.as_deref()))
    }
}

/// What a name stands for.
pub(super) enum Named {
    Run(Box<RunRecord>),
    Result(Box<Manifest>),
}

/// A run, by the first characters of its number or by its file, whose last run is meant; or a result, by the first
/// characters of its key, or by the pipeline or stage of the last run that came to it.
pub(super) fn find(store: &Store, named: &str) -> Result<Named, StoreError> {
    let mut runs = store.known_runs()?;
    let file = fs::canonicalize(named).ok();
    let by_file = runs.iter().position(|run| file.as_ref() == Some(&run.path));
    let mut by_id = runs.iter().enumerate().filter(|(_, run)| named.len() >= 4 && run.id.starts_with(named));
    let by_id = match (by_id.next(), by_id.next()) {
        (Some((at, _)), None) => Some(at),
        (Some((_, one)), Some((_, other))) => {
            return Err(StoreError::SeveralNamed {
                named: named.to_owned(),
                keys: format!("{}, {} ...", one.id, other.id),
            });
        }
        _ => None,
    };
    if let Some(at) = by_id.or(by_file) {
        return Ok(Named::Run(Box::new(runs.swap_remove(at))));
    }
    result(store, &store.find(named)?).map(|manifest| Named::Result(Box::new(manifest)))
}

/// The result with a key.
pub(super) fn result(store: &Store, key: &Digest) -> Result<Manifest, StoreError> {
    store.result(key)?.ok_or_else(|| StoreError::NothingNamed { named: key[..SHOWN.min(key.len())].to_owned() })
}

/// How a run went, in a word or two.
pub(super) fn state(run: &RunRecord) -> String {
    match &run.ended {
        Some(ended) if ended.interrupted => "interrupted".to_owned(),
        Some(ended) => ended.failed.as_ref().map_or("ok".to_owned(), |stage| format!("failed: {stage}")),
        None if run.live => "running".to_owned(),
        None => "killed".to_owned(),
    }
}

/// `45 s`, `12 min`, `3 h`, `20 d`.
pub(super) fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// How long ago a moment was, in seconds since 1970.
pub(super) fn since(moment: f64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::try_from_secs_f64(moment).unwrap_or_default());
    format!("{} ago", ago(age))
}

/// The scores of a result, by split and metric: `test.accuracy`.
pub(super) fn scores(manifest: &Manifest) -> Vec<(String, f64)> {
    let splits = manifest.summary["metrics"].as_object().into_iter().flatten();
    let scores = splits.flat_map(|(split, scores)| {
        let scores = scores.as_object().into_iter().flatten();
        scores.filter_map(move |(name, value)| Some((format!("{split}.{name}"), value.as_f64()?)))
    });
    scores.filter(|(name, _)| !name.ends_with(".rows")).collect()
}
