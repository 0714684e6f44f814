//! What every architecture can do, and which there are.

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde_json::Value;

use super::bert::Bert;
use super::distilbert::DistilBert;
use super::encoder::Encoder;
use super::error::ModelError;
use super::head::Head;
use super::layout::Layout;
use super::roberta::Roberta;
use crate::data::batch::Batch;
use crate::nn::pass::Pass;

/// A configured architecture: how to compute, but no weights.
pub(super) trait Architecture: Debug + Send + Sync {
    /// What its classes start with in `transformers`: `Bert` in `BertForMaskedLM`.
    fn class(&self) -> &'static str;

    fn layout(&self, head: &Head) -> Layout;

    fn encoder(&self) -> &Encoder;

    /// Positions it can encode.
    fn max_tokens(&self) -> usize;

    /// `[T]` row of the position embeddings for each token.
    fn positions(&self, batch: &Batch) -> Vec<u32> {
        batch.positions()
    }

    /// The site of the map onto the vocabulary.
    fn decoder(&self) -> &str;

    /// hidden `[N, hidden_size]` -> `[N, vocab_size]`.
    fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2>;

    /// States of the sequences' first tokens `[B, hidden_size]` -> `[B, outputs]`.
    fn sequence_logits(&self, pass: &Pass, first: Tensor<2>) -> Tensor<2>;
}

type Read = fn(&Value) -> Result<Box<dyn Architecture>, ModelError>;

/// By `model_type`.
const ARCHITECTURES: [(&str, Read); 3] = [
    ("bert", |config| Ok(Box::new(Bert::read(config)?))),
    ("roberta", |config| Ok(Box::new(Roberta::read(config)?))),
    ("distilbert", |config| Ok(Box::new(DistilBert::read(config)?))),
];

/// A configuration that says the model has this head; other keys stay as they are.
///
/// # Errors
/// An architecture or setting that is not supported.
pub fn described(config: &Value, head: &Head) -> Result<Value, ModelError> {
    let class = architecture(config)?.class();
    let mut config = config.clone();
    if let Some(keys) = config.as_object_mut() {
        head.describe(class, keys);
    }
    Ok(config)
}

/// The architecture a `config.json` describes.
pub(super) fn architecture(config: &Value) -> Result<Box<dyn Architecture>, ModelError> {
    let supported = || ARCHITECTURES.map(|(name, _)| name).join(", ");
    let Some(model_type) = config.get("model_type").and_then(Value::as_str) else {
        return Err(ModelError::NoModelType { supported: supported() });
    };
    match ARCHITECTURES.iter().find(|(name, _)| *name == model_type) {
        Some((_, read)) => read(config),
        None => Err(ModelError::UnsupportedArchitecture { model_type: model_type.into(), supported: supported() }),
    }
}
