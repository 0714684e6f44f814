//! AdamW in one pass over parameter, gradient and moments.

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::AdamW;
use super::extension::{on_cpu, values};
use super::vector::{LANES, vectorised};

/// Elements a thread takes at a time.
const PIECE: usize = 1 << 15;

/// The numbers of one update, the same for every element.
#[derive(Clone, Copy)]
struct Factors {
    scale: f32,
    keep: f32,
    beta1: f32,
    beta2: f32,
    /// 1 - beta, rounded once: in f32 the difference would lose half its digits.
    rest1: f32,
    rest2: f32,
    /// learning rate / (1 - beta1^t)
    rate: f32,
    /// 1 / sqrt(1 - beta2^t)
    root: f32,
    epsilon: f32,
}

impl AdamW {
    fn factors(&self) -> Factors {
        let step = self.step.min(i32::MAX as u64) as i32;
        let (first, second) = match self.bias_correction {
            true => (1.0 - self.beta1.powi(step), 1.0 - self.beta2.powi(step)),
            false => (1.0, 1.0),
        };
        Factors {
            scale: self.scale,
            keep: (1.0 - self.learning_rate * self.weight_decay) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rest1: (1.0 - self.beta1) as f32,
            rest2: (1.0 - self.beta2) as f32,
            rate: (self.learning_rate / first) as f32,
            root: (1.0 / second.sqrt()) as f32,
            epsilon: self.epsilon as f32,
        }
    }

    /// Updates a parameter and its moments. All plain (not autodiff) tensors of the same shape.
    pub fn update<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        first: Tensor<D>,
        second: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        if !on_cpu(&parameter) {
            return super::twin::adamw(self, parameter, gradient, first, second);
        }
        let plain = |tensor: Tensor<D>| {
            let tensor = tensor.try_into_primitive::<Flex>().expect("a plain tensor on the CPU");
            if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
        };
        let (mut parameter, gradient, mut first, mut second) =
            (plain(parameter), plain(gradient), plain(first), plain(second));
        let factors = self.factors();
        // In place where nobody shares the buffer, on a copy otherwise.
        let p = parameter.storage_mut::<f32>().par_chunks_mut(PIECE);
        let m = first.storage_mut::<f32>().par_chunks_mut(PIECE);
        let v = second.storage_mut::<f32>().par_chunks_mut(PIECE);
        let g = values(&gradient).par_chunks(PIECE);
        p.zip(g).zip(m).zip(v).for_each(|(((p, g), m), v)| advance(factors, p, g, m, v));
        let [parameter, first, second] = [parameter, first, second].map(Tensor::from_primitive::<Flex>);
        (parameter, first, second)
    }
}

/// Sum of squares in f64, the same whatever the number of threads.
pub fn squared_sum<const D: usize>(x: &Tensor<D>) -> f64 {
    if !on_cpu(x) {
        return super::twin::squared_sum(x);
    }
    let plain = x.clone().try_into_primitive::<Flex>().expect("a plain tensor on the CPU");
    let plain = if plain.is_contiguous() { plain } else { plain.to_contiguous() };
    let partials: Vec<f64> = values(&plain).par_chunks(PIECE).map(squares).collect();
    partials.into_iter().sum()
}

vectorised! {
    fn advance(factors: Factors, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let Factors { scale, keep, beta1, beta2, rest1, rest2, rate, root, epsilon } = factors;
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * scale;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p = *p * keep - rate * *m / (v.sqrt() * root + epsilon);
        }
    }

    fn squares(x: &[f32]) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let chunks = x.chunks_exact(LANES);
        let tail: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(x) * f64::from(x);
            }
        }
        lanes.into_iter().sum::<f64>() + tail
    }
}
