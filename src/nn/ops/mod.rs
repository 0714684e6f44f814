//! Operations where training spends its time, each with a hand-written backward.
//!
//! On the CPU they run on plain slices through burn's extension mechanism; on other devices, and as the oracle in tests,
//! each has a twin of ordinary burn tensor operations. Shapes: `T` tokens of a packed batch, `d` features.

mod adamw;
mod attention;
mod cross_entropy;
mod extension;
mod gelu;
mod layer_norm;
mod linear;
mod mask;
mod parallel;
mod rows;
#[cfg(test)]
mod tests;
mod twin;
mod vector;

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::random::Key;

pub use adamw::squared_sum;
use extension::{apply, on_cpu};

/// Dropout at one site of one step: which elements fall is a pure function of the key.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// In [0, 1).
    pub probability: f32,
    pub key: Key,
}

/// `x W^T + b`. x `[T, in]`, weight `[out, in]` (as `transformers` stores it), bias `[out]` -> `[T, out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    if !on_cpu(&x) {
        return twin::linear(x, weight, bias);
    }
    match bias {
        Some(bias) => apply(linear::Linear, [x.into(), weight.into(), bias.into()]),
        None => apply(linear::Linear, [x.into(), weight.into()]),
    }
}

/// Rows of a table. table `[V, d]`, ids `[T]` -> `[T, d]`.
pub fn embedding(table: Tensor<2>, ids: Arc<[u32]>) -> Tensor<2> {
    gather(table, ids)
}

/// Rows of an activation. x `[T, d]`, rows `[N]` -> `[N, d]`.
pub fn gather(x: Tensor<2>, rows: Arc<[u32]>) -> Tensor<2> {
    if on_cpu(&x) { apply(rows::Rows { rows }, [x.into()]) } else { twin::rows(x, &rows) }
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
    if !on_cpu(&query) {
        return twin::attention(query, key, value, heads, &offsets, dropout);
    }
    apply(attention::Attention { heads, offsets, dropout }, [query.into(), key.into(), value.into()])
}

/// `x Phi(x)`, the erf form. Any shape `[T, d]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if on_cpu(&x) { apply(gelu::Gelu, [x.into()]) } else { twin::gelu(x) }
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
    if !on_cpu(&x) {
        return twin::layer_norm(x, residual, weight, bias, epsilon, dropout);
    }
    let kernel = layer_norm::LayerNorm { epsilon, dropout };
    match residual {
        Some(residual) => apply(kernel, [x.into(), weight.into(), bias.into(), residual.into()]),
        None => apply(kernel, [x.into(), weight.into(), bias.into()]),
    }
}

/// Zeroes elements with `probability`, scales the rest by 1 / (1 - probability). x `[T, d]`.
pub fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    if on_cpu(&x) { apply(mask::Drop(dropout), [x.into()]) } else { twin::dropout(x, dropout) }
}

/// Sum (not mean) of the softmax cross-entropies of the rows whose target is not negative. logits `[N, C]`,
/// targets `[N]` -> `[1]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Arc<[i32]>) -> Tensor<1> {
    if !on_cpu(&logits) {
        return twin::cross_entropy(logits, targets);
    }
    apply(cross_entropy::CrossEntropy { targets }, [logits.into()])
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
