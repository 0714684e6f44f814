//! `ftp plan`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::project::Project;
#[cfg(feature = "remote")]
use super::remote::{self, RemoteArgument};
use super::{Exit, FileArguments, StoreArguments, project};
use crate::exec::{self, Status};
use crate::lang;
use crate::lang::world::{Digest, World};
use crate::methods;
use crate::plan;
use crate::plan::diff::{self, Difference};
use crate::syntax::Source;

#[derive(Args)]
pub(super) struct Plan {
    #[command(flatten)]
    file: FileArguments,
    /// Plan only these pipelines
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the plan as one JSON array
    #[arg(long)]
    json: bool,
    /// Compare with the plan of another file: which stages are new, gone or changed since, and how
    #[arg(long, value_name = "OTHER")]
    diff: Option<PathBuf>,
    #[cfg(feature = "remote")]
    #[command(flatten)]
    remote: RemoteArgument,
}

impl Plan {
    pub fn run(self) -> Exit {
        let mut project = match project::open(&self.file, self.json) {
            Ok(project) => project,
            Err(exit) => return exit,
        };
        if let Err(exit) = project.choose(&self.pipelines) {
            return exit;
        }
        if let Some(other) = &self.diff {
            return self.compare(&project, other);
        }
        let store = match self.store.open() {
            Ok(store) => store,
            Err(exit) => return exit,
        };
        let plan = plan::Plan::new(&project.program, &self.store.device);
        let status = exec::status(&plan, &project.program, &project.source, &store);
        let there = match self.on_remote(&status) {
            Ok(there) => there,
            Err(exit) => return exit,
        };
        if self.json {
            let rows: Vec<_> = plan
                .stages
                .iter()
                .zip(&status)
                .map(|(stage, status)| row(&stage.label, status, &plan, &there))
                .collect();
            println!("{}", json!(rows));
            return Exit::Ok;
        }
        let width = plan.stages.iter().map(|stage| stage.label.chars().count()).max().unwrap_or(0);
        for (stage, status) in plan.stages.iter().zip(&status) {
            let gap = " ".repeat(width - stage.label.chars().count());
            let (word, reason) = words(status, &plan, &there);
            println!("{}", format!("  {word:4} {}{gap}  {reason}", stage.label).trim_end());
        }
        let hits = status.iter().filter(|status| matches!(status, Status::Hit { .. })).count();
        let stopped = status.iter().filter(|status| **status == Status::Stopped).count();
        let shown = if stopped > 0 { format!(", {stopped} stopped by a race") } else { String::new() };
        let pulled = if there.is_empty() { String::new() } else { format!("{} to pull, ", there.len()) };
        let left = status.len() - hits - stopped - there.len();
        println!("{} stages: {hits} in the store, {pulled}{left} to run{shown}", status.len());
        Exit::Ok
    }

    /// The keys of stages that a run would take from a remote.
    #[cfg(feature = "remote")]
    fn on_remote(&self, status: &[Status]) -> Result<BTreeSet<Digest>, Exit> {
        let Some(remote) = self.remote.open()? else { return Ok(BTreeSet::new()) };
        let missing = |one: &Status| if let Status::Run { key, .. } = one { Some(key.clone()) } else { None };
        Ok(remote::had(&remote, &status.iter().filter_map(missing).collect::<Vec<_>>()))
    }

    #[cfg(not(feature = "remote"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with remotes it asks one")]
    fn on_remote(&self, _: &[Status]) -> Result<BTreeSet<Digest>, Exit> {
        Ok(BTreeSet::new())
    }
}

