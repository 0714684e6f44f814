//! Every op against its twin, against finite differences in f64 written here, and under different numbers of threads.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use super::*;

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("f32 data")
}

fn values(purpose: &str, count: usize) -> Vec<f32> {
    let key = Key::new(11, purpose);
    (0..count).map(|index| key.normal(index as u64)).collect()
}

fn matrix(purpose: &str, rows: usize, columns: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values(purpose, rows * columns), [rows, columns]), &Device::flex())
}

fn vector(purpose: &str, count: usize) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values(purpose, count), [count]), &Device::flex())
}

type Op<'a> = dyn Fn(Vec<Tensor<2>>) -> Tensor<2> + Sync + 'a;

/// max |a - b| / max |b|; what is nearly nothing beside inputs of size 1 is measured as it is.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f64, |largest, b| largest.max(f64::from(b.abs())));
    let apart = a.iter().zip(b).fold(0.0f64, |apart, (a, b)| apart.max((f64::from(*a) - f64::from(*b)).abs()));
    if apart == 0.0 { 0.0 } else { apart / largest.max(0.05) }
}

/// Output and gradients of all inputs, the output weighted by fixed numbers.
fn run(f: &Op<'_>, inputs: &[Tensor<2>]) -> Vec<Vec<f32>> {
    let leaves: Vec<Tensor<2>> = inputs.iter().map(|input| input.clone().autodiff().require_grad()).collect();
    let output = f(leaves.clone());
    let [rows, columns] = output.dims();
    let gradients = (output.clone() * matrix("weights", rows, columns).autodiff()).sum().backward();
    let mut found = vec![host(output.inner())];
    found.extend(leaves.iter().map(|leaf| host(leaf.grad(&gradients).expect("every input has a gradient"))));
    found
}

fn agree(
    name: &str,
    fast: &Op<'_>,
    twin: &Op<'_>,
    inputs: &[Tensor<2>],
) {
    let (found, expected) = (run(fast, inputs), run(twin, inputs));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let apart = distance(found, expected);
        assert!(apart < 2e-5, "{name}: result {index} is {apart:e} from its twin's");
    }
    // Without autodiff the same numbers come out, and no input is tracked.
    assert_eq!(host(fast(inputs.to_vec())), found[0], "{name}: evaluation differs from training");
    // A gradient does not depend on which others are asked for.
    for only in 0..inputs.len() {
        let mixed: Vec<Tensor<2>> = inputs
            .iter()
            .enumerate()
            .map(|(at, input)| if at == only { input.clone().autodiff().require_grad() } else { input.clone() })
            .collect();
        let output = fast(mixed.clone());
        let [rows, columns] = output.dims();
        let gradients = (output * matrix("weights", rows, columns).autodiff()).sum().backward();
        assert_eq!(host(mixed[only].grad(&gradients).expect("a gradient")), found[only + 1], "{name}: input {only} alone");
    }
    // Nor on the number of threads.
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let again = pool.install(|| run(fast, inputs));
        assert!(again == found, "{name}: other bits with {threads} threads");
    }
}

fn flat(tensor: Tensor<2>) -> Tensor<1> {
    let count = tensor.dims()[0] * tensor.dims()[1];
    tensor.reshape([count])
}

const DROPOUT: f32 = 0.3;

fn dropout_key() -> Dropout {
    Dropout { probability: DROPOUT, key: Key::new(5, "dropout").at(2) }
}

/// Ragged lengths: single tokens, a long row, equal rows.
const OFFSETS: [&[u32]; 4] = [&[0, 1], &[0, 1, 8, 9, 46, 61, 61, 76], &[0, 150], &[0, 16, 32, 48]];

