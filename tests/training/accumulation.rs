//! A step may be cut into passes as one likes.

use ftp::data::order::Budget;
use ftp::nn::models::{Head, Model};
use ftp::random::Key;
use ftp::train::step::{Accumulated, Draws, accumulate};
use ftp::train::{Objective, Rows, Settings};

use super::tiny::{classification, classifier, config, marked, masked_lm, model, quiet, settings};

fn step(model: &Model, objective: &dyn Objective, rows: Rows, budget: Budget) -> Accumulated {
    let draws = Draws { masks: Key::new(0, "mask").at(0), dropout: Key::new(0, "dropout").at(1) };
    accumulate(model, objective, rows, &[5, 2, 9, 0, 11, 7, 3, 8], budget, draws, None).unwrap()
}

fn assert_every_split_gives_the_same(model: &Model, objective: &dyn Objective, rows: Rows) {
    let budget = |rows, tokens| Budget { rows, tokens };
    let whole = step(model, objective, rows, budget(8, 1000));
    assert!(!whole.gradients.is_empty());
    for budget in [budget(1, 1000), budget(5, 1000), budget(3, 1000), budget(8, 30), budget(8, 1)] {
        let parts = step(model, objective, rows, budget);
        assert_eq!((parts.targets, parts.tokens), (whole.targets, whole.tokens));
        assert!((parts.loss - whole.loss).abs() < 1e-4 * whole.loss, "{} {}", parts.loss, whole.loss);
        assert!(parts.gradients.keys().eq(whole.gradients.keys()));
        for (name, gradient) in &parts.gradients {
            let (parts, whole) = (gradient.to_host().data, whole.gradients[name].to_host().data);
            let largest = whole.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
            let off = parts.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-5 * largest, "{name} is off by {off} of {largest} in passes of {budget:?}");
        }
    }
}

#[test]
fn gradients_of_uneven_rows_do_not_depend_on_how_a_step_is_cut_into_passes() {
    let (encodings, targets) = marked(12, 3);
    assert_every_split_gives_the_same(&classifier(0.0), &classification(), Rows::labelled(&encodings, &targets));
}

#[test]
fn gradients_of_a_masked_language_model_do_not_depend_on_how_a_step_is_cut_into_passes() {
    // Rows of 1 to 24 words hold between one and several targets: means of means would differ.
    let (encodings, _) = marked(12, 3);
    assert_every_split_gives_the_same(&model(&config(0.0), Head::MaskedLm), &masked_lm(), Rows::text(&encodings));
}

#[test]
fn a_whole_training_in_small_passes_ends_at_nearly_the_same_weights() {
    let (encodings, targets) = marked(24, 3);
    let train = |micro_batch_size| {
        let mut model = classifier(0.0);
        // A large epsilon, or Adam makes a step of full size out of the rounding noise of gradients that are zero.
        let settings = Settings { micro_batch_size, adam_epsilon: 1e-4, epochs: 2.0, ..settings() };
        quiet(&mut model, &classification(), Rows::labelled(&encodings, &targets), &settings).unwrap();
        model.tensors()
    };
    let (whole, parts) = (train(None), train(Some(3)));
    for (name, tensor) in &whole {
        let off = tensor.data.iter().zip(&parts[name].data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{name} is off by {off}");
    }
}
