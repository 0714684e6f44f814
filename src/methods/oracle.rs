//! What the tests of every delta method ask of it: a narrow model, and the properties deltas share.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor};
use serde_json::json;

use super::{DeltaSpec, Model, delta, freeze, registry};
use crate::data::batch::{Batch, Encoding};
use crate::data::set::Target;
use crate::event::{Event, Notice};
use crate::hub::tensors::{HostTensor, Tensors};
use crate::lang::signature::Default;
use crate::lang::value::Value;
use crate::lang::world::Task;
use crate::nn::models::Head;
use crate::nn::models::layout::Part;
use crate::nn::ops::{self, Precision};
use crate::nn::parameters::Weight;
use crate::nn::pass::Pass;
use crate::random::Key;
use crate::train::schedule::{Schedule, Warmup};
use crate::train::{self, Rows, SequenceTask, Settings};

/// A delta method with its defaults and these changes.
pub fn spec(method: &str, changes: &[(&str, Value)]) -> DeltaSpec {
    let signature = registry().get(method).unwrap();
    let defaults = signature.parameters.iter();
    let mut parameters: indexmap::IndexMap<String, Value> = defaults
        .map(|parameter| match &parameter.default {
            Default::Value(value) => (parameter.name.to_owned(), value.clone()),
            _ => panic!("`{}` of `{method}` has no default", parameter.name),
        })
        .collect();
    for (name, value) in changes {
        assert!(parameters.insert(name.to_string(), value.clone()).is_some(), "`{method}` has no `{name}`");
    }
    DeltaSpec { method: method.into(), version: signature.version, parameters }
}

fn task() -> Task {
    Task::Classification { labels: vec!["no".into(), "yes".into(), "maybe".into()] }
}

/// Without dropout, and with first weights large enough for so narrow a model to say something.
pub fn model() -> Model {
    model_of(&Tensors::new())
}

pub fn model_of(tensors: &Tensors) -> Model {
    model_with(&Head::Sequence(task()), tensors)
}

fn model_with(head: &Head, tensors: &Tensors) -> Model {
    let config = json!({
        "model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 12, "max_position_embeddings": 16, "initializer_range": 0.3,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    });
    let mut model = Model::new(&config, tensors, head, 5, &Device::flex()).unwrap().0;
    model.precision = Precision::F32Strict;
    model
}

pub fn attached(spec: &DeltaSpec) -> Model {
    let mut model = model();
    attach(&mut model, std::slice::from_ref(spec));
    model
}

fn attach(model: &mut Model, specs: &[DeltaSpec]) {
    for spec in specs {
        freeze::attach(spec, model, 5).unwrap();
    }
}

/// Attached, and moved away from the pretrained model as training would do.
pub fn moved(spec: &DeltaSpec) -> Model {
    moved_stack(std::slice::from_ref(spec))
}

fn moved_stack(specs: &[DeltaSpec]) -> Model {
    let mut model = model();
    attach_moved(&mut model, specs);
    model
}

fn attach_moved(model: &mut Model, specs: &[DeltaSpec]) {
    attach(model, specs);
    for name in delta_names(model) {
        let mut value = model.parameters[&name].weight.to_host();
        for (at, value) in value.data.iter_mut().enumerate() {
            *value += 0.5 * (at as f32 * 0.7 + name.len() as f32).sin();
        }
        set(model, &name, &value);
    }
}

fn delta_names(model: &Model) -> Vec<String> {
    let slots = model.layout().slots.iter().filter(|slot| slot.part == Part::Delta);
    slots.map(|slot| slot.name.clone()).collect()
}

pub fn set(model: &mut Model, name: &str, value: &HostTensor) {
    model.parameters[name].weight = Weight::from_host(value, &Device::flex()).unwrap();
}

fn encoding(ids: &[u32]) -> Encoding {
    Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], words: vec![] }
}

pub fn logits(model: &Model, pass: &Pass) -> Tensor<2> {
    let batch = Batch::pack(&[encoding(&[2, 7, 9, 3]), encoding(&[2, 11, 3])]);
    model.sequence_logits(pass, model.encode_at(pass, &batch, &batch.first_tokens()))
}

/// Logits of two rows.
pub fn evaluated(model: &Model) -> Vec<f32> {
    Weight::Matrix(logits(model, &model.evaluating_pass())).to_host().data
}

