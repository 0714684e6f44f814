//! AdamW and clipping on parameters made by hand.

use burn::tensor::{Device, Tensor, TensorData};
use ftp::nn::gradient::{Gradient, Gradients};
use ftp::nn::parameters::{Parameter, Parameters, Weight};
use ftp::train::Settings;
use ftp::train::optimizer::{Optimizer, clip_coefficient, global_norm};

use super::numbers::{cases, numbers};

fn vector(values: &[f32]) -> Weight {
    Weight::Vector(Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex()))
}

fn matrix(values: &[f32], shape: [usize; 2]) -> Weight {
    Weight::Matrix(Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex()))
}

fn parameters<const N: usize>(named: [(&str, Weight); N]) -> Parameters {
    named
        .map(|(name, weight)| (name.to_owned(), Parameter { weight, trainable: true, rate: 1.0 }))
        .into_iter()
        .collect()
}

fn gradients<const N: usize>(named: [(&str, Weight); N]) -> Gradients {
    named.map(|(name, weight)| (name.to_owned(), Gradient::Whole(weight))).into_iter().collect()
}

fn values(weight: &Weight) -> Vec<f32> {
    weight.to_host().data
}

#[test]
fn the_first_step_is_the_learning_rate_with_bias_correction_and_3_16_times_that_without() {
    for (bias_correction, size) in [(true, 1.0), (false, 0.1 / 0.001_f64.sqrt())] {
        let settings = Settings { bias_correction, weight_decay: 0.0, adam_epsilon: 1e-12, ..Settings::default() };
        let mut parameters = parameters([("dense.weight", matrix(&[1.0, 2.0, -3.0, 0.5], [2, 2]))]);
        let gradient = gradients([("dense.weight", matrix(&[0.3, -2.0, 1e-3, 40.0], [2, 2]))]);
        Optimizer::new(&settings).update(&mut parameters, gradient, |_| 0.01, 1.0);
        let expected = [1.0 - 0.01 * size, 2.0 + 0.01 * size, -3.0 - 0.01 * size, 0.5 - 0.01 * size];
        for (value, expected) in values(&parameters["dense.weight"].weight).into_iter().zip(expected) {
            assert!((f64::from(value) - expected).abs() < 1e-5, "{value} {expected}");
        }
    }
}

#[test]
fn weight_decay_shrinks_maps_and_leaves_biases_norms_and_frozen_parameters_alone() {
    let names = ["a.dense.weight", "a.dense.bias", "a.LayerNorm.weight", "a.LayerNorm.bias", "frozen.weight"];
    let mut parameters = parameters(names.map(|name| (name, vector(&[2.0, -4.0]))));
    parameters["frozen.weight"].trainable = false;
    let settings = Settings { weight_decay: 0.5, ..Settings::default() };
    let mut optimizer = Optimizer::new(&settings);
    optimizer.update(&mut parameters, gradients(names.map(|name| (name, vector(&[0.0, 0.0])))), |_| 0.1, 1.0);
    assert_eq!(values(&parameters["a.dense.weight"].weight), [1.9, -3.8]); // 1 - 0.1 * 0.5
    for name in &names[1..] {
        assert_eq!(values(&parameters[*name].weight), [2.0, -4.0], "{name}");
    }
    assert!(optimizer.names().all(|name| name != "frozen.weight"));
}

#[test]
fn a_parameter_without_gradient_neither_moves_nor_decays() {
    let mut parameters = parameters([("used.weight", vector(&[1.0])), ("unused.weight", vector(&[1.0]))]);
    let mut optimizer = Optimizer::new(&Settings { weight_decay: 0.5, ..Settings::default() });
    optimizer.update(&mut parameters, gradients([("used.weight", vector(&[1.0]))]), |_| 0.1, 1.0);
    assert_eq!(values(&parameters["unused.weight"].weight), [1.0]);
    assert!(optimizer.names().eq(["used.weight"]));
}

#[test]
fn clipping_by_global_norm_is_that_of_torch() {
    for case in cases("clippings") {
        let before: Vec<Vec<f64>> = case["before"].as_array().unwrap().iter().map(numbers).collect();
        let named = before.iter().enumerate().map(|(index, values)| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            let weight = match numbers(&case["shapes"][index])[..] {
                [rows, columns] => matrix(&values, [rows as usize, columns as usize]),
                _ => vector(&values),
            };
            (index.to_string(), Gradient::Whole(weight))
        });
        let norm = global_norm(&named.collect());
        assert!((norm - case["norm"].as_f64().unwrap()).abs() < 1e-5);
        let scale = clip_coefficient(norm, case["max_norm"].as_f64());
        for (before, after) in before.iter().zip(case["after"].as_array().unwrap()) {
            for (before, after) in before.iter().zip(numbers(after)) {
                assert!((before * scale - after).abs() < 1e-6);
            }
        }
    }
    assert_eq!(clip_coefficient(1e9, None), 1.0);
}
