//! Labelling texts with a finished model.

use serde_json::json;

use super::bundle::Bundle;
use crate::data::tokenizer::Tokenizer;
use crate::lang::world::Task;
use crate::nn::models::{self, Head, Model};
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
pub struct Prediction {
    /// The likeliest label, or the score.
    pub answer: String,
    /// Every label with its probability, in the order of class ids; empty for a score.
    pub probabilities: Vec<(String, f32)>,
}

impl Predictor {
    /// # Errors
    /// When the model has no sequence head: a directory that holds only an encoder can't label anything.
    pub fn new(bundle: Bundle, max_length: usize, device: &str) -> Result<Self, StageFailure> {
        let task = models::task_of(&bundle.config).ok_or_else(|| {
            StageFailure::new("ftp::predict::no_head", "the model's config.json names no labels")
                .help("give a directory that `publish` wrote after a `finetune(..)`")
        })?;
        let device = train::device(device)?;
        let (model, report) = Model::new(&bundle.config, &bundle.tensors, &Head::Sequence(task.clone()), 0, &device)?;
        if let Some(missing) = report.missing.first() {
            return Err(StageFailure::new("ftp::predict::no_head", format!("the model's weights lack `{missing}`"))
                .help("give a directory that `publish` wrote after a `finetune(..)`"));
        }
        let max_length = max_length.min(model.max_tokens());
        Ok(Self { model, tokenizer: bundle.tokenizer, task, max_length })
    }

    /// Labels texts (parts of a pair separated by a tab). Also how many were cut to the length limit.
    pub fn label(&self, texts: &[String]) -> Result<(Vec<Prediction>, usize), StageFailure> {
        let parts = texts.iter().map(|text| match text.split_once('\t') {
            Some((first, second)) => (first, Some(second)),
            None => (text.as_str(), None),
        });
        let (encodings, cut) = self.tokenizer.encode_all(parts, self.max_length)?;
        let rows = train::predict(&self.model, &encodings)?;
        Ok((rows.into_iter().map(|logits| self.prediction(&logits)).collect(), cut))
    }

    fn prediction(&self, logits: &[f32]) -> Prediction {
        let Task::Classification { labels } = &self.task else {
            return Prediction { answer: logits.first().copied().unwrap_or_default().to_string(), probabilities: vec![] };
        };
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        let probabilities: Vec<(String, f32)> =
            labels.iter().cloned().zip(logits.iter().map(|logit| (logit - highest).exp() / total)).collect();
        let best = probabilities.iter().fold(None, |best: Option<&(String, f32)>, one| match best {
            Some(best) if best.1 >= one.1 => Some(best),
            _ => Some(one),
        });
        Prediction { answer: best.map(|(label, _)| label.clone()).unwrap_or_default(), probabilities }
    }
}

impl Prediction {
    /// `label <tab> probability <tab> text`.
    pub fn line(&self, text: &str) -> String {
        match self.probabilities.iter().find(|(label, _)| *label == self.answer) {
            Some((label, probability)) => format!("{label}\t{probability:.4}\t{text}"),
            None => format!("{}\t{text}", self.answer),
        }
    }

    pub fn to_json(&self, text: &str) -> serde_json::Value {
        if self.probabilities.is_empty() {
            return json!({ "text": text, "score": self.answer.parse::<f32>().ok() });
        }
        let probabilities: serde_json::Map<String, serde_json::Value> =
            self.probabilities.iter().map(|(label, probability)| (label.clone(), json!(probability))).collect();
        json!({ "text": text, "label": self.answer, "probabilities": probabilities })
    }
}
