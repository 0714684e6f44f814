//! Models compute what `transformers` computes: hidden states, logits, loss and the gradient of every parameter.
//!
//! The oracle is `transformers` in float64 on small random models (`tests/parity/make_fixtures.py`), with dropout off, and
//! on with the same masks.
#![cfg(feature = "train")]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ftp::data::batch::{Batch, Encoding};
use ftp::hub::tensors::{HostTensor, Tensors};
use ftp::hub::{Directory, read_safetensors, write_model};
use ftp::nn::gradient::Gradients;
use ftp::nn::models::layout::{Part, Role, Slot};
use ftp::nn::models::{Head, Model};
use ftp::nn::ops;
use ftp::nn::parameters::Weight;
use ftp::nn::pass::without_gradient;
use ftp::random::Key;
use serde_json::{Value, json};

/// Largest difference of a tensor's elements, relative to its largest.
const TOLERANCE: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures").join(name)
}

fn open(name: &str) -> (Directory, Head) {
    let directory = Directory::open(folder(name)).unwrap();
    let head = Head::from_config(directory.config()).expect("fixtures have a head");
    (directory, head)
}

/// The sequences of a fixture, without padding, and their targets.
fn case(name: &str) -> (Batch, Vec<f32>) {
    let text = std::fs::read_to_string(folder(name).join("case.json")).unwrap();
    let case: Value = serde_json::from_str(&text).unwrap();
    let rows = |key: &str| serde_json::from_value::<Vec<Vec<u32>>>(case[key].clone()).unwrap();
    let sequences = rows("ids").into_iter().zip(rows("segments"));
    let encodings: Vec<Encoding> =
        sequences.map(|(ids, segments)| Encoding { ids, segments, words: Vec::new() }).collect();
    (Batch::pack(&encodings), serde_json::from_value(case["targets"].clone()).unwrap())
}

/// Mean loss as `transformers` defines it for each head.
fn loss(model: &Model, logits: Tensor<2>, targets: &[f32]) -> Tensor<1> {
    let mean = 1.0 / targets.iter().filter(|target| **target >= 0.0).count() as f32;
    match (model.head(), logits.dims()) {
        (Head::Sequence(_), [rows, 1]) => {
            let targets = Tensor::<2>::from_data(TensorData::new(targets.to_vec(), [rows, 1]), model.device());
            (logits - targets).square().mean()
        }
        _ => ops::cross_entropy(logits, targets.iter().map(|target| *target as i32).collect()) * mean,
    }
}

/// `floor` is what a tensor's largest element counts at least: gradients that are zero but for rounding have no scale of
/// their own (the keys' bias, which softmax cancels).
fn assert_close(what: &str, ours: &HostTensor, theirs: &HostTensor, floor: f32) {
    assert_eq!(ours.shape, theirs.shape, "{what}");
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |most: f32, value| most.max(value.abs()));
    let scale = largest(&mut theirs.data.iter().copied()).max(floor);
    let difference = largest(&mut ours.data.iter().zip(&theirs.data).map(|(ours, theirs)| ours - theirs));
    assert!(ours.data.iter().all(|value| value.is_finite()), "{what} is not finite");
    assert!(difference <= TOLERANCE * scale, "{what}: off by {difference:e} where the largest is {scale:e}");
}

/// A fixture's model; without dropout unless asked for.
fn model(name: &str, dropout: bool) -> Model {
    let (directory, head) = open(name);
    let mut config = directory.config().clone();
    if !dropout {
        let rates = config.as_object_mut().unwrap().iter_mut();
        rates
            .filter(|(key, value)| key.contains("dropout") && value.is_number())
            .for_each(|(_, rate)| *rate = json!(0));
    }
    let (model, report) = Model::new(&config, &directory.tensors().unwrap(), &head, 0, &Device::flex()).unwrap();
    // transformers uses an untied decoder's own bias and lets the head's lie.
    let unused: &[&str] = if name == "bert_mlm_untied" { &["cls.predictions.bias"] } else { &[] };
    assert_eq!(report.missing, Vec::<String>::new());
    assert_eq!(report.unused, unused);
    model
}

/// Outputs by name and gradients, computed in a training pass as the fixtures' script does.
fn run(name: &str, model: &Model) -> (Tensors, Gradients) {
    let (batch, targets) = case(name);
    let pass = model.training_pass(Key::new(7, "dropout").at(3));
    let hidden = model.encode(&pass, &batch);
    let logits = match model.head() {
        Head::MaskedLm => model.mlm_logits(&pass, hidden.clone()),
        Head::Sequence(_) => model.sequence_logits(&pass, ops::gather(hidden.clone(), batch.first_tokens().rows)),
    };
    let loss = loss(model, logits.clone(), &targets);
    let outputs = [
        ("hidden".to_string(), Weight::Matrix(hidden.inner()).to_host()),
        ("logits".to_string(), Weight::Matrix(logits.inner()).to_host()),
        ("loss".to_string(), Weight::Vector(loss.clone().inner()).to_host()),
    ];
    (Tensors::from(outputs), pass.gradients(loss))
}

