//! Schedules and metrics against `references.json`.

use ftp::data::set::Target;
use ftp::lang::world::Task;
use ftp::train::schedule::Schedule;
use ftp::train::{Prediction, baseline, metrics};
use serde_json::Value;

pub fn references() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/training/references.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn cases(of: &str) -> Vec<Value> {
    references()[of].as_array().unwrap().clone()
}

pub fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn class(class: f64) -> Prediction {
    Prediction::Class { class: class as u32, probabilities: vec![] }
}

fn classes(count: u64) -> Task {
    Task::Classification { labels: (0..count).map(|label| label.to_string()).collect() }
}

fn assert_metrics(case: &Value, metrics: Vec<(String, f64)>) {
    for (name, value) in metrics {
        let expected = case[&name].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-9, "{}: {name} is {value}, not {expected}", case["name"]);
    }
}

#[test]
fn schedules_are_those_of_transformers() {
    let cases = cases("schedules");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let schedule = Schedule::from_name(case["name"].as_str().unwrap()).unwrap();
        let (warmup, total) = (case["warmup"].as_u64().unwrap(), case["total"].as_u64().unwrap());
        for (done, expected) in numbers(&case["factors"]).into_iter().enumerate() {
            let factor = schedule.factor(done as u64, warmup, total);
            assert!((factor - expected).abs() < 1e-12, "{schedule:?} {warmup}/{total} at {done}: {factor} {expected}");
        }
    }
}

#[test]
fn classification_metrics_are_those_of_scikit_learn() {
    for case in cases("classifications") {
        let predictions: Vec<Prediction> = numbers(&case["predicted"]).into_iter().map(class).collect();
        let wanted: Vec<Target> = numbers(&case["wanted"]).iter().map(|&class| Target::Class(class as u32)).collect();
        let task = classes(case["classes"].as_u64().unwrap());
        assert_metrics(&case, metrics::compute(&task, &predictions, &wanted));
    }
}

#[test]
fn regression_metrics_are_those_of_scipy() {
    for case in cases("regressions") {
        let predictions: Vec<_> =
            numbers(&case["predicted"]).iter().map(|&score| Prediction::Score(score as f32)).collect();
        let wanted: Vec<_> = numbers(&case["wanted"]).iter().map(|&score| Target::Score(score as f32)).collect();
        assert_metrics(&case, metrics::compute(&Task::Regression, &predictions, &wanted));
    }
}

#[test]
fn degenerate_input_gives_zeros_instead_of_nan() {
    let constant = vec![Prediction::Score(0.1); 3];
    let wanted = [0.1, 0.5, 0.7].map(Target::Score);
    let metrics = metrics::compute(&Task::Regression, &constant, &wanted);
    assert_eq!((metrics[0].1, metrics[1].1), (0.0, 0.0));
    for task in [classes(2), Task::Regression] {
        assert!(metrics::compute(&task, &[], &[]).iter().all(|(_, value)| *value == 0.0));
    }
}

#[test]
fn the_baseline_answers_the_majority_class_or_the_mean_of_training() {
    let targets = |classes: &[u32]| classes.iter().map(|&class| Target::Class(class)).collect::<Vec<_>>();
    let majority = baseline(&classes(3), &targets(&[2, 1, 2, 0]), &targets(&[2, 2, 1, 0, 2]));
    assert_eq!(majority.answer, Prediction::Class { class: 2, probabilities: vec![0.25, 0.25, 0.5] });
    assert_eq!(majority.metrics[0], ("accuracy".to_owned(), 0.6));
    assert_eq!(majority.metrics[3], ("matthews".to_owned(), 0.0));

    let mean = baseline(&Task::Regression, &[1.0, 3.0].map(Target::Score), &[2.0, 4.0].map(Target::Score));
    assert_eq!(mean.answer, Prediction::Score(2.0));
    assert_eq!(mean.metrics[2], ("mean_squared_error".to_owned(), 2.0));
}
