//! One forward pass: where architectures meet parameters, deltas and dropout.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::delta::Deltas;
use super::delta::SiteDelta;
use super::gradient::{Gradient, Gradients, Rows};
use super::ops::{self, Bounds, Dropout, Precision};
use super::parameters::{Parameters, Weight};
use super::reparametrisation::{Reparametrisation, Reparametrisations};
use crate::data::batch::{Tokens, lengthened};
use crate::random::Key;

/// The sites of one forward pass. Architectures call their maps, norms and embeddings through it, by name.
///
/// A site is the path of a module in the `transformers` model; its parameters are `{site}.weight` and `{site}.bias`.
/// Dropout at a site draws from `key.at(site_index(site))`, so what falls there depends on no other site.
pub struct Pass<'a> {
    parameters: &'a Parameters,
    precision: Precision,
    deltas: Option<&'a Deltas>,
    computed: Option<&'a Reparametrisations>,
    /// Parameters that are computed in the pass, once they are.
    made: RefCell<IndexMap<&'a str, Weight>>,
    training: Option<Training<'a>>,
    dropout: bool,
    noise: RefCell<Option<Noise>>,
}

/// What is added to the states that enter a model: its word embeddings, or what fixed layers made of them.
#[derive(Debug, Clone)]
pub struct Noise {
    /// `[T, d]`; tracked where its gradient is wanted.
    pub values: Tensor<2>,
    /// Whether gradients stop here, and do not reach the embeddings.
    pub detached: bool,
}

struct Training<'a> {
    key: Cell<Key>,
    /// Tracked tensors of the trainable parameters. One leaf each, so that uses of a tied weight add up.
    leaves: IndexMap<&'a str, Weight>,
    /// Rows looked up in trainable tables, tracked by themselves: so a gradient holds these rows, not the whole table.
    lookups: RefCell<Vec<Lookup<'a>>>,
}

struct Lookup<'a> {
    table: &'a str,
    ids: Arc<[u32]>,
    rows: Tensor<2>,
}

