//! The encoder the BERT family shares: embeddings, then layers of self-attention and feed-forward, each followed by
//! dropout, residual and LayerNorm (Devlin et al. 2019; Vaswani et al. 2017). Architectures differ in names and sizes.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::activation::Activation;
use super::error::ModelError;
use super::layout::{Init, Layout, Map, Part};
use crate::data::batch::{Batch, Tokens};
use crate::nn::ops::{self, Bounds};
use crate::nn::pass::Pass;

/// Sizes and rates of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dimensions {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    /// Row of the word embeddings that stays zero when drawn anew.
    pub pad_token_id: Option<usize>,
    /// Standard deviation of weights drawn anew.
    pub initializer_range: f32,
    pub hidden_act: Activation,
    pub layer_norm_eps: f32,
    pub hidden_dropout_prob: f32,
    pub attention_probs_dropout_prob: f32,
}

impl Dimensions {
    /// Refuses sizes that do not fit each other. `heads` is the setting's name.
    pub fn check(self, heads: &str) -> Result<Self, ModelError> {
        if self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Ok(self);
        }
        Err(ModelError::BadSetting {
            key: heads.into(),
            found: self.num_attention_heads.to_string(),
            expected: format!("a divisor of the hidden size, {}", self.hidden_size),
        })
    }
}

/// Sums of word, position and token type embeddings, normalised. Fields are sites.
#[derive(Debug, Clone)]
pub(super) struct Embeddings {
    pub word_embeddings: String,
    pub position_embeddings: String,
    pub position_init: Init,
    /// With the number of types.
    pub token_type_embeddings: Option<(String, usize)>,
    pub layer_norm: String,
    pub dropout: String,
}

impl Embeddings {
    fn declare(&self, layout: &mut Layout, dimensions: &Dimensions) {
        let size = dimensions.hidden_size;
        let words = Init::Normal { padding: dimensions.pad_token_id };
        layout.embedding(&self.word_embeddings, dimensions.vocab_size, size, words);
        layout.embedding(&self.position_embeddings, dimensions.max_position_embeddings, size, self.position_init);
        if let Some((site, types)) = &self.token_type_embeddings {
            layout.embedding(site, *types, size, Init::Normal { padding: None });
        }
        layout.layer_norm(Part::Encoder, &self.layer_norm, size);
    }

    /// `long` is the batch with the virtual tokens there are, the batch itself without. -> `[T, hidden_size]`.
    fn forward(
        &self,
        pass: &Pass,
        dimensions: &Dimensions,
        batch: &Batch,
        long: &Batch,
        positions: Arc<[u32]>,
    ) -> Tensor<2> {
        let words = pass.enter(pass.embedding(&self.word_embeddings, batch.ids.clone()));
        let mut sum = pass.behind_tokens(&self.word_embeddings, words, &batch.offsets);
        if let Some((site, types)) = &self.token_type_embeddings {
            // A model with one type has only row 0, whatever the tokenizer calls the second text.
            let segments = if *types == 1 { vec![0; long.tokens()].into() } else { long.segments.clone() };
            sum = sum + pass.embedding(site, segments);
        }
        sum = sum + pass.embedding(&self.position_embeddings, positions);
        let normed = pass.layer_norm(&self.layer_norm, sum, None, dimensions.layer_norm_eps, 0.0);
        pass.entering(&self.dropout, pass.dropout(&self.dropout, normed, dimensions.hidden_dropout_prob))
    }
}

/// One layer. Fields are sites.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub query: String,
    pub key: String,
    pub value: String,
    /// Names the dropout of the attention probabilities.
    pub attention: String,
    pub attention_output: String,
    pub attention_norm: String,
    /// Probability of dropout between `attention_output` and `attention_norm`.
    pub attention_output_dropout: f32,
    pub intermediate: String,
    pub output: String,
    pub output_norm: String,
}