#[test]
fn linear_maps_agree_with_their_twin() {
    for [tokens, inputs, outputs] in [[1, 1, 1], [7, 5, 3], [130, 64, 96]] {
        let tensors = [matrix("x", tokens, inputs), matrix("w", outputs, inputs), matrix("b", 1, outputs)];
        let fast = |t: Vec<Tensor<2>>| linear(t[0].clone(), t[1].clone(), Some(flat(t[2].clone())));
        let slow = |t: Vec<Tensor<2>>| twin::linear(t[0].clone(), t[1].clone(), Some(flat(t[2].clone())));
        agree("linear", &fast, &slow, &tensors);
        let fast = |t: Vec<Tensor<2>>| linear(t[0].clone(), t[1].clone(), None);
        let slow = |t: Vec<Tensor<2>>| twin::linear(t[0].clone(), t[1].clone(), None);
        agree("linear without bias", &fast, &slow, &tensors[..2]);
    }
}

#[test]
fn picked_rows_agree_with_their_twin() {
    let picks: [Vec<u32>; 3] = [vec![3], vec![0, 0, 8, 3, 0, 8], (0..700).map(|i| i * 7 % 9).collect()];
    for rows in picks {
        let ids: Arc<[u32]> = rows.clone().into();
        agree(
            "embedding",
            &|t: Vec<Tensor<2>>| embedding(t[0].clone(), ids.clone()),
            &|t: Vec<Tensor<2>>| twin::rows(t[0].clone(), &rows),
            &[matrix("table", 9, 33)],
        );
    }
}

#[test]
fn gelu_agrees_with_its_twin() {
    for shape in [[1, 1], [3, 17], [70, 300]] {
        let input = matrix("x", shape[0], shape[1]) * 3.0;
        agree("gelu", &|t: Vec<Tensor<2>>| gelu(t[0].clone()), &|t: Vec<Tensor<2>>| twin::gelu(t[0].clone()), &[input]);
    }
}

#[test]
fn layer_norms_agree_with_their_twin() {
    for [rows, columns] in [[1, 3], [5, 16], [90, 200]] {
        let tensors =
            [matrix("x", rows, columns), matrix("w", 1, columns), matrix("b", 1, columns), matrix("residual", rows, columns)];
        for drop in [None, Some(dropout_key())] {
            let parts = |t: &[Tensor<2>]| (t[0].clone(), flat(t[1].clone()), flat(t[2].clone()));
            let fast = |t: Vec<Tensor<2>>| {
                let (x, w, b) = parts(&t);
                layer_norm(x, t.get(3).cloned(), w, b, 1e-5, drop)
            };
            let slow = |t: Vec<Tensor<2>>| {
                let (x, w, b) = parts(&t);
                twin::layer_norm(x, t.get(3).cloned(), w, b, 1e-5, drop)
            };
            agree("layer_norm with residual", &fast, &slow, &tensors);
            agree("layer_norm", &fast, &slow, &tensors[..3]);
        }
    }
}

#[test]
fn attention_agrees_with_its_twin() {
    for offsets in OFFSETS {
        let tokens = *offsets.last().expect("an end") as usize;
        let tensors = [matrix("q", tokens, 24), matrix("k", tokens, 24), matrix("v", tokens, 24)];
        for drop in [None, Some(dropout_key())] {
            let fast = |t: Vec<Tensor<2>>| attention(t[0].clone(), t[1].clone(), t[2].clone(), 3, offsets.into(), drop);
            let slow = |t: Vec<Tensor<2>>| twin::attention(t[0].clone(), t[1].clone(), t[2].clone(), 3, offsets, drop);
            agree("attention", &fast, &slow, &tensors);
        }
    }
}

#[test]
fn dropout_agrees_with_its_twin_and_keeps_the_mean() {
    let fast = |t: Vec<Tensor<2>>| dropout(t[0].clone(), dropout_key());
    let slow = |t: Vec<Tensor<2>>| twin::dropout(t[0].clone(), dropout_key());
    agree("dropout", &fast, &slow, &[matrix("x", 37, 301)]);

    let count = 300 * 400;
    let ones = Tensor::<2>::ones([300, 400], &Device::flex());
    let found = host(dropout(ones.clone(), dropout_key()));
    let dropped = found.iter().filter(|value| **value == 0.0).count() as f64;
    let expected = f64::from(DROPOUT) * count as f64;
    let sigma = (expected * (1.0 - f64::from(DROPOUT))).sqrt();
    assert!((dropped - expected).abs() < 4.0 * sigma, "{dropped} of {count} dropped");
    assert!(found.iter().all(|value| *value == 0.0 || (value - 1.0 / 0.7).abs() < 1e-6));
    assert_eq!(host(dropout(ones, Dropout { probability: 0.0, ..dropout_key() })), vec![1.0; count]);
}

