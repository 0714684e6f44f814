//! The model card beside a published model: what it is, how it came to be, how good it is, on what. Markdown with the
//! front matter that the Hugging Face Hub reads. Nothing of the machine or of its user is in it.

use std::fmt::Write;

use serde_json::Value as Json;

use super::origin::Origin;
use super::text;
use crate::event::Notice;
use crate::lang::ir::{Fold, Form, Node, Program};
use crate::lang::metric;
use crate::lang::signature::{Artifact, Registry};
use crate::plan::{Plan, StageInput, reproduce};
use crate::store::Manifest;

/// What a card is written from.
pub struct Card<'a> {
    pub program: &'a Program,
    pub plan: &'a Plan,
    pub registry: &'a Registry,
    /// Index into [`Program::pipelines`].
    pub pipeline: usize,
    /// What is published.
    pub form: &'a Form,
    /// The result of each stage of the plan, as far as it is known.
    pub result: &'a dyn Fn(usize) -> Option<&'a Manifest>,
}

impl Card<'_> {
    /// The text of `README.md`; `None` when the pipeline's own result is not known.
    pub fn write(&self) -> Option<String> {
        let last = self.plan.stage_of(self.program.pipelines[self.pipeline].output)?;
        let result = (self.result)(last)?;
        let origin = Origin::of(self.sources(last).into_iter());
        let mut out = self.front_matter(&origin, &result.summary, last);
        let pipeline = &self.program.pipelines[self.pipeline];
        out += &format!("\n# {}\n\n", escaped(&pipeline.name));
        if let Some(docs) = &pipeline.docs {
            out += &format!("{}\n\n", escaped(docs));
        }
        out += &what(&origin, &result.summary);
        out += &metrics(&result.summary);
        out += &spread(&result.summary);
        out += &self.chain(last);
        out += &self.data(last);
        out += &self.notices(last);
        out += &self.versions(last, result);
        Some(out)
    }

    /// All stages that the result was made by, in the plan's order.
    fn stages(&self, last: usize) -> Vec<usize> {
        let (mut used, mut open) = (std::collections::BTreeSet::new(), vec![last]);
        while let Some(stage) = open.pop() {
            if used.insert(stage) {
                open.extend(self.plan.stages_before(stage));
            }
        }
        used.into_iter().collect()
    }

    /// The sources they read, each once.
    fn sources(&self, last: usize) -> Vec<&Node> {
        let stages = self.stages(last);
        let ids = stages.iter().flat_map(|stage| self.plan.stages[*stage].inputs.values());
        let mut seen = vec![];
        for id in ids {
            if let StageInput::Source(id) = id
                && !seen.contains(id)
            {
                seen.push(*id);
            }
        }
        seen.into_iter().map(|id| &self.program.nodes[id]).collect()
    }

    fn front_matter(&self, origin: &Origin, summary: &Json, last: usize) -> String {
        let library = match self.form {
            Form::Model => "transformers",
            Form::Adapter { library, .. } => library.name(),
        };
        let mut out = format!("---\nlibrary_name: {library}\n");
        let task = match summary["objective"].as_str() {
            Some("sequence") => Some("text-classification"),
            Some("masked_lm") => Some("fill-mask"),
            _ => None,
        };
        if let Some(task) = task {
            out += &format!("pipeline_tag: {task}\n");
        }
        out += &list("language", &origin.languages);
        if let Some(license) = &origin.license {
            out += &format!("license: {}\n", quoted(license));
        }
        out += &list("base_model", &origin.models);
        let sets = self.sources(last).into_iter().filter(|node| node.output != Artifact::Model);
        // The Hub refuses cards with other names than these.
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let sets: Vec<String> = sets.map(|node| node.label.clone()).filter(|name| plain(name)).collect();
        out += &list("datasets", &sets);
        out += "tags:\n- fine-tuned-with-ftp\n";
        out += &self.model_index(summary, last);
        out + "---\n"
    }

    /// The metrics, as the Hub's leader boards read them.
    fn model_index(&self, summary: &Json, last: usize) -> String {
        let Some(split) = split(summary) else { return String::new() };
        let task = self.sources(last).into_iter().rfind(|node| node.output == Artifact::Labelled);
        let set = task.map_or("target", |node| node.label.as_str());
        let name = &self.program.pipelines[self.pipeline].name;
        let mut out = format!(
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: text-classification\n    dataset:\n      \
             name: {}\n      type: {}\n      split: {split}\n    metrics:\n",
            quoted(name),
            quoted(set),
            quoted(set)
        );
        let mut any = false;
        for name in metric::CLASSIFICATION.iter().chain(metric::REGRESSION) {
            if let Some(value) = summary["metrics"][split][name].as_f64() {
                any = true;
                let hub = match *name {
                    "macro_f1" | "micro_f1" => "f1",
                    "matthews" => "matthews_correlation",
                    "pearson" => "pearsonr",
                    "spearman" => "spearmanr",
                    "mean_squared_error" => "mse",
                    name => name,
                };
                out += &format!("    - type: {hub}\n      name: {name}\n      value: {value:?}\n");
            }
        }
        if any { out } else { String::new() }
    }

    fn chain(&self, last: usize) -> String {
        let mut out = String::from(
            "## How it was trained\n\nParameters that are not listed have the defaults of this version.\n\n",
        );
        for (number, stage) in self.stages(last).into_iter().enumerate() {
            let node = self.plan.node(self.program, stage);
            writeln!(out, "{}. {}", number + 1, code(&self.plan.stages[stage].label)).expect("a string");
            let changed = |method: &str, parameters| -> Vec<String> {
                let signature = self.registry.get(method);
                let formal = |name: &str| signature.and_then(|signature| signature.parameter(name));
                reproduce::changed(parameters, &formal)
                    .map(|(name, value)| code(&format!("{name} = {value}")))
                    .collect()
            };
            let own = changed(&node.method, &node.parameters);
            if !own.is_empty() {
                writeln!(out, "   - {}", own.join(", ")).expect("a string");
            }
            for delta in &node.deltas {
                let own = changed(&delta.method, &delta.parameters);
                let more = if own.is_empty() { String::new() } else { format!(": {}", own.join(", ")) };
                writeln!(out, "   - trains {}{more}", code(&delta.method)).expect("a string");
            }
            match (self.result)(stage) {
                Some(result) => {
                    out += &figures(&result.summary);
                    writeln!(out, "   - key {}", code(&result.key)).expect("a string");
                }
                None => out += "   - stopped by a race\n",
            }
        }
        out + "\n"
    }

    fn data(&self, last: usize) -> String {
        let sources = self.sources(last);
        let mut out =
            String::from("## Data\n\n| name | file | split | rows | BLAKE3 |\n| --- | --- | --- | ---: | --- |\n");
        for node in sources {
            for file in node.source.iter().flat_map(|facts| &facts.files) {
                let name = file.shown.rsplit(['/', '\\']).next().unwrap_or_default();
                let rows = if file.rows > 0 { text::thousands(file.rows) } else { String::new() };
                let split = file.split.as_deref().unwrap_or("");
                let (label, name, digest) = (code(&node.label), code(name), code(&file.digest));
                writeln!(out, "| {label} | {name} | {split} | {rows} | {digest} |").expect("a string");
            }
        }
        out + "\n"
    }

    /// What was cut, dropped or guessed on the way.
    fn notices(&self, last: usize) -> String {
        let mut lines: Vec<String> = vec![];
        let mut add = |of: &str, notices: &[Notice]| {
            for notice in notices {
                let line = format!("- {}: {}\n", code(of), escaped(&without_places(&notice.message)));
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        };
        for node in self.sources(last) {
            add(&node.label, node.source.as_ref().map_or(&[], |facts| &facts.notices));
        }
        for stage in self.stages(last) {
            if let Some(result) = (self.result)(stage) {
                add(&self.plan.stages[stage].label, &result.record.notices);
            }
        }
        if lines.is_empty() { String::new() } else { format!("## Cut, dropped, guessed\n\n{}\n", lines.concat()) }
    }

    fn versions(&self, last: usize, result: &Manifest) -> String {
        let device = self.plan.device.split(':').next().unwrap_or_default();
        let mut engines: Vec<&str> = vec![];
        for result in self.stages(last).into_iter().filter_map(|stage| (self.result)(stage)) {
            if !engines.contains(&result.record.engine.as_str()) {
                engines.push(&result.record.engine);
            }
        }
        let exact = if device == "cpu" {
            "The same keys give the same weights, bit for bit, on the same kind of device and processor."
        } else {
            "On this kind of device, equal runs need not give equal bits."
        };
        format!(
            "## Reproducing it\n\n`reproduce.ftp` beside this card is the whole recipe, without modules and with every value \
             written out; its comments name the data by digest. `ftp run reproduce.ftp --help` lists where it looks for them.\n\n\
             - ftp {}\n- computed on {device}, in 32-bit floats\n- key {}\n- output {}\n\n{exact}\n",
            engines.join(", "),
            code(&result.key),
            code(&result.output),
        )
    }
}

