//! The optimizer's update, and the norm that clipping needs.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::extension::{on_host, plain, rows_columns, tensor, values, values_mut};
use super::math::multiversion;
use super::parallel::{PIECE, rows_of_piece};

/// One AdamW update (Loshchilov & Hutter 2019, algorithm 2), in place where the tensors are not shared. As in torch, the
/// decay is multiplied by the learning rate, and the bias correction comes before `epsilon` is added; without the
/// correction it is the optimizer BERT was trained with.
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

/// The numbers the update multiplies by.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    scale: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    keep: f32,
    rate: f32,
    correction2: f32,
    epsilon: f32,
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
        if !on_host(&parameter) {
            return self.twin(parameter, gradient, first, second);
        }
        let coefficients = self.coefficients();
        let (mut p, g, mut m, mut v) = (plain(parameter), plain(gradient), plain(first), plain(second));
        let parts = (values_mut(&mut p), values_mut(&mut m), values_mut(&mut v), values(&g));
        let length = parts.3.len();
        assert!(
            [parts.0.len(), parts.1.len(), parts.2.len()] == [length; 3],
            "a parameter, its gradient and its moments have one shape"
        );
        if length <= PIECE {
            step(parts.0, parts.1, parts.2, parts.3, coefficients);
        } else {
            let parameters = parts.0.par_chunks_mut(PIECE);
            let moments = (parts.1.par_chunks_mut(PIECE), parts.2.par_chunks_mut(PIECE));
            let pieces = (parameters, moments.0, moments.1, parts.3.par_chunks(PIECE));
            pieces.into_par_iter().for_each(|(p, m, v, g)| step(p, m, v, g, coefficients));
        }
        (tensor(p), tensor(m), tensor(v))
    }

    /// [`AdamW::update`] of a table `[V, d]` for whose `rows` alone there is a gradient, `[rows, d]`; that of the others is
    /// zero. Gives the same bits without reading zeros, and without moments where `touched` `[V]` says that no row had a
    /// gradient yet. Plain tensors on the host; rows rise.
    pub fn update_rows(
        &self,
        parameter: Tensor<2>,
        rows: &[u32],
        gradient: Tensor<2>,
        [first, second]: [Tensor<2>; 2],
        touched: &mut [bool],
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let coefficients = self.coefficients();
        let (mut p, g, mut m, mut v) = (plain(parameter), plain(gradient), plain(first), plain(second));
        let ((height, d), g) = (rows_columns(&p), values(&g));
        assert!(touched.len() == height && g.len() == rows.len() * d, "a gradient for each row");
        let share = rows_of_piece(d);
        let tables = (values_mut(&mut p), values_mut(&mut m), values_mut(&mut v));
        let pieces = (
            tables.0.par_chunks_mut(share * d.max(1)),
            tables.1.par_chunks_mut(share * d.max(1)),
            tables.2.par_chunks_mut(share * d.max(1)),
            touched.par_chunks_mut(share),
        );
        let idle = vec![0.0; d];
        pieces.into_par_iter().enumerate().for_each(|(piece, (p, m, v, touched))| {
            let first = piece * share;
            let mut next = rows.partition_point(|row| (*row as usize) < first);
            for (index, touched) in touched.iter_mut().enumerate() {
                let [p, m, v] = [&mut *p, &mut *m, &mut *v].map(|table| &mut table[index * d..][..d]);
                if rows.get(next).is_some_and(|row| *row as usize == first + index) {
                    step(p, m, v, &g[next * d..][..d], coefficients);
                    (*touched, next) = (true, next + 1);
                } else if *touched {
                    step(p, m, v, &idle, coefficients);
                } else if coefficients.keep != 1.0 {
                    p.iter_mut().for_each(|value| *value *= coefficients.keep);
                }
            }
        });
        (tensor(p), tensor(m), tensor(v))
    }

    /// The same of burn's operations.
    pub fn twin<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        first: Tensor<D>,
        second: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        let Coefficients { scale, beta1, rest1, beta2, rest2, keep, rate, correction2, epsilon } = self.coefficients();
        let gradient = gradient * scale;
        let first = first * beta1 + gradient.clone() * rest1;
        let second = second * beta2 + gradient.clone() * gradient * rest2;
        let denominator = second.clone().sqrt() * correction2 + epsilon;
        (parameter * keep - first.clone() * rate / denominator, first, second)
    }

    fn coefficients(&self) -> Coefficients {
        // A step counter past 2^31 has long left the correction at 1.
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction = |beta: f64| if self.bias_correction { 1.0 - beta.powi(step) } else { 1.0 };
        Coefficients {
            scale: self.scale,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            keep: (1.0 - self.learning_rate * self.weight_decay) as f32,
            rate: (self.learning_rate / correction(self.beta1)) as f32,
            correction2: correction(self.beta2).sqrt().recip() as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

multiversion! {
    fn step(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], coefficients: Coefficients) {
        let Coefficients { scale, beta1, rest1, beta2, rest2, keep, rate, correction2, epsilon } = coefficients;
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * scale;
            *m = m.mul_add(beta1, g * rest1);
            *v = v.mul_add(beta2, g * g * rest2);
            *p = p.mul_add(keep, -rate * *m / v.sqrt().mul_add(correction2, epsilon));
        }
    }
}

