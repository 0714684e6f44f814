//! Scaled dot-product attention (Vaswani et al. 2017, equation 1) inside each sequence of a packed batch.
//!
//! One work item is one head of one sequence. Of the probabilities only each row's log-sum-exp is kept; the backward makes
//! them, and the dropout mask, again (Dao et al. 2022).

use std::cell::RefCell;
use std::sync::Arc;

use gemm::Parallelism;
use rayon::prelude::*;

use super::Dropout;
use super::extension::{Kernel, Plain, dims, tensor, values};
use super::linear::{Strided, product};
use super::parallel::buffer;
use super::vector::{exp, max, sum, vectorised};

/// Inputs: query, key, value, each `[T, heads * head_dim]`.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub heads: usize,
    /// `[B + 1]`
    pub offsets: Arc<[u32]>,
    /// Acts on probabilities. Element (i, j) of head h of a sequence of n tokens has the index
    /// `heads * (sum of squared lengths before) + h n^2 + i n + j`.
    pub dropout: Option<Dropout>,
}

#[derive(Debug, Clone)]
pub(super) struct Saved {
    query: Plain,
    key: Plain,
    value: Plain,
    output: Plain,
    /// `[heads, T]`
    logs: Vec<f32>,
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Item {
    head: usize,
    /// First token.
    start: usize,
    length: usize,
    /// Index of element (0, 0) for dropout.
    first_draw: usize,
}

/// A matrix whose rows heads share: writers of different heads or sequences touch different elements.
#[derive(Clone, Copy)]
struct Shared {
    pointer: *mut f32,
    length: usize,
}

// SAFETY: every use goes through `Shared::head`, whose callers touch elements of their own item only.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    fn new(values: &mut [f32]) -> Self {
        Self { pointer: values.as_mut_ptr(), length: values.len() }
    }

    /// All elements from `start` on.
    ///
    /// # Safety
    /// The caller writes only elements no other thread reads or writes meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn from(&self, start: usize) -> &mut [f32] {
        assert!(start <= self.length);
        // SAFETY: in bounds by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), self.length - start) }
    }
}

thread_local! {
    /// Three square matrices of the longest sequence this thread has seen.
    static SCRATCH: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

fn with_scratch<R>(size: usize, work: impl FnOnce([&mut [f32]; 3]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        for buffer in scratch.iter_mut().filter(|buffer| buffer.len() < size) {
            buffer.resize(size, 0.0);
        }
        work(scratch.each_mut().map(|buffer| &mut buffer[..size]))
    })
}

impl Attention {
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::with_capacity(self.heads * self.offsets.len());
        let mut first_draw = 0;
        for pair in self.offsets.windows(2) {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            for head in 0..self.heads {
                items.push(Item { head, start, length, first_draw });
                first_draw += length * length;
            }
        }
        items.retain(|item| item.length > 0);
        items
    }

    /// The logits of an item, scaled: `Q K^T / sqrt(head_dim)`.
    fn logits(&self, item: Item, width: usize, query: &[f32], key: &[f32], out: &mut [f32]) {
        let (head_dim, n) = (width / self.heads, item.length);
        let at = item.start * width + item.head * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let left = Strided::new(&query[at..], width);
        let right = Strided::transposed(&key[at..], width);
        product([n, n, head_dim], out, n, false, scale, left, right, Parallelism::None);
    }
}

impl Kernel<3> for Attention {
    type Saved = Option<Saved>;

    fn forward(&self, [query, key, value]: [&Plain; 3], needs: [bool; 3]) -> (Plain, Self::Saved) {
        let [tokens, width] = dims(query);
        let head_dim = width / self.heads;
        let (mut output, mut logs) = (buffer(tokens * width), buffer(self.heads * tokens));
        let (shared_output, shared_logs) = (Shared::new(&mut output), Shared::new(&mut logs));
        let (q, k, v) = (values(query), values(key), values(value));
        self.items().into_par_iter().with_min_len(4).for_each(|item| {
            let n = item.length;
            with_scratch(n * n, |[p, factors, _]| {
                self.logits(item, width, q, k, p);
                // SAFETY: these are the logs and output columns of this item, which no other item writes.
                let (logs, out) = unsafe {
                    let at = item.start * width + item.head * head_dim;
                    (&mut shared_logs.from(item.head * tokens + item.start)[..n], shared_output.from(at))
                };
                softmax(n, p, logs);
                if let Some(dropout) = self.dropout {
                    dropout.factors(item.first_draw, factors);
                    multiply(factors, p);
                }
                let left = Strided::new(p, n);
                let at = item.start * width + item.head * head_dim;
                let right = Strided::new(&v[at..], width);
                product([n, head_dim, n], out, width, false, 1.0, left, right, Parallelism::None);
            });
        });
        let output = tensor(output, [tokens, width]);
        let saved = needs.contains(&true).then(|| Saved {
            query: query.clone(),
            key: key.clone(),
            value: value.clone(),
            output: output.clone(),
            logs,
        });
        (output, saved)
    }

