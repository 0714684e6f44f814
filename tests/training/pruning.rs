//! Pruning along the steps: that it is the torch script's (`pruning.py`), and what its schedule promises.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ftp::event::Event;
use ftp::hub::tensors::Tensors;
use ftp::lang::value::Value;
use ftp::nn::models::Model;
use ftp::nn::models::layout::Part;
use ftp::nn::ops::Kept;
use ftp::nn::parameters::Weight;
use ftp::nn::pruning;
use ftp::train::checkpoint::Place;
use ftp::train::stability::At;
use ftp::train::{Rows, Settings, Surroundings, fit};

use super::stability::{Parameters, begin, train, with};
use super::{tiny, trajectory};

fn prepared(mut model: Model, scores: bool) -> Model {
    if scores {
        pruning::add_scores(&mut model);
    }
    pruning::prune(&mut model, Kept::Largest(1.0));
    model.train_only(|slot| slot.part != Part::Encoder || slot.layer.is_some());
    model
}

/// The weights of the layers' maps as a pass has them.
fn masked(model: &Model) -> Tensors {
    let pass = model.evaluating_pass();
    let names = pruning::weights(model).into_iter();
    names.map(|name| (name.clone(), Weight::Matrix(pass.matrix(&name)).to_host())).collect()
}

fn kept(weights: &Tensors) -> Vec<usize> {
    weights.values().map(|weight| weight.data.iter().filter(|value| **value != 0.0).count()).collect()
}

#[test]
fn ten_steps_of_pruning_have_the_losses_the_masks_and_the_weights_of_torch() {
    let text = include_str!("pruning.json");
    let reference: serde_json::Value = serde_json::from_str(text).unwrap();
    let given = |name: &str| Value::Float(reference[name].as_f64().unwrap());
    let own = |method: &str, names: &[&str]| -> Vec<(String, Value)> {
        let common = ["initial_warmup", "final_warmup"].iter();
        common.chain(names).map(|name| (format!("{method}.{name}"), given(name))).collect()
    };
    for (name, parameters) in [
        ("movement", own("movement_pruning", &["keep", "score_learning_rate"])),
        ("soft", own("soft_movement_pruning", &["threshold", "score_weight", "score_learning_rate"])),
        ("magnitude", own("magnitude_pruning", &["keep"])),
    ] {
        let (losses, model) = trajectory::classification(|model| prepared(model, name != "magnitude"), &parameters);
        trajectory::assert_losses(&losses, &super::numbers::numbers(&reference[name]));
        let expected = trajectory::tensors("pruning", &format!("{name}."));
        let found = masked(&model);
        assert_eq!(found.len(), expected.len());
        for (weight, expected) in &expected {
            let both = || found[weight].data.iter().zip(&expected.data);
            assert!(both().all(|(one, other)| (*one == 0.0) == (*other == 0.0)), "{name}: the mask of {weight}");
            let largest = both().map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-4, "{name}: {weight} is off by {largest}");
        }
    }
}

#[test]
fn with_all_weights_kept_training_is_that_of_the_model_without_masks() {
    let plain = |slot: &ftp::nn::models::layout::Slot| slot.part != Part::Encoder || slot.layer.is_some();
    let weights = |parameters: Parameters, scores: Option<bool>| {
        let mut model = tiny::classifier(0.1);
        model.train_only(plain);
        if let Some(scores) = scores {
            model = prepared(model, scores);
        }
        // The norm that clips counts the gradients of scores too.
        let settings = Settings { max_grad_norm: None, ..with(parameters) };
        train(&mut model, &settings, &RefCell::default()).unwrap();
        let mut bytes = tiny::bytes(&model);
        bytes.retain(|(name, _)| !name.ends_with(pruning::SCORES));
        bytes
    };
    let expected = weights(&[], None);
    let (all, rate) = (Value::Float(1.0), Value::Float(0.01));
    assert!(weights(&[("magnitude_pruning.keep", all.clone())], Some(false)) == expected);
    let hard = [("movement_pruning.keep", all), ("movement_pruning.score_learning_rate", rate.clone())];
    assert!(weights(&hard, Some(true)) == expected);
    // Scores move, and a threshold of next to nothing prunes nothing.
    let next_to_nothing = ("soft_movement_pruning.threshold", Value::Float(1e-9));
    assert!(weights(&[next_to_nothing, ("soft_movement_pruning.score_learning_rate", rate)], Some(true)) == expected);
}

