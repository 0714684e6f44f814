//! An architecture with its parameters: what stages train and run.

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::architecture::{Architecture, architecture};
use super::error::ModelError;
use super::head::Head;
use super::layout::{Layout, Part, Slot};
use super::load::{LoadReport, Loaded, load};
use crate::data::batch::Batch;
use crate::hub::tensors::Tensors;
use crate::lang::world::Task;
use crate::nn::ops;
use crate::nn::parameters::Parameters;
use crate::nn::pass::Pass;

/// An architecture with its parameters.
#[derive(Debug)]
pub struct Model {
    pub parameters: Parameters,
    device: Device,
    architecture: Box<dyn Architecture>,
    layout: Layout,
    head: Head,
    config: Value,
    carried: Tensors,
}

impl Model {
    /// Builds a model from a Hugging Face configuration and named tensors. Parameters the tensors lack (a new head, a
    /// whole model when `tensors` is empty) are initialised as `transformers` does, drawn from `seed`. All are trainable.
    ///
    /// A head in the tensors is used where its shapes fit; output layers for another number of labels are drawn anew. Take
    /// it out with [`super::drop_head`] where the task is another.
    ///
    /// # Errors
    /// An architecture or setting that is not supported, shapes that contradict the configuration, an encoder that is
    /// there in parts only, no labels.
    pub fn new(
        config: &Value,
        tensors: &Tensors,
        head: &Head,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), ModelError> {
        let architecture = architecture(config)?;
        if matches!(head, Head::Sequence(Task::Classification { labels }) if labels.is_empty()) {
            return Err(ModelError::NoLabels);
        }
        let layout = architecture.layout(head);
        let range = architecture.dimensions().initializer_range;
        let Loaded { parameters, carried, report } = load(&layout, tensors, range, seed, device)?;
        let (device, head, config) = (device.clone(), head.clone(), config.clone());
        Ok((Self { parameters, device, architecture, layout, head, config, carried }, report))
    }

    /// The parameters a configuration with a head has, without making any.
    ///
    /// # Errors
    /// As [`Model::new`] for the configuration.
    pub fn layout_of(config: &Value, head: &Head) -> Result<Layout, ModelError> {
        Ok(architecture(config)?.layout(head))
    }

    /// Encodes a batch. -> `[T, hidden_size]`.
    pub fn encode(&self, pass: &Pass, batch: &Batch) -> Tensor<2> {
        self.architecture.encode(pass, batch)
    }

    /// MLM logits of some rows of the encoder's output. hidden `[N, hidden_size]` -> `[N, vocab_size]`.
    pub fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2> {
        self.architecture.mlm_logits(pass, hidden)
    }

    /// Logits of the sequence head. hidden `[T, hidden_size]` -> `[B, labels]` (`[B, 1]` for a regression).
    pub fn sequence_logits(&self, pass: &Pass, hidden: Tensor<2>, batch: &Batch) -> Tensor<2> {
        self.architecture.sequence_logits(pass, ops::gather(hidden, batch.first_tokens()))
    }

    /// All parameters in host memory, under the names and with the ties `transformers` uses when it saves.
    pub fn tensors(&self) -> Tensors {
        let mut tensors: Tensors =
            self.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.weight.to_host())).collect();
        for alias in self.layout.aliases.iter().filter(|alias| alias.saved) {
            tensors.insert(alias.name.clone(), tensors[&alias.of].clone());
        }
        tensors
    }

    /// Tensors of the base model that this head has no use for and that are not among [`Model::tensors`]: BERT's pooler
    /// under a masked-language-model head. A stage whose model goes on to another head keeps them beside its own.
    pub fn carried(&self) -> &Tensors {
        &self.carried
    }

    /// `config.json` with the head's labels (`id2label`, `label2id`, `problem_type`, `architectures`); keys this program
    /// does not know are kept.
    pub fn config(&self) -> Value {
        let mut config = self.config.clone();
        if let Some(keys) = config.as_object_mut() {
            self.head.describe(self.architecture.class(), keys);
        }
        config
    }

    /// Positions the architecture can encode: the hard limit on a sequence's tokens.
    pub fn max_tokens(&self) -> usize {
        self.architecture.max_tokens()
    }

    /// Rows of the word embeddings: token ids must be below.
    pub fn vocab_size(&self) -> usize {
        self.architecture.dimensions().vocab_size
    }

    pub fn hidden_size(&self) -> usize {
        self.architecture.dimensions().hidden_size
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Names, shapes and roles of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of elements of all parameters, tied ones once.
    pub fn count(&self) -> usize {
        self.layout.count(|_| true)
    }

    /// Number of elements that train.
    pub fn trainable_count(&self) -> usize {
        self.layout.count(|slot| self.parameters[&slot.name].trainable)
    }

    /// Names of the head's parameters: what is new for a new task. BERT's pooler is not among them.
    pub fn head_parameters(&self) -> Vec<&str> {
        let head = self.layout.slots.iter().filter(|slot| slot.part == Part::Head);
        head.map(|slot| slot.name.as_str()).collect()
    }

    /// Makes exactly the parameters trainable that a predicate holds for, and returns the number of their elements.
    pub fn train_only(&mut self, trains: impl Fn(&Slot) -> bool) -> usize {
        for slot in &self.layout.slots {
            self.parameters[&slot.name].trainable = trains(slot);
        }
        self.trainable_count()
    }
}
