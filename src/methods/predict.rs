//! Labelling texts with a finished model.

use serde_json::json;

use super::bundle::Bundle;
use crate::data::tokenizer::{Input, Tokenizer};
use crate::lang::world::Task;
use crate::nn::models::{Head, Model};
use crate::plan::spec::StageFailure;
use crate::train;

/// A model ready to label texts.
pub struct Predictor {
    model: Model,
    tokenizer: Tokenizer,
    task: Task,
    max_length: usize,
}

/// What the model says of one text.
pub enum Answer {
    /// The likeliest label, and every label with its probability in the order of class ids.
    Label {
        label: String,
        probabilities: Vec<(String, f32)>,
    },
    Score(f32),
}

impl Predictor {
    /// # Errors
    /// When the model has no sequence head: a directory that holds only an encoder can't label anything.
    pub fn new(bundle: Bundle, max_length: usize, device: &str) -> Result<Self, StageFailure> {
        let Some(Head::Sequence(task)) = Head::from_config(&bundle.config) else {
            return Err(StageFailure::new(
                "ftp::predict::no_head",
                "the model's config.json describes no classification head",
            )
            .help("give the result of a `finetune(..)`, or a directory that `publish` wrote after one"));
        };
        let device = train::open(device)?;
        let (model, report) = bundle.model(&Head::Sequence(task.clone()), 0, &device)?;
        if let Some(missing) = report.missing.first() {
            return Err(StageFailure::new("ftp::predict::no_head", format!("the model's weights lack `{missing}`"))
                .help("give a directory that `publish` wrote after a `finetune(..)`"));
        }
        let max_length = max_length.min(model.max_tokens());
        Ok(Self { model, tokenizer: bundle.tokenizer, task, max_length })
    }

    /// Keeps in memory once what both models have.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.model.share(&other.model.parameters);
        self
    }

    /// Labels texts (parts of a pair separated by a tab). Also how many were cut to the length limit.
    pub fn label(&self, texts: &[String]) -> Result<(Vec<Answer>, usize), StageFailure> {
        let parts: Vec<Input> = texts
            .iter()
            .map(|text| match text.split_once('\t') {
                Some((first, second)) => (first, Some(second)),
                None => (text.as_str(), None),
            })
            .collect();
        let encoded = self.tokenizer.encode_all(&parts, self.max_length)?;
        let predictions = train::predict(&self.model, &self.task, &encoded.encodings)?;
        Ok((predictions.into_iter().map(|prediction| self.answer(prediction)).collect(), encoded.truncated))
    }

    fn answer(&self, prediction: train::Prediction) -> Answer {
        match (&self.task, prediction) {
            (Task::Classification { labels }, train::Prediction::Class { class, probabilities }) => Answer::Label {
                label: labels[class as usize].clone(),
                probabilities: labels.iter().cloned().zip(probabilities).collect(),
            },
            (_, train::Prediction::Score(score)) => Answer::Score(score),
            (Task::Regression, train::Prediction::Class { class, .. }) => Answer::Score(class as f32),
        }
    }
}

impl Answer {
    /// `label <tab> probability <tab> text`, or `score <tab> text`.
    pub fn line(&self, text: &str) -> String {
        match self {
            Answer::Score(score) => format!("{score}\t{text}"),
            Answer::Label { label, probabilities } => {
                let probability = probabilities.iter().find(|(name, _)| name == label).map_or(0.0, |(_, share)| *share);
                format!("{label}\t{probability:.4}\t{text}")
            }
        }
    }

    pub fn to_json(&self, text: &str) -> serde_json::Value {
        match self {
            Answer::Score(score) => json!({ "text": text, "score": score }),
            Answer::Label { label, probabilities } => {
                let probabilities: serde_json::Map<String, serde_json::Value> =
                    probabilities.iter().map(|(label, share)| (label.clone(), json!(share))).collect();
                json!({ "text": text, "label": label, "probabilities": probabilities })
            }
        }
    }
}
