//! Models learn, and only what should changes.

use ftp::data::set::Target;
use ftp::lang::world::Task;
use ftp::nn::models::Head;
use ftp::train::schedule::{Schedule, Warmup};
use ftp::train::{Prediction, Rows, SequenceTask, Settings, TrainError, evaluate, predict};

use super::tiny::{bytes, classification, classifier, config, marked, masked_lm, model, quiet, settings, two_labels};

#[test]
fn full_training_memorises_32_rows() {
    let (encodings, targets) = marked(32, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let mut model = classifier(0.0);
    let fitted = quiet(&mut model, &classification(), rows, &Settings { epochs: 30.0, ..settings() }).unwrap();
    assert_eq!(fitted.trained_parameters, fitted.total_parameters);
    assert_eq!((fitted.steps, fitted.epochs, fitted.history.len()), (120, 30.0, 30));
    let evaluation = evaluate(&model, &classification(), rows, 0).unwrap();
    assert!(evaluation.scores.get("accuracy").unwrap() >= 0.99, "{evaluation:?}");

    let predictions = predict(&model, &two_labels(), &encodings).unwrap();
    assert_eq!(predictions, evaluation.predictions);
    for (prediction, target) in predictions.iter().zip(&targets) {
        let Prediction::Class { class, probabilities } = prediction else { panic!("a class") };
        assert_eq!(*target, Target::Class(*class));
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6 && probabilities[*class as usize] > 0.5);
    }
}

#[test]
fn training_biases_and_a_head_memorises_32_rows_and_leaves_every_other_byte() {
    let (encodings, targets) = marked(32, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let mut model = classifier(0.0);
    for (name, parameter) in &mut model.parameters {
        parameter.trainable = name.contains("bias") || name.starts_with("classifier");
    }
    let before = bytes(&model);
    let settings = Settings { epochs: 120.0, learning_rate: 2e-2, schedule: Schedule::Linear, ..settings() };
    let fitted = quiet(&mut model, &classification(), rows, &settings).unwrap();
    // L (7 d + ff) + 2 d + the head's d * labels + labels, for two layers, d = 16, ff = 32 (2106.10199, section 3)
    assert_eq!(fitted.trained_parameters, 2 * (7 * 16 + 32) + 2 * 16 + 16 * 2 + 2);
    let evaluation = evaluate(&model, &classification(), rows, 0).unwrap();
    assert!(evaluation.scores.get("accuracy").unwrap() >= 0.99, "{:?}", evaluation.scores);

    let mut changed = 0;
    for ((name, before), (_, after)) in before.into_iter().zip(bytes(&model)) {
        let trainable = model.parameters[&name].trainable;
        assert!(trainable || before == after, "{name} is frozen but changed");
        changed += usize::from(before != after);
    }
    // 8 biases a layer, those of a norm and the pooler, the head's two; that of the keys has no gradient but noise.
    assert!((18..=20).contains(&changed), "{changed}");
}

#[test]
fn a_masked_language_model_learns_a_text_of_repeats() {
    // The first word says what all the others are.
    let encodings: Vec<_> = (0..40).map(|row| super::tiny::encoding((0..12).map(|_| 12 + row % 4))).collect();
    let rows = Rows::text(&encodings);
    let mut model = model(&config(0.0), Head::MaskedLm);
    let before = evaluate(&model, &masked_lm(), rows, 0).unwrap().scores;
    quiet(&mut model, &masked_lm(), rows, &Settings { epochs: 30.0, ..settings() }).unwrap();
    let after = evaluate(&model, &masked_lm(), rows, 0).unwrap().scores;
    assert!(before.loss > 2.0 && after.loss < 0.1, "{before:?} {after:?}");
    assert!((after.get("perplexity").unwrap() - after.loss.exp()).abs() < 1e-12);
}

#[test]
fn the_loss_of_a_regression_is_the_mean_squared_error_and_falls() {
    let (encodings, targets) = marked(32, 5);
    let targets: Vec<Target> =
        targets.iter().map(|target| Target::Score(if *target == Target::Class(1) { 2.0 } else { -1.0 })).collect();
    let rows = Rows::labelled(&encodings, &targets);
    let objective = SequenceTask { task: Task::Regression };
    let mut model = model(&config(0.0), Head::Sequence(Task::Regression));
    quiet(&mut model, &objective, rows, &Settings { epochs: 30.0, ..settings() }).unwrap();
    let scores = evaluate(&model, &objective, rows, 0).unwrap().scores;
    assert!((scores.loss - scores.get("mean_squared_error").unwrap()).abs() < 1e-5);
    assert!(scores.loss < 0.1 && scores.get("pearson").unwrap() > 0.98, "{scores:?}");
}

#[test]
fn the_first_step_of_a_warm_up_changes_nothing() {
    let (encodings, targets) = marked(8, 5);
    let mut model = classifier(0.1);
    let before = bytes(&model);
    let settings = Settings { warmup: Warmup::Steps(2), steps: Some(1), ..settings() };
    quiet(&mut model, &classification(), Rows::labelled(&encodings, &targets), &settings).unwrap();
    assert!(before == bytes(&model));
}

#[test]
fn a_loss_that_is_no_number_ends_training_and_names_the_step() {
    let (encodings, targets) = marked(16, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let settings = Settings { learning_rate: 1e30, ..settings() };
    let error = quiet(&mut classifier(0.0), &classification(), rows, &settings).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 2, .. }), "{error}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(error.to_string().contains("step 2") && help.contains("learning_rate"), "{error} {help}");
}

#[test]
fn what_can_not_be_trained_is_refused_before_anything_runs() {
    let (encodings, targets) = marked(4, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let mut model = classifier(0.0);
    let refused =
        |model: &mut _, rows, settings: &Settings| quiet(model, &classification(), rows, settings).unwrap_err();

    let scores = [Target::Score(1.0); 4];
    let error = refused(&mut model, Rows::labelled(&encodings, &scores), &settings());
    assert_eq!(error.to_string(), "row 0 has score 1, but the task needs a label");
    let error = refused(&mut model, Rows::labelled(&encodings, &[Target::Class(2); 4]), &settings());
    assert_eq!(error.to_string(), "row 0 has class 2, but the task needs one of 2 classes");
    let error = refused(&mut model, Rows::labelled(&encodings, &targets[..3]), &settings());
    assert_eq!(error.to_string(), "4 rows come with 3 targets");
    let error = refused(&mut model, Rows::labelled(&[], &[]), &settings());
    assert_eq!(error.to_string(), "there are no rows to train on");
    let error = refused(&mut model, rows, &Settings { metric: Some("pearson".into()), ..settings() });
    assert_eq!(error.to_string(), "there is no metric `pearson` here");

    model.parameters.values_mut().for_each(|parameter| parameter.trainable = false);
    assert!(matches!(refused(&mut model, rows, &settings()), TrainError::NothingTrains));
}
