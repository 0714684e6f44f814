//! Which weights are kept, when training stops, and what it says meanwhile.

use std::cell::RefCell;

use ftp::data::set::Target;
use ftp::event::Event;
use ftp::nn::models::Model;
use ftp::train::settings::Keep;
use ftp::train::{Fitted, Rows, Settings, evaluate, fit};

use super::tiny::{around, bytes, classification, classifier, marked, settings};

/// Trains on 16 rows with the opposite answers as dev rows: what is learnt makes the dev score worse.
fn against_itself(settings: &Settings) -> (Fitted, Model, Vec<Event>) {
    let (encodings, targets) = marked(16, 5);
    let opposite: Vec<Target> = targets
        .iter()
        .map(|target| if *target == Target::Class(0) { Target::Class(1) } else { Target::Class(0) })
        .collect();
    let mut model = classifier(0.1);
    let events = RefCell::new(Vec::new());
    let (train, dev) = (Rows::labelled(&encodings, &targets), Rows::labelled(&encodings, &opposite));
    let sink = |event| events.borrow_mut().push(event);
    let fitted = fit(&mut model, &classification(), train, Some(dev), settings, around("stage", &sink)).unwrap();
    let scores = evaluate(&model, &classification(), dev, settings.seed).unwrap().scores;
    assert_eq!(fitted.dev, Some(scores), "the scores told are those of the weights kept");
    (fitted, model, events.into_inner())
}

fn by_loss() -> Settings {
    Settings { epochs: 8.0, metric: Some("loss".into()), ..settings() }
}

#[test]
fn the_weights_of_the_best_evaluation_come_back() {
    let (fitted, model, _) = against_itself(&by_loss());
    assert_eq!((fitted.steps, fitted.history.len(), fitted.stopped_early), (16, 8, false));
    let losses: Vec<f64> = fitted.history.iter().map(|epoch| epoch.dev.as_ref().unwrap().loss).collect();
    let best = (0..8).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(best < 7, "{losses:?}");
    assert_eq!(fitted.best_epoch, best as f64 + 1.0);
    // The learning rate is constant, so a training that ends there has the same weights.
    let (short, same, _) = against_itself(&Settings { epochs: fitted.best_epoch, keep: Keep::Last, ..by_loss() });
    assert!(bytes(&model) == bytes(&same));
    assert_eq!(short.dev, fitted.dev);
}

#[test]
fn keeping_the_last_weights_keeps_those_of_the_last_step() {
    let (fitted, model, _) = against_itself(&Settings { keep: Keep::Last, ..by_loss() });
    assert_eq!(fitted.best_epoch, 8.0);
    assert!(bytes(&model) != bytes(&against_itself(&by_loss()).1));
}

#[test]
fn patience_ends_training_after_so_many_evaluations_without_improvement() {
    let (fitted, model, _) = against_itself(&Settings { patience: Some(2), epochs: 50.0, ..by_loss() });
    assert!(fitted.stopped_early);
    assert_eq!(fitted.epochs, fitted.best_epoch + 2.0);
    assert_eq!(fitted.history.len() as f64, fitted.epochs);
    let (_, same, _) = against_itself(&Settings { epochs: fitted.best_epoch, keep: Keep::Last, ..by_loss() });
    assert!(bytes(&model) == bytes(&same));
}

#[test]
fn a_fraction_of_an_epoch_trains_that_fraction_and_is_evaluated() {
    let (fitted, _, events) = against_itself(&Settings { batch_size: 4, epochs: 1.5, ..settings() });
    assert_eq!((fitted.steps, fitted.epochs), (6, 1.5));
    let epochs: Vec<f64> = fitted.history.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(epochs, [1.0, 1.5]);
    let steps: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Progress { stage, step, steps: 6, epochs, tokens_per_second, .. } => {
                assert!(stage == "stage" && *epochs == 1.5 && *tokens_per_second > 0.0);
                Some(*step)
            }
            _ => None,
        })
        .collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    let evaluated = |event: &&Event| matches!(event, Event::Evaluated { split, .. } if split == "dev");
    assert_eq!(events.iter().filter(evaluated).count(), 2);
}

#[test]
fn steps_take_the_place_of_epochs() {
    let (fitted, ..) = against_itself(&Settings { steps: Some(5), epochs: 1.0, ..settings() });
    assert_eq!((fitted.steps, fitted.epochs), (5, 2.5));
    let (fitted, ..) = against_itself(&Settings { steps: Some(1), epochs: 3.0, ..settings() });
    assert_eq!((fitted.steps, fitted.epochs), (1, 0.5));
}

#[test]
fn patience_without_dev_rows_is_told_to_have_no_effect() {
    let (encodings, targets) = marked(16, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let notices = RefCell::new(Vec::new());
    let sink = |event| {
        if let Event::Notice { notice, .. } = event {
            notices.borrow_mut().push(notice.code);
        }
    };
    let settings = Settings { patience: Some(1), epochs: 4.0, ..settings() };
    let fitted = fit(&mut classifier(0.0), &classification(), rows, None, &settings, around("stage", &sink)).unwrap();
    assert_eq!((fitted.epochs, fitted.dev), (4.0, None));
    assert_eq!(notices.into_inner(), ["ftp::train::no_dev"]);
}
