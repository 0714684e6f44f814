//! `ftp log`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::past::{Past, since, state};
use super::{Exit, project};
use crate::report::{table, text};
use crate::store::{RunRecord, StoreError};

#[derive(Args)]
pub(super) struct Log {
    /// Only the runs of this file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many runs to show
    #[arg(long, short, value_name = "N", default_value_t = 20)]
    number: usize,
    #[command(flatten)]
    past: Past,
}

impl Log {
    pub fn run(self) -> Exit {
        self.list().unwrap_or_else(|error| {
            project::print_error(&error);
            Exit::Failed
        })
    }

    fn list(&self) -> Result<Exit, StoreError> {
        let mut runs = self.past.open()?.known_runs()?;
        if let Some(file) = &self.file {
            let path = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
            runs.retain(|run| run.path == path);
        }
        let more = runs.len().saturating_sub(self.number);
        runs.truncate(self.number);
        if self.past.json {
            println!("{}", json!(runs.iter().map(row).collect::<Vec<_>>()));
            return Ok(Exit::Ok);
        }
        if runs.is_empty() {
            println!("no runs are known");
            return Ok(Exit::Ok);
        }
        let cells = |run: &RunRecord| {
            let seconds = run.ended.as_ref().map_or("-".into(), |ended| text::duration(ended.at - run.started));
            let (ran, found) = counts(run);
            vec![
                run.id.clone(),
                since(run.started),
                ran.to_string(),
                found.to_string(),
                seconds,
                state(run),
                run.file.clone(),
            ]
        };
        let rows: Vec<_> = runs.iter().map(cells).collect();
        print!("{}", table::render(&["run", "begun", "ran", "found", "took", "ended", "file"], &rows));
        if more > 0 {
            println!("  {more} more; `--number {}` shows all", self.number + more);
        }
        Ok(Exit::Ok)
    }
}

/// Stages that a run computed, and those it found.
pub(super) fn counts(run: &RunRecord) -> (usize, usize) {
    let finished = |one: &&crate::store::Timed| matches!(one.event, crate::event::Event::StageFinished { .. });
    let ran = run.ended.as_ref().map_or_else(|| run.events.iter().filter(finished).count(), |ended| ended.ran);
    (ran, run.stages.len().saturating_sub(ran))
}

/// A run as JSON.
pub(super) fn row(run: &RunRecord) -> serde_json::Value {
    let (ran, found) = counts(run);
    json!({
        "run": run.id, "file": run.file, "host": run.host, "engine": run.engine, "started": run.started,
        "ended": run.ended.as_ref().map(|ended| ended.at), "state": state(run), "ran": ran, "found": found,
        "set": run.set.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    })
}
