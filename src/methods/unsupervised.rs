//! What `pretrain` and `adapt` share: masked language modelling over documents.

use serde_json::json;

use super::bundle::{Bundle, choose_trainable, hand_over, report_loading, trained_share};
use super::stage::Stage;
use crate::data::batch;
use crate::event::Notice;
use crate::nn::models::{Head, Model};
use crate::plan::spec::{Outcome, StageFailure};
use crate::train::masking::Masking;
use crate::train::{self, MaskedLm, Rows, Settings};

/// Trains `bundle` as a masked language model on `documents`.
pub(super) fn masked_lm(stage: &Stage, bundle: Bundle, documents: &[String]) -> Result<Outcome, StageFailure> {
    let mut notices = vec![];
    let settings = Settings::from_parameters(&stage.spec.parameters)?;
    let device = train::device(&stage.spec.device)?;
    let (mut model, report) = Model::new(&bundle.config, &bundle.tensors, &Head::MaskedLm, settings.seed, &device)?;
    if !bundle.tensors.is_empty() {
        report_loading(stage, &mut notices, &report);
    }
    choose_trainable(&bundle, &mut model, &report.missing)?;

    stage.activity(format!("tokenising {} documents", documents.len()));
    let limit = (stage.int("max_length") as usize).min(model.max_tokens());
    let (blocks, dropped) = batch::blocks(&bundle.tokenizer, documents, limit)?;
    if dropped > 0 {
        let message = format!("{dropped} tokens at the ends of documents were too few for a block of their own and were left out");
        stage.notice(&mut notices, Notice::new("ftp::data::short_blocks", message));
    }
    if let Some(notice) = bundle.tokenizer.unknown_share(&blocks) {
        stage.notice(&mut notices, notice);
    }
    let masking = Masking {
        probability: stage.float("mask_probability"),
        whole_words: stage.bool("whole_word"),
        mask_token: bundle.tokenizer.mask_id(),
        vocab_size: bundle.tokenizer.vocab_size() as u32,
    };
    let objective = MaskedLm { masking };
    let fitted = train::fit(&mut model, &objective, Rows::text(&blocks), None, &settings, &stage.spec.label, stage.sink)?;
    let summary = json!({
        "objective": "masked_lm",
        "rows": blocks.len(),
        "steps": fitted.steps,
        "loss": fitted.train_loss,
        "parameters": trained_share(&model),
    });
    hand_over(stage, bundle, &model, summary, notices)
}
