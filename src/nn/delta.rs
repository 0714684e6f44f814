//! What delta methods do inside a model: theta = theta_pretrained + delta, site by site.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::ops::Bounds;
use super::pass::Pass;
use crate::data::batch::Tokens;

/// What a delta does at a linear map, a norm, an attention or the word embeddings of a model. Its parameters are among the model's; it reads them from the pass, by
/// names below the site's.
pub trait SiteDelta: Debug + Send + Sync {
    /// What the map sees instead of x; at the site of the embeddings' dropout, what the layers see. `[T, in]` -> `[T, in]`.
    fn input(&self, _pass: &Pass, _site: &str, x: Tensor<2>) -> Tensor<2> {
        x
    }

    /// What the map gives instead of `y = x W^T + b`. x `[T, in]` (as [`SiteDelta::input`] left it), y `[T, out]` ->
    /// `[T, out]`.
    fn output(&self, _pass: &Pass, _site: &str, _x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        y
    }

    /// Virtual tokens put before each sequence's own where their embeddings are looked up: `[P, d]`.
    fn tokens(&self, _pass: &Pass) -> Option<Tensor<2>> {
        None
    }

    /// Keys and values that the queries of every sequence see before its own: `[P, d]` each.
    fn keys_and_values(&self, _pass: &Pass) -> Option<(Tensor<2>, Tensor<2>)> {
        None
    }

    /// What is added to the sum that ends a layer, made of what entered it; at the site of the norm behind that sum. x
    /// `[T, d]`, bounds of all keys and of the queries that are wanted -> `[N, d]`.
    fn beside_layer(
        &self,
        _pass: &Pass,
        _x: Tensor<2>,
        _wanted: Option<&Tokens>,
        _bounds: Bounds,
    ) -> Option<Tensor<2>> {
        None
    }

    /// What a norm that ends a block sees instead of the block's `h` (dropout has acted): it gives `norm(h) = LN(h + x)`, x
    /// the block's input. h `[T, d]` -> `[T, d]`.
    fn before_norm(&self, _pass: &Pass, h: Tensor<2>, _norm: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        h
    }
}

/// By site, in the order in which they act there.
pub type Deltas = IndexMap<String, Vec<Arc<dyn SiteDelta>>>;
