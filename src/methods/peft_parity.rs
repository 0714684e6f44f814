//! Virtual tokens compute what `peft` computes: logits and gradients, on the fixtures of `tests/parity/make_peft_fixtures.py`.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use serde_json::{Value as Json, json};

use super::{delta, oracle};
use crate::data::batch::{Batch, Encoding};
use crate::hub::tensors::{HostTensor, Tensors};
use crate::hub::{Directory, read_safetensors};
use crate::lang::value::Value;
use crate::nn::models::{Head, Model};
use crate::nn::ops::Precision;
use crate::nn::parameters::Weight;
use crate::plan::spec::DeltaSpec;
use crate::random::Key;

const MODELS: [&str; 2] = ["bert_sequence", "roberta_sequence"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures")
}

fn batch(model: &str) -> Batch {
    let text = std::fs::read_to_string(fixtures().join(model).join("case.json")).unwrap();
    let case: Json = serde_json::from_str(&text).unwrap();
    let rows = |key: &str| serde_json::from_value::<Vec<Vec<u32>>>(case[key].clone()).unwrap();
    let sequences = rows("ids").into_iter().zip(rows("segments"));
    let encodings: Vec<Encoding> = sequences.map(|(ids, segments)| Encoding { ids, segments, words: vec![] }).collect();
    Batch::pack(&encodings)
}

/// The fixture's model with the delta, which has the fixture's values.
fn attached(name: &str, spec: &DeltaSpec, stored: &Tensors) -> Model {
    let directory = Directory::open(fixtures().join(name)).unwrap();
    let mut config = directory.config().clone();
    for rate in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        config[rate] = json!(0.0);
    }
    let head = Head::from_config(&config).unwrap();
    let mut model = Model::new(&config, &directory.tensors().unwrap(), &head, 0, &Device::flex()).unwrap().0;
    model.precision = Precision::F32Strict;
    let method = delta(&spec.method).unwrap();
    (method.attach)(spec, &mut model, 0).unwrap();
    let layers = model.layers();
    model.train_only(|slot| (method.trains)(spec, layers, slot));
    let own: Vec<String> = model.parameters.keys().filter(|name| stored.contains_key(*name)).cloned().collect();
    assert_eq!(own.len(), model.parameters.values().filter(|parameter| parameter.trainable).count());
    for name in own {
        assert_eq!(model.parameters[&name].weight.shape(), stored[&name].shape, "{name}");
        oracle::set(&mut model, &name, &stored[&name]);
    }
    model
}

fn check(file: &str, spec: &DeltaSpec) {
    for name in MODELS {
        let stored = read_safetensors(&fixtures().join(format!("peft/{name}-{file}.safetensors"))).unwrap();
        let (model, batch) = (attached(name, spec, &stored), batch(name));
        let pass = model.training_pass(Key::new(0, "dropout"));
        let logits = model.sequence_logits(&pass, model.encode_at(&pass, &batch, &batch.first_tokens()));
        let (found, expected) = (Weight::Matrix(logits.clone().inner()).to_host(), &stored["logits"]);
        assert_eq!(found.shape, expected.shape);
        oracle::assert_close(&found.data, &expected.data, 1e-5);
        let weights = (0..expected.data.len()).map(|at| (at as f32 + 0.5).cos()).collect();
        let weights = Weight::from_host(&HostTensor { shape: expected.shape.clone(), data: weights }, model.device());
        let Some(Weight::Matrix(weights)) = weights else { unreachable!("a matrix") };
        let gradients = pass.gradients((logits * Tensor::from_inner(weights)).sum());
        assert!(!gradients.is_empty());
        for (parameter, gradient) in gradients {
            let expected = &stored[&format!("gradient.{parameter}")].data;
            let largest = expected.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
            oracle::assert_close(&gradient.to_host().data, expected, 1e-4 * largest);
        }
    }
}

fn spec(method: &str, changes: &[(&str, Value)]) -> DeltaSpec {
    oracle::spec(method, &[&[("num_virtual_tokens", Value::Int(3))], changes].concat())
}

#[test]
fn a_prompt_computes_what_peft_computes() {
    check("prompt", &spec("prompt", &[]));
}

#[test]
fn p_tuning_computes_what_peft_computes() {
    check("p_tuning", &spec("p_tuning", &[("encoder_hidden_size", Value::Int(10))]));
}

#[test]
fn a_prefix_computes_what_peft_computes() {
    check("prefix", &spec("prefix", &[]));
}

#[test]
fn a_projected_prefix_computes_what_peft_computes() {
    let changes = [("prefix_projection", Value::Bool(true)), ("encoder_hidden_size", Value::Int(10))];
    check("prefix_projection", &spec("prefix", &changes));
}