impl Plan {
    /// Needs no store: what is computed already makes no difference.
    fn compare(&self, project: &Project, other: &Path) -> Exit {
        let other = FileArguments { file: other.to_path_buf(), set: self.file.set.clone() };
        let mut before = match project::open(&other, self.json) {
            Ok(before) => before,
            Err(exit) => return exit,
        };
        if let Err(exit) = before.choose(&self.pipelines) {
            return exit;
        }
        let (old, new) = [&before, project].map(|one| plan::Plan::new(&one.program, &self.store.device)).into();
        let differences = diff::between(
            diff::Side { source: &before.source, program: &before.program, plan: &old },
            diff::Side { source: &project.source, program: &project.program, plan: &new },
        );
        if self.json {
            println!("{}", json!(differences.iter().map(difference_row).collect::<Vec<_>>()));
        } else {
            differences.iter().for_each(|one| print!("{}", difference(one)));
            let count = |word| differences.iter().filter(|one| difference_word(one) == word).count();
            let counts = ["same", "changed", "new", "gone"].map(|word| format!("{} {word}", count(word)));
            println!("{} stages: {}", differences.len(), counts.join(", "));
        }
        Exit::Ok
    }
}

/// Prints how the plan of a file differs between two worlds: with the modules as they are locked, and as they would be.
pub(super) fn print_differences(
    arguments: &FileArguments,
    source: &Source,
    before: &dyn World,
    after: &dyn World,
) -> Result<(), Exit> {
    let check = |world: &dyn World| {
        lang::check(source, methods::registry(), world, &arguments.set).map_err(|found| {
            found.all.iter().for_each(|one| project::print(one, &found.source, false));
            Exit::WrongFile
        })
    };
    let (old, new) = (check(before)?, check(after)?);
    let plans = [&old, &new].map(|one| plan::Plan::new(&one.program, "cpu"));
    let differences = diff::between(
        diff::Side { source: &old.source, program: &old.program, plan: &plans[0] },
        diff::Side { source: &new.source, program: &new.program, plan: &plans[1] },
    );
    differences.iter().for_each(|one| print!("{}", difference(one)));
    Ok(())
}

fn difference_word(difference: &Difference) -> &'static str {
    match difference {
        Difference::Same { .. } => "same",
        Difference::Changed { .. } => "changed",
        Difference::New { .. } => "new",
        Difference::Gone { .. } => "gone",
    }
}

/// A line a stage, and one for each thing that changed.
fn difference(difference: &Difference) -> String {
    let word = difference_word(difference);
    match difference {
        Difference::Same { label } | Difference::New { label } | Difference::Gone { label } => {
            format!("  {word:7} {label}\n")
        }
        Difference::Changed { label, was, changes } => {
            let was = if was == label { String::new() } else { format!(", was {was}") };
            let mut text = format!("  {word:7} {label}{was}\n");
            for change in changes {
                let place = change.file.as_ref().or(change.place.as_ref());
                let place = place.map_or_else(String::new, |place| format!(" ({place})"));
                text += &format!("            {}{place}\n", change.what);
            }
            text
        }
    }
}

fn difference_row(difference: &Difference) -> serde_json::Value {
    let word = difference_word(difference);
    match difference {
        Difference::Same { label } | Difference::New { label } | Difference::Gone { label } => {
            json!({ "stage": label, "difference": word })
        }
        Difference::Changed { label, was, changes } => {
            json!({ "stage": label, "difference": word, "was": was, "changes": changes })
        }
    }
}

/// What a run would do with a stage, and why.
fn words(status: &Status, plan: &plan::Plan, there: &BTreeSet<Digest>) -> (&'static str, String) {
    match status {
        Status::Hit { .. } => ("hit", String::new()),
        Status::Run { key, .. } if there.contains(key) => ("pull", "the remote has it".into()),
        Status::Run { reason, .. } => ("run", reason.to_string()),
        Status::Stopped => ("-", "stopped by a race".to_owned()),
        Status::After { stage } => ("run", format!("after {}", plan.stages[*stage].label)),
    }
}

fn row(label: &str, status: &Status, plan: &plan::Plan, there: &BTreeSet<Digest>) -> serde_json::Value {
    let (word, reason) = words(status, plan, there);
    match status {
        Status::Hit { key, .. } => json!({ "stage": label, "status": word, "key": key }),
        Status::Run { key, .. } => json!({ "stage": label, "status": word, "key": key, "reason": reason }),
        Status::After { .. } | Status::Stopped => json!({ "stage": label, "status": word, "reason": reason }),
    }
}
