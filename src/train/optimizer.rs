//! AdamW over a model's parameters, by name.

use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;

use super::checkpoint::{Saved, Snapshot};
use super::settings::Settings;
use crate::hub::tensors::HostTensor;
use crate::nn::gradient::{Gradient, Gradients, Rows};
use crate::nn::ops;
use crate::nn::parameters::{Parameters, Weight};

/// Adam's two running means of one parameter, and how often it was updated.
struct Moments {
    first: Weight,
    second: Weight,
    updates: u64,
    /// Of a table whose gradients have all been rows: which rows have had one.
    touched: Option<Vec<bool>>,
}

impl Moments {
    fn of(parameter: &Weight, gradient: &Gradient) -> Self {
        let touched = match gradient {
            Gradient::Whole(_) => None,
            Gradient::Rows(rows) => Some(vec![false; rows.height]),
        };
        Self { first: zeros_like(parameter), second: zeros_like(parameter), updates: 0, touched }
    }
}

/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with optional bias correction. Only parameters that receive
/// gradients have state, so BitFit's optimizer holds 0.1 % of a model twice, not all of it.
pub struct Optimizer {
    /// Learning rate, step and scale are filled in at each update.
    rule: ops::AdamW,
    moments: IndexMap<String, Moments>,
}

impl Optimizer {
    pub fn new(settings: &Settings) -> Self {
        let rule = ops::AdamW {
            learning_rate: settings.learning_rate,
            beta1: settings.adam_beta1,
            beta2: settings.adam_beta2,
            epsilon: settings.adam_epsilon,
            weight_decay: settings.weight_decay,
            bias_correction: settings.bias_correction,
            step: 0,
            scale: 1.0,
        };
        Self { rule, moments: IndexMap::new() }
    }

    /// Moves every parameter that has a gradient, by the learning rate that `rate` gives for its name. The gradients are
    /// multiplied by `scale` first. As in PyTorch, a parameter the loss does not depend on stays as it is: no decay either.
    pub fn update(
        &mut self,
        parameters: &mut Parameters,
        gradients: Gradients,
        rate: impl Fn(&str) -> f64,
        scale: f32,
    ) {
        for (name, gradient) in gradients {
            let Some(parameter) = parameters.get_mut(&name).filter(|parameter| parameter.trainable) else { continue };
            let (decays, learning_rate) = (decays(&name), rate(&name) * parameter.rate);
            let moments = self.moments.entry(name).or_insert_with(|| Moments::of(&parameter.weight, &gradient));
            moments.updates += 1;
            let rule = ops::AdamW {
                learning_rate,
                weight_decay: if decays { self.rule.weight_decay } else { 0.0 },
                step: moments.updates,
                scale,
                ..self.rule
            };
            let Moments { first, second, touched, .. } = moments;
            match (&mut parameter.weight, gradient, first, second) {
                (Weight::Matrix(weight), Gradient::Rows(rows), Weight::Matrix(first), Weight::Matrix(second)) => {
                    let touched = touched.get_or_insert_with(|| vec![true; rows.height]);
                    apply_rows(&rule, weight, rows, first, second, touched);
                }
                (weight, Gradient::Whole(gradient), first, second) => {
                    *touched = None;
                    apply_whole(&rule, weight, gradient, first, second);
                }
                _ => unreachable!("a gradient has its parameter's rank"),
            }
        }
    }

    /// Moments, and how often each parameter was updated.
    pub fn save(&self, to: &mut Snapshot) {
        let updates: IndexMap<&str, u64> =
            self.moments.iter().map(|(name, moments)| (name.as_str(), moments.updates)).collect();
        to.record("updates", &updates);
        for (name, moments) in &self.moments {
            to.tensor("first", name, &moments.first);
            to.tensor("second", name, &moments.second);
            if let Some(touched) = &moments.touched {
                let values: Vec<f32> = touched.iter().map(|touched| f32::from(u8::from(*touched))).collect();
                let values = HostTensor { shape: vec![values.len()], data: values };
                to.tensor("touched", name, &Weight::from_host(&values, &Device::flex()).expect("it is a vector"));
            }
        }
    }

