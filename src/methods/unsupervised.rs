//! What `pretrain` and `adapt` share: masked language modelling over documents.

use serde_json::json;

use super::bundle::{Bundle, choose_trainable, hand_over, report_loading, trained_share};
use super::stage::Stage;
use crate::data::block;
use crate::event::Notice;
use crate::nn::models::Head;
use crate::plan::spec::{Outcome, StageFailure};
use crate::train::masking::Masking;
use crate::train::{self, MaskedLm, Rows, Settings};

/// Trains `bundle` as a masked language model on `documents`.
pub(super) fn masked_lm(stage: &Stage, bundle: Bundle, documents: &[String]) -> Result<Outcome, StageFailure> {
    let mut notices = vec![];
    let mut settings = Settings::from_parameters(&stage.spec.parameters)?;
    let device = train::open(&stage.spec.device)?;
    let (mut model, report) = bundle.model(&Head::MaskedLm, settings.seed, &device)?;
    model.precision = settings.precision;
    if !bundle.tensors.is_empty() {
        report_loading(stage, &mut notices, &report);
    }
    choose_trainable(&bundle, &mut model, &report.missing, settings.seed)?;
    for delta in &bundle.deltas {
        settings = settings.with_delta(&delta.method, &delta.parameters);
    }

    stage.activity(format!("tokenising {} documents", documents.len()));
    let limit = (stage.int("max_length") as usize).min(model.max_tokens());
    let encoded = bundle.tokenizer.encode_documents(documents)?;
    for notice in encoded.notices("the text", limit) {
        stage.notice(&mut notices, notice);
    }
    let special = bundle.tokenizer.special();
    let blocks = block::blocks(&encoded.encodings, limit, special.cls, special.sep);
    if blocks.empty > 0 {
        let message = format!("{} documents have no token the tokenizer knows and were left out", blocks.empty);
        stage.notice(&mut notices, Notice::new("ftp::data::empty_documents", message));
    }
    let blocks = blocks.encodings;
    let masking = Masking {
        probability: stage.float("mask_probability"),
        whole_words: stage.bool("whole_word"),
        mask_token: special.mask,
        vocab_size: bundle.tokenizer.vocab_size() as u32,
    };
    let objective = MaskedLm { masking };
    let fitted =
        stage.train(|around| train::fit(&mut model, &objective, Rows::text(&blocks), None, &settings, around))?;
    let summary = json!({
        "objective": "masked_lm",
        "rows": blocks.len(),
        "steps": fitted.steps,
        "loss": fitted.train_loss,
        "parameters": trained_share(&model),
    });
    hand_over(stage, bundle, &model, summary, notices)
}
