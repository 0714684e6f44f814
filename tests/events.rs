//! `docs/events.schema.json` describes the events there are.

use ftp::event::{Event, Notice};
use serde_json::{Value, json};

#[cfg(feature = "train")]
mod project;

fn text(text: &str) -> String {
    text.to_owned()
}

/// One event of each kind. A new kind does not compile here until it has its place below.
fn all() -> Vec<Event> {
    let stage = || text("finetune(target)");
    let events = vec![
        Event::RunStarted { file: text("p.ftp"), stages: 3, store: text("/store") },
        Event::StageHit { stage: stage(), key: text("k") },
        Event::StageStarted { stage: stage(), key: text("k"), reason: text("new") },
        Event::StageWaiting { stage: stage(), key: text("k"), holder: text("host") },
        Event::Progress {
            stage: stage(),
            epoch: 0.5,
            epochs: 3.0,
            step: 1,
            steps: 6,
            loss: f64::NAN,
            learning_rate: 1e-3,
            tokens_per_second: f64::INFINITY,
            eta_seconds: 1.0,
        },
        Event::Activity { stage: stage(), doing: text("saving") },
        Event::Evaluated {
            stage: stage(),
            split: text("dev"),
            epoch: 1.0,
            loss: 0.5,
            metrics: vec![(text("accuracy"), f64::NAN)],
            confusion: Some(vec![vec![3, 1], vec![0, 4]]),
        },
        Event::Notice { stage: stage(), notice: Notice::new("ftp::a::b", "cut") },
        Event::StageStopped { stage: stage() },
        Event::StageFinished { stage: stage(), key: text("k"), output: text("o"), seconds: 1.0 },
        Event::StageFailed {
            stage: stage(),
            code: text("ftp::a::b"),
            message: text("no"),
            help: None,
            kept: text("all"),
        },
        Event::StageRetried { stage: stage(), code: text("ftp::a::b"), message: text("no"), attempt: 2, seconds: 1.0 },
        Event::Published { pipeline: text("p"), directory: text("out") },
        Event::Expectation {
            measure: text("p.accuracy"),
            value: f64::NAN,
            relation: text(">="),
            bound: 0.5,
            holds: false,
        },
        Event::RunFinished { ran: 1, hits: 2, failed: 0, skipped: 0, seconds: 1.0 },
    ];
    for event in &events {
        match event {
            Event::RunStarted { .. }
            | Event::StageHit { .. }
            | Event::StageStarted { .. }
            | Event::StageWaiting { .. }
            | Event::Progress { .. }
            | Event::Activity { .. }
            | Event::Evaluated { .. }
            | Event::Notice { .. }
            | Event::StageStopped { .. }
            | Event::StageFinished { .. }
            | Event::StageFailed { .. }
            | Event::StageRetried { .. }
            | Event::Published { .. }
            | Event::Expectation { .. }
            | Event::RunFinished { .. } => {}
        }
    }
    events
}

/// Whether a value is of the type, or one of the types, that a schema asks for.
fn is_of(value: &Value, schema: &Value) -> bool {
    if let Some(constant) = schema.get("const") {
        return value == constant;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("no type: {other}"),
    };
    types.iter().any(|name| match *name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => is_described(value, schema),
        other => panic!("this test does not know the type {other}"),
    })
}

/// Exactly the properties there are, each of its type.
fn is_described(value: &Value, schema: &Value) -> bool {
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else { return false };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    fields.iter().all(|(name, value)| properties.get(name).is_some_and(|schema| is_of(value, schema)))
        && required.len() == properties.len()
        && required.iter().all(|name| fields.contains_key(*name))
}

#[test]
fn the_schema_describes_every_kind_of_event_and_no_other() {
    let schema: Value = serde_json::from_str(include_str!("../docs/events.schema.json")).expect("JSON");
    let kinds = schema["oneOf"].as_array().expect("a list");
    let events = all();
    assert_eq!(kinds.len(), events.len());
    for event in &events {
        let value = json!(event);
        let fitting: Vec<&Value> = kinds.iter().filter(|kind| is_described(&value, kind)).collect();
        assert_eq!(fitting.len(), 1, "{value} is described by {fitting:?}");
        assert_eq!(fitting[0]["title"], value["event"]);
    }
}

#[test]
fn what_is_not_a_number_is_null_and_an_event_with_it_is_read_again() {
    for event in all() {
        let line = serde_json::to_string(&event).expect("JSON");
        let read: Event = serde_json::from_str(&line).expect("it is read again");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), line);
    }
}

#[cfg(feature = "train")]
#[test]
fn every_line_of_a_run_is_of_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../docs/events.schema.json")).expect("JSON");
    let kinds = schema["oneOf"].as_array().expect("a list");
    let directory = project::project();
    let root = directory.path();
    let pipelines =
        "pipeline small = base -> finetune(target)\npublish small to \"out\"\nexpect small.accuracy > 0.99\n";
    project::write(root, pipelines);
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    // Once with everything to do, and once with nothing.
    for _ in 0..2 {
        let output = project::call(root, &["run", "p.ftp", "--json"]);
        for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(kinds.iter().filter(|kind| is_described(&event, kind)).count(), 1, "{line}");
            *seen.entry(event["event"].as_str().expect("a kind").to_owned()).or_default() += 1;
        }
    }
    println!("every line of two runs is of the schema: {seen:?}");
    for kind in [
        "run_started",
        "stage_hit",
        "stage_started",
        "progress",
        "evaluated",
        "published",
        "expectation",
        "run_finished",
    ] {
        assert!(seen.contains_key(kind), "no {kind}: {seen:?}");
    }
}
