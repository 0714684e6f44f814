//! `ftp report`: a run as one HTML file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use indexmap::IndexMap;

use super::project::Project;
use super::results::{Scores, by_target, measured, metric_names, stages_in_words};
use super::{Exit, FileArguments, StoreArguments, bundle, project};
use crate::event::Event;
use crate::exec::{self, Status};
use crate::lang::ir::{Node, Program};
use crate::lang::world::Digest;
use crate::methods;
use crate::plan::{Plan, StageInput, reproduce};
use crate::report::drawing;
use crate::report::page::{Badge, Comparison, DataFile, Expectation, Journal, Line, Page, Stage, State};
use crate::store::{Lookup, Manifest, RunRecord, Store};

/// Writes what came of a file's last run, or of the run with an id, into one HTML file: results, expectations, plan, times,
/// curves, confusion, data, and how to do it again.
#[derive(Args)]
pub(super) struct Report {
    /// In the place of the file, the id of a run (or its beginning) will do; its file must still be there
    #[command(flatten)]
    file: FileArguments,
    /// The HTML file [default: the file's name and .html]
    #[arg(long, short, value_name = "HTML")]
    output: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
}

impl Report {
    pub fn run(self) -> Exit {
        self.report().err().unwrap_or(Exit::Ok)
    }

    fn report(mut self) -> Result<(), Exit> {
        let store = self.store.open()?;
        let runs = store.known_runs().map_err(|error| {
            project::print_error(&error);
            Exit::Failed
        })?;
        let run = match self.file.file.is_file() {
            true => {
                let path = std::fs::canonicalize(&self.file.file).unwrap_or_else(|_| self.file.file.clone());
                runs.into_iter().find(|run| run.path == path)
            }
            false => {
                let id = self.file.file.display().to_string();
                let run = runs.into_iter().find(|run| !id.is_empty() && run.id.starts_with(&id)).ok_or_else(|| {
                    eprintln!("error: there is no file {id}, and no run of that id in the store");
                    Exit::Usage
                })?;
                self.file.file.clone_from(&run.path);
                if self.file.set.is_empty() {
                    self.file.set.clone_from(&run.set);
                }
                Some(run)
            }
        };
        let project = project::open(&self.file, false)?;
        let page = Builder::new(&project, &self.file, &self.store.device, &store, run.as_ref()).page();
        let stem = self.file.file.file_stem().unwrap_or_default().to_string_lossy();
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.html")));
        std::fs::write(&output, page.html()).map_err(|error| {
            eprintln!("error: can't write {}: {}", output.display(), project::reason(&error));
            Exit::Failed
        })?;
        println!("{}", output.display());
        Ok(())
    }
}

/// What a page is made from.
struct Builder<'a> {
    program: &'a Program,
    arguments: &'a FileArguments,
    run: Option<&'a RunRecord>,
    plan: Plan,
    status: Vec<Status>,
    /// By stage of the plan.
    manifests: Vec<Option<Manifest>>,
    store: &'a Store,
}

impl<'a> Builder<'a> {
    fn new(
        project: &'a Project,
        arguments: &'a FileArguments,
        device: &str,
        store: &'a Store,
        run: Option<&'a RunRecord>,
    ) -> Self {
        let plan = Plan::new(&project.program, device);
        let status = exec::status(&plan, &project.program, &project.source, store);
        let manifest = |status: &Status| match status {
            Status::Hit { key, .. } => match store.lookup(key) {
                Lookup::Hit(manifest) => Some(*manifest),
                Lookup::Miss(_) => None,
            },
            _ => None,
        };
        let manifests = status.iter().map(manifest).collect();
        Self { program: &project.program, arguments, run, plan, status, manifests, store }
    }

