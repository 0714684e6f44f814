//! The same operations made of ordinary burn tensor operations: what runs on other devices, and the oracle of the tests.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::{AdamW, Dropout};

fn indices<const D: usize>(values: impl Iterator<Item = i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values.collect::<Vec<i32>>(), shape), device)
}

fn mask(dropout: Dropout, first: usize, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let kept = 1.0 / (1.0 - dropout.probability);
    let draw =
        |index: usize| if dropout.key.uniform((first + index) as u64) < dropout.probability { 0.0 } else { kept };
    let factors: Vec<f32> = (0..shape[0] * shape[1]).map(draw).collect();
    Tensor::from_data(TensorData::new(factors, shape), device)
}

pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    }
}

pub(super) fn rows(table: Tensor<2>, rows: &[u32]) -> Tensor<2> {
    let device = table.device();
    table.select(0, indices(rows.iter().map(|&row| row as i32), [rows.len()], &device))
}

pub(super) fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    heads: usize,
    offsets: &[u32],
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let head_dim = query.dims()[1] / heads;
    let mut sequences = Vec::new();
    let mut first_draw = 0;
    for pair in offsets.windows(2).filter(|pair| pair[1] > pair[0]) {
        let (start, end) = (pair[0] as usize, pair[1] as usize);
        let n = end - start;
        let mut columns = Vec::new();
        for head in 0..heads {
            let part = |x: &Tensor<2>| x.clone().slice([start..end, head * head_dim..(head + 1) * head_dim]);
            let logits = part(&query).matmul(part(&key).transpose()) / (head_dim as f64).sqrt();
            let mut shares = activation::softmax(logits, 1);
            if let Some(dropout) = dropout {
                let device = shares.device();
                shares = shares * mask(dropout, first_draw, [n, n], &device);
            }
            first_draw += n * n;
            columns.push(shares.matmul(part(&value)));
        }
        sequences.push(Tensor::cat(columns, 1));
    }
    Tensor::cat(sequences, 0)
}

pub(super) fn gelu(x: Tensor<2>) -> Tensor<2> {
    // Written out: the derivative of burn's own is that of the tanh form on some devices.
    let distribution = ((x.clone() / std::f64::consts::SQRT_2).erf() + 1.0) / 2.0;
    x * distribution
}

pub(super) fn layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let x = match dropout {
        Some(dropout) => self::dropout(x, dropout),
        None => x,
    };
    let x = match residual {
        Some(residual) => x + residual,
        None => x,
    };
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().powi_scalar(2).mean_dim(1);
    centred / (variance + epsilon).sqrt() * weight.unsqueeze::<2>() + bias.unsqueeze::<2>()
}

pub(super) fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    let (shape, device) = (x.dims(), x.device());
    x * mask(dropout, 0, shape, &device)
}

pub(super) fn cross_entropy(logits: Tensor<2>, targets: Arc<[i32]>) -> Tensor<1> {
    let counted: Vec<u32> = (0..targets.len() as u32).filter(|&row| targets[row as usize] >= 0).collect();
    if counted.is_empty() {
        return (logits * 0.0).sum();
    }
    let classes = counted.iter().map(|&row| targets[row as usize]);
    let classes = indices(classes, [counted.len(), 1], &logits.device());
    activation::log_softmax(rows(logits, &counted), 1).gather(1, classes).sum().neg()
}

pub(super) fn adamw<const D: usize>(
    update: &AdamW,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let gradient = gradient * update.scale;
    let first = first * update.beta1 + gradient.clone() * (1.0 - update.beta1);
    let second = second * update.beta2 + gradient.powi_scalar(2) * (1.0 - update.beta2);
    let (one, two) = match update.bias_correction {
        true => (1.0 - update.beta1.powf(update.step as f64), 1.0 - update.beta2.powf(update.step as f64)),
        false => (1.0, 1.0),
    };
    let size = second.clone().sqrt() / two.sqrt() + update.epsilon;
    let parameter = parameter * (1.0 - update.learning_rate * update.weight_decay)
        - first.clone() / size * (update.learning_rate / one);
    (parameter, first, second)
}

pub(super) fn squared_sum<const D: usize>(x: &Tensor<D>) -> f64 {
    f64::from(x.clone().powi_scalar(2).sum().into_scalar::<f32>())
}
