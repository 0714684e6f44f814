//! `ftp plan`.

use clap::Args;
use serde_json::json;

use super::{Exit, FileArguments, StoreArguments, project};
use crate::exec::{self, Status};
use crate::plan;

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
        let store = match self.store.open() {
            Ok(store) => store,
            Err(exit) => return exit,
        };
        let plan = plan::Plan::new(&project.program, &self.store.device);
        let status = exec::status(&plan, &project.program, &project.source, &store);
        if self.json {
            let rows: Vec<_> =
                plan.stages.iter().zip(&status).map(|(stage, status)| row(&stage.label, status, &plan)).collect();
            println!("{}", json!(rows));
            return Exit::Ok;
        }
        let width = plan.stages.iter().map(|stage| stage.label.chars().count()).max().unwrap_or(0);
        for (stage, status) in plan.stages.iter().zip(&status) {
            let gap = " ".repeat(width - stage.label.chars().count());
            let (word, reason) = words(status, &plan);
            println!("{}", format!("  {word:4} {}{gap}  {reason}", stage.label).trim_end());
        }
        let hits = status.iter().filter(|status| matches!(status, Status::Hit { .. })).count();
        println!("{} stages: {hits} in the store, {} to run", status.len(), status.len() - hits);
        Exit::Ok
    }
}

/// What a run would do with a stage, and why.
fn words(status: &Status, plan: &plan::Plan) -> (&'static str, String) {
    match status {
        Status::Hit { .. } => ("hit", String::new()),
        Status::Run { reason, .. } => ("run", reason.to_string()),
        Status::After { stage } => ("run", format!("after {}", plan.stages[*stage].label)),
    }
}

fn row(label: &str, status: &Status, plan: &plan::Plan) -> serde_json::Value {
    let (word, reason) = words(status, plan);
    match status {
        Status::Hit { key, .. } => json!({ "stage": label, "status": word, "key": key }),
        Status::Run { key, .. } => json!({ "stage": label, "status": word, "key": key, "reason": reason }),
        Status::After { .. } => json!({ "stage": label, "status": word, "reason": reason }),
    }
}
