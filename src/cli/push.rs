//! `ftp push` and `ftp pull`: results to and from a remote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use miette::Diagnostic;

use super::project::Project;
use super::{Exit, FileArguments, StoreArguments, project, remote, signals};
use crate::exec::{self, Status};
use crate::lang::world::Digest;
use crate::plan;
use crate::remote::{Pushed, Remote, RemoteError, Terms, Trusted};
use crate::report::text;
use crate::store::{Store, StoreError, is_digest};

/// Gives results to a remote, signed with your key. In place of a file, pipelines of earlier runs and keys of results can be
/// named.
#[derive(Args)]
pub(super) struct Push {
    #[command(flatten)]
    file: FileArguments,
    /// Push only the results of these pipelines; or more names of pipelines and keys
    #[arg(value_name = "PIPELINE")]
    names: Vec<String>,
    /// A directory, or s3://bucket/prefix [default: $FTP_REMOTE]
    #[arg(long, value_name = "ADDRESS", env = "FTP_REMOTE", hide_env = true)]
    to: String,
    /// Put everything again, also what seems to be there
    #[arg(long)]
    replace: bool,
    /// Push without a signature when there is no key
    #[arg(long)]
    allow_unsigned: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// Brings results from a remote into the store. In place of a file, whole keys of results can be named.
#[derive(Args)]
pub(super) struct Pull {
    #[command(flatten)]
    file: FileArguments,
    /// Pull only the results of these pipelines; or more keys
    #[arg(value_name = "PIPELINE")]
    names: Vec<String>,
    /// A directory, s3://bucket/prefix, or https://host/prefix [default: $FTP_REMOTE]
    #[arg(long, value_name = "ADDRESS", env = "FTP_REMOTE", hide_env = true)]
    from: String,
    /// Take results of whoever made them, signed or not
    #[arg(long)]
    allow_unsigned: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Push {
    pub fn run(self) -> Exit {
        self.push().err().unwrap_or(Exit::Ok)
    }

    fn push(&self) -> Result<(), Exit> {
        let remote = remote::open(&self.to)?;
        let (trusted, key) = remote::signatures(self.allow_unsigned, true)?;
        let store = self.store.open()?;
        let keys = match project(&self.file, &self.names)? {
            Some(project) => self.of_file(&project, &store)?,
            None => of_names(&store, &named(&self.file, &self.names)).map_err(failed)?,
        };
        let terms = Terms { trusted: &trusted, key: key.as_ref(), replace: self.replace };
        let cancel = signals::cancelled();
        let pushed = remote.push(&store, &keys, terms, &mut || !cancel.load(Ordering::Relaxed)).map_err(failed)?;
        let Pushed { new, there, bytes, divergent } = pushed;
        for label in &divergent {
            remote::divergent(&remote, label);
        }
        println!("{new} results pushed to {}, {}; {there} were there", remote.name(), text::bytes(bytes));
        Ok(())
    }

    /// The results that the stages of a file have in the store.
    fn of_file(&self, project: &Project, store: &Store) -> Result<Vec<Digest>, Exit> {
        let status = status(project, &self.store, store);
        let missing = status.iter().filter(|one| matches!(one, Status::Run { .. } | Status::After { .. })).count();
        let keys: Vec<Digest> = status
            .into_iter()
            .filter_map(|one| if let Status::Hit { key, .. } = one { Some(key) } else { None })
            .collect();
        if keys.is_empty() {
            eprintln!("error: no result of {} is in the store (ftp::remote::nothing)", project.source.name);
            eprintln!("  help: `ftp run` it first");
            return Err(Exit::Failed);
        }
        if missing > 0 {
            eprintln!("{missing} stages of {} are not in the store and are left out", project.source.name);
        }
        Ok(keys)
    }
}

impl Pull {
    pub fn run(self) -> Exit {
        self.pull().unwrap_or_else(|exit| exit)
    }

    fn pull(&self) -> Result<Exit, Exit> {
        let remote = remote::open(&self.from)?;
        let (trusted, _) = remote::signatures(self.allow_unsigned, false)?;
        let store = self.store.open()?;
        let mut pulling = Pulling {
            remote: &remote,
            store: &store,
            trusted,
            cancel: signals::cancelled(),
            asked: BTreeSet::new(),
            wrong: 0,
            results: 0,
            bytes: 0,
        };
        match project(&self.file, &self.names)? {
            Some(project) => self.of_file(&project, &mut pulling)?,
            None => {
                for key in named(&self.file, &self.names) {
                    if !is_digest(&key) {
                        eprintln!("error: `{key}` is neither a `.ftp` file nor a whole key (ftp::remote::no_key)");
                        eprintln!(
                            "  help: a key has 64 hexadecimal digits; a remote can't be searched for the beginning of one"
                        );
                        return Err(Exit::Usage);
                    }
                    if !pulling.pull(&key)? {
                        pulling.say(&RemoteError::Absent { remote: remote.name().to_owned(), key });
                    }
                }
            }
        }
        let Pulling { wrong, results, bytes, .. } = pulling;
        println!("{results} results pulled from {}, {}", remote.name(), text::bytes(bytes));
        Ok(if wrong == 0 { Exit::Ok } else { Exit::Failed })
    }

