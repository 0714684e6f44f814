//! The register of runs: what each resolved and when, and which of it is in use right now.
//!
//! A record is a file of JSON lines that is only ever appended to, so that a run killed at any instant has written down
//! what it used until then. The run holds a lock on its record while it lives, and the operating system drops it with
//! the process: what is locked is in use, on this host or another one.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::process::{Process, nonce};
use super::{Lookup, Store, StoreError};
use crate::event::Event;
use crate::lang::world::Digest;

/// The record of a run that goes on, to be written to; what it names is not collected while this is there.
#[derive(Debug)]
pub struct RunEntry {
    store: Store,
    id: String,
    path: PathBuf,
    /// Locked.
    file: Mutex<File>,
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub id: String,
    /// As it was given.
    pub file: String,
    /// Where that was, absolute; what runs of one file are told by.
    pub path: PathBuf,
    pub host: String,
    /// Version of ftp.
    pub engine: String,
    /// The parameters of the file that were given on the command line.
    pub set: Vec<(String, String)>,
    /// Seconds since 1970, UTC, by the clock of its host.
    pub started: f64,
    /// `None` while it goes on, and of one that was killed.
    pub ended: Option<Ended>,
    /// It goes on.
    pub live: bool,
    /// In the order in which they were resolved.
    pub stages: Vec<ResolvedStage>,
    /// The key of each pipeline's last stage, of those that got there.
    pub pipelines: BTreeMap<String, Digest>,
    pub published: Vec<Publication>,
    /// What happened, in order: stages that began, ended, failed, were tried again or stopped; expectations.
    pub events: Vec<Timed>,
    /// When the record was last written to, by the file system's clock.
    pub written: SystemTime,
}

/// A stage whose result a run found or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedStage {
    pub stage: String,
    pub key: Digest,
    pub output: Digest,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// Seconds since 1970, UTC.
    pub at: f64,
    #[serde(flatten)]
    pub event: Event,
}

/// A model that a run wrote into a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub pipeline: String,
    pub directory: String,
    pub output: Digest,
}

impl Publication {
    /// The file of a published directory that says what it is.
    pub const LABEL: &'static str = "ftp.json";

    /// Whether the directory still holds what was published there. One that can't be looked at now may hold it.
    pub fn stands(&self) -> bool {
        match fs::read(Path::new(&self.directory).join(Self::LABEL)) {
            Ok(text) => {
                let label: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
                label.is_some_and(|label| label["output"] == self.output.as_str())
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Seconds since 1970, UTC.
    pub at: f64,
    /// The stage that failed.
    pub failed: Option<String>,
    pub interrupted: bool,
    /// How many stages this run computed.
    pub ran: usize,
}

/// A line of a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run {
        file: String,
        path: PathBuf,
        host: String,
        engine: String,
        started: f64,
        #[serde(default)]
        set: Vec<(String, String)>,
    },
    Resolved(ResolvedStage),
    Pipeline {
        pipeline: String,
        key: Digest,
    },
    Published(Publication),
    Said(Timed),
    Ended(Ended),
}

impl Store {
    /// Where the register is.
    pub(super) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Begins the record of a run of this file, with the parameters of it that are `set` for this run.
    pub fn begin_run(&self, file: &str, set: &[(String, String)]) -> Result<RunEntry, StoreError> {
        let started = now();
        let id = format!("{}-{}", stamp(started), &nonce()[..6]);
        let path = self.run_path(&id);
        let absolute = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
        // Locked before anyone can see it, or the collector might take it for the record of a run that ended.
        let temporary = self.root.join("attempts").join(format!("{}-{}", Process::current().slug(), nonce()));
        let opened = File::create_new(&temporary).and_then(|file| file.lock().map(|()| file));
        let opened = opened.map_err(StoreError::io("write", &temporary))?;
        let entry = RunEntry { store: self.clone(), id, path: temporary.clone(), file: Mutex::new(opened) };
        let line = Line::Run {
            file: file.to_owned(),
            path: absolute,
            host: Process::current().host,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            set: set.to_vec(),
        };
        entry.append(&line)?;
        fs::rename(&temporary, &path).map_err(StoreError::io("move into place", &path))?;
        Ok(RunEntry { path, ..entry })
    }

    /// All runs that are known, the last one first. Records that can't be made out are left out.
    ///
    /// # Errors
    /// When the register can't be read: what is in use is not known then.
    pub fn known_runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let directory = self.runs();
        let entries = fs::read_dir(&directory).map_err(StoreError::io("read", &directory))?;
        let mut runs = vec![];
        for entry in entries {
            let path = entry.map_err(StoreError::io("read", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                runs.extend(read(&path)?);
            }
        }
        runs.sort_by(|one: &RunRecord, other| (other.written, &other.id).cmp(&(one.written, &one.id)));
        Ok(runs)
    }

    /// Where the record of a run is.
    pub(super) fn run_path(&self, id: &str) -> PathBuf {
        self.runs().join(format!("{id}.jsonl"))
    }
}

impl RunEntry {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Looks a result up; a hit is in use from here on until the run ends, and one of the run's results after that.
    pub fn lookup(&self, stage: &str, key: &Digest) -> Result<Lookup, StoreError> {
        let _guard = self.store.using()?;
        let found = self.store.lookup(key);
        if let Lookup::Hit(manifest) = &found {
            let (stage, key, output) = (stage.to_owned(), key.clone(), manifest.output.clone());
            self.append(&Line::Resolved(ResolvedStage { stage, key, output }))?;
        }
        Ok(found)
    }