/// The same logits, read from the states of all tokens.
pub fn evaluated_whole(model: &Model) -> Vec<f32> {
    let batch = Batch::pack(&[encoding(&[2, 7, 9, 3]), encoding(&[2, 11, 3])]);
    let pass = model.evaluating_pass();
    let first = ops::gather(model.encode(&pass, &batch), batch.first_tokens().rows);
    Weight::Matrix(model.sequence_logits(&pass, first)).to_host().data
}

pub fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (one, other) in left.iter().zip(right) {
        assert!((one - other).abs() < tolerance, "{one} {other}");
    }
}

/// The moved delta, folded into the model's own weights, computes what it does beside them, and nothing of it is left.
pub fn folds(spec: &DeltaSpec) {
    stack_folds(std::slice::from_ref(spec));
}

/// The same of several deltas, attached and folded in one order.
pub fn stack_folds(specs: &[DeltaSpec]) {
    let with = moved_stack(specs);
    let mut tensors = with.tensors();
    for spec in specs {
        delta(&spec.method).unwrap().fold.unwrap()(spec, &mut tensors).unwrap();
    }
    let folded = model_of(&tensors);
    assert_eq!(tensors.len(), folded.tensors().len(), "nothing of the delta is left");
    assert_close(&evaluated(&with), &evaluated(&folded), 1e-5);
    assert_ne!(evaluated(&folded), evaluated(&model()));
}

/// A delta whose map the model below lacks does not fold.
pub fn misses(spec: &DeltaSpec, weight: &str) {
    let mut tensors = moved(spec).tensors();
    tensors.shift_remove(weight).unwrap();
    let error = delta(&spec.method).unwrap().fold.unwrap()(spec, &mut tensors).unwrap_err();
    assert_eq!(error.code, "ftp::peft::incomplete_delta");
}

/// As many tensors of the moved delta have gradients, nothing else has any, and they are the central differences of a sum
/// of weighted logits.
pub fn has_gradients(spec: &DeltaSpec, tensors: usize) {
    let mut model = moved(spec);
    let gradients = gradients(spec, &mut model);
    assert_eq!(gradients.len(), tensors);
    for (name, gradient) in &gradients {
        is_slope(&mut model, name, gradient);
    }
}

/// Of the sum of weighted logits with respect to what the delta trains.
pub fn gradients(spec: &DeltaSpec, model: &mut Model) -> Tensors {
    let (trains, layers) = (delta(&spec.method).unwrap().trains, model.layers());
    model.train_only(|slot| trains(spec, layers, slot) && !freeze::holds(spec, slot));
    let pass = model.training_pass(Key::new(1, "dropout"));
    let loss = (logits(model, &pass) * Tensor::from_inner(weights_tensor())).sum();
    pass.gradients(loss).into_iter().map(|(name, gradient)| (name, gradient.to_host())).collect()
}

fn weights() -> [f32; 6] {
    std::array::from_fn(|at| (at as f32 + 0.5).cos())
}

/// As [`has_gradients`], of the logits of words under a masked-language-model head.
pub fn has_word_gradients(spec: &DeltaSpec, tensors: usize) {
    let mut model = model_with(&Head::MaskedLm, &Tensors::new());
    attach_moved(&mut model, std::slice::from_ref(spec));
    let (trains, layers) = (delta(&spec.method).unwrap().trains, model.layers());
    model.train_only(|slot| trains(spec, layers, slot));
    let words = |model: &Model, pass: &Pass| {
        let batch = Batch::pack(&[encoding(&[2, 7, 9, 3]), encoding(&[2, 11, 3])]);
        let wanted = batch.tokens_at([1, 5].into());
        let logits = model.mlm_logits(pass, model.encode_at(pass, &batch, &wanted)); // [2, 30]
        logits.narrow(1, 4, 3)
    };
    let pass = model.training_pass(Key::new(1, "dropout"));
    let loss = (words(&model, &pass) * Tensor::from_inner(weights_tensor())).sum();
    let gradients: Tensors =
        pass.gradients(loss).into_iter().map(|(name, gradient)| (name, gradient.to_host())).collect();
    assert_eq!(gradients.len(), tensors);
    for (name, gradient) in &gradients {
        let evaluated = |model: &Model| Weight::Matrix(words(model, &model.evaluating_pass())).to_host().data;
        is_slope_of(&mut model, name, gradient, &evaluated);
    }
}

fn weights_tensor() -> Tensor<2> {
    let weights = HostTensor { shape: vec![2, 3], data: weights().to_vec() };
    let Some(Weight::Matrix(weights)) = Weight::from_host(&weights, &Device::flex()) else { unreachable!("a matrix") };
    weights
}

