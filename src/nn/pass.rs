//! One forward pass: where architectures meet parameters, deltas and dropout.

use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::ops::{self, Dropout};
use super::parameters::{Parameters, Weight};
use crate::random::Key;

/// Gradients of the trainable parameters, by name; plain tensors.
pub type Gradients = IndexMap<String, Weight>;

/// The sites of one forward pass. Architectures call their maps, norms and embeddings through it, by name.
///
/// A site is the path of a module in the `transformers` model; its parameters are `{site}.weight` and `{site}.bias`.
/// Dropout at a site draws from `key.at(site_index(site))`, so what falls there depends on no other site.
pub struct Pass<'a> {
    parameters: &'a Parameters,
    training: Option<Training<'a>>,
}

struct Training<'a> {
    key: Key,
    /// Tracked tensors of the trainable parameters. One leaf each, so that uses of a tied weight add up.
    leaves: IndexMap<&'a str, Weight>,
}

impl<'a> Pass<'a> {
    /// A pass that will be differentiated: trainable parameters become tracked leaves, dropout is on and drawn from
    /// `key` (already specific to the step and micro-batch).
    pub fn training(parameters: &'a Parameters, key: Key) -> Self {
        let trainable = parameters.iter().filter(|(_, parameter)| parameter.trainable);
        let leaves = trainable.map(|(name, parameter)| {
            let leaf = match parameter.weight.clone() {
                Weight::Vector(vector) => Weight::Vector(vector.autodiff().require_grad()),
                Weight::Matrix(matrix) => Weight::Matrix(matrix.autodiff().require_grad()),
            };
            (name.as_str(), leaf)
        });
        Self { parameters, training: Some(Training { key, leaves: leaves.collect() }) }
    }

    /// A pass without gradients and dropout.
    pub fn evaluating(parameters: &'a Parameters) -> Self {
        Self { parameters, training: None }
    }

    /// Gradients of `loss` with respect to every trainable parameter it depends on. The pass ends here and lets go of the
    /// parameters, so that they can be updated in place.
    pub fn gradients(self, loss: Tensor<1>) -> Gradients {
        let Some(training) = self.training.filter(|_| loss.is_tracked()) else {
            return Gradients::new();
        };
        let mut all = loss.backward();
        drop(loss);
        let gradients = training.leaves.into_iter().filter_map(|(name, leaf)| {
            let gradient = match leaf {
                Weight::Vector(vector) => Weight::Vector(vector.grad_remove(&mut all)?),
                Weight::Matrix(matrix) => Weight::Matrix(matrix.grad_remove(&mut all)?),
            };
            Some((name.to_string(), gradient))
        });
        gradients.collect()
    }

    /// The linear map of a site. x `[T, in]` -> `[T, out]`.
    pub fn linear(&self, site: &str, x: Tensor<2>) -> Tensor<2> {
        self.linear_of(site, &format!("{site}.weight"), &format!("{site}.bias"), x)
    }

    /// The linear map of a site whose weight or bias belongs to another (tied) module. Without such a bias it has none.
    /// x `[T, in]` -> `[T, out]`.
    ///
    /// Every linear map of every architecture is computed here: the place where a delta acts on one.
    pub fn linear_of(&self, _site: &str, weight: &str, bias: &str, x: Tensor<2>) -> Tensor<2> {
        let bias = self.parameters.contains_key(bias).then(|| self.vector(bias));
        ops::linear(x, self.matrix(weight), bias)
    }

    /// Rows of a site's table. ids `[T]` -> `[T, d]`.
    pub fn embedding(&self, site: &str, ids: Arc<[u32]>) -> Tensor<2> {
        ops::embedding(self.matrix(&format!("{site}.weight")), ids)
    }

    /// `LayerNorm(residual + dropout(x))` of a site; `dropout` is a probability. x, residual `[T, d]` -> `[T, d]`.
    pub fn layer_norm(
        &self,
        site: &str,
        x: Tensor<2>,
        residual: Option<Tensor<2>>,
        epsilon: f32,
        dropout: f32,
    ) -> Tensor<2> {
        let weight = self.vector(&format!("{site}.weight"));
        let bias = self.vector(&format!("{site}.bias"));
        ops::layer_norm(x, residual, weight, bias, epsilon, self.drop_at(site, dropout))
    }

    /// Self-attention of a site inside each sequence; `dropout` is the probability for the attention probabilities. query,
    /// key, value `[T, heads * head_dim]`, offsets `[B + 1]` -> `[T, heads * head_dim]`.
    #[allow(clippy::too_many_arguments)]
    pub fn attention(
        &self,
        site: &str,
        query: Tensor<2>,
        key: Tensor<2>,
        value: Tensor<2>,
        heads: usize,
        offsets: Arc<[u32]>,
        dropout: f32,
    ) -> Tensor<2> {
        ops::attention(query, key, value, heads, offsets, self.drop_at(site, dropout))
    }

    /// Dropout as a site of its own. x `[T, d]` -> `[T, d]`.
    pub fn dropout(&self, site: &str, x: Tensor<2>, probability: f32) -> Tensor<2> {
        match self.drop_at(site, probability) {
            Some(dropout) => ops::dropout(x, dropout),
            None => x,
        }
    }

    /// What falls at a site: nothing when evaluating or when nothing should.
    fn drop_at(&self, site: &str, probability: f32) -> Option<Dropout> {
        let training = self.training.as_ref().filter(|_| probability > 0.0)?;
        Some(Dropout { probability, key: training.key.at(site_index(site)) })
    }

    fn vector(&self, name: &str) -> Tensor<1> {
        match self.weight(name) {
            Weight::Vector(vector) => vector.clone(),
            Weight::Matrix(_) => panic!("parameter `{name}` is a matrix where the architecture uses a vector"),
        }
    }

    fn matrix(&self, name: &str) -> Tensor<2> {
        match self.weight(name) {
            Weight::Matrix(matrix) => matrix.clone(),
            Weight::Vector(_) => panic!("parameter `{name}` is a vector where the architecture uses a matrix"),
        }
    }

    /// Loading has checked every name and shape against the architecture: a miss is a mistake in this program.
    fn weight(&self, name: &str) -> &Weight {
        if let Some(leaf) = self.training.as_ref().and_then(|training| training.leaves.get(name)) {
            return leaf;
        }
        match self.parameters.get(name) {
            Some(parameter) => &parameter.weight,
            None => panic!("the architecture uses parameter `{name}`, which it did not declare"),
        }
    }
}

/// The number a name stands for in keys of random numbers: the first eight bytes of its BLAKE3 digest.
pub fn site_index(site: &str) -> u64 {
    let digest = blake3::hash(site.as_bytes());
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
}

/// Trainable parameters a gradient was not computed for: the loss does not depend on them.
pub fn without_gradient<'a>(parameters: &'a Parameters, gradients: &Gradients) -> Vec<&'a str> {
    let trainable = parameters.iter().filter(|(_, parameter)| parameter.trainable);
    trainable.map(|(name, _)| name.as_str()).filter(|name| !gradients.contains_key(*name)).collect()
}
