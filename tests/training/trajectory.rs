//! Ten steps of fine-tuning as `transformers` and `torch` take them (`trajectory.py`, float64).

use std::cell::RefCell;

use burn::tensor::Device;
use ftp::data::batch::Encoding;
use ftp::data::set::Target;
use ftp::event::Event;
use ftp::hub::tensors::{HostTensor, Tensors};
use ftp::lang::world::Task;
use ftp::nn::models::{Head, Model};
use ftp::random::Key;
use ftp::train::schedule::Warmup;
use ftp::train::{Rows, SequenceTask, Settings, fit};
use serde_json::Value;

use super::numbers::numbers;

fn reference() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/training/trajectory.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The tensors of a file under a prefix, without it.
pub fn tensors(file: &str, prefix: &str) -> Tensors {
    let path = format!("{}/tests/training/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let host = |view: safetensors::tensor::TensorView| {
        let data = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        HostTensor { shape: view.shape().to_vec(), data }
    };
    let named = file.tensors().into_iter();
    named.filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), host(view)))).collect()
}

fn encodings(reference: &Value) -> Vec<Encoding> {
    let integers = |values: &Value| numbers(values).into_iter().map(|value| value as u32).collect::<Vec<_>>();
    let rows = reference["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let ids = integers(&row["ids"]);
        Encoding { segments: integers(&row["segments"]), words: vec![0; ids.len()], ids }
    })
    .collect()
}

/// Trains as the script did, with what a delta adds; the losses of the steps and the model at the end.
fn train(
    reference: &Value,
    initial: &str,
    task: Task,
    targets: &[Target],
    delta: impl Fn(Model) -> Model,
    parameters: &[(String, ftp::lang::value::Value)],
) -> (Vec<f64>, Model) {
    let given = |name: &str| reference["settings"][name].as_f64().unwrap();
    let settings = Settings {
        epochs: 2.0,
        batch_size: given("batch_size") as usize,
        warmup: Warmup::Steps(given("warmup") as u64),
        learning_rate: given("learning_rate"),
        weight_decay: given("weight_decay"),
        adam_epsilon: given("adam_epsilon"),
        max_grad_norm: Some(given("max_grad_norm")),
        log_interval: 0.0,
        stability: parameters.iter().cloned().collect(),
        ..Settings::default()
    };
    let head = Head::Sequence(task.clone());
    let initial = tensors("trajectory", initial);
    let (mut model, report) = Model::new(&reference["config"], &initial, &head, 9, &Device::flex()).unwrap();
    assert_eq!((report.missing.len(), report.unused.len()), (0, 0), "{report:?}");
    model.precision = ftp::nn::ops::Precision::F32Strict;
    let mut model = delta(model);
    let encodings = encodings(reference);
    let losses = RefCell::new(Vec::new());
    let sink = |event| {
        if let Event::Progress { loss, .. } = event {
            losses.borrow_mut().push(loss);
        }
    };
    let rows = Rows::labelled(&encodings, targets);
    fit(&mut model, &SequenceTask { task }, rows, None, &settings, super::tiny::around("trajectory", &sink)).unwrap();
    (losses.into_inner(), model)
}

/// The script's classification, with what a delta adds.
pub fn classification(
    delta: impl Fn(Model) -> Model,
    parameters: &[(String, ftp::lang::value::Value)],
) -> (Vec<f64>, Model) {
    let reference = reference();
    let task = Task::Classification { labels: ["a", "b", "c"].map(String::from).to_vec() };
    let rows = reference["rows"].as_array().unwrap().iter();
    let targets: Vec<Target> = rows.map(|row| Target::Class(row["label"].as_u64().unwrap() as u32)).collect();
    train(&reference, "initial.", task, &targets, delta, parameters)
}

pub fn assert_losses(losses: &[f64], expected: &[f64]) {
    assert_eq!(losses.len(), 10);
    for (step, (loss, expected)) in losses.iter().zip(expected).enumerate() {
        assert!((loss - expected).abs() < 1e-4, "step {}: {loss}, transformers has {expected}", step + 1);
    }
}

#[test]
fn rows_are_visited_in_the_order_the_reference_was_made_with() {
    for (epoch, order) in reference()["order"].as_array().unwrap().iter().enumerate() {
        let order: Vec<usize> = numbers(order).into_iter().map(|row| row as usize).collect();
        let now = Key::new(0, "shuffle").at(epoch as u64).permutation(20);
        assert_eq!(order, now, "put this order into ORDER of trajectory.py and run it again");
    }
}

#[test]
fn ten_steps_of_classification_have_the_losses_and_end_at_the_weights_of_transformers() {
    let (losses, model) = classification(|model| model, &[]);
    assert_losses(&losses, &numbers(&reference()["losses"]));

    let weights = model.tensors();
    let (initial, expected) = (tensors("trajectory", "initial."), tensors("trajectory", "final."));
    assert_eq!(weights.len(), expected.len());
    for (name, expected) in &expected {
        let norm = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        let off = norm(&weights[name].data, &expected.data);
        let size = norm(&expected.data, &vec![0.0; expected.data.len()]);
        assert!(off <= 1e-4 * size, "{name} is off by {off} of {size}");
        // Close to where it ended must also mean far from where it began.
        let way = norm(&initial[name].data, &expected.data);
        // Softmax does not see what is the same for all keys: their bias moves by rounding noise alone.
        assert!(off <= 0.01 * way || name.ends_with("key.bias"), "{name} is off by {off} on a way of {way}");
    }
}

#[test]
fn ten_steps_of_regression_have_the_losses_of_transformers() {
    let reference = reference();
    let rows = reference["rows"].as_array().unwrap().iter();
    let targets: Vec<Target> = rows.map(|row| Target::Score(row["score"].as_f64().unwrap() as f32)).collect();
    let (losses, _) = train(&reference, "regression.", Task::Regression, &targets, |model| model, &[]);
    assert_losses(&losses, &numbers(&reference["regression_losses"]));
}
