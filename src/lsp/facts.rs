//! The outside world for an editor: what data files hold, read in the background and remembered.
//!
//! A check asks about sources and never waits: what is not known yet counts as there, without rows or labels, and the
//! document is checked again when the answer comes. An answer is kept until a file it is about changes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use indexmap::IndexMap;

use super::modules::Answers;
use crate::data::FileWorld;
use crate::lang::value::Value;
use crate::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceRequest, World};
use crate::modules::lock;

/// Answers that are remembered. Beyond these, those that no open document asks for are forgotten.
const REMEMBERED: usize = 256;

/// Bytes a module may have. It is read while somebody types.
const MODULE: u64 = 1 << 20;

type Answer = Result<SourceFacts, Vec<SourceError>>;

/// A question: of a file in this directory, about this source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    directory: PathBuf,
    /// The request in its debug form; floats can't be hashed.
    request: String,
}

struct Job {
    question: Question,
    request: SourceRequest,
}

/// What the reader found; nothing when nobody wanted to know any more.
pub(super) struct Reading(Question, Option<Answer>);

#[derive(Default)]
struct Known {
    answer: Option<Answer>,
    /// What is to be read again when it changes: the pattern up to its first wild card.
    beginning: PathBuf,
    /// Waits for the reader.
    pending: bool,
    /// Changed since it was last handed to the reader.
    stale: bool,
}

pub(super) struct Facts {
    known: HashMap<Question, Known>,
    /// What the open documents asked at their last check, by document.
    asked: HashMap<String, HashSet<Question>>,
    /// All of it, for the reader, which skips what nobody wants any more.
    wanted: Arc<Mutex<HashSet<Question>>>,
    /// Modules of repositories, as they were found.
    pinned: RefCell<HashMap<Question, Result<ModuleText, SourceError>>>,
    jobs: Sender<Job>,
    pub readings: Receiver<Reading>,
}

impl Facts {
    /// Starts the reader. It ends when this is dropped and it has read what it is reading.
    pub fn new() -> Self {
        let (jobs, to_read) = crossbeam_channel::unbounded();
        let (read, readings) = crossbeam_channel::unbounded();
        let wanted = Arc::new(Mutex::new(HashSet::new()));
        let shared = Arc::clone(&wanted);
        std::thread::spawn(move || reader(&to_read, &read, &shared));
        Self { known: HashMap::new(), asked: HashMap::new(), wanted, pinned: RefCell::default(), jobs, readings }
    }

    /// Runs a check of a document in this directory, and has read what it asked in vain. `open` are the texts of open
    /// files, by canonical path. Also the modules that the check has read.
    pub fn answer<T>(
        &mut self,
        document: &str,
        directory: &Path,
        open: &HashMap<&str, &str>,
        check: impl FnOnce(&dyn World) -> T,
    ) -> (T, Answers) {
        let world = Remembered { facts: self, directory, open, asked: RefCell::default(), modules: RefCell::default() };
        let result = check(&world);
        let (asked, modules) = (world.asked.into_inner(), world.modules.into_inner());
        self.asked.insert(document.to_owned(), asked.keys().cloned().collect());
        self.share_wanted();
        for (question, request) in asked {
            let beginning = beginning(directory, &request);
            let known = self.known.entry(question.clone()).or_insert_with(|| Known { beginning, ..Known::default() });
            if !known.pending && (known.answer.is_none() || known.stale) {
                (known.pending, known.stale) = (true, false);
                // The reader is there as long as this is.
                let _ = self.jobs.send(Job { question, request });
            }
        }
        self.forget();
        (result, modules)
    }

    /// Takes in what the reader found. The documents that asked for it.
    pub fn take_in(&mut self, Reading(question, answer): Reading) -> Vec<String> {
        let Some(known) = self.known.get_mut(&question) else { return vec![] };
        known.pending = false;
        let again = known.stale || answer.is_none();
        let changed = answer.is_some() && known.answer != answer;
        if answer.is_some() {
            known.answer = answer;
        }
        if !(changed || again) {
            return vec![];
        }
        let asks = self.asked.iter().filter(|(_, asked)| asked.contains(&question));
        asks.map(|(document, _)| document.clone()).collect()
    }

