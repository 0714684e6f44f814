//! What each technique of stable fine-tuning promises.

use std::cell::RefCell;

use burn::tensor::Device;
use ftp::data::order::Budget;
use ftp::event::Event;
use ftp::hub::tensors::HostTensor;
use ftp::lang::signature::ParameterType;
use ftp::lang::value::Value;
use ftp::lang::world::Task;
use ftp::nn::gradient::Gradients;
use ftp::nn::models::Model;
use ftp::nn::models::layout::Slot;
use ftp::nn::parameters::Weight;
use ftp::random::Key;
use ftp::train::reader::Reader;
use ftp::train::stability::{At, Beginning, Techniques};
use ftp::train::step::{Accumulated, Draws, accumulate};
use ftp::train::{Fitted, Rows, SequenceTask, Settings, TrainError, evaluate, fit};
use indexmap::IndexMap;

use super::tiny;

pub type Parameters<'a> = &'a [(&'a str, Value)];

fn values(parameters: Parameters) -> IndexMap<String, Value> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub fn with(parameters: Parameters) -> Settings {
    Settings { stability: values(parameters), epochs: 2.0, ..tiny::settings() }
}

pub fn name(name: &str) -> Value {
    Value::Name(name.into())
}

pub fn train(model: &mut Model, settings: &Settings, told: &RefCell<Vec<Event>>) -> Result<Fitted, TrainError> {
    let (encodings, targets) = tiny::marked(24, 3);
    let sink = |event| told.borrow_mut().push(event);
    let rows = Rows::labelled(&encodings, &targets);
    fit(model, &tiny::classification(), rows, None, settings, tiny::around("test", &sink))
}

pub fn trained(dropout: f64, parameters: Parameters) -> Model {
    let mut model = tiny::classifier(dropout);
    train(&mut model, &with(parameters), &RefCell::default()).unwrap();
    model
}

pub fn begin(model: &Model, parameters: Parameters) -> Techniques {
    try_begin(model, parameters).unwrap()
}

fn try_begin(model: &Model, parameters: Parameters) -> Result<Techniques, TrainError> {
    let chosen = values(parameters);
    let read = Reader(&chosen);
    Techniques::begin(&mut Beginning {
        read,
        model,
        seed: 7,
        learning_rate: 1e-3,
        epochs: 3.0,
        steps: 9,
        steps_per_epoch: 3,
        rows: 8,
        labelled: 8,
        notices: vec![],
    })
}

/// What the language says a parameter belongs to is what reads it.
#[test]
fn a_parameter_is_read_exactly_where_its_signature_says_that_it_acts() {
    let model = tiny::classifier(0.0);
    let finetune = ftp::methods::registry().get("finetune").unwrap();
    let mut tried = 0;
    // `unlabelled` names rows, which no technique sees as a parameter.
    for parameter in finetune.parameters.iter().filter(|parameter| parameter.name != "unlabelled") {
        let Some(beside) = parameter.beside else { continue };
        let owner = finetune.parameter(beside.parameter).unwrap();
        let owners: Vec<Value> = match &owner.ty {
            ParameterType::Choice(values) => values.iter().map(|value| name(value)).collect(),
            _ => vec![Value::Int(2)],
        };
        for owned_by in owners.into_iter().chain([Value::None]) {
            let value = match parameter.ty {
                ParameterType::Int { .. } => Value::Int(1),
                ParameterType::Steps => Value::Steps(2),
                _ => Value::Float(0.5),
            };
            let acts = beside.acts(&owned_by);
            let begun = try_begin(&model, &[(beside.parameter, owned_by.clone()), (parameter.name, value)]);
            let idle = matches!(&begun, Err(TrainError::Idle { name }) if name == parameter.name);
            assert_eq!(idle, !acts, "{} beside {owned_by}: {:?}", parameter.name, begun.err());
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

pub fn is_head(slot: &Slot) -> bool {
    slot.name.contains("classifier") || slot.name.contains("pooler")
}

// Rates.

#[test]
fn the_rate_of_a_layer_is_that_of_the_layer_above_times_the_decay() {
    let mut model = tiny::classifier(0.0);
    let lora = HostTensor { shape: vec![2, 16], data: vec![0.0; 32] };
    let added = "bert.encoder.layer.0.attention.self.query.lora_A.weight";
    model.add_parameter(added.into(), ftp::nn::models::layout::Role::Weight, &lora);
    let beside = "adapters.0.layer.0.output.up.weight";
    model.add_parameter(beside.into(), ftp::nn::models::layout::Role::Weight, &lora);
    let techniques = begin(&model, &[("layer_decay", Value::Float(0.9))]);
    for slot in &model.layout().slots {
        let expected: f64 = match slot.layer {
            Some(1) => 1.0,
            Some(0) => 0.9,
            _ if is_head(slot) => 1.0,
            _ if slot.name == added => 0.9,
            _ => 0.81,
        };
        assert!((techniques.rate(&slot.name) - expected).abs() < 1e-12, "{}", slot.name);
    }
}

/// The first step of AdamW moves a number by its rate, whatever the size of its gradient.
#[test]
fn lower_layers_move_less_by_the_decay() {
    let settings = Settings { steps: Some(1), weight_decay: 0.0, ..with(&[("layer_decay", Value::Float(0.5))]) };
    let mut model = tiny::classifier(0.0);
    let before = model.tensors();
    train(&mut model, &settings, &RefCell::default()).unwrap();
    let after = model.tensors();
    for (name, share) in [("classifier", 1.0f32), ("layer.1.output.dense", 1.0), ("layer.0.output.dense", 0.5)] {
        let name = before.keys().find(|known| known.contains(name) && known.ends_with("weight")).unwrap();
        let moved = before[name].data.iter().zip(&after[name].data).map(|(old, new)| (new - old).abs());
        let largest = moved.fold(0.0f32, f32::max);
        assert!((largest / (5e-3 * share) - 1.0).abs() < 1e-3, "{name} {largest}");
    }
}

// Unfreezing.

#[test]
fn after_each_epoch_one_more_group_from_the_top_has_moved_and_those_below_have_not() {
    for (epochs, lowest) in [(1.0, 3), (2.0, 2), (3.0, 1), (4.0, 0)] {
        let mut model = tiny::classifier(0.1);
        let before = tiny::bytes(&model);
        let settings = Settings { epochs, ..with(&[("unfreeze_every", Value::Epochs(1.0))]) };
        let told = RefCell::default();
        train(&mut model, &settings, &told).unwrap();
        for ((name, old), (_, new)) in before.iter().zip(tiny::bytes(&model)) {
            let slot = model.layout().slots.iter().find(|slot| slot.name == *name).unwrap();
            let group = if is_head(slot) { 3 } else { slot.layer.map_or(0, |layer| layer + 1) };
            // The first layer's key bias has no gradient but rounding: adding to all keys alike changes no attention.
            assert!((*old != new) == (group >= lowest) || name.ends_with("key.bias"), "{epochs} epochs: {name}");
        }
        assert!(model.parameters.values().all(|parameter| parameter.trainable), "all of them count as trained");
        let never = told
            .borrow()
            .iter()
            .any(|event| matches!(event, Event::Notice { notice, .. } if notice.code == "ftp::train::never_unfrozen"));
        assert_eq!(never, lowest > 0);
    }
}

#[test]
fn unfreezing_leaves_what_a_delta_holds_fixed_alone() {
    let mut model = tiny::classifier(0.1);
    model.train_only(|slot| slot.is_bias() || is_head(slot));
    let before = tiny::bytes(&model);
    let settings = Settings { epochs: 5.0, ..with(&[("unfreeze_every", Value::Epochs(1.0))]) };
    train(&mut model, &settings, &RefCell::default()).unwrap();
    for ((name, old), (_, new)) in before.into_iter().zip(tiny::bytes(&model)) {
        assert!((old != new) == model.parameters[&name].trainable || name.ends_with("key.bias"), "{name}");
    }
}

// Mixout.

/// The steps of a technique by hand: what the passes see.
fn mixed(model: &mut Model, techniques: &mut Techniques, step: u64) -> Vec<f32> {
    let at = At { step, steps: 10, epochs: 0.0 };
    techniques.before(model, at);
    let seen = model.parameters["classifier.weight"].weight.to_host().data;
    techniques.differentiated(model, &mut Gradients::new(), 1.0);
    seen
}

#[test]
fn mixout_gives_the_first_weight_or_keeps_the_mean_and_puts_the_weights_back() {
    let mut model = tiny::classifier(0.1);
    let mut techniques = begin(&model, &[("mixout", Value::Float(0.25))]);
    let first = model.parameters["classifier.weight"].weight.to_host();
    assert_eq!(mixed(&mut model, &mut techniques, 1), first.data, "nothing is mixed before anything has moved");
    let moved: Vec<f32> = first.data.iter().map(|value| value + 0.5).collect();
    let weight = HostTensor { shape: first.shape.clone(), data: moved.clone() };
    model.parameters["classifier.weight"].weight = Weight::from_host(&weight, &Device::flex()).unwrap();
    let (mut sum, mut dropped, steps) = (vec![0.0f64; moved.len()], 0, 4000);
    for step in 1..=steps {
        for (at, value) in mixed(&mut model, &mut techniques, step).into_iter().enumerate() {
            // Equation 4 of the paper.
            let kept = (moved[at] - 0.25 * first.data[at]) / 0.75;
            let is_first = (value - first.data[at]).abs() < 1e-5;
            assert!(is_first || (value - kept).abs() < 1e-5, "{value} {kept}");
            dropped += usize::from(is_first);
            sum[at] += f64::from(value);
        }
        assert_eq!(model.parameters["classifier.weight"].weight.to_host().data, moved);
    }
    let draws = steps as f64 * moved.len() as f64;
    assert!((dropped as f64 / draws - 0.25).abs() < 5.0 * (0.25 * 0.75 / draws).sqrt());
    for (sum, weight) in sum.iter().zip(&moved) {
        // A kept number is 0.5 / 0.75 away from the first: five standard errors of the mean.
        let error = 5.0 * 0.5 / 0.75 * (0.25f64 * 0.75 / steps as f64).sqrt();
        assert!((sum / steps as f64 - f64::from(*weight)).abs() < error);
    }
}

#[test]
fn the_gradient_of_mixout_is_that_of_the_formula() {
    let mut model = tiny::classifier(0.0);
    let mut techniques = begin(&model, &[("mixout", Value::Float(0.4))]);
    // Somewhere else than at the beginning.
    shift(&mut model, |slot| slot.role == ftp::nn::models::layout::Role::Weight, 0.1);
    let mut run = |model: &mut Model| {
        techniques.before(model, At { step: 3, steps: 10, epochs: 0.0 });
        let mut sum = step_of(model, &tiny::classification(), &techniques);
        techniques.differentiated(model, &mut sum.gradients, 1.0);
        sum
    };
    assert_slopes(&mut model, &mut run, |_| true, 2e-2);
}

#[test]
fn a_share_of_0_mixes_nothing_and_mixout_takes_the_place_of_dropout() {
    assert!(tiny::bytes(&trained(0.1, &[("mixout", Value::Float(0.0))])) == tiny::bytes(&trained(0.1, &[])));
    let [with_dropout, without] = [0.1, 0.0].map(|dropout| trained(dropout, &[("mixout", Value::Float(0.3))]));
    assert!(tiny::bytes(&with_dropout) == tiny::bytes(&without));
    assert!(tiny::bytes(&without) != tiny::bytes(&trained(0.0, &[])));
}

// Gradients against differences of the loss.

/// Adds noise of this size to some parameters.
pub fn shift(model: &mut Model, which: impl Fn(&Slot) -> bool, size: f32) {
    for slot in model.layout().slots.clone().iter().filter(|slot| which(slot)) {
        let mut host = model.parameters[&slot.name].weight.to_host();
        let key = Key::new(5, &slot.name);
        host.data.iter_mut().enumerate().for_each(|(at, value)| *value += size * key.normal(at as u64));
        model.parameters[&slot.name].weight = Weight::from_host(&host, &Device::flex()).unwrap();
    }
}

/// Loss and gradients of one step over 8 rows, in two passes.
pub fn step_of(model: &Model, objective: &SequenceTask, techniques: &Techniques) -> Accumulated {
    let (encodings, mut targets) = tiny::marked(8, 3);
    if objective.task == Task::Regression {
        targets = (0..8).map(|row| ftp::data::set::Target::Score(row as f32 / 4.0)).collect();
    }
    let rows = Rows::labelled(&encodings, &targets);
    let draws = Draws { masks: Key::new(1, "mask"), dropout: Key::new(1, "dropout") };
    let budget = Budget { rows: 5, tokens: usize::MAX };
    let chosen: Vec<usize> = (0..8).collect();
    accumulate(model, objective, rows, &chosen, budget, draws, techniques.regularizer()).unwrap()
}

/// The slope of the loss along the gradient of a parameter, by differences, over the gradient's norm: 1 where the gradient is
/// right. `None` where the norm is so small that the slope drowns in the rounding of the loss.
pub fn slope_over_norm(model: &mut Model, run: &mut dyn FnMut(&mut Model) -> Accumulated, name: &str) -> Option<f64> {
    let gradient = run(model).gradients[name].to_host();
    let before = model.parameters[name].weight.to_host();
    let norm = gradient.data.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm < 0.05 {
        return None;
    }
    let mut at = |distance: f64| {
        let moved = before.data.iter().zip(&gradient.data);
        let data = moved.map(|(value, slope)| (f64::from(*value) + distance / norm * f64::from(*slope)) as f32);
        let host = HostTensor { shape: before.shape.clone(), data: data.collect() };
        model.parameters[name].weight = Weight::from_host(&host, &Device::flex()).unwrap();
        run(model).loss
    };
    let step = 4e-3;
    let slope = (at(step) - at(-step)) / (2.0 * step);
    model.parameters[name].weight = Weight::from_host(&before, &Device::flex()).unwrap();
    Some(slope / norm)
}

pub fn assert_slopes(
    model: &mut Model,
    run: &mut dyn FnMut(&mut Model) -> Accumulated,
    which: impl Fn(&str) -> bool,
    within: f64,
) {
    let names: Vec<String> = run(model).gradients.keys().filter(|name| which(name)).cloned().collect();
    let slopes = names.iter().filter_map(|name| Some((name, slope_over_norm(model, run, name)?)));
    let slopes: Vec<(&String, f64)> = slopes.collect();
    assert!(slopes.len() > 5, "only {} parameters have a slope", slopes.len());
    for (name, slope) in slopes {
        assert!((slope - 1.0).abs() < within, "{name}: {slope}");
    }
}

#[test]
fn all_techniques_together_learn_the_rows() {
    for regularizer in ["r4f", "freelb", "smart", "pi", "temporal"] {
        let mut model = tiny::classifier(0.1);
        let parameters = [
            ("layer_decay", Value::Float(0.9)),
            ("unfreeze_every", Value::Epochs(0.5)),
            ("mixout", Value::Float(0.1)),
            ("regularizer", name(regularizer)),
        ];
        let settings = Settings { epochs: 40.0, ..with(&parameters) };
        train(&mut model, &settings, &RefCell::default()).unwrap();
        let (encodings, targets) = tiny::marked(24, 3);
        let scores = evaluate(&model, &tiny::classification(), Rows::labelled(&encodings, &targets), 0).unwrap().scores;
        assert!(scores.get("accuracy") > Some(0.9), "{regularizer}: {scores:?}");
    }
}

#[test]
fn parameters_out_of_range_or_without_effect_are_refused_by_name() {
    let cases: [(&[(&str, Value)], &str); 14] = [
        (&[("layer_decay", Value::Float(0.0))], "layer_decay"),
        (&[("mixout", Value::Float(1.0))], "mixout"),
        (&[("unfreeze_every", Value::Float(-1.0))], "unfreeze_every"),
        (&[("regularizer_weight", Value::Float(1.0))], "regularizer_weight"),
        (&[("regularizer", name("r3f")), ("ascent_steps", Value::Int(2))], "ascent_steps"),
        (&[("regularizer", name("smart")), ("noise", Value::Float(-1.0))], "noise"),
        (&[("regularizer", name("freelb")), ("ascent_steps", Value::Int(0))], "ascent_steps"),
        (&[("regularizer", name("temporal")), ("ensembling_momentum", Value::Float(1.0))], "ensembling_momentum"),
        (&[("regularizer", name("pi")), ("ensembling_momentum", Value::Float(0.5))], "ensembling_momentum"),
        (&[("regularizer", name("temporal")), ("noise", Value::Float(0.5))], "noise"),
        (&[("cycles", Value::Int(1000))], "cycles"),
        (&[("snapshot", Value::Int(1))], "snapshot"),
        (&[("cycles", Value::Int(2)), ("snapshot", Value::Int(3))], "snapshot"),
        (&[("average_from", Value::Float(0.5))], "average_from"),
    ];
    for (parameters, name) in cases {
        let error = train(&mut tiny::classifier(0.0), &with(parameters), &RefCell::default()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
