//! The Pi-model and temporal ensembling, with rows that have labels and rows that have none.

use std::cell::RefCell;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use ftp::data::order::Budget;
use ftp::lang::value::Value;
use ftp::lang::world::Task;
use ftp::nn::models::{Head, Model};
use ftp::random::Key;
use ftp::train::checkpoint::{self, Place};
use ftp::train::stability::{At, Techniques};
use ftp::train::step::{Accumulated, Draws, accumulate};
use ftp::train::{Fitted, Rows, SequenceTask, Settings, Surroundings, TrainError, fit, prediction};

use super::stability::{Parameters, assert_slopes, begin, name, shift, train, with};
use super::tiny;

fn of(regularizer: &str, others: Parameters<'static>) -> Vec<(&'static str, Value)> {
    let mut parameters = vec![("regularizer", name(regularizer))];
    parameters.extend_from_slice(others);
    parameters
}

/// Trains on 24 rows, the last `unlabelled` of which have no label; what the checkpoint after the last step holds of the
/// ensemble's targets, row by row.
fn ensembled(model: &mut Model, settings: &Settings, unlabelled: usize) -> Result<(Fitted, Vec<f32>), TrainError> {
    let (encodings, targets) = tiny::marked(24, 3);
    let rows = Rows::labelled(&encodings, &targets[..24 - unlabelled]).with_unlabelled(unlabelled);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let place = Place { file: at("checkpoint"), draft: at("draft"), key: "key".into() };
    let settings = Settings { checkpoint_steps: Some(1), ..settings.clone() };
    let around = Surroundings { stage: "test", sink: &|_| {}, checkpoint: Some(&place), relay: None, turns: None };
    let fitted = fit(model, &tiny::classification(), rows, None, &settings, around)?;
    let saved = checkpoint::read(&place).unwrap().expect("a checkpoint was written");
    Ok((fitted, saved.tensor("ensemble", "targets").map_or(vec![], |tensor| tensor.data)))
}

fn probabilities(model: &Model) -> Vec<f32> {
    let (encodings, _) = tiny::marked(24, 3);
    let logits = prediction::logits(model, &encodings).unwrap();
    let [rows, classes] = [logits.len(), logits[0].len()];
    let logits = Tensor::<2>::from_data(TensorData::new(logits.concat(), [rows, classes]), &Device::flex());
    softmax(logits, 1).try_into_vec_as::<f32>().unwrap()
}

#[test]
fn targets_are_what_was_said_of_each_row_whatever_its_place_in_the_data() {
    let said = probabilities(&tiny::classifier(0.0));
    for (seed, batch_size, micro_batch_size, unlabelled) in [(1, 8, None, 0), (2, 5, Some(2), 10), (3, 24, Some(7), 23)]
    {
        // Nothing moves, so that what is said of a row is the same in every epoch.
        let settings =
            Settings { learning_rate: 0.0, seed, batch_size, micro_batch_size, ..with(&of("temporal", &[])) };
        for epochs in [1.0, 3.0] {
            let settings = Settings { epochs, ..settings.clone() };
            let (_, targets) = ensembled(&mut tiny::classifier(0.0), &settings, unlabelled).unwrap();
            assert_eq!(targets.len(), 24 * 2);
            for (at, (target, said)) in targets.iter().zip(&said).enumerate() {
                assert!((target - said).abs() < 1e-6, "seed {seed}, {epochs} epochs, row {}: {target} {said}", at / 2);
            }
        }
    }
}

#[test]
fn a_weight_of_0_is_plain_training_to_the_bit() {
    let plain = {
        let mut model = tiny::classifier(0.1);
        train(&mut model, &with(&[]), &RefCell::default()).unwrap();
        tiny::bytes(&model)
    };
    for regularizer in ["pi", "temporal"] {
        let run = |weight: f64| {
            let mut model = tiny::classifier(0.1);
            let parameters = [of(regularizer, &[]), vec![("regularizer_weight", Value::Float(weight))]].concat();
            train(&mut model, &with(&parameters), &RefCell::default()).unwrap();
            tiny::bytes(&model)
        };
        assert!(run(0.0) == plain, "{regularizer}");
        assert!(run(30.0) != plain, "{regularizer}");
    }
}

