//! Operations where training spends its time, each with a hand-written backward.
//!
//! On the CPU they run on plain slices through burn's extension mechanism; on other devices, and as the oracle in tests,
//! each has a twin of ordinary burn tensor operations. Shapes: `T` tokens of a packed batch, `d` features.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::random::Key;

/// Dropout at one site of one step: which elements fall is a pure function of the key.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// In [0, 1).
    pub probability: f32,
    pub key: Key,
}

/// `x W^T + b`. x `[T, in]`, weight `[out, in]` (as `transformers` stores it), bias `[out]` -> `[T, out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    todo!()
}

/// Rows of a table. table `[V, d]`, ids `[T]` -> `[T, d]`.
pub fn embedding(table: Tensor<2>, ids: Arc<[u32]>) -> Tensor<2> {
    todo!()
}

/// Rows of an activation. x `[T, d]`, rows `[N]` -> `[N, d]`.
pub fn gather(x: Tensor<2>, rows: Arc<[u32]>) -> Tensor<2> {
    todo!()
}

/// Scaled dot-product attention inside each sequence, bidirectional. query, key, value `[T, heads * head_dim]`,
/// offsets `[B + 1]`; dropout acts on the attention probabilities. -> `[T, heads * head_dim]`.
pub fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    offsets: Arc<[u32]>,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    todo!()
}

/// `x Phi(x)`, the erf form. Any shape `[T, d]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    todo!()
}

/// `LayerNorm(residual + dropout(x))`; without `residual`, of `x` alone. x, residual `[T, d]`, weight, bias `[d]`.
pub fn layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    todo!()
}

/// Zeroes elements with `probability`, scales the rest by 1 / (1 - probability). x `[T, d]`.
pub fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    todo!()
}

/// Sum (not mean) of the softmax cross-entropies of the rows whose target is not negative. logits `[N, C]`,
/// targets `[N]` -> `[1]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Arc<[i32]>) -> Tensor<1> {
    todo!()
}

/// One AdamW update (Loshchilov & Hutter 2019, algorithm 2), in place where the tensors are not shared.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    pub bias_correction: bool,
    /// 1 for the first update.
    pub step: u64,
    /// The gradient is multiplied by this first: the clipping coefficient, 1 for none.
    pub scale: f32,
}

impl AdamW {
    /// Updates a parameter and its moments. All plain (not autodiff) tensors of the same shape.
    pub fn update<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        first: Tensor<D>,
        second: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        todo!()
    }
}

/// Sum of squares in f64, the same whatever the number of threads.
pub fn squared_sum<const D: usize>(x: &Tensor<D>) -> f64 {
    todo!()
}