    fn page(&self) -> Page {
        let stages: Vec<Stage> = (0..self.plan.stages.len()).map(|stage| self.stage(stage)).collect();
        let expectations = self.expectations();
        let (mut shapes, arrows) = drawing::shapes(self.program, &self.plan);
        for shape in &mut shapes {
            let stage = shape.id.strip_prefix("stage").and_then(|index| stages.get(index.parse::<usize>().ok()?));
            shape.state = stage.map_or("", |stage| stage.state.class());
        }
        let name = self.arguments.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Page {
            badge: self.badge(&stages, &expectations),
            facts: self.facts(),
            warnings: self.warnings(&stages),
            comparisons: self.comparisons(),
            graph: drawing::inline(&name, &shapes, &arrows),
            data: self.data(),
            notices: self.notices(),
            environment: self.environment(),
            reproduce: self.reproduce(),
            title: name,
            expectations,
            stages,
        }
    }

    fn stage(&self, index: usize) -> Stage {
        let planned = &self.plan.stages[index];
        let node = self.plan.node(self.program, index);
        let result = self.manifests[index].as_ref();
        let failed = self.failures().any(|(stage, _)| *stage == planned.label);
        let state = match (&self.status[index], result) {
            (Status::Hit { .. }, Some(result)) if self.is_of_run(result) => State::Ran,
            (Status::Hit { .. }, _) => State::Hit,
            (Status::Stopped, _) => State::Stopped,
            _ if failed => State::Failed,
            _ => State::Missing,
        };
        let changed = |method: &str, parameters| -> Vec<String> {
            let signature = methods::registry().get(method);
            let formal = |name: &str| signature.and_then(|signature| signature.parameter(name));
            reproduce::changed(parameters, &formal).map(|(name, value)| format!("{name} = {value}")).collect()
        };
        let mut parameters = changed(&node.method, &node.parameters);
        for delta in &node.deltas {
            parameters.push(delta.method.clone());
            parameters.extend(changed(&delta.method, &delta.parameters));
        }
        let labels = result.and_then(|result| result.summary["task"]["labels"].as_array());
        Stage {
            label: planned.label.clone(),
            family: node.label.clone(),
            state,
            started: result.map(|result| result.record.started),
            seconds: result.map(|result| result.record.seconds),
            key: match &self.status[index] {
                Status::Hit { key, .. } | Status::Run { key, .. } => Some(key.clone()),
                Status::Stopped | Status::After { .. } => None,
            },
            output: result.map(|result| result.output.clone()),
            parameters,
            labels: labels.into_iter().flatten().filter_map(|label| Some(label.as_str()?.to_owned())).collect(),
            // One that can't be read leaves the curves out, and nothing else.
            journal: result
                .and_then(|result| self.store.journal(result).ok())
                .map_or_else(Journal::default, |said| Journal::of(said.into_iter().map(|entry| entry.event))),
        }
    }

    /// Whether the run at hand computed a result, as far as clocks can tell.
    fn is_of_run(&self, result: &Manifest) -> bool {
        let Some(run) = self.run else { return false };
        let ended = run.ended.as_ref().map_or(f64::INFINITY, |ended| ended.at);
        result.record.host == run.host && result.record.started >= run.started && result.record.started <= ended
    }