    /// What a pipeline of the run came to.
    pub fn pipeline(&self, pipeline: &str, key: &Digest) -> Result<(), StoreError> {
        self.append(&Line::Pipeline { pipeline: pipeline.to_owned(), key: key.clone() })
    }

    pub fn published(&self, publication: Publication) -> Result<(), StoreError> {
        self.append(&Line::Published(publication))
    }

    /// Writes down what happened, if it is of those things that a record has. That it can't be written is no reason for a run
    /// to fail.
    pub fn said(&self, event: &Event) {
        let noted = matches!(
            event,
            Event::StageStarted { .. }
                | Event::StageRetried { .. }
                | Event::StageStopped { .. }
                | Event::StageFinished { .. }
                | Event::StageFailed { .. }
                | Event::Expectation { .. }
        );
        if noted {
            let _ = self.append(&Line::Said(Timed { at: now(), event: event.clone() }));
        }
    }

    /// The stages are done. The results stay in use while the entry is there, to be published and reported.
    pub fn ended(&self, failed: Option<String>, interrupted: bool, ran: usize) -> Result<(), StoreError> {
        self.append(&Line::Ended(Ended { at: now(), failed, interrupted, ran }))
    }

    fn append(&self, line: &Line) -> Result<(), StoreError> {
        let mut bytes = b"\n".to_vec();
        let written = serde_json::to_writer(&mut bytes, line).map_err(io::Error::from).and_then(|()| {
            // A line that was torn by a full disk is over with the next one's line break.
            self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
        });
        written.map_err(StoreError::io("write", &self.path))
    }
}

/// `None` when it is gone or has no whole first line.
fn read(path: &Path) -> Result<Option<RunRecord>, StoreError> {
    let failed = |error| StoreError::io("read", path)(error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Asked for, and dropped again, when nobody has it.
    let live = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    };
    let written = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
    let text = String::from_utf8_lossy(&fs::read(path).map_err(failed)?).into_owned();
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut record = None;
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match (line, &mut record) {
            (Line::Run { file, path, host, engine, started, set }, None) => {
                record = Some(RunRecord {
                    id: id.clone(),
                    file,
                    path,
                    host,
                    engine,
                    set,
                    started,
                    ended: None,
                    live,
                    stages: vec![],
                    pipelines: BTreeMap::new(),
                    published: vec![],
                    events: vec![],
                    written,
                });
            }
            (Line::Resolved(stage), Some(record)) => record.stages.push(stage),
            (Line::Pipeline { pipeline, key }, Some(record)) => drop(record.pipelines.insert(pipeline, key)),
            (Line::Published(publication), Some(record)) => record.published.push(publication),
            (Line::Said(timed), Some(record)) => record.events.push(timed),
            (Line::Ended(ended), Some(record)) => record.ended = Some(ended),
            (Line::Run { .. }, Some(_)) | (_, None) => {}
        }
    }
    Ok(record)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `20261123-144801` of seconds since 1970, UTC.
pub fn stamp(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year}{month:02}{day:02}-{:02}{:02}{:02}", time / 3600, time / 60 % 60, time % 60)
}

/// Year, month and day of a day since 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_date_and_time_in_utc() {
        // date -u -d @N +%Y%m%d-%H%M%S
        for (seconds, expected) in [
            (0.0, "19700101-000000"),
            (951_782_399.9, "20000228-235959"),
            (951_782_400.0, "20000229-000000"),
            (1_709_251_199.0, "20240229-235959"),
            (1_735_689_599.0, "20241231-235959"),
            (4_107_542_400.0, "21000301-000000"),
        ] {
            assert_eq!(stamp(seconds), expected);
        }
    }

    #[test]
    fn a_record_says_what_was_written_and_whether_the_run_goes_on() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path()).expect("a new store");
        let entry = store.begin_run("some/where.ftp", &[]).expect("begun");
        entry.pipeline("baseline", &"k".repeat(64)).expect("written");
        let seen = store.known_runs().expect("read").remove(0);
        assert_eq!((seen.id.as_str(), seen.file.as_str(), seen.live), (entry.id(), "some/where.ftp", true));
        assert_eq!(seen.ended, None);
        entry.ended(Some("adapt".into()), false, 1).expect("written");
        assert!(store.known_runs().expect("read")[0].live, "until it is dropped");
        drop(entry);
        let seen = store.known_runs().expect("read").remove(0);
        assert!(!seen.live);
        assert_eq!(seen.ended.expect("it ended").failed.as_deref(), Some("adapt"));
        assert_eq!(seen.pipelines["baseline"], "k".repeat(64));
    }

    #[test]
    fn a_torn_line_spoils_only_itself() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path()).expect("a new store");
        let entry = store.begin_run("x.ftp", &[]).expect("begun");
        entry.file.lock().expect("not poisoned").write_all(b"\n{\"pipeline\":{\"pipe").expect("written");
        entry.pipeline("whole", &"k".repeat(64)).expect("written");
        let seen = store.known_runs().expect("read").remove(0);
        assert_eq!(seen.pipelines.keys().collect::<Vec<_>>(), ["whole"]);
    }
}