    /// With P the probabilities, M the dropout factors and D = rowsum(dO O):
    /// dV = (M P)^T dO, dS = P (M (dO V^T) - D), dQ = dS K / sqrt(head_dim), dK = dS^T Q / sqrt(head_dim).
    fn backward(&self, saved: Self::Saved, gradient: Plain, needs: [bool; 3]) -> [Option<Plain>; 3] {
        let Some(saved) = saved else { return [None, None, None] };
        let [tokens, width] = dims(&gradient);
        let head_dim = width / self.heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let [q, k, v, o] = [&saved.query, &saved.key, &saved.value, &saved.output].map(values);
        let g = values(&gradient);
        let mut out = needs.map(|needed| if needed { buffer(tokens * width) } else { Vec::new() });
        let shared = out.each_mut().map(|out| Shared::new(out));
        self.items().into_par_iter().with_min_len(4).for_each(|item| {
            let n = item.length;
            let at = item.start * width + item.head * head_dim;
            // SAFETY: an item writes the rows of its sequence and the columns of its head only.
            let out = |which: usize| unsafe { shared[which].from(at) };
            with_scratch(n * n, |[p, ds, factors]| {
                self.logits(item, width, q, k, p);
                exponentials(n, &saved.logs[item.head * tokens + item.start..], p);
                match self.dropout {
                    Some(dropout) => dropout.factors(item.first_draw, factors),
                    None => factors.fill(1.0),
                }
                if needs[2] {
                    ds.copy_from_slice(p);
                    multiply(factors, ds);
                    product(
                        [n, head_dim, n],
                        out(2),
                        width,
                        false,
                        1.0,
                        Strided::transposed(ds, n),
                        Strided::new(&g[at..], width),
                        Parallelism::None,
                    );
                }
                if needs[0] || needs[1] {
                    product(
                        [n, n, head_dim],
                        ds,
                        n,
                        false,
                        1.0,
                        Strided::new(&g[at..], width),
                        Strided::transposed(&v[at..], width),
                        Parallelism::None,
                    );
                    for i in 0..n {
                        let row = at + i * width;
                        let along = dot(&g[row..row + head_dim], &o[row..row + head_dim]);
                        let range = i * n..(i + 1) * n;
                        score_gradients(&p[range.clone()], &factors[range.clone()], along, &mut ds[range]);
                    }
                    if needs[0] {
                        product(
                            [n, head_dim, n],
                            out(0),
                            width,
                            false,
                            scale,
                            Strided::new(ds, n),
                            Strided::new(&k[at..], width),
                            Parallelism::None,
                        );
                    }
                    if needs[1] {
                        product(
                            [n, head_dim, n],
                            out(1),
                            width,
                            false,
                            scale,
                            Strided::transposed(ds, n),
                            Strided::new(&q[at..], width),
                            Parallelism::None,
                        );
                    }
                }
            });
        });
        let mut out = out.into_iter().zip(needs).map(|(out, needed)| needed.then(|| tensor(out, [tokens, width])));
        std::array::from_fn(|_| out.next().flatten())
    }
}

vectorised! {
    /// Rows of logits become probabilities; `logs` their log-sum-exps.
    fn softmax(n: usize, p: &mut [f32], logs: &mut [f32]) {
        for (row, log) in p.chunks_exact_mut(n).zip(logs) {
            let highest = max(n, |at| row[at]);
            for value in row.iter_mut() {
                *value = exp(*value - highest);
            }
            let total = sum(n, |at| row[at]);
            let factor = 1.0 / total;
            for value in row.iter_mut() {
                *value *= factor;
            }
            *log = highest + total.ln();
        }
    }

    fn exponentials(n: usize, logs: &[f32], p: &mut [f32]) {
        for (row, log) in p.chunks_exact_mut(n).zip(logs) {
            for value in row.iter_mut() {
                *value = exp(*value - log);
            }
        }
    }

    fn multiply(factors: &[f32], p: &mut [f32]) {
        for (p, factor) in p.iter_mut().zip(factors) {
            *p *= factor;
        }
    }

    /// `ds` holds dO V^T and becomes dS.
    fn score_gradients(p: &[f32], factors: &[f32], along: f32, ds: &mut [f32]) {
        for ((ds, p), factor) in ds.iter_mut().zip(p).zip(factors) {
            *ds = p * (factor * *ds - along);
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        sum(a.len().min(b.len()), |at| a[at] * b[at])
    }
}
