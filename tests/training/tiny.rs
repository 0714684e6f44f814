//! A tiny BERT and rows it can learn.

use burn::tensor::Device;
use ftp::data::batch::Encoding;
use ftp::data::set::Target;
use ftp::event::Event;
use ftp::hub::tensors::Tensors;
use ftp::lang::world::Task;
use ftp::nn::models::{Head, Model};
use ftp::nn::ops::Precision;
use ftp::random::Key;
use ftp::train::masking::Masking;
use ftp::train::{Fitted, MaskedLm, Objective, Rows, SequenceTask, Settings, Surroundings, TrainError, fit};
use serde_json::{Value, json};

pub const CLS: u32 = 2;
pub const SEP: u32 = 3;
pub const MASK: u32 = 4;
pub const VOCAB: u32 = 60;

/// Hidden size 16, two layers. The initial weights are larger than usual, so that so narrow a model says something.
pub fn config(dropout: f64) -> Value {
    json!({
        "model_type": "bert", "vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 48, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.2, "pad_token_id": 0,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    })
}

/// Computes in floats whatever the processor has, so that numbers can be compared on every machine.
pub fn model(config: &Value, head: Head) -> Model {
    let mut model = Model::new(config, &Tensors::new(), &head, 1, &Device::flex()).unwrap().0;
    model.precision = Precision::F32Strict;
    model
}

pub fn classifier(dropout: f64) -> Model {
    model(&config(dropout), Head::Sequence(two_labels()))
}

pub fn two_labels() -> Task {
    Task::Classification { labels: vec!["negative".into(), "positive".into()] }
}

pub fn classification() -> SequenceTask {
    SequenceTask { task: two_labels() }
}

pub fn masked_lm() -> MaskedLm {
    MaskedLm { masking: Masking { probability: 0.15, whole_words: false, mask_token: MASK, vocab_size: VOCAB } }
}

/// Rows of 3 to 26 tokens, each holding one of two marker tokens among others; the marker is the class.
pub fn marked(count: usize, seed: u64) -> (Vec<Encoding>, Vec<Target>) {
    let rows = (0..count as u64).map(|row| {
        let draws = Key::new(seed, "test rows").at(row);
        let class = (row % 2) as u32;
        let length = 1 + draws.below(0, 24);
        let marker = draws.below(1, length);
        let word = |at| if at == marker { 10 + class } else { 12 + draws.below(2 + u64::from(at), VOCAB - 12) };
        (encoding((0..length).map(word)), Target::Class(class))
    });
    rows.unzip()
}

/// Framed by special tokens, every other token a word of its own.
pub fn encoding(tokens: impl Iterator<Item = u32>) -> Encoding {
    let ids: Vec<u32> = [CLS].into_iter().chain(tokens).chain([SEP]).collect();
    let length = ids.len();
    let words = (0..length as u32).map(|at| if at == 0 || at as usize == length - 1 { u32::MAX } else { at - 1 });
    Encoding { words: words.collect(), segments: vec![0; length], ids }
}

/// No warm-up, no decay of the learning rate, every step reported.
pub fn settings() -> Settings {
    Settings {
        batch_size: 8,
        schedule: ftp::train::schedule::Schedule::Constant,
        warmup: ftp::train::schedule::Warmup::Steps(0),
        learning_rate: 5e-3,
        log_interval: 0.0,
        ..Settings::default()
    }
}

/// A stage that nobody watches over but `sink`.
pub fn around<'a>(stage: &'a str, sink: &'a dyn Fn(Event)) -> Surroundings<'a> {
    Surroundings { stage, sink, checkpoint: None, relay: None, turns: None }
}

pub fn quiet(
    model: &mut Model,
    objective: &dyn Objective,
    rows: Rows,
    settings: &Settings,
) -> Result<Fitted, TrainError> {
    fit(model, objective, rows, None, settings, around("test", &|_| {}))
}

/// The bytes of every parameter.
pub fn bytes(model: &Model) -> Vec<(String, Vec<u8>)> {
    let bytes = |data: Vec<f32>| data.into_iter().flat_map(f32::to_le_bytes).collect();
    model.tensors().into_iter().map(|(name, tensor)| (name, bytes(tensor.data))).collect()
}