#[test]
fn as_many_weights_of_each_map_are_left_as_the_step_asks_for() {
    let mut model = prepared(tiny::classifier(0.0), true);
    let parameters: Parameters = &[
        ("movement_pruning.keep", Value::Float(0.1)),
        ("movement_pruning.initial_warmup", Value::Float(0.2)),
        ("movement_pruning.final_warmup", Value::Float(0.3)),
    ];
    let mut techniques = begin(&model, parameters);
    // Nine steps: the first at 1, the last two at the goal, cubic between.
    for (step, share) in
        [(1u64, 1.0), (2, 0.1 + 0.9 * (5.0f64 / 6.0).powi(3)), (4, 0.1 + 0.9 * 0.125), (7, 0.1), (9, 0.1)]
    {
        techniques.before(&mut model, At { step, steps: 9, epochs: 0.0 });
        let masked = masked(&model);
        let wanted: Vec<usize> =
            masked.values().map(|weight| (share * weight.data.len() as f64 + 1e-9) as usize).collect();
        assert_eq!(kept(&masked), wanted, "step {step}");
        assert_eq!(techniques.settled(), step >= 7);
    }
}

/// A first epoch that is better than all others would be kept, were it not of a denser model.
#[test]
fn only_evaluations_of_the_final_sparsity_count() {
    let (encodings, targets) = tiny::marked(24, 3);
    let rows = Rows::labelled(&encodings, &targets);
    for scores in [true, false] {
        let mut model = prepared(tiny::classifier(0.0), scores);
        let method = if scores { "movement_pruning.keep" } else { "magnitude_pruning.keep" };
        let settings = Settings {
            epochs: 5.0,
            patience: Some(1),
            metric: Some("loss".into()),
            ..with(&[(method, Value::Float(0.02))])
        };
        let sink = |_: Event| {};
        let fitted =
            fit(&mut model, &tiny::classification(), rows, Some(rows), &settings, tiny::around("test", &sink)).unwrap();
        // 15 steps, of which the last three are at the goal: so is the end of the fourth epoch.
        assert!(fitted.best_epoch >= 4.0, "{fitted:?}");
        let sizes = masked(&model);
        assert_eq!(kept(&sizes), sizes.values().map(|weight| weight.data.len() / 50).collect::<Vec<_>>());
    }
}

/// Scores have gradients of the step's loss only, so without pressure none would fall together.
#[test]
fn more_weight_on_scores_leaves_fewer_weights() {
    let left = |weight: f64| {
        let mut model = prepared(tiny::classifier(0.0), true);
        let parameters: Parameters = &[
            ("soft_movement_pruning.threshold", Value::Float(0.4)),
            ("soft_movement_pruning.score_weight", Value::Float(weight)),
            ("soft_movement_pruning.score_learning_rate", Value::Float(0.1)),
        ];
        train(&mut model, &Settings { epochs: 5.0, ..with(parameters) }, &RefCell::default()).unwrap();
        kept(&masked(&model)).iter().sum::<usize>()
    };
    let (none, some, more) = (left(0.0), left(3.0), left(300.0));
    assert!(none > some && some > more, "{none} {some} {more}");
}

/// Between its last step and its evaluation, a model has the sparsity of that step also in an attempt that took no step itself.
#[test]
fn a_training_that_goes_on_at_the_end_of_an_epoch_evaluates_the_same_model() {
    let (encodings, targets) = tiny::marked(24, 3);
    let rows = Rows::labelled(&encodings, &targets);
    let parameters: Parameters =
        &[("movement_pruning.keep", Value::Float(0.1)), ("movement_pruning.score_learning_rate", Value::Float(0.05))];
    let settings = Settings { epochs: 4.0, checkpoint_steps: Some(1), ..with(parameters) };
    let directory = tempfile::tempdir().unwrap();
    let place =
        Place { file: directory.path().join("checkpoint"), draft: directory.path().join("draft"), key: "key".into() };
    let attempt = |place: Option<&Place>, stop: u64| {
        let mut model = prepared(tiny::classifier(0.1), true);
        let sink = |event| match event {
            Event::Progress { step, .. } if step == stop => resume_unwind(Box::new("stopped")),
            _ => {}
        };
        let around = Surroundings { stage: "test", sink: &sink, checkpoint: place, relay: None, turns: None };
        let run = || fit(&mut model, &tiny::classification(), rows, Some(rows), &settings, around).unwrap();
        let fitted = catch_unwind(AssertUnwindSafe(run)).ok();
        fitted.map(|fitted| (fitted, tiny::bytes(&model)))
    };
    let expected = attempt(None, 0).unwrap();
    // Three steps are an epoch, and the checkpoint after them is whole when the next step has been taken.
    for stop in [4, 7, 10] {
        assert!(attempt(Some(&place), stop).is_none());
        assert!(place.file.exists());
    }
    assert!(attempt(Some(&place), 0).unwrap() == expected);
}