    /// Something at a path has changed, come or gone. The documents that asked about it.
    pub fn changed(&mut self, path: &Path) -> Vec<String> {
        if path.ends_with(lock::NAME) {
            self.pinned.get_mut().clear();
        }
        let path = path.to_string_lossy();
        let touched: HashSet<&Question> = self
            .known
            .iter_mut()
            .filter(|(_, known)| path.starts_with(&*known.beginning.to_string_lossy()))
            .map(|(question, known)| {
                known.stale = true;
                question
            })
            .collect();
        let asks = self.asked.iter().filter(|(_, asked)| asked.iter().any(|question| touched.contains(question)));
        asks.map(|(document, _)| document.clone()).collect()
    }

    /// Everything a document asks for is to be read again.
    pub fn refresh(&mut self, document: &str) {
        self.pinned.get_mut().clear();
        for question in self.asked.get(document).into_iter().flatten() {
            if let Some(known) = self.known.get_mut(question) {
                known.stale = true;
            }
        }
    }

    pub fn close(&mut self, document: &str) {
        self.asked.remove(document);
        self.share_wanted();
    }

    fn share_wanted(&self) {
        let all = self.asked.values().flatten().cloned().collect();
        // A set is whole whatever happened to its last holder.
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn forget(&mut self) {
        if self.known.len() > REMEMBERED {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            self.known.retain(|question, known| known.pending || wanted.contains(question));
        }
    }
}

/// The world of one check.
struct Remembered<'a> {
    facts: &'a Facts,
    directory: &'a Path,
    open: &'a HashMap<&'a str, &'a str>,
    asked: RefCell<IndexMap<Question, SourceRequest>>,
    modules: RefCell<Answers>,
}

impl World for Remembered<'_> {
    fn describe(&self, request: &SourceRequest) -> Answer {
        let question = Question { directory: self.directory.to_owned(), request: format!("{request:?}") };
        let answer = self.facts.known.get(&question).and_then(|known| known.answer.clone());
        self.asked.borrow_mut().insert(question, request.clone());
        answer.unwrap_or_else(|| Ok(SourceFacts::default()))
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        if let ModuleRequest::File { directory, path } = request {
            // Something else than a file may keep whoever reads it waiting for ever.
            let file = self.directory.join(directory).join(path);
            if std::fs::metadata(&file).is_ok_and(|data| !data.is_file() || data.len() > MODULE) {
                return Err(SourceError {
                    code: "ftp::module::not_found",
                    message: format!("{} is no file of this language", file.display()),
                    label: "no such module".into(),
                    help: Some("write the path of a `.ftp` file, relative to this one".into()),
                    parameter: None,
                });
            }
        }
        let mut found = match request {
            ModuleRequest::File { .. } => FileWorld::new(self.directory).module(request)?,
            ModuleRequest::Git { .. } => self.pinned(request)?,
        };
        found.name = found.key.clone();
        if let Some(text) = self.open.get(found.key.as_str()) {
            found.text = (*text).to_owned();
        }
        self.modules.borrow_mut().push((request.clone(), found.clone()));
        Ok(found)
    }
}

impl Remembered<'_> {
    /// A module of a repository. Its whole tree is digested, so what is found is kept while nothing is saved.
    fn pinned(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        let question = Question { directory: self.directory.to_owned(), request: format!("{request:?}") };
        let mut pinned = self.facts.pinned.borrow_mut();
        pinned.entry(question).or_insert_with(|| FileWorld::new(self.directory).module(request)).clone()
    }
}

/// The path of a source up to its first wild card or alternative.
fn beginning(directory: &Path, request: &SourceRequest) -> PathBuf {
    let pattern = match request.parameters.get("path") {
        Some(Value::String(path)) => path.as_str(),
        _ => "",
    };
    let literal = pattern.split(['*', '?', '[', '{']).next().unwrap_or("");
    directory.join(&request.directory).join(literal.trim_start_matches("./"))
}

/// Reads what is asked for, one after the other.
fn reader(jobs: &Receiver<Job>, readings: &Sender<Reading>, wanted: &Mutex<HashSet<Question>>) {
    for Job { question, request } in jobs {
        let is_wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(&question);
        let answer = is_wanted.then(|| {
            let world = FileWorld::new(&question.directory);
            // A reader that fails on odd data must not take the server with it: such data is left for `ftp check`.
            catch_unwind(AssertUnwindSafe(|| world.describe(&request))).unwrap_or_else(|_| Ok(SourceFacts::default()))
        });
        if readings.send(Reading(question, answer)).is_err() {
            return;
        }
    }
}
