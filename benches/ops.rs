//! Forward and backward of each op at the shapes of MiniLM (d 384, 12 heads, ff 1536), for a packed batch of 800 tokens
//! (32 sequences of 25) and one of 2048 (16 of 128). `tape` is what every measurement contains besides the op: making
//! the leaves, a sum, and its backward.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use divan::Bencher;
use ftp::nn::ops::{
    AdamW, Bounds, Dropout, Precision, attention, cross_entropy, dropout, embedding, gelu, layer_norm, linear,
    squared_sum,
};
use ftp::random::Key;

const D: usize = 384;
const FF: usize = 1536;
const HEADS: usize = 12;
const VOCABULARY: usize = 30_522;
const TOKENS: [usize; 2] = [800, 2048];

fn main() {
    divan::main();
}

fn random<const N: usize>(shape: [usize; N]) -> Tensor<N> {
    let key = Key::new(shape.iter().sum::<usize>() as u64, "bench");
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|at| key.uniform(at as u64) - 0.5).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn site() -> Option<Dropout> {
    Some(Dropout { probability: 0.1, key: Key::new(1, "dropout") })
}

/// Times an op with its backward, all inputs tracked.
fn differentiate<const N: usize>(
    bencher: Bencher,
    matrices: [[usize; 2]; N],
    vectors: &[usize],
    op: impl Fn([Tensor<2>; N], Vec<Tensor<1>>) -> Tensor<2>,
) {
    let matrices = matrices.map(random);
    let vectors: Vec<Tensor<1>> = vectors.iter().map(|length| random([*length])).collect();
    bencher.bench_local(|| {
        let matrices = matrices.clone().map(|tensor| Tensor::from_inner(tensor).require_grad());
        let vectors = vectors.iter().map(|tensor| Tensor::from_inner(tensor.clone()).require_grad()).collect();
        op(matrices, vectors).sum().backward()
    });
}

#[divan::bench(args = TOKENS)]
fn tape(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, D]], &[], |[x], _| x);
}

#[divan::bench(args = TOKENS)]
fn linear_d_to_d(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, D], [D, D]], &[D], |[x, w], mut b| linear(x, w, b.pop(), Precision::F32));
}

#[divan::bench(args = TOKENS)]
fn linear_d_to_ff(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, D], [FF, D]], &[FF], |[x, w], mut b| linear(x, w, b.pop(), Precision::F32));
}

#[divan::bench(args = TOKENS)]
fn gelu_of_ff(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, FF]], &[], |[x], _| gelu(x));
}

#[divan::bench(args = TOKENS)]
fn dropout_of_ff(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, FF]], &[], |[x], _| dropout(x, site().unwrap()));
}

#[divan::bench(args = TOKENS)]
fn layer_norm_with_residual_and_dropout(bencher: Bencher, tokens: usize) {
    differentiate(bencher, [[tokens, D], [tokens, D]], &[D, D], |[x, residual], mut vectors| {
        let (weight, bias) = (vectors.remove(0), vectors.remove(0));
        layer_norm(x, Some(residual), weight, bias, 1e-12, site())
    });
}

#[divan::bench(args = TOKENS)]
fn attention_with_dropout(bencher: Bencher, tokens: usize) {
    attend(bencher, tokens, site());
}

#[divan::bench(args = TOKENS)]
fn attention_without_dropout(bencher: Bencher, tokens: usize) {
    attend(bencher, tokens, None);
}

fn attend(bencher: Bencher, tokens: usize, dropout: Option<Dropout>) {
    let length = if tokens == 800 { 25 } else { 128 };
    let offsets: Arc<[u32]> = (0..=tokens as u32).step_by(length).collect();
    differentiate(bencher, [[tokens, D]; 3], &[], |[query, key, value], _| {
        attention(query, key, value, HEADS, Bounds::same(offsets.clone()), dropout)
    });
}

#[divan::bench(args = TOKENS)]
fn embedding_of_the_vocabulary(bencher: Bencher, tokens: usize) {
    let ids: Arc<[u32]> = (0..tokens as u32).map(|at| at * 7919 % VOCABULARY as u32).collect();
    differentiate(bencher, [[VOCABULARY, D]], &[], |[table], _| embedding(table, ids.clone()));
}

#[divan::bench(args = [120, 300])]
fn cross_entropy_of_the_vocabulary(bencher: Bencher, rows: usize) {
    let targets: Arc<[i32]> = (0..rows as i32).collect();
    // Multiplied by one so that the logits, as those of a model, belong to the op alone.
    differentiate(bencher, [[rows, VOCABULARY]], &[], |[logits], _| {
        cross_entropy(logits * 1.0, targets.clone()).unsqueeze()
    });
}

#[divan::bench(args = [1, 22])]
fn adamw_of_a_million_parameters(bencher: Bencher, millions: usize) {
    let adamw = AdamW {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        bias_correction: true,
        step: 3,
        scale: 1.0,
    };
    let [p, g, m] = [(); 3].map(|()| random([millions * 1000, 1000]));
    let mut state = Some((p, m.clone(), m.clone() * m));
    bencher.bench_local(|| {
        let (p, m, v) = state.take().unwrap();
        state = Some(adamw.update(p, g.clone(), m, v));
    });
}

#[divan::bench(args = [1, 22])]
fn squared_sum_of_a_million(bencher: Bencher, millions: usize) {
    let gradient = random([millions * 1000, 1000]);
    bencher.bench_local(|| squared_sum(&gradient));
}
