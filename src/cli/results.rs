//! What a run found: the comparison on each target's test split, and whether expectations hold.

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::lang::ir::{Node, Program};
use crate::lang::metric;
use crate::lang::signature::{Artifact, Kind};
use crate::report::{table, text};

/// The metrics of one pipeline's last reporting stage.
pub(super) struct Scores<'a> {
    summary: &'a Json,
}

impl<'a> Scores<'a> {
    pub fn new(summary: &'a Json) -> Self {
        Self { summary }
    }

    /// The split that counts: test where there is one, else dev.
    pub fn split(&self) -> Option<&'static str> {
        ["test", "dev"].into_iter().find(|split| self.summary["metrics"].get(split).is_some())
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        self.summary["metrics"][self.split()?][name].as_f64()
    }
}

/// The labelled set a stage trains on, as a node of the program.
fn target<'p>(program: &'p Program, stage: &Node) -> Option<&'p Node> {
    let inputs = || stage.inputs.values().map(|id| &program.nodes[*id]);
    let set = inputs().find(|node| node.kind == Kind::Source && node.output == Artifact::Labelled);
    // What is made of models that were trained already is compared where they are.
    set.or_else(|| inputs().filter(|node| node.kind == Kind::Stage).find_map(|node| target(program, node)))
}

/// One table a labelled set: a row for each pipeline that ends on it, and the baseline.
pub(super) fn tables(program: &Program, summaries: &IndexMap<usize, &Json>) -> String {
    let mut by_target: IndexMap<String, Vec<(usize, &Json)>> = IndexMap::new();
    for (index, pipeline) in program.pipelines.iter().enumerate() {
        let Some(summary) = summaries.get(&index).copied().filter(|summary| summary.get("metrics").is_some()) else {
            continue;
        };
        let Some(set) = target(program, &program.nodes[pipeline.output]) else { continue };
        by_target.entry(set.label.clone()).or_default().push((index, summary));
    }
    let mut text = String::new();
    for (set, pipelines) in by_target {
        text += &comparison(program, &set, &pipelines);
    }
    text
}

fn comparison(program: &Program, set: &str, pipelines: &[(usize, &Json)]) -> String {
    let first = pipelines[0].1;
    let names = match first["task"]["task"].as_str() {
        Some("regression") => metric::REGRESSION,
        _ => metric::CLASSIFICATION,
    };
    let split = Scores::new(first).split().unwrap_or("test");
    let mut header = vec!["", "stages"];
    header.extend(names);
    header.extend(["trained", "of"]);
    let mut rows = vec![];
    for (index, summary) in pipelines {
        let pipeline = &program.pipelines[*index];
        let mut stages: Vec<(&str, usize)> = vec![];
        for id in &pipeline.stages {
            let method = program.nodes[*id].method.as_str();
            match stages.last_mut() {
                Some((last, times)) if *last == method => *times += 1,
                _ => stages.push((method, 1)),
            }
        }
        let stages = stages.into_iter().map(|(method, times)| match times {
            1 => method.to_owned(),
            times => format!("{times} x {method}"),
        });
        let stages: Vec<String> = stages.collect();
        let scores = Scores::new(summary);
        let mut row = vec![pipeline.name.clone(), stages.join(" -> ")];
        row.extend(names.iter().map(|name| scores.metric(name).map_or("-".into(), text::metric)));
        row.extend(
            ["trained", "total"].map(|count| summary["parameters"][count].as_u64().map_or("-".into(), text::thousands)),
        );
        rows.push(row);
    }
    if let Some(baseline) = first.get("baseline").filter(|baseline| baseline.is_object()) {
        let mut row = vec![baseline["name"].as_str().unwrap_or("baseline").to_owned(), String::new()];
        row.extend(names.iter().map(|name| baseline["metrics"][*name].as_f64().map_or("-".into(), text::metric)));
        row.extend(["0".into(), "0".into()]);
        rows.push(row);
    }
    format!("\n{set}, {split} split ({} rows)\n{}", row_count(first, split), table::render(&header, &rows))
}

fn row_count(summary: &Json, split: &str) -> String {
    summary["metrics"][split]["rows"].as_u64().map_or("?".into(), text::thousands)
}
