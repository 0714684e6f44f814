//! `ftp run`.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use indexmap::IndexMap;

use super::listeners::{Listeners, Listening};
use super::project::Project;
#[cfg(feature = "remote")]
use super::remote::{self, RemoteArguments};
use super::results::{Measured, measured, tables};
use super::{Exit, FileArguments, StoreArguments, limits, project, publish, reproduction, signals};
use crate::event::{Event, Notice};
use crate::exec::{self, Machine, Options, RunReport};
use crate::lang::ir::{self, Program, PublishedBase};
use crate::methods::interchange::BaseName;
use crate::plan::Plan;
use crate::report::Style;
use crate::store::{Elsewhere, Manifest, Publication, Store};

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: FileArguments,
    /// Run only these pipelines, with their expectations and publications
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,
    #[command(flatten)]
    store: StoreArguments,
    /// Stages that may run at once; the processor's cores are divided among them
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Memory that stages may use together, for those that say how much they need (`memory = 8 GB`), such as 64GB
    /// [default: this machine's]
    #[arg(long, value_name = "SIZE", value_parser = limits::size)]
    memory: Option<u64>,
    /// After a failure, go on with what does not depend on it
    #[arg(long, short)]
    keep_going: bool,
    /// How often to try a stage again whose process was ended from outside
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// Train seeds of one model one after the other, each in a process of its own, and not together in one
    #[arg(long)]
    no_sweep: bool,
    /// Use modules of repositories exactly as ftp.lock and this machine have them; fetch and lock nothing
    #[arg(long)]
    locked: bool,
    #[cfg(feature = "remote")]
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    listening: Listening,
}

impl Run {
    pub fn run(self) -> Exit {
        self.listening.forget();
        if !self.locked
            && let Err(exit) = super::lock::lock(&self.file)
        {
            return exit;
        }
        let mut project = match project::open(&self.file, self.listening.json) {
            Ok(project) => project,
            Err(exit) => return exit,
        };
        if let Err(exit) = project.choose(&self.pipelines) {
            return exit;
        }
        for device in self.store.device.split(',') {
            if let Err(error) = crate::train::device(device) {
                project::print_error(&error);
                return Exit::Usage;
            }
        }
        let store = match self.store.open() {
            Ok(store) => store,
            Err(exit) => return exit,
        };
        #[cfg(feature = "remote")]
        let session = match self.remote.session() {
            Ok(session) => session,
            Err(exit) => return exit,
        };
        #[cfg(feature = "remote")]
        let elsewhere = session.clone().map(|session| session as Arc<dyn Elsewhere>);
        #[cfg(not(feature = "remote"))]
        let elsewhere: Option<Arc<dyn Elsewhere>> = None;
        // The process ends with the run, which is sooner than thousands of stages are taken apart.
        let project = ManuallyDrop::new(project);
        let program = &project.program;
        let plan = Plan::new(program, &self.store.device);
        let style = Style::choose(self.listening.json);
        let listeners = match self.listening.begin(style) {
            Ok(listeners) => listeners,
            Err(message) => {
                eprintln!("error: {message}");
                return Exit::Usage;
            }
        };
        let sink = |event: Event| listeners.hear(&event);
        for node in &program.nodes {
            for notice in node.source.iter().flat_map(|facts| &facts.notices) {
                sink(Event::Notice { stage: node.label.clone(), notice: notice.clone() });
            }
        }

        let cancel = signals::cancelled();
        let run = Options::new(cancel.clone())
            .map(|options| Options {
                jobs: self.jobs.into(),
                machine: Machine {
                    memory: self.memory.or_else(limits::usable_memory).unwrap_or(u64::MAX),
                    ..Machine::default()
                },
                keep_going: self.keep_going,
                retries: self.retries,
                elsewhere,
                withheld: program.secrets(),
                sweeps: !self.no_sweep,
                ..options
            })
            .and_then(|options| exec::run(&plan, program, &project.source, &store, &options, &sink));
        #[cfg(feature = "remote")]
        if let Some(session) = &session {
            remote::conclude(session, &cancel, self.listening.json, &sink);
        }
        let report = match run {
            Ok(report) => ManuallyDrop::new(report),
            Err(error) => {
                project::print_error(&error);
                return Exit::Failed;
            }
        };
        let exit = self.conclude(&project, &plan, &report, &store, &listeners);
        let tables = || tables(program, &summaries(program, &plan, &report));
        listeners.finish(&plan, program, &project.source, &store, tables);
        exit
    }