fn check(name: &str, dropout: bool) {
    let model = model(name, dropout);
    let expected = format!("{}.safetensors", if dropout { "dropout" } else { "eval" });
    let expected = read_safetensors(&folder(name).join(expected)).unwrap();
    let (outputs, gradients) = run(name, &model);
    for (what, output) in &outputs {
        assert_close(what, output, &expected[what], 0.0);
    }
    assert_eq!(without_gradient(&model.parameters, &gradients), Vec::<&str>::new());
    let theirs: Tensors = expected
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("gradient.")?.to_string(), tensor)))
        .collect();
    assert_eq!(sorted(theirs.keys()), sorted(gradients.keys()));
    let largest = theirs.values().flat_map(|tensor| &tensor.data).fold(0.0f32, |most, value| most.max(value.abs()));
    for (name, gradient) in &gradients {
        assert_close(name, &gradient.to_host(), &theirs[name], 1e-2 * largest);
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

macro_rules! parity {
    ($($fixture:ident)*) => {
        /// Without dropout.
        mod without_dropout {
            $(#[test] fn $fixture() { super::check(stringify!($fixture), false) })*
        }

        /// With dropout at the same places, of the same elements, with the same scaling.
        mod with_dropout {
            $(#[test] fn $fixture() { super::check(stringify!($fixture), true) })*
        }

        const FIXTURES: &[&str] = &[$(stringify!($fixture)),*];
    };
}

parity! {
    bert_mlm bert_mlm_untied bert_sequence bert_regression
    roberta_mlm roberta_sequence
    distilbert_mlm distilbert_sequence
}

#[test]
fn evaluating_is_training_without_dropout() {
    for name in FIXTURES {
        let (directory, head) = open(name);
        let (model, _) =
            Model::new(directory.config(), &directory.tensors().unwrap(), &head, 0, &Device::flex()).unwrap();
        let pass = model.evaluating_pass();
        let hidden = model.encode(&pass, &case(name).0);
        assert!(!hidden.is_autodiff(), "{name}: an evaluating pass must not pay for gradients");
        let expected = read_safetensors(&folder(name).join("eval.safetensors")).unwrap();
        assert_close(name, &Weight::Matrix(hidden).to_host(), &expected["hidden"], 0.0);
    }
}

/// What an objective reads is all that the last layer computes: the fixtures' numbers must come out of that as well.
#[test]
fn encoding_only_what_is_read_gives_the_numbers_of_encoding_everything() {
    for name in FIXTURES {
        let model = model(name, false);
        let (batch, targets) = case(name);
        let (outputs, gradients) = run(name, &model);
        let pass = model.training_pass(Key::new(7, "dropout").at(3));
        // A language model's fixture has a target for every token; negative ones do not count.
        let (states, targets) = match model.head() {
            Head::Sequence(_) => (model.encode_at(&pass, &batch, &batch.first_tokens()), targets),
            Head::MaskedLm => {
                let counts = |row: &u32| targets[*row as usize] >= 0.0;
                let rows: Vec<u32> = (0..batch.tokens() as u32).filter(counts).collect();
                let targets = rows.iter().map(|row| targets[*row as usize]).collect();
                (model.encode_at(&pass, &batch, &batch.tokens_at(rows.into())), targets)
            }
        };
        let logits = match model.head() {
            Head::Sequence(_) => model.sequence_logits(&pass, states),
            Head::MaskedLm => model.mlm_logits(&pass, states),
        };
        let loss = loss(&model, logits, &targets);
        assert_close("loss", &Weight::Vector(loss.clone().inner()).to_host(), &outputs["loss"], 0.0);
        let found = pass.gradients(loss);
        let largest = gradients
            .values()
            .flat_map(|tensor| tensor.to_host().data)
            .fold(0.0f32, |most, value| most.max(value.abs()));
        for (name, gradient) in &gradients {
            assert_close(name, &found[name].to_host(), &gradient.to_host(), 1e-2 * largest);
        }
    }
}

#[test]
fn freezing_parameters_changes_no_gradient_of_the_others() {
    let choices: [fn(&Slot) -> bool; 4] = [
        Slot::is_bias,
        |slot| slot.part == Part::Head,
        |slot| slot.role == Role::Embedding,
        |slot| slot.name.contains("layer.1.") && slot.role == Role::Weight,
    ];
    for name in FIXTURES {
        let mut model = model(name, true);
        let (_, all) = run(name, &model);
        for trains in choices {
            model.train_only(trains);
            let (_, some) = run(name, &model);
            let expected = model.layout().slots.iter().filter(|slot| trains(slot)).map(|slot| &slot.name);
            assert_eq!(some.keys().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
            for (parameter, gradient) in &some {
                assert_close(parameter, &gradient.to_host(), &all[parameter].to_host(), 1e-3);
            }
        }
    }
}

#[test]
fn a_saved_model_is_what_transformers_saved() {
    for name in FIXTURES {
        let (directory, head) = open(name);
        let (model, _) =
            Model::new(directory.config(), &directory.tensors().unwrap(), &head, 0, &Device::flex()).unwrap();
        let out = tempfile::tempdir().unwrap();
        write_model(out.path(), &model.config(), &model.tensors()).unwrap();

        let theirs = read_safetensors(&folder(name).join("model.safetensors")).unwrap();
        let ours = read_safetensors(&out.path().join("model.safetensors")).unwrap();
        assert_eq!(sorted(ours.keys()), sorted(theirs.keys()), "{name}");
        for (tensor, values) in &ours {
            // A bias transformers saves twice and uses once (an untied decoder's) is saved twice as it is used.
            let used = if *name == "bert_mlm_untied" && tensor == "cls.predictions.bias" {
                &theirs["cls.predictions.decoder.bias"]
            } else {
                &theirs[tensor]
            };
            assert_eq!(values, used, "{name}: {tensor}");
        }

        let saved = Directory::open(out.path()).unwrap();
        for (key, value) in directory.config().as_object().unwrap() {
            assert_eq!(saved.config().get(key), Some(value), "{name}: {key}");
        }
        let keys = |config: &Value| config.as_object().unwrap().len();
        assert_eq!(keys(saved.config()), keys(directory.config()), "{name}: keys were added");
        assert_eq!(Head::from_config(saved.config()), Some(head), "{name}");
    }
}
