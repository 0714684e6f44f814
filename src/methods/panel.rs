//! What several models together, or one that was made of several, make of a labelled set.

use std::borrow::Borrow;

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::stage::Stage;
use super::supervised::{baseline_json, scores_json};
use crate::data::set::{Example, Target};
use crate::data::tokenizer::Input;
use crate::event::{Event, Notice};
use crate::lang::world::Task;
use crate::nn::models::Head;
use crate::plan::spec::StageFailure;
use crate::train::{self, Prediction, Scores, metrics, prediction};

/// Sums of the models' logits on a split, a row each.
type Sums = Vec<Vec<f64>>;

/// Evaluates the mean of the models' logits on the splits of the set `target`, where there is one. The models are opened
/// one after the other.
pub(super) fn report<B: Borrow<Bundle>>(
    stage: &Stage,
    notices: &mut Vec<Notice>,
    models: impl Iterator<Item = Result<B, StageFailure>>,
) -> Result<Value, StageFailure> {
    if !stage.has("target") {
        let message = "evaluated on nothing: the models learnt different sets, and no `target` is given";
        stage.notice(notices, Notice::new("ftp::ensemble::not_evaluated", message));
        return Ok(json!({}));
    }
    let (set, set_name) = stage.labelled("target")?;
    let held_out: Vec<(&str, &[Example])> =
        ["dev", "test"].into_iter().filter_map(|name| Some((name, set.splits.get(name)?.as_slice()))).collect();
    let device = train::open(&stage.spec.device)?;
    let mut sums: Vec<Sums> = vec![vec![]; held_out.len()];
    let (mut count, mut parameters) = (0u32, 0usize);
    for bundle in models {
        let bundle = bundle?;
        let bundle: &Bundle = bundle.borrow();
        count += 1;
        let head = head(bundle, &set.task, count)?;
        let (model, _) = bundle.model(&head, 0, &device)?;
        parameters += model.count();
        let limit = (stage.int("max_length") as usize).min(model.max_tokens());
        for ((name, examples), sums) in held_out.iter().zip(&mut sums) {
            stage.activity(format!("evaluating on {name}"));
            let inputs: Vec<Input> = examples.iter().map(Input::from).collect();
            let encoded = bundle.tokenizer.encode_all(&inputs, limit)?;
            for notice in encoded.notices(&format!("the {name} split of {set_name}"), limit) {
                if !notices.contains(&notice) {
                    stage.notice(notices, notice);
                }
            }
            add(sums, &prediction::logits(&model, &encoded.encodings)?);
        }
    }
    let mut metrics = serde_json::Map::new();
    for ((name, examples), sums) in held_out.iter().zip(sums) {
        let targets: Vec<Target> = examples.iter().map(|example| example.target).collect();
        let (scores, confusion) = scores(&set.task, &sums, f64::from(count), &targets);
        (stage.sink)(Event::Evaluated {
            stage: stage.spec.label.clone(),
            split: (*name).to_owned(),
            epoch: 0.0,
            loss: scores.loss,
            metrics: scores.metrics.clone(),
            confusion,
        });
        metrics.insert((*name).to_owned(), scores_json(&scores, targets.len()));
    }
    let targets = |split: &str| -> Vec<Target> {
        set.splits.get(split).into_iter().flatten().map(|example| example.target).collect()
    };
    let baseline = match set.splits.contains_key("test") {
        true => baseline_json(&set.task, &targets("train"), &targets("test")),
        false => Value::Null,
    };
    Ok(json!({
        "objective": "sequence",
        "task": set.task,
        "metrics": metrics,
        "baseline": baseline,
        "parameters": { "trained": 0, "total": parameters },
    }))
}

/// The model's head, which must be one for the set's task.
fn head(bundle: &Bundle, task: &Task, number: u32) -> Result<Head, StageFailure> {
    let head = Head::from_config(&bundle.config);
    let fits = match (&head, task) {
        (Some(Head::Sequence(Task::Classification { labels })), Task::Classification { labels: wanted }) => {
            labels == wanted
        }
        (Some(Head::Sequence(Task::Regression)), Task::Regression) => true,
        _ => false,
    };
    head.filter(|_| fits).ok_or_else(|| {
        StageFailure::new(
            "ftp::ensemble::different_tasks",
            format!("model {number} of the list was not trained for this set's labels"),
        )
        .help("put models of one task together, and report on a set of that task")
    })
}

fn add(sums: &mut Sums, logits: &[Vec<f32>]) {
    if sums.is_empty() {
        *sums = logits.iter().map(|row| vec![0.0; row.len()]).collect();
    }
    for (sum, row) in sums.iter_mut().zip(logits) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
}

/// Of the mean answers, and how often each label was taken for each.
fn scores(task: &Task, sums: &Sums, count: f64, targets: &[Target]) -> (Scores, Option<Vec<Vec<u64>>>) {
    let mean: Vec<Vec<f32>> = sums.iter().map(|row| row.iter().map(|sum| (sum / count) as f32).collect()).collect();
    let predictions = prediction::answers(task, &mean);
    let losses = predictions.iter().zip(targets).map(|(prediction, target)| match (prediction, target) {
        (Prediction::Class { probabilities, .. }, Target::Class(class)) => {
            -f64::from(probabilities[*class as usize].max(f32::MIN_POSITIVE)).ln()
        }
        (Prediction::Score(score), Target::Score(target)) => f64::from(score - target).powi(2),
        _ => f64::NAN,
    });
    let loss = losses.sum::<f64>() / targets.len().max(1) as f64;
    let scores = Scores { loss, metrics: metrics::compute(task, &predictions, targets) };
    (scores, metrics::confusion(task, &predictions, targets))
}