    /// Takes over what [`Optimizer::save`] wrote; `None` when it is not of these parameters.
    pub fn load(&mut self, saved: &Saved, parameters: &Parameters) -> Option<()> {
        let updates: IndexMap<String, u64> = saved.record("updates")?;
        self.moments = IndexMap::new();
        for (name, updates) in updates {
            let weight = &parameters.get(&name)?.weight;
            let touched =
                saved.tensor("touched", &name).map(|tensor| tensor.data.iter().map(|&row| row != 0.0).collect());
            let [first, second] = ["first", "second"].map(|group| saved.like(group, &name, weight));
            self.moments.insert(name, Moments { first: first?, second: second?, updates, touched });
        }
        Some(())
    }

    /// Names of the parameters that have state.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.moments.keys().map(String::as_str)
    }
}

/// Whether weight decay acts on a parameter: not on biases, on gates, on scores nor on the weights of norms, by their `transformers` names
/// (`LayerNorm`, `layer_norm`, `sa_layer_norm`, `norm`).
pub fn decays(name: &str) -> bool {
    let is_norm = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.contains("layernorm") || part == "norm" || part.ends_with("_norm")
    };
    let undecayed = ["bias", "_gate", "_scores"];
    !undecayed.iter().any(|end| name.ends_with(end)) && !name.split('.').any(is_norm)
}

/// The global L2 norm, in f64 and in the gradients' order.
pub fn global_norm(gradients: &Gradients) -> f64 {
    gradients.values().map(Gradient::squared_sum).sum::<f64>().sqrt()
}

/// What gradients of this norm are multiplied by: PyTorch's `clip_grad_norm_`.
pub fn clip_coefficient(norm: f64, max_grad_norm: Option<f64>) -> f64 {
    max_grad_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0))
}

fn apply_whole(rule: &ops::AdamW, weight: &mut Weight, gradient: Weight, first: &mut Weight, second: &mut Weight) {
    match (weight, gradient, first, second) {
        (Weight::Vector(weight), Weight::Vector(gradient), Weight::Vector(first), Weight::Vector(second)) => {
            (*weight, *first, *second) = rule.update(take(weight), gradient, take(first), take(second));
        }
        (Weight::Matrix(weight), Weight::Matrix(gradient), Weight::Matrix(first), Weight::Matrix(second)) => {
            (*weight, *first, *second) = rule.update(take(weight), gradient, take(first), take(second));
        }
        _ => unreachable!("a gradient has its parameter's rank"),
    }
}

fn apply_rows(
    rule: &ops::AdamW,
    weight: &mut Tensor<2>,
    Rows { rows, values, .. }: Rows,
    first: &mut Tensor<2>,
    second: &mut Tensor<2>,
    touched: &mut [bool],
) {
    let moments = [take(first), take(second)];
    (*weight, *first, *second) = rule.update_rows(take(weight), &rows, values, moments, touched);
}

/// Tensors are moved through an update, not shared with it, so that it can work in place.
fn take<const D: usize>(tensor: &mut Tensor<D>) -> Tensor<D> {
    let empty = Tensor::empty([0; D], &tensor.device());
    std::mem::replace(tensor, empty)
}

fn zeros_like(weight: &Weight) -> Weight {
    match weight {
        Weight::Vector(tensor) => Weight::Vector(tensor.zeros_like()),
        Weight::Matrix(tensor) => Weight::Matrix(tensor.zeros_like()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_norms_do_not_decay() {
        for name in [
            "bert.embeddings.LayerNorm.weight",
            "bert.encoder.layer.0.attention.self.query.bias",
            "distilbert.transformer.layer.1.sa_layer_norm.weight",
            "cls.predictions.transform.LayerNorm.weight",
            "cls.predictions.bias",
            "lm_head.layer_norm.weight",
            "vocab_layer_norm.weight",
            "encoder.norm.weight",
        ] {
            assert!(!decays(name), "{name}");
        }
        for name in ["bert.embeddings.word_embeddings.weight", "classifier.weight", "bert.pooler.dense.weight"] {
            assert!(decays(name), "{name}");
        }
    }
}