/// What it is made from, what it answers with and how large it is.
fn what(origin: &Origin, summary: &Json) -> String {
    let mut facts = vec![];
    if !origin.models.is_empty() {
        let models: Vec<String> = origin.models.iter().map(|name| code(name)).collect();
        facts.push(format!("made from {}", models.join(", ")));
    }
    if let Some(labels) = summary["task"]["labels"].as_array() {
        let labels: Vec<String> = labels.iter().filter_map(Json::as_str).map(code).collect();
        facts.push(format!("answers with one of {} labels, in this order: {}", labels.len(), labels.join(", ")));
    } else if summary["task"]["task"] == "regression" {
        facts.push("answers with a number".to_owned());
    }
    if let (Some(trained), Some(total)) =
        (summary["parameters"]["trained"].as_u64(), summary["parameters"]["total"].as_u64())
    {
        let (trained, total) = (text::thousands(trained), text::thousands(total));
        facts.push(format!("{total} parameters, of which the last stage trained {trained}"));
    }
    if let (Some(zeros), Some(of)) = (summary["sparsity"]["zeros"].as_u64(), summary["sparsity"]["of"].as_u64()) {
        let share = 100.0 * zeros as f64 / of.max(1) as f64;
        facts.push(format!("{share:.1} % of the {} weights of the layers' maps are 0 (pruned)", text::thousands(of)));
    }
    facts.iter().map(|fact| format!("- {fact}\n")).collect::<String>() + "\n"
}