#[test]
fn cross_entropy_agrees_with_its_twin_and_ignores_negative_targets() {
    for [rows, classes] in [[1, 2], [6, 5], [40, 999]] {
        let targets: Arc<[i32]> = (0..rows).map(|row| if row % 3 == 1 { -100 } else { (row * 7 % classes) as i32 }).collect();
        let column = |loss: Tensor<1>| loss.reshape([1, 1]);
        let fast = |t: Vec<Tensor<2>>| column(cross_entropy(t[0].clone(), targets.clone()));
        let slow = |t: Vec<Tensor<2>>| column(twin::cross_entropy(t[0].clone(), targets.clone()));
        agree("cross_entropy", &fast, &slow, &[matrix("logits", rows, classes) * 4.0]);
    }
    let none = cross_entropy(matrix("logits", 3, 4), vec![-1, -1, -1].into());
    assert_eq!(host(none), [0.0]);
}

/// Attention written plainly in f64, one sequence, one head, no dropout; the sum of the output weighted by `weights`.
fn plain_attention(q: &[f64], k: &[f64], v: &[f64], n: usize, d: usize, weights: &[f32]) -> f64 {
    let mut total = 0.0;
    for i in 0..n {
        let logit = |j: usize| (0..d).map(|c| q[i * d + c] * k[j * d + c]).sum::<f64>() / (d as f64).sqrt();
        let powers: Vec<f64> = (0..n).map(|j| logit(j).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for c in 0..d {
            let out: f64 = (0..n).map(|j| powers[j] / sum * v[j * d + c]).sum();
            total += out * f64::from(weights[i * d + c]);
        }
    }
    total
}

#[test]
fn attention_gradients_are_finite_differences() {
    let (n, d) = (5, 4);
    let inputs = [matrix("q", n, d), matrix("k", n, d), matrix("v", n, d)];
    let offsets: Arc<[u32]> = [0, n as u32].into();
    let found = run(&|t| attention(t[0].clone(), t[1].clone(), t[2].clone(), 1, offsets.clone(), None), &inputs);
    let weights = host(matrix("weights", n, d));
    let exact: Vec<Vec<f64>> = inputs.iter().map(|input| host(input.clone()).into_iter().map(f64::from).collect()).collect();
    for which in 0..3 {
        for at in 0..n * d {
            let moved = |by: f64| {
                let mut inputs = exact.clone();
                inputs[which][at] += by;
                plain_attention(&inputs[0], &inputs[1], &inputs[2], n, d, &weights)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - f64::from(found[which + 1][at])).abs() < 2e-5, "input {which}, element {at}");
        }
    }
}

#[test]
fn layer_norm_gradients_are_finite_differences() {
    let (rows, columns) = (3, 6);
    let inputs = [matrix("x", rows, columns), matrix("w", 1, columns), matrix("b", 1, columns)];
    let found = run(&|t| layer_norm(t[0].clone(), None, flat(t[1].clone()), flat(t[2].clone()), 1e-5, None), &inputs);
    let weights = host(matrix("weights", rows, columns));
    let exact: Vec<Vec<f64>> = inputs.iter().map(|input| host(input.clone()).into_iter().map(f64::from).collect()).collect();
    let plain = |inputs: &[Vec<f64>]| {
        let mut total = 0.0;
        for row in 0..rows {
            let x = &inputs[0][row * columns..][..columns];
            let mean = x.iter().sum::<f64>() / columns as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
            for at in 0..columns {
                let y = (x[at] - mean) / (variance + 1e-5).sqrt() * inputs[1][at] + inputs[2][at];
                total += y * f64::from(weights[row * columns + at]);
            }
        }
        total
    };
    for which in 0..3 {
        for at in 0..exact[which].len() {
            let moved = |by: f64| {
                let mut inputs = exact.clone();
                inputs[which][at] += by;
                plain(&inputs)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - f64::from(found[which + 1][at])).abs() < 5e-5, "input {which}, element {at}");
        }
    }
}