    /// Publishes, looks at expectations, and shows what came of the run.
    fn conclude(
        &self,
        project: &Project,
        plan: &Plan,
        report: &RunReport,
        store: &Store,
        listeners: &Listeners,
    ) -> Exit {
        let (json, program) = (self.listening.json, &project.program);
        let sink = |event: Event| listeners.hear(&event);
        if report.interrupted {
            if !json {
                eprintln!(
                    "interrupted; finished stages and checkpoints are in the store, and the next run goes on from there"
                );
            }
            return Exit::Interrupted;
        }
        if !report.failed.is_empty() {
            if self.keep_going && !json {
                print!("{}", tables(program, &summaries(program, plan, report)));
                let failed: Vec<&str> = report.failed.iter().map(|failed| failed.label.as_str()).collect();
                println!("\nfailed: {}", failed.join(", "));
            }
            return Exit::Failed;
        }
        let published = publish_all(project, plan, report, store, &sink);
        let held = expectations(program, plan, report, &sink);
        if !json {
            print!("{}", tables(program, &summaries(program, plan, report)));
            let notices = listeners.notices.borrow();
            if !notices.is_empty() && Style::choose(json) == Style::Terminal {
                println!("\nNotes");
                for (stage, notice) in notices.iter() {
                    println!("  {stage}: {}", notice.message);
                }
            }
            for (pipeline, directory) in published.iter().flatten() {
                println!("\n{pipeline} is published in {directory}");
            }
            if report.ran == 0 {
                println!("\nnothing to train: all {} stages were in the store", report.hits);
            }
        }
        if published.is_ok() && held { Exit::Ok } else { Exit::Failed }
    }
}

/// The summary of each pipeline's last stage.
fn summaries<'r>(program: &Program, plan: &Plan, report: &'r RunReport) -> IndexMap<usize, &'r serde_json::Value> {
    let pipelines = program.pipelines.iter().enumerate();
    let manifests = pipelines.filter_map(|(index, pipeline)| {
        let manifest = report.manifest_of(plan.stage_of(pipeline.output)?)?;
        Some((index, &manifest.summary))
    });
    manifests.collect()
}

/// Writes what is to be published; says so, with the directories as the user named them.
fn publish_all(
    project: &Project,
    plan: &Plan,
    report: &RunReport,
    store: &Store,
    sink: &dyn Fn(Event),
) -> Result<Vec<(String, String)>, ()> {
    let program = &project.program;
    let mut published = vec![];
    let mut failed = false;
    for publication in &program.publications {
        let pipeline = &program.pipelines[publication.pipeline];
        let stage = plan.stage_of(pipeline.output);
        let Some(manifest) = stage.and_then(|stage| report.manifest_of(stage)) else {
            let message = format!("{} is not published: a race stopped it", pipeline.name);
            let notice = Notice::new("ftp::publish::stopped", message);
            sink(Event::Notice { stage: format!("publish {}", pipeline.name), notice });
            continue;
        };
        let directory = project.directory.join(&publication.directory);
        let texts = reproduction::beside(project, plan, report, publication);
        let form = form(project, publication);
        let publishing = publish::Publication { manifest, pipeline: &pipeline.name, form, texts };
        match publish::publish(store, &publishing, &directory) {
            Ok(notices) => {
                for notice in notices {
                    sink(Event::Notice { stage: format!("publish {}", pipeline.name), notice });
                }
                let shown = directory.display().to_string();
                register(report, &pipeline.name, &directory, manifest);
                sink(Event::Published { pipeline: pipeline.name.clone(), directory: shown.clone() });
                published.push((pipeline.name.clone(), shown));
            }
            Err(failure) => {
                failed = true;
                let (code, message, help) = (failure.code, failure.message, failure.help);
                let stage = format!("publish {}", pipeline.name);
                sink(Event::StageFailed { stage, code, message, help, kept: "all results are in the store".into() });
            }
        }
    }
    if failed { Err(()) } else { Ok(published) }
}

/// What a publication is written as, with its base as others name it.
fn form(project: &Project, publication: &ir::Publication) -> publish::Form {
    match &publication.form {
        ir::Form::Model => publish::Form::Model,
        ir::Form::Adapter { library, base } => {
            let (base, published) = match base {
                PublishedBase::Directory(directory) => (BaseName { name: directory.clone(), revision: None }, true),
                PublishedBase::Source(node) => (reproduction::base_name(project, &project.program.nodes[*node]), false),
            };
            publish::Form::Adapter { library: *library, base, published }
        }
    }
}

/// Writes the publication down in the register of runs.
fn register(report: &RunReport, pipeline: &str, directory: &Path, manifest: &Manifest) {
    let Some(entry) = &report.entry else { return };
    let directory = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    let directory = directory.display().to_string();
    let publication = Publication { pipeline: pipeline.to_owned(), directory, output: manifest.output.clone() };
    // The model is published; that this can't be written down is no reason to call the run a failure.
    if let Err(error) = entry.published(publication) {
        project::print_error(&error);
    }
}

/// Looks at every expectation; true if all hold.
fn expectations(program: &Program, plan: &Plan, report: &RunReport, sink: &dyn Fn(Event)) -> bool {
    let stopped = |stage: usize| report.stopped[stage];
    let found = measured(program, plan, &summaries(program, plan, report), &stopped);
    for Measured { shown, value, relation, bound, holds } in &found {
        let event = Event::Expectation {
            measure: shown.clone(),
            value: value.unwrap_or(f64::NAN),
            relation: (*relation).to_owned(),
            bound: *bound,
            holds: *holds,
        };
        if let Some(entry) = &report.entry {
            entry.said(&event);
        }
        sink(event);
    }
    found.iter().all(|one| one.holds)
}
