//! What each technique of stable fine-tuning promises.

use std::cell::RefCell;

use burn::tensor::Device;
use ftp::data::order::Budget;
use ftp::event::Event;
use ftp::hub::tensors::HostTensor;
use ftp::lang::value::Value;
use ftp::lang::world::Task;
use ftp::nn::gradient::Gradients;
use ftp::nn::models::layout::Slot;
use ftp::nn::models::{Head, Model};
use ftp::nn::parameters::Weight;
use ftp::random::Key;
use ftp::train::reader::Reader;
use ftp::train::stability::{At, Beginning, Techniques};
use ftp::train::step::{Accumulated, Draws, accumulate};
use ftp::train::{Fitted, Rows, SequenceTask, Settings, TrainError, evaluate, fit};
use indexmap::IndexMap;

use super::tiny;

type Parameters<'a> = &'a [(&'a str, Value)];

fn values(parameters: Parameters) -> IndexMap<String, Value> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn with(parameters: Parameters) -> Settings {
    Settings { stability: values(parameters), epochs: 2.0, ..tiny::settings() }
}

fn name(name: &str) -> Value {
    Value::Name(name.into())
}

fn train(model: &mut Model, settings: &Settings, told: &RefCell<Vec<Event>>) -> Result<Fitted, TrainError> {
    let (encodings, targets) = tiny::marked(24, 3);
    let sink = |event| told.borrow_mut().push(event);
    let rows = Rows::labelled(&encodings, &targets);
    fit(model, &tiny::classification(), rows, None, settings, tiny::around("test", &sink))
}

fn trained(dropout: f64, parameters: Parameters) -> Model {
    let mut model = tiny::classifier(dropout);
    train(&mut model, &with(parameters), &RefCell::default()).unwrap();
    model
}

fn begin(model: &Model, parameters: Parameters) -> Techniques {
    let chosen = values(parameters);
    let read = Reader(&chosen);
    Techniques::begin(&mut Beginning { read, model, seed: 7, epochs: 3.0, notices: vec![] }).unwrap()
}

fn is_head(slot: &Slot) -> bool {
    slot.name.contains("classifier") || slot.name.contains("pooler")
}

// Rates.

#[test]
fn the_rate_of_a_layer_is_that_of_the_layer_above_times_the_decay() {
    let mut model = tiny::classifier(0.0);
    let lora = HostTensor { shape: vec![2, 16], data: vec![0.0; 32] };
    let added = "bert.encoder.layer.0.attention.self.query.lora_A.weight";
    model.add_parameter(added.into(), ftp::nn::models::layout::Role::Weight, &lora);
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
    techniques.differentiated(model, &mut Gradients::new());
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
        techniques.differentiated(model, &mut sum.gradients);
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

// Regularizers.

/// Adds noise of this size to some parameters.
fn shift(model: &mut Model, which: impl Fn(&Slot) -> bool, size: f32) {
    for slot in model.layout().slots.clone().iter().filter(|slot| which(slot)) {
        let mut host = model.parameters[&slot.name].weight.to_host();
        let key = Key::new(5, &slot.name);
        host.data.iter_mut().enumerate().for_each(|(at, value)| *value += size * key.normal(at as u64));
        model.parameters[&slot.name].weight = Weight::from_host(&host, &Device::flex()).unwrap();
    }
}

/// Loss and gradients of one step over 8 rows, in two passes.
fn step_of(model: &Model, objective: &SequenceTask, techniques: &Techniques) -> Accumulated {
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
fn slope_over_norm(model: &mut Model, run: &mut dyn FnMut(&mut Model) -> Accumulated, name: &str) -> Option<f64> {
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

fn assert_slopes(
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

fn classifier_of(task: Task, dropout: f64) -> (Model, SequenceTask) {
    (tiny::model(&tiny::config(dropout), Head::Sequence(task.clone())), SequenceTask { task })
}

#[test]
fn gradients_of_every_regularizer_are_the_slopes_of_its_loss() {
    let big = ("noise", Value::Float(0.3));
    let cases: [(&str, Vec<(&str, Value)>); 4] = [
        ("r3f", vec![big.clone(), ("regularizer_weight", Value::Float(2.0))]),
        // With one pass the perturbation is drawn and does not follow the weights.
        ("freelb", vec![big.clone(), ("ascent_steps", Value::Int(1))]),
        // Without ascent likewise.
        (
            "smart",
            vec![
                big.clone(),
                ("noise_radius", Value::Float(1.0)),
                ("ascent_steps", Value::Int(0)),
                ("proximal_weight", Value::Float(0.0)),
            ],
        ),
        ("smart", vec![("regularizer_weight", Value::Float(0.0)), ("proximal_weight", Value::Float(3.0))]),
    ];
    for task in [tiny::two_labels(), Task::Regression] {
        for (regularizer, mut parameters) in cases.clone() {
            let (mut model, objective) = classifier_of(task.clone(), 0.1);
            parameters.push(("regularizer", name(regularizer)));
            let techniques = begin(&model, &parameters);
            // Away from where the running mean is.
            shift(&mut model, |_| true, 0.05);
            // The embeddings of R3F's second pass have no gradient, by design.
            let which = |name: &str| regularizer != "r3f" || !name.contains("word_embeddings");
            let mut run = |model: &mut Model| step_of(model, &objective, &techniques);
            assert_slopes(&mut model, &mut run, which, 3e-2);
        }
    }
}

#[test]
fn without_noise_and_dropout_r3f_adds_nothing_and_with_a_weight_of_0_it_is_plain_training() {
    let plain = step_of(&tiny::classifier(0.0), &tiny::classification(), &begin(&tiny::classifier(0.0), &[]));
    let model = tiny::classifier(0.0);
    let r3f = |parameters: &[(&'static str, Value)]| {
        let parameters = [&[("regularizer", name("r3f"))], parameters].concat();
        step_of(&model, &tiny::classification(), &begin(&model, &parameters))
    };
    for sum in [r3f(&[("noise", Value::Float(0.0))]), r3f(&[("regularizer_weight", Value::Float(0.0))])] {
        assert!((sum.loss - plain.loss).abs() < 1e-5);
        close(&sum.gradients, &plain.gradients, 1e-5);
    }
    assert!(r3f(&[("noise", Value::Float(0.5))]).loss > plain.loss + 1e-3, "the divergence is above 0");
}

fn close(left: &Gradients, right: &Gradients, within: f32) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, gradient) in left {
        for (one, other) in gradient.to_host().data.iter().zip(&right[name].to_host().data) {
            assert!((one - other).abs() <= within * one.abs().max(1.0), "{name}: {one} {other}");
        }
    }
}

/// The loss has a slope through the second pass's embeddings too, which its gradient must not follow.
#[test]
fn the_noised_pass_of_r3f_does_not_reach_the_word_embeddings() {
    let mut model = tiny::classifier(0.1);
    let words = "bert.embeddings.word_embeddings.weight";
    let mut slope = |regularizer: &str, noise: f64| {
        let parameters = [
            ("regularizer", name(regularizer)),
            ("noise", Value::Float(noise)),
            ("regularizer_weight", Value::Float(4.0)),
        ];
        let techniques = begin(&model, &parameters);
        slope_over_norm(&mut model, &mut |model| step_of(model, &tiny::classification(), &techniques), words).unwrap()
    };
    assert!((slope("r3f", 0.5) - 1.0).abs() > 0.1);
}

#[test]
fn r4f_holds_the_largest_singular_values_of_the_head_at_one() {
    let mut model = tiny::classifier(0.1);
    shift(&mut model, is_head, 1.0);
    let largest = |model: &Model, name: &str| {
        // Of W W^T by power iteration from another start, in f64.
        let host = model.parameters[name].weight.to_host();
        let (rows, columns) = (host.shape[0], host.shape[1]);
        let mut vector: Vec<f64> = (0..rows).map(|at| if at % 2 == 0 { 1.0 } else { 0.3 }).collect();
        let mut value = 0.0;
        for _ in 0..3000 {
            let across: Vec<f64> = (0..columns)
                .map(|column| (0..rows).map(|row| f64::from(host.data[row * columns + column]) * vector[row]).sum())
                .collect();
            let next: Vec<f64> = (0..rows)
                .map(|row| {
                    (0..columns).map(|column| f64::from(host.data[row * columns + column]) * across[column]).sum()
                })
                .collect();
            value = next.iter().map(|value: &f64| value * value).sum::<f64>().sqrt();
            vector = next.into_iter().map(|entry| entry / value).collect();
        }
        value.sqrt()
    };
    let heads = ["bert.pooler.dense.weight", "classifier.weight"];
    assert!(heads.iter().all(|name| largest(&model, name) > 1.5));
    let body = largest(&model, "bert.encoder.layer.0.intermediate.dense.weight");
    let settings = with(&[("regularizer", name("r4f")), ("noise", Value::Float(0.1))]);
    train(&mut model, &settings, &RefCell::default()).unwrap();
    for name in heads {
        assert!(largest(&model, name) <= 1.0 + 1e-3, "{name}");
    }
    assert!(body > 1.0 && largest(&model, "bert.encoder.layer.0.intermediate.dense.weight") > 1.0, "only the head");
}

#[test]
fn freelb_with_one_pass_and_no_noise_is_plain_training_to_the_bit() {
    let freelb = [("regularizer", name("freelb")), ("ascent_steps", Value::Int(1)), ("noise", Value::Float(0.0))];
    assert!(tiny::bytes(&trained(0.1, &freelb)) == tiny::bytes(&trained(0.1, &[])));
}

#[test]
fn freelb_climbs_and_its_gradients_are_the_mean_over_its_passes() {
    let model = tiny::classifier(0.1);
    let run = |steps: i64, size: f64| {
        let parameters = [
            ("regularizer", name("freelb")),
            ("ascent_steps", Value::Int(steps)),
            ("ascent_size", Value::Float(size)),
            ("noise", Value::Float(0.1)),
        ];
        step_of(&model, &tiny::classification(), &begin(&model, &parameters))
    };
    // Passes that stay where they are are one pass: half the loss twice, half the gradients twice.
    let (one, still) = (run(1, 0.2), run(2, 0.0));
    assert!((one.loss - still.loss).abs() < 1e-5);
    close(&one.gradients, &still.gradients, 1e-5);
    assert_eq!(one.targets, still.targets);
    // The loss of pass k, from the means over k passes, rises: the adversary goes up.
    let totals: Vec<f64> = (1..=4).map(|steps| run(steps, 0.2).loss * steps as f64).collect();
    let each: Vec<f64> = std::iter::once(totals[0]).chain(totals.windows(2).map(|pair| pair[1] - pair[0])).collect();
    assert!(each.windows(2).all(|pair| pair[1] > pair[0]), "{each:?}");
}

#[test]
fn smart_without_its_two_terms_is_plain_training_and_its_adversary_raises_the_divergence() {
    let off = [
        ("regularizer", name("smart")),
        ("regularizer_weight", Value::Float(0.0)),
        ("proximal_weight", Value::Float(0.0)),
    ];
    assert!(tiny::bytes(&trained(0.1, &off)) == tiny::bytes(&trained(0.1, &[])));

    let model = tiny::classifier(0.1);
    let run = |weight: f64, noise: f64, radius: f64, steps: i64| {
        let parameters = [
            ("regularizer", name("smart")),
            ("regularizer_weight", Value::Float(weight)),
            ("noise", Value::Float(noise)),
            ("noise_radius", Value::Float(radius)),
            ("ascent_steps", Value::Int(steps)),
            ("ascent_size", Value::Float(50.0)),
        ];
        step_of(&model, &tiny::classification(), &begin(&model, &parameters)).loss
    };
    let plain = run(0.0, 0.1, 0.1, 0);
    // Dropout is on and the same in all passes: without a change the answers are the same. The running mean is still there.
    assert!((run(1.0, 0.0, 0.1, 0) - plain).abs() < 1e-5);
    let (drawn, climbed) = (run(1.0, 0.1, 0.1, 0) - plain, run(1.0, 0.1, 0.1, 3) - plain);
    assert!(drawn > 1e-4 && climbed > 1.5 * drawn, "{drawn} {climbed}");
    // Held within the radius: a hundredth of the change has about a ten-thousandth of the divergence.
    assert!(run(1.0, 0.1, 0.001, 3) - plain < 0.01 * climbed);
}

#[test]
fn regularizers_train_biases_alone_and_over_fixed_layers() {
    for regularizer in ["r3f", "r4f", "freelb", "smart"] {
        for fixed in [None, Some(1), Some(2)] {
            let mut model = tiny::classifier(0.1);
            match fixed {
                None => model.train_only(|slot| slot.is_bias() || is_head(slot)),
                Some(layers) => {
                    model.train_only(|slot| slot.layer.is_some_and(|layer| layer >= layers) || is_head(slot))
                }
            };
            if let Some(layers) = fixed {
                model.fix(layers);
            }
            let before = tiny::bytes(&model);
            let settings = with(&[("regularizer", name(regularizer)), ("noise", Value::Float(0.01))]);
            let fitted = train(&mut model, &settings, &RefCell::default()).unwrap();
            assert!(fitted.train_loss.is_finite());
            for ((name, old), (_, new)) in before.into_iter().zip(tiny::bytes(&model)) {
                assert!(
                    (old != new) == model.parameters[&name].trainable || name.ends_with("key.bias"),
                    "{regularizer} {name}"
                );
            }
        }
    }
}

#[test]
fn all_techniques_together_learn_the_rows() {
    for regularizer in ["r4f", "freelb", "smart"] {
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
    let cases: [(&[(&str, Value)], &str); 6] = [
        (&[("layer_decay", Value::Float(0.0))], "layer_decay"),
        (&[("mixout", Value::Float(1.0))], "mixout"),
        (&[("unfreeze_every", Value::Float(-1.0))], "unfreeze_every"),
        (&[("regularizer_weight", Value::Float(1.0))], "regularizer_weight"),
        (&[("regularizer", name("r3f")), ("ascent_steps", Value::Int(2))], "ascent_steps"),
        (&[("regularizer", name("smart")), ("noise", Value::Float(-1.0))], "noise"),
    ];
    for (parameters, name) in cases {
        let error = train(&mut tiny::classifier(0.0), &with(parameters), &RefCell::default()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