/// Sum of squares in f64, the same whatever the number of threads.
pub fn squared_sum<const D: usize>(x: &Tensor<D>) -> f64 {
    let x = if x.device().is_autodiff() { x.clone().inner() } else { x.clone() };
    if !on_host(&x) {
        return (x.clone() * x).sum().into_scalar::<f32>().into();
    }
    let array = plain(x);
    let values = values(&array);
    if values.len() <= PIECE {
        return squares(values);
    }
    values.par_chunks(PIECE).map(squares).collect::<Vec<f64>>().into_iter().sum()
}

multiversion! {
    fn squares(values: &[f32]) -> f64 {
        const LANES: usize = 16;
        let mut lanes = [0.0f64; LANES];
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                lanes[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*value) * f64::from(*value);
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::*;
    use super::*;

    const ADAMW: AdamW = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.1,
        bias_correction: true,
        step: 1,
        scale: 0.5,
    };

    /// The paper's algorithm, line by line, in f64.
    fn algorithm_2(adamw: &AdamW, steps: u64, x: &mut f64, gradient: impl Fn(u64) -> f64) -> (f64, f64) {
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=steps {
            let g = gradient(t) * f64::from(adamw.scale);
            m = adamw.beta1 * m + (1.0 - adamw.beta1) * g;
            v = adamw.beta2 * v + (1.0 - adamw.beta2) * g.powi(2);
            let corrected = if adamw.bias_correction {
                (m / (1.0 - adamw.beta1.powi(t as i32)), v / (1.0 - adamw.beta2.powi(t as i32)))
            } else {
                (m, v)
            };
            *x -= adamw.learning_rate * (corrected.0 / (corrected.1.sqrt() + adamw.epsilon) + adamw.weight_decay * *x);
        }
        (m, v)
    }

    fn run_steps(adamw: AdamW, start: &Value, steps: u64, gradient: impl Fn(u64) -> Value) -> [Vec<f32>; 3] {
        let mut state = (leaf(start), leaf(start) * 0.0, leaf(start) * 0.0);
        for step in 1..=steps {
            let adamw = AdamW { step, ..adamw };
            state = adamw.update(state.0, leaf(&gradient(step)), state.1, state.2);
        }
        [read(state.0), read(state.1), read(state.2)]
    }

    #[test]
    fn rows_are_updated_to_the_bits_of_the_whole_table() {
        let (height, d) = (300, 70);
        let start = random(height, d, 1);
        for weight_decay in [0.0, 0.1] {
            let zeros = || leaf(&(vec![0.0; height * d], [height, d]));
            let mut whole = (leaf(&start), zeros(), zeros());
            let mut some = (leaf(&start), zeros(), zeros());
            let mut touched = vec![false; height];
            for step in 1..5u32 {
                let adamw = AdamW { step: step.into(), weight_decay, ..ADAMW };
                let rows: Vec<u32> = (0..height as u32).filter(|row| (row * step) % 7 == 3).collect();
                let gradient = random(rows.len(), d, 10 + u64::from(step));
                let mut dense = vec![0.0; height * d];
                for (index, row) in rows.iter().enumerate() {
                    dense[*row as usize * d..][..d].copy_from_slice(&gradient.0[index * d..][..d]);
                }
                whole = adamw.update(whole.0, leaf(&(dense, [height, d])), whole.1, whole.2);
                some = adamw.update_rows(some.0, &rows, leaf(&gradient), [some.1, some.2], &mut touched);
            }
            assert!(touched.contains(&true) && touched.contains(&false));
            let bits = |tensor: Tensor<2>| read(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(whole.0), bits(some.0));
            assert_eq!((bits(whole.1), bits(whole.2)), (bits(some.1), bits(some.2)));
        }
    }

    #[test]
    fn updates_follow_the_papers_algorithm_in_double_precision() {
        for bias_correction in [true, false] {
            let adamw = AdamW { bias_correction, ..ADAMW };
            let start = random(3, 5, 1);
            let gradient = |step| random(3, 5, 100 + step);
            let [p, m, v] = run_steps(adamw, &start, 20, gradient);
            for at in 0..15 {
                let mut x = f64::from(start.0[at]);
                let (first, second) = algorithm_2(&adamw, 20, &mut x, |step| f64::from(gradient(step).0[at]));
                assert!((f64::from(p[at]) - x).abs() < 2e-6, "{} {x}", p[at]);
                assert!((f64::from(m[at]) - first).abs() < 1e-6);
                assert!((f64::from(v[at]) - second).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_first_update_has_the_size_of_the_learning_rate_or_without_correction_3_16_times_it() {
        let adamw = AdamW { weight_decay: 0.0, ..ADAMW };
        for (bias_correction, size) in [(true, 1e-2f32), (false, 3.162_277_6e-2)] {
            let start = (vec![0.0; 4], [1, 4]);
            let gradient = (vec![3.0, -0.2, 1e-2, 50.0], [1, 4]);
            let [p, ..] = run_steps(AdamW { bias_correction, ..adamw }, &start, 1, |_| gradient.clone());
            for (update, gradient) in p.iter().zip(&gradient.0) {
                assert!((update + size * gradient.signum()).abs() < 1e-5 * size.max(1.0), "{update}");
            }
        }
    }

    #[test]
    fn updates_agree_with_burn_and_leave_shared_tensors_alone() {
        let [p, g, m] = [random(7, 9, 1), random(7, 9, 2), random(7, 9, 3)];
        let v = (m.0.iter().map(|value| value * value).collect(), m.1);
        let adamw = AdamW { step: 7, ..ADAMW };
        let shared = leaf(&p);
        let ours = adamw.update(shared.clone(), leaf(&g), leaf(&m), leaf(&v));
        let theirs = adamw.twin(leaf(&p), leaf(&g), leaf(&m), leaf(&v));
        close("parameter", &read(ours.0), &read(theirs.0), 1e-6);
        close("first moment", &read(ours.1), &read(theirs.1), 1e-6);
        close("second moment", &read(ours.2), &read(theirs.2), 1e-6);
        assert_eq!(read(shared), p.0);
    }

    #[test]
    fn updates_and_norms_give_the_same_bits_for_any_number_of_threads() {
        let (p, g) = (random(100, 500, 1), random(100, 500, 2));
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let [p, m, v] = run_steps(ADAMW, &p, 3, |_| g.clone());
                let bits = [p, m, v].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>();
                (bits, squared_sum(&leaf(&g)).to_bits())
            })
        };
        let one = bits(1);
        assert!([2, 5].into_iter().all(|threads| bits(threads) == one));
        let exact: f64 = g.0.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((squared_sum(&leaf(&g)) / exact - 1.0).abs() < 1e-12);
    }
}
