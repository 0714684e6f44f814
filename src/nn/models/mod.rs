//! Architectures of the BERT family, one file each.

use burn::tensor::{Device, Tensor};

use super::parameters::Parameters;
use super::pass::Pass;
use crate::data::batch::Batch;
use crate::hub::tensors::Tensors;
use crate::lang::world::Task;

/// What a model is asked for on top of its encoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Masked-language-model logits.
    MaskedLm,
    /// One logit a label, or one score for a regression.
    Sequence(Task),
}

/// An architecture with its parameters.
pub struct Model {
    pub parameters: Parameters,
    device: Device,
}

/// What loading found that was not as expected; each becomes a notice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Parameters the file does not hold, freshly initialised.
    pub missing: Vec<String>,
    /// Tensors in the file that the model has no use for.
    pub unused: Vec<String>,
}

/// Why a configuration or weights can't become a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {}

impl Model {
    /// Builds a model from a Hugging Face configuration and named tensors. Parameters the tensors lack (a new head, a
    /// whole model when `tensors` is empty) are initialised as `transformers` does, drawn from `seed`.
    pub fn new(
        config: &serde_json::Value,
        tensors: &Tensors,
        head: &Head,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), ModelError> {
        todo!()
    }

    /// Encodes a batch. -> `[T, hidden_size]`.
    pub fn encode(&self, pass: &Pass, batch: &Batch) -> Tensor<2> {
        todo!()
    }

    /// MLM logits of some rows of the encoder's output. hidden `[N, hidden_size]` -> `[N, vocab_size]`.
    pub fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2> {
        todo!()
    }

    /// Logits of the sequence head. hidden `[T, hidden_size]` -> `[B, labels]` (`[B, 1]` for a regression).
    pub fn sequence_logits(&self, pass: &Pass, hidden: Tensor<2>, batch: &Batch) -> Tensor<2> {
        todo!()
    }

    /// All parameters in host memory, under the names and with the ties `transformers` uses when it saves.
    pub fn tensors(&self) -> Tensors {
        todo!()
    }

    /// `config.json` with the head's labels (`id2label`, `label2id`, `problem_type`, `architectures`); keys this program
    /// does not know are kept.
    pub fn config(&self) -> serde_json::Value {
        todo!()
    }

    /// Positions the architecture can encode: the hard limit on a sequence's tokens.
    pub fn max_tokens(&self) -> usize {
        todo!()
    }
}