/// The split that counts: test where there is one, else dev.
fn split(summary: &Json) -> Option<&'static str> {
    ["test", "dev"].into_iter().find(|split| summary["metrics"].get(split).is_some())
}

fn metrics(summary: &Json) -> String {
    let Some(splits) = summary["metrics"].as_object().filter(|splits| !splits.is_empty()) else { return String::new() };
    let mut names: Vec<&String> = vec![];
    for (name, value) in splits.values().filter_map(Json::as_object).flatten() {
        if name != "rows" && value.is_number() && !names.contains(&name) {
            names.push(name);
        }
    }
    let cell = |value: &Json| value.as_f64().map_or("-".into(), text::metric);
    let header: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    let mut out = format!("## Results\n\n| split | rows | {} |\n", header.join(" | "));
    out += &format!("| --- | ---: |{}\n", " ---: |".repeat(names.len()));
    for (split, scores) in splits {
        let rows = scores["rows"].as_u64().map_or("-".into(), text::thousands);
        let cells: Vec<String> = names.iter().map(|name| cell(&scores[name.as_str()])).collect();
        writeln!(out, "| {} | {rows} | {} |", escaped(split), cells.join(" | ")).expect("a string");
    }
    if let Some(baseline) = summary.get("baseline").filter(|baseline| baseline.is_object()) {
        let cells: Vec<String> = names.iter().map(|name| cell(&baseline["metrics"][name.as_str()])).collect();
        let name = baseline["name"].as_str().unwrap_or("baseline");
        writeln!(out, "| {} | | {} |", escaped(name), cells.join(" | ")).expect("a string");
    }
    out + "\n"
}

