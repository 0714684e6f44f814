//! RoBERTa (Liu et al. 2019, arXiv 1907.11692): `RobertaForMaskedLM`, `RobertaForSequenceClassification`. BERT's encoder;
//! positions count from behind the padding token's id, and the heads are its own.

use burn::tensor::Tensor;
use serde_json::Value;

use super::activation::Activation;
use super::architecture::Architecture;
use super::bert;
use super::encoder::Encoder;
use super::error::ModelError;
use super::head::Head;
use super::layout::{Init, Layout, Part};
use super::masked_lm::MaskedLmHead;
use super::settings::Settings;
use crate::data::batch::Batch;
use crate::nn::pass::Pass;

const DENSE: &str = "classifier.dense";
const OUT_PROJ: &str = "classifier.out_proj";

#[derive(Debug)]
pub(super) struct Roberta {
    encoder: Encoder,
    padding: usize,
    masked_lm: MaskedLmHead,
    classifier_dropout: f32,
}

impl Roberta {
    pub fn read(config: &Value) -> Result<Self, ModelError> {
        let settings = Settings(config);
        let mut encoder = bert::encoder("roberta", &settings, 50265, 1)?;
        let rows = encoder.dimensions.max_position_embeddings;
        let padding = encoder.dimensions.pad_token_id.filter(|padding| padding + 1 < rows);
        let padding = padding.ok_or_else(|| ModelError::BadSetting {
            key: "pad_token_id".into(),
            found: config.get("pad_token_id").unwrap_or(&Value::Null).to_string(),
            expected: format!("a token id below max_position_embeddings - 1 = {}: positions count from it", rows - 1),
        })?;
        encoder.embeddings.position_init = Init::Normal { padding: Some(padding) };
        let masked_lm = MaskedLmHead::new(
            ["lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"],
            Some("lm_head.bias"),
            Activation::Gelu,
            &encoder.embeddings.word_embeddings,
            settings.flag("tie_word_embeddings", true)?,
        );
        let classifier_dropout =
            settings.probability(&["classifier_dropout"], encoder.dimensions.hidden_dropout_prob)?;
        Ok(Self { encoder, padding, masked_lm, classifier_dropout })
    }
}

impl Architecture for Roberta {
    fn class(&self) -> &'static str {
        "Roberta"
    }

    fn layout(&self, head: &Head) -> Layout {
        let mut layout = Layout::default();
        self.encoder.declare(&mut layout);
        let hidden = self.encoder.dimensions.hidden_size;
        match head {
            Head::MaskedLm => self.masked_lm.declare(&mut layout, &self.encoder.dimensions),
            Head::Sequence(_) => {
                layout.linear(Part::Head, DENSE, hidden, hidden);
                layout.classifier(OUT_PROJ, hidden, head.outputs());
            }
        }
        layout
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn max_tokens(&self) -> usize {
        self.encoder.dimensions.max_position_embeddings - self.padding - 1
    }

    /// Tokens count from `padding + 1`; a padding token in the middle of a text does not count and has the position
    /// `padding`, as in fairseq.
    fn positions(&self, batch: &Batch) -> Vec<u32> {
        let padding = self.padding as u32;
        let mut positions = Vec::with_capacity(batch.tokens());
        for pair in batch.offsets.windows(2) {
            let mut last = padding;
            positions.extend(batch.ids[pair[0] as usize..pair[1] as usize].iter().map(|id| {
                if *id == padding {
                    return padding;
                }
                last += 1;
                last
            }));
        }
        positions
    }

    fn decoder(&self) -> &str {
        &self.masked_lm.decoder
    }

    fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2> {
        self.masked_lm.forward(pass, &self.encoder.dimensions, hidden)
    }

    fn sequence_logits(&self, pass: &Pass, first: Tensor<2>) -> Tensor<2> {
        let first = pass.dropout("classifier.dropout", first, self.classifier_dropout);
        let dense = pass.linear(DENSE, first).tanh();
        pass.linear(OUT_PROJ, pass.dropout("classifier.dropout.1", dense, self.classifier_dropout))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::batch::Encoding;

    #[test]
    fn positions_count_from_behind_the_padding_id_and_skip_padding_tokens() {
        let roberta = Roberta::read(&json!({"pad_token_id": 1})).unwrap();
        let sequence = |ids: &[u32]| Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Default::default() };
        let batch = Batch::pack(&[sequence(&[0, 7, 1, 2]), sequence(&[0, 2])]);
        assert_eq!(roberta.positions(&batch), [2, 3, 1, 4, 2, 3]);
    }

    #[test]
    fn a_roberta_of_514_positions_encodes_512_tokens() {
        let roberta = Roberta::read(&json!({"max_position_embeddings": 514})).unwrap();
        assert_eq!(roberta.max_tokens(), 512);
        assert!(Roberta::read(&json!({"pad_token_id": null})).is_err());
    }
}
