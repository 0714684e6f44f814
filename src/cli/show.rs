//! `ftp show`.

use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use super::past::{self, Named, Past, SHOWN, scores, since, state};
use super::{Exit, log, project};
use crate::event::Event;
use crate::report::{table, text};
use crate::store::{Manifest, RunRecord, Store, StoreError};

#[derive(Args)]
pub(super) struct Show {
    /// A run (the first characters of its number, or a file, whose last run is meant), or a result: the first characters of its
    /// key, or a pipeline or stage of the last run [default: the last run]
    #[arg(value_name = "RUN|FILE|KEY|PIPELINE|STAGE")]
    named: Option<String>,
    #[command(flatten)]
    past: Past,
}

impl Show {
    pub fn run(self) -> Exit {
        self.show().unwrap_or_else(|error| {
            project::print_error(&error);
            Exit::Failed
        })
    }

    fn show(&self) -> Result<Exit, StoreError> {
        let store = self.past.open()?;
        let found = match &self.named {
            Some(named) => past::find(&store, named)?,
            None => match store.known_runs()?.into_iter().next() {
                Some(run) => Named::Run(Box::new(run)),
                None => {
                    println!("no runs are known");
                    return Ok(Exit::Ok);
                }
            },
        };
        match (found, self.past.json) {
            (Named::Run(run), true) => println!("{}", run_as_json(&run)),
            (Named::Run(run), false) => print_run(&run),
            (Named::Result(manifest), json) => print_result(&store, &manifest, json)?,
        }
        Ok(Exit::Ok)
    }
}

/// What came of a stage in a run.
struct Line {
    stage: String,
    outcome: &'static str,
    /// Since the run began.
    begun: Option<f64>,
    seconds: Option<f64>,
    key: String,
    said: Option<String>,
}

/// The stages of a run in the order they were done with.
fn lines(run: &RunRecord) -> Vec<Line> {
    let mut begun: HashMap<&str, (f64, &str)> = HashMap::new();
    let mut lines: Vec<Line> = vec![];
    for timed in &run.events {
        let after = timed.at - run.started;
        let mut line = |stage: &str, outcome, begun: Option<f64>, key: &str, said| {
            let seconds = begun.map(|begun| after - begun);
            lines.push(Line { stage: stage.to_owned(), outcome, begun, seconds, key: key.to_owned(), said });
        };
        match &timed.event {
            Event::StageStarted { stage, key, .. } => drop(begun.insert(stage, (after, key))),
            Event::StageFinished { stage, key, .. } => {
                line(stage, "ran", begun.remove(stage.as_str()).map(|(at, _)| at), key, None);
            }
            Event::StageFailed { stage, code, message, .. } => {
                let (at, key) = begun.remove(stage.as_str()).unzip();
                line(stage, "failed", at, key.unwrap_or(""), Some(format!("{message} ({code})")));
            }
            Event::StageStopped { stage } => line(stage, "stopped", None, "", None),
            _ => {}
        }
    }
    let ran: Vec<String> = lines.iter().map(|line| line.stage.clone()).collect();
    let found = run.stages.iter().filter(|stage| !ran.contains(&stage.stage)).map(|stage| Line {
        stage: stage.stage.clone(),
        outcome: "found",
        begun: None,
        seconds: None,
        key: stage.key.clone(),
        said: None,
    });
    let found: Vec<Line> = found.collect();
    let open = begun.into_iter().map(|(stage, (at, key))| Line {
        stage: stage.to_owned(),
        outcome: if run.live { "running" } else { "unfinished" },
        begun: Some(at),
        seconds: None,
        key: key.to_owned(),
        said: None,
    });
    let open: Vec<Line> = open.collect();
    found.into_iter().chain(lines).chain(open).collect()
}

fn run_as_json(run: &RunRecord) -> serde_json::Value {
    let mut shown = log::row(run);
    let stages = lines(run).into_iter().map(|line| {
        json!({
            "stage": line.stage, "outcome": line.outcome, "key": line.key, "begun": line.begun, "seconds": line.seconds,
            "failure": line.said,
        })
    });
    shown["stages"] = stages.collect();
    shown["pipelines"] = json!(run.pipelines);
    shown["published"] = json!(run.published);
    let expectations = run.events.iter().filter(|timed| matches!(timed.event, Event::Expectation { .. }));
    shown["expectations"] = expectations.map(|timed| json!(timed.event)).collect();
    shown
}

fn print_run(run: &RunRecord) {
    println!("run {} of {}: {}", run.id, run.file, state(run));
    println!("  begun {} on {}, ftp {}", since(run.started), run.host, run.engine);
    if !run.set.is_empty() {
        let set: Vec<String> = run.set.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        println!("  with {}", set.join(", "));
    }
    let lines = lines(run);
    let cells = |line: &Line| {
        let time = |seconds: Option<f64>| seconds.map_or(String::new(), text::duration);
        let key = line.key.chars().take(SHOWN).collect();
        vec![line.stage.clone(), line.outcome.to_owned(), time(line.begun), time(line.seconds), key]
    };
    let rows: Vec<_> = lines.iter().map(cells).collect();
    println!();
    print!("{}", table::render(&["stage", "outcome", "begun after", "took", "key"], &rows));
    for line in &lines {
        if let Some(said) = &line.said {
            println!("\n{}: {said}", line.stage);
        }
    }
    for timed in &run.events {
        if let Some(line) = text::line(&timed.event).filter(|_| matches!(timed.event, Event::Expectation { .. })) {
            println!("{line}");
        }
    }
    for published in &run.published {
        println!("\n{} is published in {}", published.pipeline, published.directory);
    }
}

fn print_result(store: &Store, manifest: &Manifest, json: bool) -> Result<(), StoreError> {
    let journal = store.journal(manifest)?;
    if json {
        let mut shown = json!(manifest);
        shown["journal"] = json!(journal);
        println!("{shown}");
        return Ok(());
    }
    let record = &manifest.record;
    println!("{} ({} version {})", manifest.label, manifest.method, manifest.version);
    println!("  key    {}", manifest.key);
    println!("  output {}", manifest.output);
    println!(
        "  made {} in {} on {}, ftp {}",
        since(record.started),
        text::duration(record.seconds),
        record.host,
        record.engine
    );
    println!("\nmade from");
    for (leaf, value) in &manifest.pre_image.leaves {
        println!("  {leaf} = {value}");
    }
    println!("\nfiles");
    for (name, file) in manifest.blobs() {
        println!("  {name}, {}, {}", text::bytes(file.bytes), &file.digest[..SHOWN]);
    }
    if let Some(base) = &manifest.base {
        println!("  and what {} has", &base[..SHOWN]);
    }
    let scores = scores(manifest);
    if !scores.is_empty() {
        println!("\nscores");
        scores.iter().for_each(|(name, value)| println!("  {name} {}", text::metric(*value)));
    }
    let evaluated = journal.iter().filter(|entry| !matches!(entry.event, Event::Notice { .. }));
    let last = evaluated.clone().rfind(|entry| matches!(entry.event, Event::Progress { .. }));
    if let Some(line) = last.and_then(|entry| text::progress(&entry.event)) {
        println!("\ntraining, at its end: {line}");
    }
    for entry in evaluated.filter(|entry| matches!(entry.event, Event::Evaluated { .. })) {
        if let Some(line) = text::line(&entry.event) {
            println!("  {} {line}", text::duration(entry.seconds));
        }
    }
    if !record.notices.is_empty() {
        println!("\nnotes");
        record.notices.iter().for_each(|notice| println!("  {}", notice.message));
    }
    Ok(())
}
