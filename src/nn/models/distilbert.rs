//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108): `DistilBertForMaskedLM`, `DistilBertForSequenceClassification`. BERT
//! without token types and pooler, and without dropout behind the attention's output map.

use burn::tensor::{Tensor, activation};
use serde_json::Value;

use super::activation::Activation;
use super::architecture::Architecture;
use super::encoder::{Dimensions, Embeddings, Encoder, Layer};
use super::error::ModelError;
use super::head::Head;
use super::layout::{Init, Layout, Part};
use super::masked_lm::MaskedLmHead;
use super::settings::Settings;
use crate::nn::pass::Pass;

const PRE_CLASSIFIER: &str = "pre_classifier";
const CLASSIFIER: &str = "classifier";

#[derive(Debug)]
pub(super) struct DistilBert {
    encoder: Encoder,
    masked_lm: MaskedLmHead,
    seq_classif_dropout: f32,
}

impl DistilBert {
    pub fn read(config: &Value) -> Result<Self, ModelError> {
        let settings = Settings(config);
        let encoder = encoder(&settings)?;
        let masked_lm = MaskedLmHead::new(
            ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
            None,
            encoder.dimensions.hidden_act,
            &encoder.embeddings.word_embeddings,
            settings.flag("tie_word_embeddings", true)?,
        );
        let seq_classif_dropout = settings.probability(&["seq_classif_dropout"], 0.2)?;
        Ok(Self { encoder, masked_lm, seq_classif_dropout })
    }
}

impl Architecture for DistilBert {
    fn class(&self) -> &'static str {
        "DistilBert"
    }

    fn layout(&self, head: &Head) -> Layout {
        let mut layout = Layout::default();
        self.encoder.declare(&mut layout);
        let hidden = self.encoder.dimensions.hidden_size;
        match head {
            Head::MaskedLm => self.masked_lm.declare(&mut layout, &self.encoder.dimensions),
            Head::Sequence(_) => {
                layout.linear(Part::Head, PRE_CLASSIFIER, hidden, hidden);
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
        let pooled = activation::relu(pass.linear(PRE_CLASSIFIER, first));
        pass.linear(CLASSIFIER, pass.dropout("dropout", pooled, self.seq_classif_dropout))
    }
}

fn encoder(settings: &Settings) -> Result<Encoder, ModelError> {
    let dimensions = Dimensions {
        vocab_size: settings.size(&["vocab_size"], 30522)?,
        hidden_size: settings.size(&["dim", "hidden_size"], 768)?,
        num_hidden_layers: settings.size(&["n_layers", "num_hidden_layers"], 6)?,
        num_attention_heads: settings.size(&["n_heads", "num_attention_heads"], 12)?,
        intermediate_size: settings.size(&["hidden_dim"], 3072)?,
        max_position_embeddings: settings.size(&["max_position_embeddings"], 512)?,
        pad_token_id: settings.token("pad_token_id", 0)?,
        initializer_range: settings.number(&["initializer_range"], 0.02)?,
        hidden_act: Activation::read(settings, &["activation"])?,
        layer_norm_eps: 1e-12, // not a setting in transformers
        hidden_dropout_prob: settings.probability(&["dropout"], 0.1)?,
        attention_probs_dropout_prob: settings.probability(&["attention_dropout"], 0.1)?,
    };
    let dimensions = dimensions.check("n_heads")?;
    let sinusoidal = settings.flag("sinusoidal_pos_embds", false)?;
    let embeddings = Embeddings {
        word_embeddings: "distilbert.embeddings.word_embeddings".into(),
        position_embeddings: "distilbert.embeddings.position_embeddings".into(),
        position_init: if sinusoidal { Init::Sinusoidal } else { Init::Normal { padding: None } },
        token_type_embeddings: None,
        layer_norm: "distilbert.embeddings.LayerNorm".into(),
        dropout: "distilbert.embeddings.dropout".into(),
    };
    let layer = |index: usize| {
        let site = |module: &str| format!("distilbert.transformer.layer.{index}.{module}");
        Layer {
            query: site("attention.q_lin"),
            key: site("attention.k_lin"),
            value: site("attention.v_lin"),
            attention: site("attention"),
            attention_output: site("attention.out_lin"),
            attention_norm: site("sa_layer_norm"),
            attention_output_dropout: 0.0,
            intermediate: site("ffn.lin1"),
            output: site("ffn.lin2"),
            output_norm: site("output_layer_norm"),
        }
    };
    let layers = (0..dimensions.num_hidden_layers).map(layer).collect();
    Ok(Encoder { dimensions, embeddings, layers })
}
