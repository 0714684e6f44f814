//! Weights averaged along a training, and cyclic rates.

use std::cell::RefCell;

use ftp::event::Event;
use ftp::lang::value::Value;
use ftp::nn::models::Model;
use ftp::train::schedule::{Schedule, Warmup};
use ftp::train::{Fitted, Rows, Settings, evaluate, fit};

use super::tiny::{around, bytes, classification, classifier, marked, settings};

/// Trains on 24 rows, three steps an epoch, with 16 dev rows.
fn train(settings: &Settings, parameters: &[(&str, Value)]) -> (Fitted, Model, Vec<Event>) {
    let ((encodings, targets), (dev, dev_targets)) = (marked(24, 5), marked(16, 6));
    let mut settings = settings.clone();
    settings.stability = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let (mut model, events) = (classifier(0.1), RefCell::new(Vec::new()));
    let sink = |event| events.borrow_mut().push(event);
    let (rows, dev) = (Rows::labelled(&encodings, &targets), Rows::labelled(&dev, &dev_targets));
    let fitted = fit(&mut model, &classification(), rows, Some(dev), &settings, around("test", &sink)).unwrap();
    let scores = evaluate(&model, &classification(), dev, settings.seed).unwrap().scores;
    assert_eq!(fitted.dev, Some(scores), "the scores told are those of the weights kept");
    (fitted, model, events.into_inner())
}

fn rates(events: &[Event]) -> Vec<f64> {
    let rate = |event: &Event| match event {
        Event::Progress { learning_rate, .. } => Some(*learning_rate),
        _ => None,
    };
    events.iter().filter_map(rate).collect()
}

fn name(name: &str) -> Value {
    Value::Name(name.into())
}

#[test]
fn the_average_is_the_mean_of_the_weights_after_each_of_its_steps() {
    let after = |steps| {
        // The rate is constant, so a training that ends there has the weights of that step.
        let settings = Settings { steps: Some(steps), keep: ftp::train::settings::Keep::Last, ..settings() };
        train(&settings, &[]).1.tensors()
    };
    for (every, steps) in [(Some(1), vec![6, 7, 8, 9, 10]), (Some(3), vec![6, 9, 10]), (None, vec![6, 9, 10])] {
        let mut parameters = vec![("average", name("uniform")), ("average_from", Value::Float(0.5))];
        parameters.extend(every.map(|every| ("average_every", Value::Steps(every))));
        let (fitted, model, _) = train(&Settings { steps: Some(10), ..settings() }, &parameters);
        assert_eq!((fitted.steps, fitted.best_epoch), (10, 10.0 / 3.0));
        let taken: Vec<_> = steps.iter().map(|steps| after(*steps)).collect();
        for (name, tensor) in model.tensors() {
            for (at, value) in tensor.data.iter().enumerate() {
                let mean =
                    taken.iter().map(|weights| f64::from(weights[&name].data[at])).sum::<f64>() / taken.len() as f64;
                assert!((f64::from(*value) - mean).abs() < 1e-6, "{name} {at}: {value} {mean}");
            }
        }
    }
}

#[test]
fn averaging_weights_that_do_not_move_changes_no_bit() {
    let still = Settings { learning_rate: 0.0, epochs: 4.0, ..settings() };
    let parameters =
        [("average", name("swa")), ("average_from", Value::Float(0.0)), ("average_every", Value::Steps(1))];
    assert!(bytes(&train(&still, &parameters).1) == bytes(&classifier(0.1)));
}

#[test]
fn the_rate_stays_where_stochastic_averaging_begins_and_follows_the_schedule_otherwise() {
    let linear = Settings { epochs: 4.0, schedule: Schedule::Linear, warmup: Warmup::Steps(2), ..settings() };
    let usual = rates(&train(&linear, &[]).2);
    assert_eq!(usual.len(), 12);
    let swa = rates(&train(&linear, &[("average", name("swa")), ("average_from", Value::Float(0.5))]).2);
    assert_eq!(swa[..7], usual[..7]);
    assert!(swa[7..].iter().all(|rate| *rate == usual[6]), "{swa:?}");
    let uniform = rates(&train(&linear, &[("average", name("uniform")), ("average_from", Value::Float(0.5))]).2);
    assert_eq!(uniform, usual);
}

#[test]
fn cyclic_rates_are_those_of_the_paper() {
    let settings = Settings { epochs: 4.0, warmup: Warmup::Ratio(0.5), ..settings() };
    let (found, highest) = (rates(&train(&settings, &[("cycles", Value::Int(3))]).2), settings.learning_rate);
    // Equation 2: T = 12, M = 3.
    for (index, rate) in found.iter().enumerate() {
        let t = index as f64 + 1.0;
        let expected = highest / 2.0 * ((std::f64::consts::PI * ((t - 1.0) % 4.0) / 4.0).cos() + 1.0);
        assert!((rate - expected).abs() < 1e-12, "{t}: {rate} {expected}");
    }
    assert_eq!([found[0], found[4], found[8]], [highest; 3]);
}

#[test]
fn an_average_over_cycles_takes_the_weights_at_their_ends() {
    let settings = Settings { epochs: 4.0, ..settings() };
    let cycles = ("cycles", Value::Int(3));
    let by_default = [("average", name("uniform")), ("average_from", Value::Float(0.0)), cycles.clone()];
    let said = [by_default.as_slice(), &[("average_every", Value::Steps(4))]].concat();
    assert!(bytes(&train(&settings, &by_default).1) == bytes(&train(&settings, &said).1));
    assert!(bytes(&train(&settings, &by_default).1) != bytes(&train(&settings, &[cycles]).1));
}

#[test]
fn a_training_that_stops_before_its_average_begins_says_so_and_keeps_its_best_weights() {
    let settings = Settings { epochs: 100.0, patience: Some(1), learning_rate: 0.0, ..settings() };
    let parameters = [("average", name("swa")), ("average_from", Value::Float(0.9))];
    let (fitted, _, events) = train(&settings, &parameters);
    assert!(fitted.stopped_early && fitted.best_epoch == 1.0);
    let told = |event: &Event| matches!(event, Event::Notice { notice, .. } if notice.code == "ftp::train::nothing_to_average");
    assert!(events.iter().any(told));
}
