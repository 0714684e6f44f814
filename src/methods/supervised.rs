//! What `intermediate` and `finetune` share: a sequence head trained on labels.

use serde_json::json;

use super::bundle::{choose_trainable, hand_over, trained_share};
use super::stage::Stage;
use crate::data::set::Example;
use crate::event::{Event, Notice};
use crate::nn::models::{Head, Model};
use crate::plan::spec::{Outcome, StageFailure};
use crate::train::{self, Objective, Row, Settings};

/// Trains the incoming model on the labelled set of `slot` and reports on its splits.
pub(super) fn fine_tune(stage: &Stage, slot: &str) -> Result<Outcome, StageFailure> {
    let mut notices = vec![];
    let settings = Settings::from_parameters(&stage.spec.parameters)?;
    let device = train::device(&stage.spec.device)?;
    let (set, name) = stage.labelled(slot)?;
    let mut bundle = stage.model()?;
    if let Some(dropped) = crate::nn::models::replace_head(&bundle.config, &mut bundle.tensors, &set.task) {
        stage.notice(&mut notices, Notice::new("ftp::model::head_dropped", format!("{dropped}; {name} brings its own")));
    }
    let head = Head::Sequence(set.task.clone());
    let (mut model, report) = Model::new(&bundle.config, &bundle.tensors, &head, settings.seed, &device)?;
    for notice in report.notices() {
        stage.notice(&mut notices, notice);
    }
    choose_trainable(&bundle, &mut model, &report.missing)?;

    let limit = (stage.int("max_length") as usize).min(model.max_tokens());
    let mut rows_of = |split: &str| -> Result<Option<Vec<Row>>, StageFailure> {
        let Some(examples) = set.splits.get(split) else { return Ok(None) };
        stage.activity(format!("tokenising {} rows of {split}", examples.len()));
        let (encodings, cut) = bundle.tokenizer.encode_all(examples.iter().map(Example::texts), limit)?;
        if cut > 0 {
            let message = format!("{cut} of {} rows of {name}'s {split} split are longer than {limit} tokens and were cut", examples.len());
            stage.notice(&mut notices, Notice::new("ftp::data::truncated", message));
        }
        Ok(Some(encodings.into_iter().zip(examples).map(|(encoding, example)| Row { encoding, target: example.target }).collect()))
    };
    let train_rows = rows_of("train")?.unwrap_or_default();
    let dev_rows = rows_of("dev")?;
    let test_rows = rows_of("test")?;

    let objective = Objective::sequence(&set.task);
    let fitted = train::fit(&mut model, &objective, &train_rows, dev_rows.as_deref(), &settings, &stage.spec.label, stage.sink)?;
    let mut metrics = serde_json::Map::new();
    if let Some(dev) = &fitted.dev {
        metrics.insert("dev".into(), dev.to_json());
    }
    let mut baseline = serde_json::Value::Null;
    if let Some(test_rows) = &test_rows {
        stage.activity("evaluating on the test split");
        let evaluation = train::evaluate(&model, &objective, test_rows)?;
        (stage.sink)(Event::Evaluated {
            stage: stage.spec.label.clone(),
            split: "test".into(),
            epoch: fitted.epochs,
            loss: evaluation.loss,
            metrics: evaluation.metrics.clone(),
        });
        metrics.insert("test".into(), evaluation.to_json());
        baseline = train::baseline(&set.task, &train_rows, test_rows).to_json();
    }
    let summary = json!({
        "objective": "sequence",
        "task": set.task,
        "rows": train_rows.len(),
        "steps": fitted.steps,
        "best_epoch": fitted.best_epoch,
        "loss": fitted.train_loss,
        "metrics": metrics,
        "baseline": baseline,
        "parameters": trained_share(&model),
    });
    hand_over(stage, bundle, &model, summary, notices)
}