/// Loss and gradients of one step over 8 rows in two passes, three of them without a label.
fn half_labelled(model: &Model, objective: &SequenceTask, techniques: &Techniques) -> Accumulated {
    let (encodings, mut targets) = tiny::marked(8, 3);
    if objective.task == Task::Regression {
        targets = (0..8).map(|row| ftp::data::set::Target::Score(row as f32 / 4.0)).collect();
    }
    let rows = Rows::labelled(&encodings, &targets[..5]).with_unlabelled(3);
    let draws = Draws { masks: Key::new(1, "mask"), dropout: Key::new(1, "dropout") };
    let chosen = [7, 1, 3, 0, 6, 2, 5, 4];
    let budget = Budget { rows: 5, tokens: usize::MAX };
    accumulate(model, objective, rows, &chosen, budget, draws, techniques.regularizer()).unwrap()
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let at = |step| At { step, steps: 9, epochs: (step - 1) as f64 / 3.0 };
    for task in [tiny::two_labels(), Task::Regression] {
        for regularizer in ["pi", "temporal"] {
            let mut model = tiny::model(&tiny::config(0.1), Head::Sequence(task.clone()));
            let objective = SequenceTask { task: task.clone() };
            let parameters = [of(regularizer, &[]), vec![("regularizer_weight", Value::Float(5.0))]].concat();
            let mut techniques = begin(&model, &parameters);
            // An epoch of three steps, each of which sees all rows; then the model has moved on.
            for step in 1..=3 {
                techniques.before(&mut model, at(step));
                half_labelled(&model, &objective, &techniques);
                techniques.updated(&mut model, at(step));
            }
            shift(&mut model, |_| true, 0.05);
            techniques.before(&mut model, at(9));
            let plain = half_labelled(&model, &objective, &begin(&model, &[]));
            let mut run = |model: &mut Model| half_labelled(model, &objective, &techniques);
            assert!(run(&mut model).loss > plain.loss + 1e-3, "{regularizer}: the answers differ");
            assert_slopes(&mut model, &mut run, |_| true, 3e-2);
        }
    }
}

#[test]
fn without_dropout_both_passes_of_the_pi_model_say_the_same_and_rows_without_labels_add_nothing() {
    let model = tiny::classifier(0.0);
    let run = |parameters: Parameters| {
        let mut techniques = begin(&model, parameters);
        techniques.before(&mut tiny::classifier(0.0), At { step: 9, steps: 9, epochs: 2.5 });
        half_labelled(&model, &tiny::classification(), &techniques)
    };
    let (plain, pi) = (run(&[]), run(&of("pi", &[])));
    assert!((plain.loss - pi.loss).abs() < 1e-5);
    // The mean is over all rows.
    assert_eq!((plain.targets, pi.targets), (8, 8));
    let (encodings, targets) = tiny::marked(8, 3);
    let rows = Rows::labelled(&encodings[..5], &targets[..5]);
    let draws = Draws { masks: Key::new(1, "mask"), dropout: Key::new(1, "dropout") };
    let budget = Budget { rows: 8, tokens: usize::MAX };
    let labelled = accumulate(&model, &tiny::classification(), rows, &[0, 1, 2, 3, 4], budget, draws, None).unwrap();
    assert!((labelled.loss - plain.loss).abs() < 1e-5);
}

#[test]
fn the_first_weight_is_exp_minus_5_of_the_highest_times_the_labelled_share() {
    let model = tiny::classifier(0.1);
    let loss = |ramp: &[(&'static str, Value)]| {
        let mut techniques = begin(&model, &[of("pi", &[]), ramp.to_vec()].concat());
        techniques.before(&mut tiny::classifier(0.1), At { step: 1, steps: 9, epochs: 0.0 });
        half_labelled(&model, &tiny::classification(), &techniques).loss
    };
    let plain = half_labelled(&model, &tiny::classification(), &begin(&model, &[])).loss;
    // Without a ramp it is the highest from the beginning.
    let (rising, highest) = (loss(&[]) - plain, loss(&[("ramp_up", Value::Steps(0))]) - plain);
    assert!(highest > 0.1 && (rising / highest / (-5.0f64).exp() - 1.0).abs() < 1e-2, "{rising} {highest}");
}

#[test]
fn rows_without_labels_teach_with_these_losses_only() {
    for regularizer in [None, Some("r3f"), Some("freelb"), Some("smart")] {
        let parameters = regularizer.map_or(vec![], |regularizer| of(regularizer, &[]));
        let error = ensembled(&mut tiny::classifier(0.1), &with(&parameters), 4).unwrap_err();
        assert!(matches!(error, TrainError::Unlabelled { rows: 4 }), "{error}");
    }
    for regularizer in ["pi", "temporal"] {
        let settings = Settings { epochs: 40.0, ..with(&of(regularizer, &[])) };
        let mut model = tiny::classifier(0.1);
        let (fitted, _) = ensembled(&mut model, &settings, 8).unwrap();
        assert_eq!((fitted.steps, fitted.epochs), (120, 40.0), "epochs go over all rows");
        // Also those whose label it was never told.
        let (encodings, targets) = tiny::marked(24, 3);
        let rows = Rows::labelled(&encodings, &targets);
        let scores = ftp::train::evaluate(&model, &tiny::classification(), rows, 0).unwrap().scores;
        assert!(scores.get("accuracy") > Some(0.85), "{regularizer}: {scores:?}");
    }
}

#[test]
fn an_ensemble_has_the_same_bits_on_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = tiny::classifier(0.1);
            let (_, targets) = ensembled(&mut model, &with(&of("temporal", &[])), 6).unwrap();
            (tiny::bytes(&model), targets)
        })
    };
    assert!(run(1) == run(3));
}
