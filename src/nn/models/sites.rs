//! The sites of a model that deltas act at, by what they are.

use super::model::Model;

impl Model {
    /// The name of the site where states enter the layers: the dropout of their embeddings.
    pub fn entrance(&self) -> &str {
        &self.architecture.encoder().embeddings.dropout
    }

    /// The name of the site of the map onto the vocabulary.
    pub fn decoder(&self) -> &str {
        self.architecture.decoder()
    }

    /// The probability of dropout of the attentions' probabilities.
    pub fn attention_dropout(&self) -> f32 {
        self.architecture.encoder().dimensions.attention_probs_dropout_prob
    }

    /// The names of the norms' sites, layer by layer: after the attention and after the feed-forward.
    pub fn norms(&self) -> impl Iterator<Item = [&str; 2]> {
        let layers = self.architecture.encoder().layers.iter();
        layers.map(|layer| [layer.attention_norm.as_str(), layer.output_norm.as_str()])
    }

    /// The name of the word embeddings' site.
    pub fn word_embeddings(&self) -> &str {
        &self.architecture.encoder().embeddings.word_embeddings
    }

    /// The names of the attentions' sites, layer by layer.
    pub fn attentions(&self) -> impl Iterator<Item = &str> {
        self.architecture.encoder().layers.iter().map(|layer| layer.attention.as_str())
    }
}