/// Of a model that was chosen from several: how far these lay apart.
fn spread(summary: &Json) -> String {
    let mut out = String::new();
    if let Some(values) = summary["selected"]["of"].as_array() {
        let values: Vec<f64> = values.iter().filter_map(Json::as_f64).collect();
        let by = code(summary["selected"]["by"].as_str().unwrap_or("?"));
        if !values.is_empty() {
            let [mean, std, min, max] =
                [Fold::Mean, Fold::Std, Fold::Min, Fold::Max].map(|fold| text::metric(fold.of(&values)));
            out += &format!(
                "It is the best of {} models by {by} on the dev split, where they reached {mean} ± {std} (lowest {min}, \
                 highest {max}); the chosen one's own figures are therefore optimistic on dev.\n\n",
                values.len()
            );
        }
    }
    if let Some(count) = summary["averaged"].as_u64() {
        out += &format!("Its weights are the mean of {count} models'.\n\n");
    }
    out
}

/// How long a stage trained and on how much.
fn figures(summary: &Json) -> String {
    let mut facts = vec![];
    for (name, what) in
        [("rows", "rows"), ("documents", "documents"), ("blocks", "blocks"), ("tokens", "tokens"), ("steps", "steps")]
    {
        if let Some(count) = summary[name].as_u64() {
            facts.push(format!("{} {what}", text::thousands(count)));
        }
    }
    if let Some(epoch) = summary["best_epoch"].as_f64() {
        facts.push(format!("kept after epoch {epoch:.1}"));
    }
    if facts.is_empty() { String::new() } else { format!("   - {}\n", facts.join(", ")) }
}

/// A list of the front matter; nothing for an empty one.
fn list(name: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    format!("{name}:\n{}", items.iter().map(|item| format!("- {}\n", quoted(item))).collect::<String>())
}

/// A string of YAML: every string of JSON is one.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// Text as Markdown shows it, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()) {
        match c {
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as code, also inside of a table.
fn code(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.replace('|', "\\|");
    // A longer fence than any inside, and room between.
    let longest = plain.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    match longest {
        0 => format!("`{plain}`"),
        longest => {
            let fence = "`".repeat(longest + 1);
            format!("{fence} {plain} {fence}")
        }
    }
}

/// A message without the directories of this machine: of an absolute path, only the last part is left.
pub fn without_places(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    let breaks = |c: char| c.is_whitespace() || "\"'`()[],;".contains(c);
    while let Some(start) = rest.char_indices().find(|(_, c)| !breaks(*c)).map(|(at, _)| at) {
        let (between, from) = rest.split_at(start);
        let end = from.find(breaks).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out += between;
        let path = word.strip_prefix("file://").unwrap_or(word);
        out += if path.starts_with('/') && path.matches('/').count() > 1 {
            path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
        } else {
            word
        };
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_the_directories_of_the_machine_and_nothing_else() {
        for (message, wanted) in [
            ("12 of 30 texts / rows were cut", "12 of 30 texts / rows were cut"),
            ("/home/me/data/x.jsonl:17 is empty", "x.jsonl:17 is empty"),
            ("`/srv/models/minilm/` holds (\"/srv/a b\")", "`minilm` holds (\"a b\")"),
            ("data/x.jsonl and file:///srv/x", "data/x.jsonl and x"),
        ] {
            assert_eq!(without_places(message), wanted);
        }
    }

    #[test]
    fn names_can_not_break_out_of_code_or_tables() {
        assert_eq!(code("a`b``c|d\ne"), "``` a`b``c\\|d e ```");
        assert_eq!(escaped("<b> [x](y) | *z*\n# h"), "&lt;b> \\[x\\](y) \\| \\*z\\* \\# h");
        assert_eq!(quoted("a: \"b\"\n"), "\"a: \\\"b\\\"\\n\"");
    }
}
