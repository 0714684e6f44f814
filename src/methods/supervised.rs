//! What `intermediate` and `finetune` share: a sequence head trained on labels.

use std::sync::Arc;

use serde_json::json;

use super::bundle::{choose_trainable, hand_over, report_loading, trained_share};
use super::freeze;
use super::stability;
use super::stage::{Stage, UNLABELLED};
use crate::data::set::{LabelledSet, Target};
use crate::data::tokenizer::Encoded;
use crate::event::{Event, Notice};
use crate::hub::tensors::Tensors;
use crate::lang::world::Task;
use crate::nn::models::{self, Head};
use crate::plan::spec::{Outcome, StageFailure};
use crate::train::{self, Prediction, Rows, Scores, SequenceTask, Settings, States};

/// Trains the incoming model on the labelled set of `slot` and reports on its splits.
pub(super) fn fine_tune(stage: &Stage, slot: &str) -> Result<Outcome, StageFailure> {
    let mut notices = vec![];
    let mut settings = Settings::from_parameters(&stage.spec.parameters)?;
    let device = train::open(&stage.spec.device)?;
    let (set, set_name) = stage.labelled(slot)?;
    let unlabelled = unlabelled(stage, &set)?;
    let mut bundle = stage.model()?;
    let old = models::drop_head(&mut bundle.tensors);
    if !old.is_empty() {
        let message = format!("the old head ({}) was dropped; {set_name} brings its own", old.join(", "));
        stage.notice(&mut notices, Notice::new("ftp::model::head_dropped", message));
    }
    stability::remove_top(&mut bundle, stage.optional_int("remove_layers").unwrap_or(0) as usize)?;
    let head = Head::Sequence(set.task.clone());
    let (mut model, mut report) = bundle.model(&head, settings.seed, &device)?;
    // The model has them now.
    bundle.tensors = Tensors::new();
    model.precision = settings.precision;
    let again = stage.optional_int("reinit_layers").unwrap_or(0) as usize;
    report.missing.extend(stability::draw_top_again(&mut model, again, settings.seed)?);
    report_loading(stage, &mut notices, &report);
    choose_trainable(&bundle, &mut model, &report.missing, settings.seed)?;
    for delta in &bundle.deltas {
        settings = settings.with_delta(&delta.method, &delta.parameters);
    }
    let frozen = bundle.deltas.iter().filter_map(freeze::layers).max();
    stability::check_fixed(&model, model.fixed().max(frozen), again)?;
    if !bundle.deltas.is_empty() {
        stage.share_weights(&mut model)?;
    }

    let limit = (stage.int("max_length") as usize).min(model.max_tokens());
    let mut split = |name: &str| -> Result<Option<Split>, StageFailure> {
        let Some(examples) = set.splits.get(name) else { return Ok(None) };
        let (texts, besides) = match name {
            "train" if !unlabelled.is_empty() => (&unlabelled[..], " and the unlabelled text"),
            _ => (&[][..], ""),
        };
        stage.activity(format!("tokenising {} rows of {name}", examples.len() + texts.len()));
        let encoded = stage.tokenised(slot, name, &set, texts, &bundle.tokenizer, limit)?;
        for notice in encoded.notices(&format!("the {name} split of {set_name}{besides}"), limit) {
            stage.notice(&mut notices, notice);
        }
        let targets = examples.iter().map(|example| example.target).collect();
        let states = match model.fixed() {
            None => None,
            Some(layers) => {
                stage.activity(format!("computing what the {layers} fixed layers make of {name}, once"));
                Some(stage.states(slot, name, &model, &encoded.encodings, limit)?)
            }
        };
        Ok(Some(Split { encoded, targets, states }))
    };
    let (train_split, dev, test) = (split("train")?.unwrap_or_default(), split("dev")?, split("test")?);

    let objective = SequenceTask { task: set.task.clone() };
    let dev_rows = dev.as_ref().map(Split::rows);
    let fitted =
        stage.train(|around| train::fit(&mut model, &objective, train_split.rows(), dev_rows, &settings, around))?;

    let mut metrics = serde_json::Map::new();
    let mut baseline = serde_json::Value::Null;
    if let (Some(dev), Some(scores)) = (&dev, &fitted.dev) {
        metrics.insert("dev".into(), scores_json(scores, dev.targets.len()));
    }
    if let Some(test) = &test {
        stage.activity("evaluating on the test split");
        let evaluation = train::evaluate(&model, &objective, test.rows(), settings.seed)?;
        let confusion = train::confusion(&set.task, &evaluation.predictions, &test.targets);
        let scores = evaluation.scores;
        (stage.sink)(Event::Evaluated {
            stage: stage.spec.label.clone(),
            split: "test".into(),
            epoch: fitted.best_epoch,
            loss: scores.loss,
            metrics: scores.metrics.clone(),
            confusion,
        });
        metrics.insert("test".into(), scores_json(&scores, test.targets.len()));
        baseline = baseline_json(&set.task, &train_split.targets, &test.targets);
    }
    let mut summary = json!({
        "objective": "sequence",
        "task": set.task,
        "rows": train_split.targets.len(),
        "steps": fitted.steps,
        "best_epoch": fitted.best_epoch,
        "loss": fitted.train_loss,
        "metrics": metrics,
        "baseline": baseline,
        "parameters": trained_share(&model),
    });
    if !unlabelled.is_empty() {
        summary["unlabelled_rows"] = json!(unlabelled.len());
    }
    hand_over(stage, bundle, &model, summary, notices)
}

/// The texts to learn from besides the set; none where the stage was given none.
fn unlabelled(stage: &Stage, set: &LabelledSet) -> Result<Vec<String>, StageFailure> {
    if !stage.has(UNLABELLED) {
        return Ok(vec![]);
    }
    if set.splits.values().flatten().any(|example| example.pair.is_some()) {
        let message = "the set's rows are pairs of texts, and the rows of `unlabelled` are single ones";
        return Err(StageFailure::new("ftp::finetune::unlabelled_pairs", message)
            .help("leave `unlabelled` out: `regularizer = temporal` and `pi` also learn from the set's own rows"));
    }
    stage.text(UNLABELLED)
}

/// One split, tokenised: rows without labels behind those with.
#[derive(Default)]
struct Split {
    encoded: Arc<Encoded>,
    targets: Vec<Target>,
    states: Option<Arc<States>>,
}

impl Split {
    fn rows(&self) -> Rows<'_> {
        let unlabelled = self.encoded.encodings.len() - self.targets.len();
        let rows = Rows::labelled(&self.encoded.encodings, &self.targets).with_unlabelled(unlabelled);
        rows.with_states(self.states.as_deref())
    }
}

/// `{"rows": 974, "loss": 1.2, "accuracy": 0.6, ...}`.
pub(super) fn scores_json(scores: &Scores, rows: usize) -> serde_json::Value {
    let mut object = metrics_json(&scores.metrics);
    object["rows"] = json!(rows);
    object["loss"] = json!(scores.loss);
    object
}

fn metrics_json(metrics: &[(String, f64)]) -> serde_json::Value {
    serde_json::Value::Object(metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

/// What always giving the same answer would score: the most frequent training label, or the mean score.
pub(super) fn baseline_json(task: &Task, train_split: &[Target], test: &[Target]) -> serde_json::Value {
    let baseline = train::baseline(task, train_split, test);
    let name = match (task, &baseline.answer) {
        (Task::Classification { labels }, Prediction::Class { class, .. }) => {
            format!("majority class ({})", labels[*class as usize])
        }
        _ => "mean score".to_owned(),
    };
    json!({ "name": name, "metrics": metrics_json(&baseline.metrics) })
}