#[test]
fn frozen_inputs_get_no_gradient() {
    let (x, w) = (matrix("x", 4, 3).autodiff(), matrix("w", 2, 3).autodiff());
    let bias = vector("b", 2).autodiff().require_grad();
    let gradients = linear(x.clone(), w.clone(), Some(bias.clone())).sum().backward();
    assert!(x.grad(&gradients).is_none() && w.grad(&gradients).is_none());
    assert_eq!(host(bias.grad(&gradients).expect("the bias trains")), [4.0, 4.0]);
}

/// Algorithm 2 of Loshchilov & Hutter 2019 with torch's placement of epsilon, in f64.
fn plain_adamw(update: &AdamW, p: &mut [f64], g: &[f32], m: &mut [f64], v: &mut [f64]) {
    for at in 0..p.len() {
        let g = f64::from(g[at]) * f64::from(update.scale);
        m[at] = update.beta1 * m[at] + (1.0 - update.beta1) * g;
        v[at] = update.beta2 * v[at] + (1.0 - update.beta2) * g * g;
        let t = update.step as f64;
        let (one, two) =
            if update.bias_correction { (1.0 - update.beta1.powf(t), 1.0 - update.beta2.powf(t)) } else { (1.0, 1.0) };
        p[at] -= update.learning_rate * update.weight_decay * p[at];
        p[at] -= update.learning_rate * (m[at] / one) / ((v[at] / two).sqrt() + update.epsilon);
    }
}

#[test]
fn adamw_follows_the_paper() {
    for bias_correction in [true, false] {
        let count = 1000;
        let mut update = AdamW {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
            bias_correction,
            step: 0,
            scale: 0.5,
        };
        let zeros = || Tensor::<1>::zeros([count], &Device::flex());
        let (mut p, mut m, mut v) = (vector("p", count), zeros(), zeros());
        let mut exact: Vec<f64> = host(p.clone()).into_iter().map(f64::from).collect();
        let (mut exact_m, mut exact_v) = (vec![0.0; count], vec![0.0; count]);
        for step in 1..=20 {
            update.step = step;
            let gradient = vector(&format!("g{step}"), count);
            plain_adamw(&update, &mut exact, &host(gradient.clone()), &mut exact_m, &mut exact_v);
            (p, m, v) = update.update(p, gradient, m, v);
        }
        for (found, exact) in host(p).into_iter().zip(exact) {
            assert!((f64::from(found) - exact).abs() < 2e-6, "{found} is not {exact}");
        }
    }
}

#[test]
fn the_first_step_is_the_learning_rate_with_correction_and_3_16_times_it_without() {
    for (bias_correction, factor) in [(true, 1.0), (false, 0.1 / 0.001f64.sqrt())] {
        let update = AdamW {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-12,
            weight_decay: 0.0,
            bias_correction,
            step: 1,
            scale: 1.0,
        };
        let zeros = || Tensor::<1>::zeros([50], &Device::flex());
        let (p, _, _) = update.update(zeros(), vector("g", 50), zeros(), zeros());
        for (step, gradient) in host(p).into_iter().zip(values("g", 50)) {
            assert!((f64::from(-step * gradient.signum()) - 1e-3 * factor).abs() < 1e-7);
        }
    }
}

#[test]
fn squared_sums_are_exact_to_f64_and_independent_of_threads() {
    let x = matrix("x", 317, 411);
    let exact: f64 = host(x.clone()).into_iter().map(|x| f64::from(x) * f64::from(x)).sum();
    let found = squared_sum(&x);
    assert!((found - exact).abs() < 1e-9 * exact);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        assert_eq!(pool.install(|| squared_sum(&x)).to_bits(), found.to_bits());
    }
}
