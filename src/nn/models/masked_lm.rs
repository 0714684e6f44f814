//! The masked-language-model head the BERT family shares: dense, activation, LayerNorm, and a decoder whose weight is
//! usually that of the word embeddings (Devlin et al. 2019).

use burn::tensor::Tensor;

use super::activation::Activation;
use super::encoder::Dimensions;
use super::layout::{Layout, Part};
use crate::nn::pass::Pass;

/// Sites of the head and names of the decoder's parameters.
#[derive(Debug, Clone)]
pub(super) struct MaskedLmHead {
    pub dense: String,
    pub activation: Activation,
    pub layer_norm: String,
    pub decoder: String,
    pub decoder_weight: String,
    pub decoder_bias: String,
    /// (name in files, parameter, written by `transformers`) of what is held twice.
    pub aliases: Vec<(String, String, bool)>,
}

impl MaskedLmHead {
    /// A head whose `decoder` is tied to `embeddings`, or not. Where the decoder's bias is held by the head itself it has
    /// the name `bias`; then transformers ties `{decoder}.bias` to it as it ties the weight, or else keeps both and uses
    /// `{decoder}.bias` only.
    pub fn new(
        [dense, layer_norm, decoder]: [&str; 3],
        bias: Option<&str>,
        activation: Activation,
        embeddings: &str,
        tied: bool,
    ) -> Self {
        let (own_weight, own_bias) = (format!("{decoder}.weight"), format!("{decoder}.bias"));
        let shared_weight = format!("{embeddings}.weight");
        let mut aliases = Vec::new();
        let decoder_weight = if tied {
            aliases.push((own_weight, shared_weight.clone(), false));
            shared_weight
        } else {
            own_weight
        };
        let decoder_bias = match bias {
            Some(bias) if tied => {
                aliases.push((own_bias, bias.to_string(), false));
                bias.to_string()
            }
            Some(bias) => {
                aliases.push((bias.to_string(), own_bias.clone(), true));
                own_bias
            }
            None => own_bias,
        };
        let [dense, layer_norm, decoder] = [dense, layer_norm, decoder].map(String::from);
        Self { dense, activation, layer_norm, decoder, decoder_weight, decoder_bias, aliases }
    }

    pub fn declare(&self, layout: &mut Layout, dimensions: &Dimensions) {
        let (hidden, vocab) = (dimensions.hidden_size, dimensions.vocab_size);
        layout.linear(Part::Head, &self.dense, hidden, hidden);
        layout.layer_norm(Part::Head, &self.layer_norm, hidden);
        if !layout.slots.iter().any(|slot| slot.name == self.decoder_weight) {
            layout.weight(Part::Head, self.decoder_weight.clone(), hidden, vocab);
        }
        layout.bias(Part::Head, self.decoder_bias.clone(), vocab);
        for (name, of, saved) in &self.aliases {
            layout.alias(name, of, *saved);
        }
    }

    /// hidden `[N, hidden_size]` -> `[N, vocab_size]`.
    pub fn forward(&self, pass: &Pass, dimensions: &Dimensions, hidden: Tensor<2>) -> Tensor<2> {
        let transformed = self.activation.apply(pass.linear(&self.dense, hidden));
        let normed = pass.layer_norm(&self.layer_norm, transformed, None, dimensions.layer_norm_eps, 0.0);
        pass.linear_of(&self.decoder, &self.decoder_weight, &self.decoder_bias, normed)
    }
}
