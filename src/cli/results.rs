//! What a run found: the comparison on each target's test split, and whether expectations hold.

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::lang::ir::{Measure, Node, Pipeline, Program};
use crate::lang::metric;
use crate::lang::signature::{Artifact, Kind};
use crate::plan::Plan;
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

/// The pipelines that were evaluated, by the labelled set they end on; each with its summary.
pub(super) fn by_target<'a>(
    program: &Program,
    summaries: &'a IndexMap<usize, &'a Json>,
) -> IndexMap<String, Vec<(usize, &'a Json)>> {
    let mut by_target: IndexMap<String, Vec<(usize, &Json)>> = IndexMap::new();
    for (index, pipeline) in program.pipelines.iter().enumerate() {
        let Some(summary) = summaries.get(&index).copied().filter(|summary| summary.get("metrics").is_some()) else {
            continue;
        };
        let Some(set) = target(program, &program.nodes[pipeline.output]) else { continue };
        by_target.entry(set.label.clone()).or_default().push((index, summary));
    }
    by_target
}

/// The metrics of a summary's task.
pub(super) fn metric_names(summary: &Json) -> &'static [&'static str] {
    match summary["task"]["task"].as_str() {
        Some("regression") => metric::REGRESSION,
        _ => metric::CLASSIFICATION,
    }
}

/// `pretrain -> 2 x finetune`.
pub(super) fn stages_in_words(program: &Program, pipeline: &Pipeline) -> String {
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
    stages.collect::<Vec<_>>().join(" -> ")
}

/// What was expected, and what was found.
pub(super) struct Measured {
    /// As written: `a.accuracy - b.accuracy`.
    pub shown: String,
    /// `None` where a pipeline was not evaluated.
    pub value: Option<f64>,
    pub relation: &'static str,
    pub bound: f64,
    pub holds: bool,
}

/// Looks at every expectation. `stopped`: whether a race stopped a stage of the plan.
pub(super) fn measured(
    program: &Program,
    plan: &Plan,
    summaries: &IndexMap<usize, &Json>,
    stopped: &dyn Fn(usize) -> bool,
) -> Vec<Measured> {
    let of = |measure: &Measure| {
        let scores =
            |pipeline| summaries.get(pipeline).and_then(|summary| Scores::new(summary).metric(&measure.metric));
        // A fold is over those that a race has left.
        let left = |pipeline: &&usize| {
            let stage = plan.stage_of(program.pipelines[**pipeline].output);
            measure.fold.is_none() || !stage.is_some_and(stopped)
        };
        let values: Option<Vec<f64>> = measure.pipelines.iter().filter(left).map(scores).collect();
        let values = values.filter(|values| !values.is_empty());
        values.map(|values| measure.fold.map_or(values[0], |fold| fold.of(&values)))
    };
    let measured = program.expectations.iter().map(|expectation| {
        let mut value = of(&expectation.measure);
        let mut shown = expectation.measure.shown.clone();
        if let Some(minus) = &expectation.minus {
            value = value.zip(of(minus)).map(|(left, right)| left - right);
            shown = format!("{shown} - {}", minus.shown);
        }
        let holds = value.is_some_and(|value| expectation.relation.holds(value, expectation.bound));
        Measured { shown, value, relation: expectation.relation.symbol(), bound: expectation.bound, holds }
    });
    measured.collect()
}

/// One table a labelled set: a row for each pipeline that ends on it, and the baseline.
pub(super) fn tables(program: &Program, summaries: &IndexMap<usize, &Json>) -> String {
    let sets = by_target(program, summaries);
    sets.into_iter().map(|(set, pipelines)| comparison(program, &set, &pipelines)).collect()
}

fn comparison(program: &Program, set: &str, pipelines: &[(usize, &Json)]) -> String {
    let first = pipelines[0].1;
    let names = metric_names(first);
    let split = Scores::new(first).split().unwrap_or("test");
    let mut header = vec!["", "stages"];
    header.extend(names);
    header.extend(["trained", "of"]);
    let mut rows = vec![];
    for (index, summary) in pipelines {
        let pipeline = &program.pipelines[*index];
        let scores = Scores::new(summary);
        let mut row = vec![pipeline.name.clone(), stages_in_words(program, pipeline)];
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