impl Layer {
    fn declare(&self, layout: &mut Layout, dimensions: &Dimensions, index: usize) {
        let (hidden, intermediate) = (dimensions.hidden_size, dimensions.intermediate_size);
        layout.layer_map(index, Map::Query, &self.query, hidden, hidden);
        layout.layer_map(index, Map::Key, &self.key, hidden, hidden);
        layout.layer_map(index, Map::Value, &self.value, hidden, hidden);
        layout.layer_map(index, Map::AttentionOutput, &self.attention_output, hidden, hidden);
        layout.layer_norm_of(index, &self.attention_norm, hidden);
        layout.layer_map(index, Map::Intermediate, &self.intermediate, hidden, intermediate);
        layout.layer_map(index, Map::Output, &self.output, intermediate, hidden);
        layout.layer_norm_of(index, &self.output_norm, hidden);
    }

    /// x `[T, hidden_size]` -> `[N, hidden_size]`: of all tokens, or of those that are wanted.
    fn forward(
        &self,
        pass: &Pass,
        dimensions: &Dimensions,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        wanted: Option<&Tokens>,
    ) -> Tensor<2> {
        let epsilon = dimensions.layer_norm_eps;
        let key = pass.linear(&self.key, x.clone());
        let value = pass.linear(&self.value, x.clone());
        let bounds = match wanted {
            None => Bounds::same(offsets.clone()),
            Some(tokens) => Bounds { queries: tokens.offsets.clone(), keys: offsets.clone() },
        };
        let beside = pass.beside_layer(&self.output_norm, &x, wanted, &bounds);
        let x = match wanted {
            None => x,
            Some(tokens) => ops::gather(x, tokens.rows.clone()),
        };
        let query = pass.linear(&self.query, x.clone());
        let (heads, dropout) = (dimensions.num_attention_heads, dimensions.attention_probs_dropout_prob);
        let mixed = pass.attention(&self.attention, query, key, value, heads, bounds, dropout);
        let mixed = pass.linear(&self.attention_output, mixed);
        let x = pass.layer_norm(&self.attention_norm, mixed, Some(x), epsilon, self.attention_output_dropout);

        let inner = dimensions.hidden_act.apply(pass.linear(&self.intermediate, x.clone())); // [N, intermediate_size]
        let inner = pass.linear(&self.output, inner);
        let x = match beside {
            None => x,
            Some(beside) => x + beside,
        };
        pass.layer_norm(&self.output_norm, inner, Some(x), epsilon, dimensions.hidden_dropout_prob)
    }
}

/// Embeddings and layers.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub dimensions: Dimensions,
    pub embeddings: Embeddings,
    pub layers: Vec<Layer>,
}

impl Encoder {
    pub fn declare(&self, layout: &mut Layout) {
        self.embeddings.declare(layout, &self.dimensions);
        for (index, layer) in self.layers.iter().enumerate() {
            layer.declare(layout, &self.dimensions, index);
        }
    }

    /// The states a batch enters with; `long` is the batch with the virtual tokens there are. positions `[T]` of these ->
    /// `[T, hidden_size]`.
    pub fn embed(&self, pass: &Pass, batch: &Batch, long: &Batch, positions: Arc<[u32]>) -> Tensor<2> {
        self.embeddings.forward(pass, &self.dimensions, batch, long, positions)
    }

    /// Some layers, one after the other. x `[T, hidden_size]`, offsets `[B + 1]` -> `[N, hidden_size]`: of all tokens, or of
    /// those that are wanted of the last one. It mixes all tokens into the wanted ones, and computes the rest of itself for
    /// these only.
    pub fn run(
        &self,
        pass: &Pass,
        layers: Range<usize>,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        wanted: Option<&Tokens>,
    ) -> Tensor<2> {
        let run = |x, layer: &Layer, wanted| layer.forward(pass, &self.dimensions, x, offsets, wanted);
        match (self.layers[layers].split_last(), wanted) {
            (Some((last, below)), _) => run(below.iter().fold(x, |x, layer| run(x, layer, None)), last, wanted),
            (None, Some(tokens)) => ops::gather(x, tokens.rows.clone()),
            (None, None) => x,
        }
    }
}