    fn badge(&self, stages: &[Stage], expectations: &[Expectation]) -> Badge {
        let of = |state, text: &str| Badge { state, text: text.to_owned() };
        let missing = stages.iter().filter(|stage| matches!(stage.state, State::Missing | State::Failed)).count();
        match self.run.map(|run| (run.live, &run.ended)) {
            Some((_, Some(ended))) if ended.failed.is_some() => {
                of(State::Failed, &format!("failed: {}", ended.failed.as_deref().unwrap_or_default()))
            }
            Some((_, Some(ended))) if ended.interrupted => of(State::Stopped, "interrupted"),
            Some((true, None)) => of(State::Stopped, "goes on"),
            Some((false, None)) => of(State::Failed, "was killed"),
            _ if missing > 0 => {
                of(State::Missing, &format!("{missing} of {} stages are not in the store", stages.len()))
            }
            _ if expectations.iter().any(|one| !one.holds) => of(State::Failed, "an expectation does not hold"),
            _ => of(State::Ran, "complete"),
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![];
        if let Some(docs) = &self.program.docs {
            facts.push(("about".to_owned(), docs.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        if let Some(run) = self.run {
            facts.push(("run".to_owned(), run.id.clone()));
            facts.push(("began".to_owned(), date(run.started)));
            if let Some(ended) = &run.ended {
                let took = crate::report::text::duration(ended.at - run.started);
                facts.push(("took".to_owned(), format!("{took}, {} stages computed", ended.ran)));
            }
        }
        let mut pipelines: Vec<&str> = self.program.pipelines.iter().map(|one| one.declared.as_str()).collect();
        pipelines.dedup();
        facts.push(("pipelines".to_owned(), pipelines.join(", ")));
        for param in &self.program.params {
            let how = if param.overridden { " (command line)" } else { "" };
            facts.push((param.name.clone(), format!("{}{how}", param.value)));
        }
        facts
    }

    fn warnings(&self, stages: &[Stage]) -> Vec<String> {
        let Some(run) = self.run else {
            return vec![
                "The store knows no run of this file: what is shown is what other runs made of the same stages.".into(),
            ];
        };
        let mut warnings: Vec<String> = self.failures().map(|(stage, why)| format!("{stage} failed: {why}")).collect();
        let planned: Vec<&Digest> = stages.iter().filter_map(|stage| stage.key.as_ref()).collect();
        let others = run.stages.iter().filter(|stage| !planned.contains(&&stage.key)).count();
        if others > 0 {
            warnings.push(format!(
                "{others} of the {} results of this run are not in the plan of the file as it is now: the file, its data or its \
                 parameters have changed (give `ftp report` the values that `ftp run` was given).",
                run.stages.len()
            ));
        }
        warnings
    }

    /// Stages that failed in the run at hand, and why.
    fn failures(&self) -> impl Iterator<Item = (&String, String)> {
        self.run.into_iter().flat_map(|run| &run.events).filter_map(|timed| match &timed.event {
            Event::StageFailed { stage, code, message, help, .. } => {
                let help = help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
                Some((stage, format!("{message} ({code}){help}")))
            }
            _ => None,
        })
    }

    /// By pipeline, of those whose last stage is there.
    fn summaries(&self) -> IndexMap<usize, &serde_json::Value> {
        let summary = |index: usize| {
            let stage = self.plan.stage_of(self.program.pipelines[index].output)?;
            Some((index, &self.manifests[stage].as_ref()?.summary))
        };
        (0..self.program.pipelines.len()).filter_map(summary).collect()
    }

    fn comparisons(&self) -> Vec<Comparison> {
        let summaries = self.summaries();
        let mut comparisons = vec![];
        for (set, pipelines) in by_target(self.program, &summaries) {
            let first = Scores::new(pipelines[0].1);
            let names = metric_names(pipelines[0].1);
            let split = first.split().unwrap_or("test");
            let mut groups: IndexMap<&str, Vec<Line>> = IndexMap::new();
            for (index, summary) in &pipelines {
                let pipeline = &self.program.pipelines[*index];
                let scores = Scores::new(summary);
                let values = names.iter().map(|name| scores.metric(name).into_iter().collect()).collect();
                let stages = stages_in_words(self.program, pipeline);
                let line = Line { name: pipeline.name.clone(), stages, values, ..Line::default() };
                groups.entry(pipeline.declared.as_str()).or_default().push(line);
            }
            let mut lines: Vec<Line> =
                groups.into_iter().map(|(declared, members)| together(declared, members)).collect();
            if let Some(baseline) = pipelines[0].1.get("baseline").filter(|baseline| baseline.is_object()) {
                let value = |name: &&str| baseline["metrics"][*name].as_f64().into_iter().collect();
                let name = baseline["name"].as_str().unwrap_or("baseline").to_owned();
                lines.push(Line { name, values: names.iter().map(value).collect(), baseline: true, ..Line::default() });
            }
            comparisons.push(Comparison {
                set,
                split: split.to_owned(),
                rows: pipelines[0].1["metrics"][split]["rows"].as_u64(),
                metrics: names.iter().map(|name| (*name).to_owned()).collect(),
                lines,
            });
        }
        comparisons
    }

    fn expectations(&self) -> Vec<Expectation> {
        let stopped = |stage: usize| self.status[stage] == Status::Stopped;
        let all = measured(self.program, &self.plan, &self.summaries(), &stopped);
        let shown = |one: super::results::Measured| Expectation {
            text: format!("{} {} {}", one.shown, one.relation, one.bound),
            value: one.value,
            holds: one.holds,
        };
        all.into_iter().map(shown).collect()
    }

    /// Sources that the plan's stages read, each once.
    fn sources(&self) -> Vec<&Node> {
        let mut ids: Vec<usize> = vec![];
        for input in self.plan.stages.iter().flat_map(|stage| stage.inputs.values()) {
            if let StageInput::Source(id) = input
                && !ids.contains(id)
            {
                ids.push(*id);
            }
        }
        ids.into_iter().map(|id| &self.program.nodes[id]).collect()
    }

    fn data(&self) -> Vec<DataFile> {
        let files = self.sources().into_iter().flat_map(|node| {
            node.source.iter().flat_map(|facts| &facts.files).map(|file| DataFile {
                source: node.label.clone(),
                file: file.shown.clone(),
                split: file.split.clone().unwrap_or_default(),
                rows: (file.rows > 0).then_some(file.rows),
                bytes: file.bytes,
                digest: file.digest.clone(),
            })
        });
        files.collect()
    }

    fn notices(&self) -> Vec<(String, String)> {
        let sources = self.sources().into_iter().flat_map(|node| {
            let notices = node.source.iter().flat_map(|facts| &facts.notices);
            notices.map(|notice| (node.label.clone(), notice.message.clone()))
        });
        let stages = self.plan.stages.iter().zip(&self.manifests).flat_map(|(stage, result)| {
            let notices = result.iter().flat_map(|result| &result.record.notices);
            notices.map(|notice| (stage.label.clone(), notice.message.clone()))
        });
        sources.chain(stages).collect()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut made: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for record in self.manifests.iter().flatten().map(|result| &result.record) {
            *made.entry((&record.engine, &record.host)).or_default() += 1;
        }
        let made = made.into_iter().map(|((engine, host), count)| format!("{count} by ftp {engine} on {host}"));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        vec![
            ("results".to_owned(), made.collect::<Vec<_>>().join("; ")),
            ("device".to_owned(), self.plan.device.clone()),
            ("this machine".to_owned(), format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH)),
        ]
    }

    fn reproduce(&self) -> Vec<String> {
        let file = self.arguments.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let set = |(name, value): &(String, String)| format!(" --set {}", bundle::quoted(&format!("{name}={value}")));
        let set: String = self.arguments.set.iter().map(set).collect();
        let file = bundle::quoted(&file);
        vec![
            format!("ftp run {file} --locked{set}"),
            String::new(),
            "# for somebody else, with the results:".to_owned(),
            format!("ftp bundle {file} --results{set}"),
        ]
    }
}

/// Several pipelines of one declaration as one line.
fn together(declared: &str, mut members: Vec<Line>) -> Line {
    if members.len() == 1 {
        return members.remove(0);
    }
    let metrics = members[0].values.len();
    let values = |at: usize| members.iter().flat_map(|member| member.values[at].clone()).collect();
    Line {
        name: declared.to_owned(),
        stages: members[0].stages.clone(),
        values: (0..metrics).map(values).collect(),
        members,
        baseline: false,
    }
}

/// `2026-11-23 14:48 UTC`.
fn date(seconds: f64) -> String {
    let stamp = crate::store::stamp(seconds);
    let part = |range: std::ops::Range<usize>| stamp.get(range).unwrap_or_default().to_owned();
    format!("{}-{}-{} {}:{} UTC", part(0..4), part(4..6), part(6..8), part(9..11), part(11..13))
}