/// Whether a parameter's gradient is the central differences of the sum of weighted logits.
pub fn is_slope(model: &mut Model, name: &str, gradient: &HostTensor) {
    is_slope_of(model, name, gradient, &evaluated);
}

/// Logits of two rows in the pass that [`gradients`] differentiates, with what a delta draws there.
pub fn drawn(model: &Model) -> Vec<f32> {
    Weight::Matrix(logits(model, &model.training_pass(Key::new(1, "dropout"))).inner()).to_host().data
}

/// [`is_slope`], with other logits.
pub fn is_slope_of(model: &mut Model, name: &str, gradient: &HostTensor, logits: &dyn Fn(&Model) -> Vec<f32>) {
    let objective = |logits: Vec<f32>| logits.iter().zip(weights()).map(|(x, w)| f64::from(x * w)).sum::<f64>();
    let original = model.parameters[name].weight.to_host();
    for at in (0..original.data.len()).step_by(5) {
        let mut at_distance = |distance: f32| {
            let mut changed = original.clone();
            changed.data[at] += distance;
            set(model, name, &changed);
            objective(logits(model))
        };
        let slope = (at_distance(1e-2) - at_distance(-1e-2)) / 2e-2;
        let difference = (slope - f64::from(gradient.data[at])).abs();
        assert!(difference < 2e-3 * slope.abs().max(1.0), "{name} {at}: {slope} {}", gradient.data[at]);
    }
    set(model, name, &original);
}

/// Trains the delta with the head on rows that hold one of three marker tokens, and the head alone on the same rows for as
/// long: the frozen model is random, so the head alone stays near chance, `ln 3`, and the delta must get well below.
pub fn learns(spec: &DeltaSpec, learning_rate: f64) {
    learns_to(spec, learning_rate, 0.75);
}

/// The same for deltas that say less in so narrow a model: to this share of the head's loss.
pub fn learns_to(spec: &DeltaSpec, learning_rate: f64, share: f64) {
    let loss = |delta_too: bool| {
        let mut model = attached(spec);
        let (trains, layers) = (delta(&spec.method).unwrap().trains, model.layers());
        model.train_only(|slot| slot.part == Part::Head || delta_too && trains(spec, layers, slot));
        fit_delta(Some(spec), &mut model, learning_rate, None).0
    };
    let (head, both) = (loss(false), loss(true));
    assert!(both < share * head, "head alone {head}, with the delta {both}");
}

/// Trains what is trainable, for 24 epochs or so many steps; the loss of the last epoch.
pub fn fit(model: &mut Model, learning_rate: f64, steps: Option<u64>) -> f64 {
    fit_delta(None, model, learning_rate, steps).0
}

/// [`fit`], with what the delta says about training; also what was noted.
pub fn fit_delta(
    spec: Option<&DeltaSpec>,
    model: &mut Model,
    learning_rate: f64,
    steps: Option<u64>,
) -> (f64, Vec<Notice>) {
    let rows = (0..96_u64).map(|row| {
        let (draws, class) = (Key::new(3, "rows").at(row), (row % 3) as u32);
        let length = 1 + draws.below(0, 8);
        let marker = draws.below(1, length);
        let word = |at| if at == marker { 5 + class } else { 8 + draws.below(2 + u64::from(at), 22) };
        let ids: Vec<u32> = [2].into_iter().chain((0..length).map(word)).chain([3]).collect();
        (encoding(&ids), Target::Class(class))
    });
    let (encodings, targets): (Vec<Encoding>, Vec<Target>) = rows.unzip();
    let settings = Settings {
        batch_size: 8,
        epochs: 24.0,
        steps,
        schedule: Schedule::Constant,
        warmup: Warmup::Steps(0),
        weight_decay: 0.0,
        learning_rate,
        ..<Settings as std::default::Default>::default()
    };
    let settings = match spec {
        Some(spec) => settings.with_delta(&spec.method, &spec.parameters),
        None => settings,
    };
    let objective = SequenceTask { task: task() };
    let rows = Rows::labelled(&encodings, &targets);
    let notices = RefCell::new(vec![]);
    let sink = |event| {
        if let Event::Notice { notice, .. } = event {
            notices.borrow_mut().push(notice);
        }
    };
    let around = train::Surroundings { stage: "test", sink: &sink, checkpoint: None, relay: None, turns: None };
    let loss = train::fit(model, &objective, rows, None, &settings, around).unwrap().train_loss;
    (loss, notices.into_inner())
}
