//! BERT (Devlin et al. 2019, arXiv 1810.04805): `BertForMaskedLM`, `BertForSequenceClassification`.

use burn::tensor::Tensor;
use serde_json::{Value, json};

use super::activation::Activation;
use super::architecture::Architecture;
use super::encoder::{Dimensions, Embeddings, Encoder, Layer};
use super::error::ModelError;
use super::head::Head;
use super::layout::{Init, Layout, Part};
use super::masked_lm::MaskedLmHead;
use super::settings::Settings;
use crate::nn::pass::Pass;

const POOLER: &str = "bert.pooler.dense";
const CLASSIFIER: &str = "classifier";

#[derive(Debug)]
pub(super) struct Bert {
    encoder: Encoder,
    masked_lm: MaskedLmHead,
    classifier_dropout: f32,
}

impl Bert {
    pub fn read(config: &Value) -> Result<Self, ModelError> {
        let settings = Settings(config);
        let encoder = encoder("bert", &settings, 30522, 0)?;
        let embeddings = encoder.embeddings.word_embeddings.clone();
        let masked_lm = MaskedLmHead::new(
            ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"],
            Some("cls.predictions.bias"),
            encoder.dimensions.hidden_act,
            &embeddings,
            settings.flag("tie_word_embeddings", true)?,
        );
        let classifier_dropout =
            settings.probability(&["classifier_dropout"], encoder.dimensions.hidden_dropout_prob)?;
        Ok(Self { encoder, masked_lm, classifier_dropout })
    }
}

impl Architecture for Bert {
    fn class(&self) -> &'static str {
        "Bert"
    }

    fn layout(&self, head: &Head) -> Layout {
        let mut layout = Layout::default();
        self.encoder.declare(&mut layout);
        let hidden = self.encoder.dimensions.hidden_size;
        match head {
            Head::MaskedLm => self.masked_lm.declare(&mut layout, &self.encoder.dimensions),
            Head::Sequence(_) => {
                layout.linear(Part::Pooler, POOLER, hidden, hidden);
                layout.classifier(CLASSIFIER, hidden, head.outputs());
            }
        }
        layout
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    fn max_tokens(&self) -> usize {
        self.encoder.dimensions.max_position_embeddings
    }

    fn decoder(&self) -> &str {
        &self.masked_lm.decoder
    }

    fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2> {
        self.masked_lm.forward(pass, &self.encoder.dimensions, hidden)
    }

    fn sequence_logits(&self, pass: &Pass, first: Tensor<2>) -> Tensor<2> {
        let pooled = pass.linear(POOLER, first).tanh();
        pass.linear(CLASSIFIER, pass.dropout("dropout", pooled, self.classifier_dropout))
    }
}

/// The encoder of BERT and RoBERTa, whose modules have the same names under `prefix`. They differ in two defaults.
pub(super) fn encoder(
    prefix: &str,
    settings: &Settings,
    vocab_size: usize,
    pad_token_id: usize,
) -> Result<Encoder, ModelError> {
    let encoders_only = "only encoders are supported, not models that generate";
    settings.require(
        "position_embedding_type",
        json!("absolute"),
        "only absolute position embeddings are supported",
    )?;
    settings.require("is_decoder", json!(false), encoders_only)?;
    settings.require("add_cross_attention", json!(false), encoders_only)?;
    let hidden_dropout_prob = settings.probability(&["hidden_dropout_prob"], 0.1)?;
    let dimensions = Dimensions {
        vocab_size: settings.size(&["vocab_size"], vocab_size)?,
        hidden_size: settings.size(&["hidden_size"], 768)?,
        num_hidden_layers: settings.size(&["num_hidden_layers"], 12)?,
        num_attention_heads: settings.size(&["num_attention_heads"], 12)?,
        intermediate_size: settings.size(&["intermediate_size"], 3072)?,
        max_position_embeddings: settings.size(&["max_position_embeddings"], 512)?,
        pad_token_id: settings.token("pad_token_id", pad_token_id)?,
        initializer_range: settings.number(&["initializer_range"], 0.02)?,
        hidden_act: Activation::read(settings, &["hidden_act"])?,
        layer_norm_eps: settings.number(&["layer_norm_eps"], 1e-12)?,
        hidden_dropout_prob,
        attention_probs_dropout_prob: settings.probability(&["attention_probs_dropout_prob"], 0.1)?,
    };
    let types = settings.size(&["type_vocab_size"], 2)?;
    let embeddings = Embeddings {
        word_embeddings: format!("{prefix}.embeddings.word_embeddings"),
        position_embeddings: format!("{prefix}.embeddings.position_embeddings"),
        position_init: Init::Normal { padding: None },
        token_type_embeddings: Some((format!("{prefix}.embeddings.token_type_embeddings"), types)),
        layer_norm: format!("{prefix}.embeddings.LayerNorm"),
        dropout: format!("{prefix}.embeddings.dropout"),
    };
    let layer = |index: usize| {
        let site = |module: &str| format!("{prefix}.encoder.layer.{index}.{module}");
        Layer {
            query: site("attention.self.query"),
            key: site("attention.self.key"),
            value: site("attention.self.value"),
            attention: site("attention.self"),
            attention_output: site("attention.output.dense"),
            attention_norm: site("attention.output.LayerNorm"),
            attention_output_dropout: hidden_dropout_prob,
            intermediate: site("intermediate.dense"),
            output: site("output.dense"),
            output_norm: site("output.LayerNorm"),
        }
    };
    let dimensions = dimensions.check("num_attention_heads")?;
    let layers = (0..dimensions.num_hidden_layers).map(layer).collect();
    Ok(Encoder { dimensions, embeddings, layers })
}