impl<'a> Training<'a> {
    fn of(key: Key, leaves: IndexMap<&'a str, Weight>) -> Self {
        Self { key: Cell::new(key), leaves, lookups: RefCell::default() }
    }
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
        Self::with(parameters, Some(Training::of(key, leaves.collect())))
    }

    /// A pass with dropout, drawn from `key`, in which no parameter is tracked.
    pub fn probing(parameters: &'a Parameters, key: Key) -> Self {
        Self::with(parameters, Some(Training::of(key, IndexMap::new())))
    }

    /// A pass without gradients and dropout.
    pub fn evaluating(parameters: &'a Parameters) -> Self {
        Self::with(parameters, None)
    }

    fn with(parameters: &'a Parameters, training: Option<Training<'a>>) -> Self {
        Self {
            parameters,
            precision: Precision::default(),
            deltas: None,
            computed: None,
            made: RefCell::default(),
            training,
            dropout: true,
            noise: RefCell::default(),
        }
    }

    /// The same pass with the linear maps' products in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same pass with dropout or without.
    pub fn with_dropout(self, dropout: bool) -> Self {
        Self { dropout, ..self }
    }

    /// The same pass through a model with deltas.
    pub fn with_deltas(self, deltas: &'a Deltas) -> Self {
        Self { deltas: Some(deltas), ..self }
    }

    /// The same pass through a model some of whose parameters are computed anew.
    pub fn with_computed(self, computed: &'a Reparametrisations) -> Self {
        Self { computed: Some(computed).filter(|computed| !computed.is_empty()), ..self }
    }

    /// From here on the pass computes with other draws and with noise, or without: the same rows once more, in one graph.
    pub fn vary(&self, key: Key, noise: Option<Noise>) {
        if let Some(training) = &self.training {
            training.key.set(key);
        }
        self.noise.replace(noise);
    }

    /// The states that enter a model, with the noise there is. x `[T, d]` -> `[T, d]`.
    pub fn enter(&self, x: Tensor<2>) -> Tensor<2> {
        match &*self.noise.borrow() {
            None => x,
            Some(Noise { values, detached: true }) => x.detach() + values.clone(),
            Some(Noise { values, detached: false }) => x + values.clone(),
        }
    }

    /// [`Pass::gradients`], and that of the noise `[T, d]`, if it is tracked and the loss depends on it.
    pub fn gradients_with_noise(self, loss: Tensor<1>) -> (Gradients, Option<Tensor<2>>) {
        let noise = self.noise.take().map(|noise| noise.values);
        self.backward(loss, noise)
    }

    /// Gradients of `loss` with respect to every trainable parameter it depends on, in the parameters' order. The pass ends
    /// here and lets go of the parameters, so that they can be updated in place.
    pub fn gradients(self, loss: Tensor<1>) -> Gradients {
        self.backward(loss, None).0
    }

    fn backward(self, loss: Tensor<1>, noise: Option<Tensor<2>>) -> (Gradients, Option<Tensor<2>>) {
        let Some(training) = self.training.filter(|_| loss.is_tracked()) else {
            return (Gradients::new(), None);
        };
        let mut all = loss.backward();
        drop(loss);
        self.made.take();
        let noise = noise.filter(Tensor::is_tracked).and_then(|noise| noise.grad_remove(&mut all));
        let whole = training.leaves.into_iter().filter_map(|(name, leaf)| {
            let gradient = match leaf {
                Weight::Vector(vector) => Weight::Vector(vector.grad_remove(&mut all)?),
                Weight::Matrix(matrix) => Weight::Matrix(matrix.grad_remove(&mut all)?),
            };
            Some((name.to_string(), Gradient::Whole(gradient)))
        });
        let mut gradients: Gradients = whole.collect();
        for Lookup { table, ids, rows } in training.lookups.into_inner() {
            let Some(gradient) = rows.grad_remove(&mut all) else { continue };
            let height = self.parameters[table].weight.shape()[0];
            let rows = Gradient::Rows(Rows::looked_up(&ids, gradient, height));
            let sum = match gradients.swap_remove(table) {
                Some(gradient) => gradient.plus(rows),
                None => rows,
            };
            gradients.insert(table.to_string(), sum);
        }
        gradients.sort_by_cached_key(|name, _| self.parameters.get_index_of(name));
        (gradients, noise)
    }

    /// The linear map of a site. x `[T, in]` -> `[T, out]`.
    pub fn linear(&self, site: &str, x: Tensor<2>) -> Tensor<2> {
        self.linear_of(site, &format!("{site}.weight"), &format!("{site}.bias"), x)
    }

    /// The linear map of a site whose weight or bias belongs to another (tied) module. Without such a bias it has none.
    /// x `[T, in]` -> `[T, out]`.
    ///
    /// Every linear map of every architecture is computed here: the place where a delta acts on one.
    pub fn linear_of(&self, site: &str, weight: &str, bias: &str, x: Tensor<2>) -> Tensor<2> {
        let bias = self.parameters.contains_key(bias).then(|| self.vector(bias));
        let map = |x| ops::linear(x, self.matrix(weight), bias, self.precision);
        let deltas = self.deltas_at(site);
        if deltas.is_empty() {
            return map(x);
        }
        // Each delta acts around the map with those before it: folding them in this order gives the same map.
        let (mut x, mut seen) = (x, Vec::with_capacity(deltas.len()));
        for delta in deltas.iter().rev() {
            x = delta.input(self, site, x);
            seen.push(x.clone());
        }
        let seen = seen.into_iter().rev();
        deltas.iter().zip(seen).fold(map(x), |y, (delta, x)| delta.output(self, site, x, y))
    }

    /// Rows of a site's table. ids `[T]` -> `[T, d]`.
    pub fn embedding(&self, site: &str, ids: Arc<[u32]>) -> Tensor<2> {
        let name = format!("{site}.weight");
        if let Some(training) = &self.training
            && let Some((table, _)) = training.leaves.get_key_value(name.as_str())
            && let Some(Weight::Matrix(weight)) = self.parameters.get(&name).map(|parameter| &parameter.weight)
            && ops::on_host(weight)
        {
            let rows = ops::embedding(weight.clone(), ids.clone()).autodiff().require_grad();
            training.lookups.borrow_mut().push(Lookup { table, ids, rows: rows.clone() });
            return rows;
        }
        ops::embedding(self.matrix(&name), ids)
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
        let deltas = self.deltas_at(site);
        if deltas.is_empty() {
            return ops::layer_norm(x, residual, weight, bias, epsilon, self.drop_at(site, dropout));
        }
        let norm = |h| ops::layer_norm(h, residual.clone(), weight.clone(), bias.clone(), epsilon, None);
        let h = self.dropout(site, x, dropout);
        norm(deltas.iter().fold(h, |h, delta| delta.before_norm(self, h, &norm)))
    }

    /// What the layers see instead of the embeddings, by the deltas at the site of their dropout. x `[T, d]` -> `[T, d]`.
    pub fn entering(&self, site: &str, x: Tensor<2>) -> Tensor<2> {
        self.deltas_at(site).iter().fold(x, |x, delta| delta.input(self, site, x))
    }

    /// What deltas at a norm's site add to the sum before it, made of what entered the layer. x `[T, d]` -> `[N, d]`.
    pub fn beside_layer(
        &self,
        norm: &str,
        x: &Tensor<2>,
        wanted: Option<&Tokens>,
        bounds: &Bounds,
    ) -> Option<Tensor<2>> {
        let deltas = self.deltas_at(norm).iter();
        let added = deltas.filter_map(|delta| delta.beside_layer(self, x.clone(), wanted, bounds.clone()));
        added.reduce(|sum, one| sum + one)
    }

    fn deltas_at(&self, site: &str) -> &[Arc<dyn SiteDelta>] {
        self.deltas.and_then(|deltas| deltas.get(site)).map_or(&[], Vec::as_slice)
    }

    /// Self-attention of a site inside each sequence; `dropout` is the probability for the attention probabilities. query
    /// `[N, heads * head_dim]`, key, value `[T, heads * head_dim]` -> `[N, heads * head_dim]`.
    #[allow(clippy::too_many_arguments)]
    pub fn attention(
        &self,
        site: &str,
        query: Tensor<2>,
        key: Tensor<2>,
        value: Tensor<2>,
        heads: usize,
        bounds: Bounds,
        dropout: f32,
    ) -> Tensor<2> {
        let (mut key, mut value, mut keys) = (key, value, bounds.keys);
        for (k, v) in self.deltas_at(site).iter().filter_map(|delta| delta.keys_and_values(self)) {
            let [rows, _] = k.dims();
            (key, value) = (ops::prepend(k, key, &keys), ops::prepend(v, value, &keys));
            keys = lengthened(&keys, rows);
        }
        let bounds = Bounds { keys, ..bounds };
        ops::attention(query, key, value, heads, bounds, self.drop_at(site, dropout))
    }

    /// The sequences of states that enter a model, each behind the virtual tokens of the deltas at the site of the word
    /// embeddings. x `[T, d]`, offsets `[B + 1]` -> `[T + P B, d]`.
    pub fn behind_tokens(&self, site: &str, x: Tensor<2>, offsets: &Arc<[u32]>) -> Tensor<2> {
        let tokens = self.deltas_at(site).iter().filter_map(|delta| delta.tokens(self));
        let behind = |(x, offsets): (Tensor<2>, Arc<[u32]>), tokens: Tensor<2>| {
            let [rows, _] = tokens.dims();
            (ops::prepend(tokens, x, &offsets), lengthened(&offsets, rows))
        };
        tokens.fold((x, offsets.clone()), behind).0
    }

    /// Dropout as a site of its own. x `[T, d]` -> `[T, d]`.
    pub fn dropout(&self, site: &str, x: Tensor<2>, probability: f32) -> Tensor<2> {
        match self.drop_at(site, probability) {
            Some(dropout) => ops::dropout(x, dropout),
            None => x,
        }
    }

    /// Where what a site has of random draws comes from; none in a pass without dropout, where nothing is random.
    pub fn draws(&self, site: &str) -> Option<Key> {
        let training = self.training.as_ref().filter(|_| self.dropout)?;
        Some(training.key.get().at(site_index(site)))
    }

    /// What falls at a site: nothing when evaluating or when nothing should.
    fn drop_at(&self, site: &str, probability: f32) -> Option<Dropout> {
        if probability <= 0.0 {
            return None;
        }
        Some(Dropout { probability, key: self.draws(site)? })
    }

    /// Whether the model has a parameter.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// A parameter that is a vector, by its full name.
    pub fn vector(&self, name: &str) -> Tensor<1> {
        match self.weight(name) {
            Weight::Vector(vector) => vector,
            Weight::Matrix(_) => panic!("parameter `{name}` is a matrix where the architecture uses a vector"),
        }
    }

    /// A parameter that is a matrix, by its full name.
    pub fn matrix(&self, name: &str) -> Tensor<2> {
        match self.weight(name) {
            Weight::Matrix(matrix) => matrix,
            Weight::Vector(_) => panic!("parameter `{name}` is a vector where the architecture uses a matrix"),
        }
    }

    fn weight(&self, name: &str) -> Weight {
        match self.computed.and_then(|computed| computed.get_key_value(name)) {
            None => self.stored(name).clone(),
            Some((name, how)) => self.make(name, how.as_ref()),
        }
    }

    /// A parameter that is computed: one tensor of a pass, however often it is used.
    fn make(&self, name: &'a str, how: &dyn Reparametrisation) -> Weight {
        if let Some(weight) = self.made.borrow().get(name) {
            return weight.clone();
        }
        let weight = match self.stored(name).clone() {
            Weight::Vector(vector) => Weight::Vector(how.of(self, name, vector)),
            Weight::Matrix(matrix) => {
                let shape = matrix.dims();
                Weight::Matrix(how.of(self, name, matrix.reshape([-1])).reshape(shape))
            }
        };
        self.made.borrow_mut().insert(name, weight.clone());
        weight
    }

    /// Loading has checked every name and shape against the architecture: a miss is a mistake in this program.
    fn stored(&self, name: &str) -> &Weight {
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

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Device;

    use super::*;
    use crate::hub::tensors::HostTensor;
    use crate::nn::parameters::Parameter;

    fn parameter(shape: &[usize], data: &[f32], trainable: bool) -> Parameter {
        let tensor = HostTensor { shape: shape.to_vec(), data: data.to_vec() };
        Parameter { weight: Weight::from_host(&tensor, &Device::flex()).unwrap(), trainable, rate: 1.0 }
    }

    fn parameters() -> Parameters {
        Parameters::from([
            ("table.weight".to_string(), parameter(&[2, 2], &[1.0, 2.0, 3.0, 4.0], true)),
            ("map.weight".to_string(), parameter(&[2, 2], &[1.0, 0.0, 0.0, -1.0], false)),
            ("map.bias".to_string(), parameter(&[2], &[0.5, 0.5], true)),
            ("idle.bias".to_string(), parameter(&[1], &[0.0], true)),
        ])
    }

    #[test]
    fn only_trainable_parameters_the_loss_depends_on_get_gradients() {
        let parameters = parameters();
        let pass = Pass::training(&parameters, Key::new(0, "dropout"));
        let x = pass.embedding("table", vec![1, 1, 0].into());
        let loss = pass.linear("map", x).sum();
        let gradients = pass.gradients(loss);
        assert_eq!(gradients.keys().collect::<Vec<_>>(), ["table.weight", "map.bias"]);
        assert_eq!(without_gradient(&parameters, &gradients), ["idle.bias"]);
        // d sum(W x + b) / dx = column sums of W = (1, -1), once for row 0 and twice for row 1; d / db counts the rows.
        assert_eq!(gradients["table.weight"].to_host().data, [1.0, -1.0, 2.0, -2.0]);
        assert_eq!(gradients["map.bias"].to_host().data, [3.0, 3.0]);
    }

    #[test]
    fn gradients_of_both_uses_of_a_tied_weight_add_up() {
        let parameters = parameters();
        let pass = Pass::training(&parameters, Key::new(0, "dropout"));
        let x = pass.embedding("table", vec![0].into()); // [1, 2]
        let loss = pass.linear_of("decoder", "table.weight", "decoder.bias", x).sum();
        let gradients = pass.gradients(loss);
        // loss = sum_v t_v . t_0; d / dt_0 = sum_v t_v + t_0 = (4, 6) + (1, 2), d / dt_1 = t_0.
        assert_eq!(gradients["table.weight"].to_host().data, [5.0, 8.0, 1.0, 2.0]);
    }

    #[test]
    fn a_loss_without_trainable_parameters_has_no_gradients() {
        let mut parameters = parameters();
        parameters.values_mut().for_each(|parameter| parameter.trainable = false);
        let pass = Pass::training(&parameters, Key::new(0, "dropout"));
        let loss = pass.linear("map", pass.embedding("table", vec![0].into())).sum();
        assert!(pass.gradients(loss).is_empty());
    }

    #[test]
    fn a_parameter_is_not_shared_with_anything_once_its_pass_has_ended() {
        let mut parameters = parameters();
        let pass = Pass::training(&parameters, Key::new(0, "dropout"));
        let loss = pass.linear("map", pass.embedding("table", vec![0, 1].into())).sum();
        assert_eq!(pass.gradients(loss).len(), 2);
        for (name, parameter) in parameters.drain(..) {
            let unique = match parameter.weight {
                Weight::Vector(vector) => vector.try_into_primitive::<Flex>().unwrap().is_unique(),
                Weight::Matrix(matrix) => matrix.try_into_primitive::<Flex>().unwrap().is_unique(),
            };
            assert!(unique, "{name} could not be updated in place");
        }
    }

    #[test]
    fn dropout_draws_differ_by_site_and_repeat_for_the_same_key() {
        let parameters = Parameters::new();
        let x = Tensor::<2>::ones([8, 8], &Device::flex());
        let fallen = |site: &str, step: u64| {
            let pass = Pass::training(&parameters, Key::new(3, "dropout").at(step));
            Weight::Matrix(pass.dropout(site, x.clone(), 0.5)).to_host()
        };
        assert_eq!(fallen("a", 0), fallen("a", 0));
        assert_ne!(fallen("a", 0), fallen("b", 0));
        assert_ne!(fallen("a", 0), fallen("a", 1));
        let evaluating = Weight::Matrix(Pass::evaluating(&parameters).dropout("a", x.clone(), 0.5)).to_host();
        assert!(evaluating.data.iter().all(|value| *value == 1.0));
    }
}