    /// A stage has a key when those before it have results: what is pulled lets more be asked for.
    fn of_file(&self, project: &Project, pulling: &mut Pulling) -> Result<(), Exit> {
        loop {
            let mut brought = false;
            let status = status(project, &self.store, pulling.store);
            for one in &status {
                if let Status::Run { key, .. } = one {
                    brought |= pulling.pull(key)?;
                }
            }
            if !brought {
                let missing =
                    status.iter().filter(|one| matches!(one, Status::Run { .. } | Status::After { .. })).count();
                if missing > 0 {
                    println!("{missing} of {} stages have no result here or there yet", status.len());
                }
                return Ok(());
            }
        }
    }
}

/// What has been asked for and come of it.
struct Pulling<'a> {
    remote: &'a Remote,
    store: &'a Store,
    trusted: Trusted,
    cancel: Arc<AtomicBool>,
    asked: BTreeSet<Digest>,
    wrong: usize,
    results: usize,
    bytes: u64,
}

impl Pulling<'_> {
    /// Whether it came; what can't be used is said, and the next one tried. A key is asked for once.
    fn pull(&mut self, key: &Digest) -> Result<bool, Exit> {
        if !self.asked.insert(key.clone()) {
            return Ok(false);
        }
        let cancel = &self.cancel;
        match self.remote.pull(self.store, key, &self.trusted, &mut || !cancel.load(Ordering::Relaxed)) {
            Ok(Some(pulled)) => {
                println!("  {} {}", &key[..12], pulled.label);
                self.results += pulled.results;
                self.bytes += pulled.bytes;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error @ RemoteError::Interrupted) => {
                project::print_error(&error);
                Err(Exit::Interrupted)
            }
            Err(error @ (RemoteError::Unreachable { .. } | RemoteError::Refused { .. })) => Err(failed(error)),
            Err(error) => {
                self.say(&error);
                Ok(false)
            }
        }
    }

    fn say(&mut self, error: &RemoteError) {
        project::print_error(error);
        self.wrong += 1;
    }
}

/// The file that is named first, if it is one.
fn project(file: &FileArguments, pipelines: &[String]) -> Result<Option<Project>, Exit> {
    if file.file.extension().is_none_or(|ending| ending != "ftp") {
        return Ok(None);
    }
    let mut project = project::open(file, false)?;
    project.choose(pipelines)?;
    Ok(Some(project))
}

fn named(file: &FileArguments, names: &[String]) -> Vec<String> {
    [file.file.display().to_string()].into_iter().chain(names.iter().cloned()).collect()
}

fn status(project: &Project, arguments: &StoreArguments, store: &Store) -> Vec<Status> {
    let plan = plan::Plan::new(&project.program, &arguments.device);
    exec::status(&plan, &project.program, &project.source, store)
}

/// The keys that names stand for: a pipeline for all that its last run went through.
fn of_names(store: &Store, names: &[String]) -> Result<Vec<Digest>, StoreError> {
    let runs = store.known_runs()?;
    let mut keys = vec![];
    for name in names {
        let key = store.find(name)?;
        match runs.iter().find(|run| run.pipelines.get(name) == Some(&key)) {
            Some(run) => {
                let by_output: BTreeMap<&Digest, &Digest> =
                    run.stages.iter().map(|stage| (&stage.output, &stage.key)).collect();
                keys.extend(lineage(store, key, &by_output)?);
            }
            None => keys.push(key),
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// A result's key and those of all that it was made from in a run.
fn lineage(store: &Store, key: Digest, by_output: &BTreeMap<&Digest, &Digest>) -> Result<BTreeSet<Digest>, StoreError> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![key]);
    while let Some(key) = waiting.pop() {
        if found.contains(&key) {
            continue;
        }
        let manifest = store.result(&key)?.ok_or_else(|| StoreError::UnknownOutput { output: key.clone() })?;
        waiting
            .extend(manifest.pre_image.inputs().filter_map(|output| by_output.get(output).map(|key| (*key).clone())));
        found.insert(key);
    }
    Ok(found)
}

fn failed(error: impl Diagnostic) -> Exit {
    project::print_error(&error);
    Exit::Failed
}
