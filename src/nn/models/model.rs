//! An architecture with its parameters: what stages train and run.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::architecture::{Architecture, architecture};
use super::before::Before;
use super::error::ModelError;
use super::head::Head;
use super::layout::{Layout, Part, Role, Slot, layer_of};
use super::load::{LoadReport, Loaded, draw, load};
use crate::data::batch::{Batch, Tokens, lengthened};
use crate::hub::tensors::{HostTensor, Tensors};
use crate::lang::world::Task;
use crate::nn::delta::{Deltas, SiteDelta};
use crate::nn::ops::Precision;
use crate::nn::parameters::{Parameter, Parameters, Weight};
use crate::nn::pass::Pass;
use crate::nn::reparametrisation::{Reparametrisation, Reparametrisations};
use crate::random::Key;

/// An architecture with its parameters.
#[derive(Debug)]
pub struct Model {
    pub parameters: Parameters,
    /// Of the linear maps' products; 32-bit floats to begin with.
    pub precision: Precision,
    /// Whether dropout acts when the model trains, as its configuration says; it does to begin with.
    pub dropout: bool,
    device: Device,
    pub(super) architecture: Box<dyn Architecture>,
    layout: Layout,
    head: Head,
    config: Value,
    carried: Tensors,
    deltas: Deltas,
    pub(super) before: Before,
    computed: Reparametrisations,
    fixed: Option<usize>,
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
        let range = architecture.encoder().dimensions.initializer_range;
        let Loaded { parameters, carried, report } = load(&layout, tensors, range, seed, device)?;
        let (device, head, config) = (device.clone(), head.clone(), config.clone());
        let precision = Precision::default();
        Ok((
            Self {
                parameters,
                precision,
                dropout: true,
                device,
                architecture,
                layout,
                head,
                config,
                carried,
                deltas: Deltas::new(),
                before: Before::default(),
                computed: Reparametrisations::new(),
                fixed: None,
            },
            report,
        ))
    }

    /// The parameters a configuration with a head has, without making any.
    ///
    /// # Errors
    /// As [`Model::new`] for the configuration.
    pub fn layout_of(config: &Value, head: &Head) -> Result<Layout, ModelError> {
        Ok(architecture(config)?.layout(head))
    }

    /// Draws some parameters anew, as a model without a file has them; returns their names.
    pub fn draw_again(&mut self, seed: u64, which: impl Fn(&Slot) -> bool) -> Vec<String> {
        let range = self.architecture.encoder().dimensions.initializer_range;
        let mut drawn = Vec::new();
        for slot in self.layout.slots.iter().filter(|slot| slot.part != Part::Delta && which(slot)) {
            let weight = Weight::from_host(&draw(slot, range, seed), &self.device);
            self.parameters[&slot.name].weight = weight.expect("slots have one or two dimensions");
            drawn.push(slot.name.clone());
        }
        drawn
    }

    /// Adds a parameter of a delta. It trains.
    pub fn add_parameter(&mut self, name: String, role: Role, value: &HostTensor) {
        let weight = Weight::from_host(value, &self.device).expect("parameters are vectors or matrices");
        self.layout.add_delta(name.clone(), role, &value.shape);
        self.parameters.insert(name, Parameter { weight, trainable: true, rate: 1.0 });
    }

    /// Lets a delta act at a site, after those that do already.
    pub fn set_delta(&mut self, site: String, delta: Arc<dyn SiteDelta>) {
        self.deltas.entry(site).or_default().push(delta);
    }

    /// Lets a delta say what a parameter is in every pass; in place of what was said before.
    pub fn reparametrise(&mut self, parameter: String, how: Arc<dyn Reparametrisation>) {
        self.computed.insert(parameter, how);
    }

    /// Lets `attach` add a delta, and takes out again what of it lies in so many of the lowest layers.
    pub fn above<R>(&mut self, layers: usize, attach: impl FnOnce(&mut Self) -> R) -> R {
        let (known, deltas) = (self.layout.slots.len(), self.deltas.clone());
        let result = attach(self);
        let held = |layer: Option<usize>| layer.is_some_and(|layer| layer < layers);
        for slot in self.layout.slots.extract_if(known.., |slot| held(slot.layer)) {
            self.parameters.shift_remove(&slot.name);
        }
        for (site, acting) in self.deltas.iter_mut().filter(|(site, _)| held(layer_of(site))) {
            acting.truncate(deltas.get(site).map_or(0, Vec::len));
        }
        result
    }

    /// Makes the embeddings and this many of the lowest layers a fixed extractor of features: nothing random acts there,
    /// so a row always has the same states at that bound. Nothing of them may train.
    pub fn fix(&mut self, layers: usize) {
        self.fixed = Some(layers.min(self.layers()));
    }

    /// How many of the lowest layers are fixed, with the embeddings.
    pub fn fixed(&self) -> Option<usize> {
        self.fixed
    }

    /// A pass that will be differentiated, see [`Pass::training`].
    pub fn training_pass(&self, key: Key) -> Pass<'_> {
        self.through(Pass::training(&self.parameters, key).with_dropout(self.dropout))
    }

    /// A pass without gradients and dropout.
    pub fn evaluating_pass(&self) -> Pass<'_> {
        self.through(Pass::evaluating(&self.parameters))
    }

    /// A pass through some values of the model's parameters, none of which is tracked; dropout is drawn from `key`.
    pub fn pass_of<'a>(&'a self, parameters: &'a Parameters, key: Key) -> Pass<'a> {
        self.through(Pass::probing(parameters, key).with_dropout(self.dropout))
    }

    fn through<'a>(&'a self, pass: Pass<'a>) -> Pass<'a> {
        pass.with_precision(self.precision).with_deltas(&self.deltas).with_computed(&self.computed)
    }

    /// Encodes a batch. -> `[T, hidden_size]`, virtual tokens among them.
    pub fn encode(&self, pass: &Pass, batch: &Batch) -> Tensor<2> {
        self.run(pass, batch, None)
    }

    /// Encodes a batch for some of its tokens: what [`Model::encode`] has in their rows, without most of the last layer's
    /// work for the others. -> `[N, hidden_size]`.
    pub fn encode_at(&self, pass: &Pass, batch: &Batch, tokens: &Tokens) -> Tensor<2> {
        self.run(pass, batch, Some(tokens))
    }

    fn run(&self, pass: &Pass, batch: &Batch, wanted: Option<&Tokens>) -> Tensor<2> {
        let states = match self.fixed {
            Some(_) => self.fixed_states(batch, wanted),
            None => self.embed(pass, batch),
        };
        self.encode_from(pass, states, &batch.offsets, wanted)
    }

    fn embed(&self, pass: &Pass, batch: &Batch) -> Tensor<2> {
        let long = self.before.lengthened(batch);
        let positions = self.before.moved(self.architecture.positions(&long));
        self.architecture.encoder().embed(pass, batch, &long, positions)
    }

    /// What the fixed layers make of a batch: plain states, `[T, hidden_size]`, or, where all layers are fixed, of the wanted
    /// tokens only. Of a model without fixed layers, its embeddings.
    pub fn fixed_states(&self, batch: &Batch, wanted: Option<&Tokens>) -> Tensor<2> {
        let (pass, layers) = (self.evaluating_pass(), self.fixed.unwrap_or(0));
        let wanted = wanted.filter(|_| layers == self.layers());
        self.architecture.encoder().run(&pass, 0..layers, self.embed(&pass, batch), &batch.offsets, wanted)
    }

    /// The layers above the fixed ones, from [`Model::fixed_states`]. -> `[T, hidden_size]` or of the wanted tokens.
    pub fn encode_from(
        &self,
        pass: &Pass,
        states: Tensor<2>,
        offsets: &Arc<[u32]>,
        wanted: Option<&Tokens>,
    ) -> Tensor<2> {
        let states = if self.fixed.is_some() { pass.enter(states) } else { states };
        if self.fixed == Some(self.layers()) {
            return states;
        }
        let layers = self.fixed.unwrap_or(0)..self.layers();
        let encoder = self.architecture.encoder();
        if self.before.tokens == 0 {
            return encoder.run(pass, layers, states, offsets, wanted);
        }
        let long = lengthened(offsets, self.before.tokens);
        let wanted = wanted.map(|tokens| tokens.lengthened(offsets, self.before.tokens));
        encoder.run(pass, layers, states, &long, wanted.as_ref())
    }

    /// MLM logits of some tokens' states. hidden `[N, hidden_size]` -> `[N, vocab_size]`.
    pub fn mlm_logits(&self, pass: &Pass, hidden: Tensor<2>) -> Tensor<2> {
        self.architecture.mlm_logits(pass, hidden)
    }

    /// Logits of the sequence head, from the sequences' first tokens. first `[B, hidden_size]` -> `[B, labels]` (`[B, 1]`
    /// for a regression).
    pub fn sequence_logits(&self, pass: &Pass, first: Tensor<2>) -> Tensor<2> {
        self.architecture.sequence_logits(pass, first)
    }

    /// Takes the place in memory of parameters that another model has with the same values.
    pub fn share(&mut self, other: &Parameters) {
        for (name, parameter) in &mut self.parameters {
            if let Some(same) = other.get(name)
                && same.weight.shape() == parameter.weight.shape()
                && same.weight.to_host() == parameter.weight.to_host()
            {
                parameter.weight = same.weight.clone();
            }
        }
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

    /// Positions the architecture can encode, less those that deltas take: the hard limit on a sequence's tokens.
    pub fn max_tokens(&self) -> usize {
        self.architecture.max_tokens().saturating_sub(self.before.taken())
    }

    /// Rows of the word embeddings: token ids must be below.
    pub fn vocab_size(&self) -> usize {
        self.architecture.encoder().dimensions.vocab_size
    }

    /// Layers of the encoder.
    pub fn layers(&self) -> usize {
        self.layout.layers()
    }

    pub fn hidden_size(&self) -> usize {
        self.architecture.encoder().dimensions.hidden_size
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classification(labels: usize) -> Head {
        Head::Sequence(Task::Classification { labels: (0..labels).map(|label| format!("label {label}")).collect() })
    }

    fn tiny(model_type: &str) -> Value {
        json!({
            "model_type": model_type, "vocab_size": 1000, "hidden_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "hidden_dim": 16, "max_position_embeddings": 40,
        })
    }

    fn fresh(config: &Value, head: &Head, seed: u64) -> Model {
        let (model, report) = Model::new(config, &Tensors::new(), head, seed, &Device::flex()).unwrap();
        assert_eq!(report.missing.len(), model.parameters.len());
        model
    }

    /// Ben-Zaken et al. 2021: 0.08 % of BERT-large's, 0.09 % of BERT-base's parameters; the counts follow from the
    /// architecture, L (7 d + ff) + 2 d.
    #[test]
    fn biases_of_bert_are_as_many_as_bitfit_counts() {
        let sizes = [
            (json!({"model_type": "bert"}), 102_912),
            (
                json!({"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                   "intermediate_size": 4096}),
                272_384,
            ),
        ];
        for (config, biases) in sizes {
            let layout = Model::layout_of(&config, &classification(2)).unwrap();
            assert_eq!(layout.count(|slot| slot.is_bias() && slot.part != Part::Head), biases);
        }
    }

    /// Totals that `transformers` reports (`num_parameters()`) for the published configurations.
    #[test]
    fn published_models_have_their_published_numbers_of_parameters() {
        let roberta = json!({"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1});
        for (config, head, count) in [
            (json!({"model_type": "bert"}), classification(2), 109_483_778),
            (json!({"model_type": "bert"}), Head::MaskedLm, 109_514_298),
            (roberta.clone(), classification(2), 124_647_170),
            (roberta, Head::MaskedLm, 124_697_433),
            (json!({"model_type": "distilbert"}), classification(2), 66_955_010),
            (json!({"model_type": "distilbert"}), Head::MaskedLm, 66_985_530),
        ] {
            assert_eq!(Model::layout_of(&config, &head).unwrap().count(|_| true), count, "{config} {head:?}");
        }
    }

    #[test]
    fn head_parameters_are_those_a_new_task_needs() {
        let head = |model_type| fresh(&tiny(model_type), &classification(3), 0).head_parameters().join(" ");
        assert_eq!(head("bert"), "classifier.weight classifier.bias");
        assert_eq!(
            head("roberta"),
            "classifier.dense.weight classifier.dense.bias classifier.out_proj.weight classifier.out_proj.bias"
        );
        assert_eq!(head("distilbert"), "pre_classifier.weight pre_classifier.bias classifier.weight classifier.bias");
    }

    #[test]
    fn first_values_are_those_of_transformers_and_depend_on_seed_and_name_only() {
        let model = fresh(&tiny("bert"), &classification(2), 1);
        let tensors = model.tensors();
        let words = &tensors["bert.embeddings.word_embeddings.weight"].data;
        assert!(words[..32].iter().all(|value| *value == 0.0), "the padding token's row is zero");
        let (count, sum) = (words.len() as f64 - 32.0, words.iter().map(|value| f64::from(*value)).sum::<f64>());
        let deviation = (words.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / count).sqrt();
        // Of 31,968 draws: five standard errors of the mean and of the deviation.
        assert!((sum / count).abs() < 5.0 * 0.02 / count.sqrt(), "{}", sum / count);
        assert!((deviation - 0.02).abs() < 5.0 * 0.02 / (2.0 * count).sqrt(), "{deviation}");
        assert!(tensors["bert.embeddings.LayerNorm.weight"].data.iter().all(|value| *value == 1.0));
        assert!(tensors["classifier.bias"].data.iter().all(|value| *value == 0.0));

        let masked = fresh(&tiny("bert"), &Head::MaskedLm, 1).tensors();
        assert_eq!(
            masked["bert.encoder.layer.0.output.dense.weight"],
            tensors["bert.encoder.layer.0.output.dense.weight"]
        );
        assert_ne!(fresh(&tiny("bert"), &classification(2), 2).tensors(), tensors);
    }

    #[test]
    fn a_head_with_other_labels_is_drawn_anew_and_reported() {
        let config = tiny("bert");
        let mut tensors = fresh(&config, &classification(3), 1).tensors();
        let (model, report) = Model::new(&config, &tensors, &classification(3), 9, &Device::flex()).unwrap();
        assert_eq!((report, &model.tensors()), (LoadReport::default(), &tensors));

        let (model, report) = Model::new(&config, &tensors, &classification(2), 9, &Device::flex()).unwrap();
        assert_eq!(report.missing, ["classifier.weight", "classifier.bias"]);
        assert_eq!(model.tensors()["classifier.weight"].shape, [2, 32]);

        crate::nn::models::drop_head(&mut tensors);
        let (_, report) = Model::new(&config, &tensors, &classification(3), 9, &Device::flex()).unwrap();
        assert_eq!(report.missing, ["classifier.weight", "classifier.bias"]);
    }

    #[test]
    fn a_pooler_is_carried_past_a_masked_language_model_and_other_left_overs_are_reported() {
        let config = tiny("bert");
        let mut tensors = fresh(&config, &classification(2), 1).tensors();
        tensors.insert("cls.seq_relationship.bias".into(), HostTensor { shape: vec![2], data: vec![0.0; 2] });
        let (model, report) = Model::new(&config, &tensors, &Head::MaskedLm, 1, &Device::flex()).unwrap();
        assert_eq!(report.unused, ["classifier.weight", "classifier.bias", "cls.seq_relationship.bias"]);
        assert_eq!(model.carried().keys().collect::<Vec<_>>(), ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]);
        assert_eq!(model.carried()["bert.pooler.dense.weight"], tensors["bert.pooler.dense.weight"]);
        assert!(!model.tensors().contains_key("bert.pooler.dense.weight"));
    }

    #[test]
    fn duplicates_of_tied_weights_in_older_files_are_neither_missing_nor_unused() {
        let config = tiny("bert");
        let mut tensors = fresh(&config, &Head::MaskedLm, 1).tensors();
        let embeddings = tensors["bert.embeddings.word_embeddings.weight"].clone();
        tensors.insert("cls.predictions.decoder.weight".into(), embeddings);
        let bias = tensors.shift_remove("cls.predictions.bias").unwrap();
        tensors.insert("cls.predictions.decoder.bias".into(), bias);
        let (model, report) = Model::new(&config, &tensors, &Head::MaskedLm, 2, &Device::flex()).unwrap();
        assert_eq!(report, LoadReport::default());
        assert!(model.tensors().contains_key("cls.predictions.bias"));
        assert!(!model.tensors().contains_key("cls.predictions.decoder.weight"));
    }

    #[test]
    fn tensors_that_contradict_the_configuration_are_named() {
        let config = tiny("bert");
        let whole = fresh(&config, &classification(2), 1).tensors();
        let load = |tensors: &Tensors| {
            Model::new(&config, tensors, &classification(2), 1, &Device::flex()).map(|_| ()).unwrap_err()
        };
        let name = "bert.encoder.layer.0.output.dense.weight";
        let mut wrong = whole.clone();
        wrong[name].shape.reverse();
        let (found, expected) = (vec![16, 32], vec![32, 16]);
        assert_eq!(load(&wrong), ModelError::Shape { name: name.into(), found, expected });

        let mut partial = whole;
        partial.shift_remove(name);
        assert_eq!(load(&partial), ModelError::Incomplete { count: 1, first: name.into() });
    }

    #[test]
    fn what_is_not_supported_is_an_error_that_says_so() {
        let read = |key: &str, value: Value| {
            let mut config = tiny("bert");
            config[key] = value;
            Model::layout_of(&config, &Head::MaskedLm).unwrap_err().to_string()
        };
        assert!(read("position_embedding_type", json!("relative_key")).contains("position_embedding_type"));
        assert!(read("hidden_act", json!("mish")).contains("mish"));
        assert!(read("is_decoder", json!(true)).contains("is_decoder"));
        assert!(read("num_attention_heads", json!(3)).contains("divisor of the hidden size, 32"));
        assert!(read("model_type", json!("gpt2")).contains("gpt2"));
        let no_labels = Model::new(&tiny("bert"), &Tensors::new(), &classification(0), 0, &Device::flex());
        assert_eq!(no_labels.map(|_| ()).unwrap_err(), ModelError::NoLabels);
    }

    #[test]
    fn training_only_some_parameters_counts_them() {
        let mut model = fresh(&tiny("bert"), &classification(2), 1);
        let biases = model.train_only(|slot| slot.is_bias() || slot.part == Part::Head);
        // Per layer 7 d + ff, twice d beside them; the classifier's weight and bias.
        assert_eq!(biases, (7 * 32 + 16) + 2 * 32 + (2 * 32 + 2));
        assert!(!model.parameters["bert.pooler.dense.weight"].trainable);
        assert_eq!(model.train_only(|_| true), model.count());
    }
}
