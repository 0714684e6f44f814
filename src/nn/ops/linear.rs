//! The linear map.

use gemm::Parallelism;

use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, sum_rows};
use super::vector::vectorised;

/// `x W^T`, and with a third input `+ b`.
#[derive(Debug, Clone)]
pub(super) struct Linear;

/// A matrix in memory: element (i, j) is at `i * rows + j * columns`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
}

impl<'a> Strided<'a> {
    /// A row-major matrix whose rows lie `stride` apart.
    pub fn new(values: &'a [f32], stride: usize) -> Self {
        Self { values, rows: stride, columns: 1 }
    }

    /// The transpose of a row-major matrix.
    pub fn transposed(values: &'a [f32], stride: usize) -> Self {
        Self { values, rows: 1, columns: stride }
    }
}

/// `out (m, n) = scale * left (m, k) right (k, n)`, plus `out` itself if `add`. `out` has rows of `out_stride`.
pub(super) fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    out_stride: usize,
    add: bool,
    scale: f32,
    left: Strided,
    right: Strided,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    let last = |matrix: Strided, rows: usize, columns: usize| (rows - 1) * matrix.rows + (columns - 1) * matrix.columns;
    assert!(out.len() > (m - 1) * out_stride + n - 1, "the product does not fit");
    assert!(k == 0 || left.values.len() > last(left, m, k), "the left factor is too short");
    assert!(k == 0 || right.values.len() > last(right, k, n), "the right factor is too short");
    // SAFETY: the assertions above bound every element that is read or written.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            add,
            left.values.as_ptr(),
            left.columns as isize,
            left.rows as isize,
            right.values.as_ptr(),
            right.columns as isize,
            right.rows as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn threads() -> Parallelism {
    Parallelism::Rayon(0)
}

/// x `[T, in]`, weight `[out, in]`, bias `[out]` -> `[T, out]`.
fn forward(x: &Plain, weight: &Plain, bias: Option<&Plain>) -> Plain {
    let ([tokens, inputs], [outputs, _]) = (dims(x), dims(weight));
    let mut y = buffer(tokens * outputs);
    if let Some(bias) = bias {
        y.chunks_mut(outputs).for_each(|row| row.copy_from_slice(values(bias)));
    }
    let (left, right) = (Strided::new(values(x), inputs), Strided::transposed(values(weight), inputs));
    product([tokens, outputs, inputs], &mut y, outputs, bias.is_some(), 1.0, left, right, threads());
    tensor(y, [tokens, outputs])
}

/// `g W`. `[T, in]`.
fn input_gradient(gradient: &Plain, weight: &Plain) -> Plain {
    let ([tokens, outputs], [_, inputs]) = (dims(gradient), dims(weight));
    let mut dx = buffer(tokens * inputs);
    let (left, right) = (Strided::new(values(gradient), outputs), Strided::new(values(weight), inputs));
    product([tokens, inputs, outputs], &mut dx, inputs, false, 1.0, left, right, threads());
    tensor(dx, [tokens, inputs])
}

/// `g^T x`. `[out, in]`.
fn weight_gradient(gradient: &Plain, x: &Plain) -> Plain {
    let ([tokens, outputs], [_, inputs]) = (dims(gradient), dims(x));
    let mut dw = buffer(outputs * inputs);
    let (left, right) = (Strided::transposed(values(gradient), outputs), Strided::new(values(x), inputs));
    product([outputs, inputs, tokens], &mut dw, inputs, false, 1.0, left, right, threads());
    tensor(dw, [outputs, inputs])
}

/// Column sums. `[out]`.
fn bias_gradient(gradient: &Plain) -> Plain {
    let [tokens, outputs] = dims(gradient);
    let gradient = values(gradient);
    let sums = sum_rows(tokens, outputs, outputs, |rows, sums| {
        add_rows(&gradient[rows.start * outputs..rows.end * outputs], sums);
    });
    tensor(sums, [outputs])
}

vectorised! {
    fn add_rows(rows: &[f32], sums: &mut [f32]) {
        for row in rows.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

impl Kernel<2> for Linear {
    /// The input if the weight trains, the weight if the input does.
    type Saved = [Option<Plain>; 2];

    fn forward(&self, [x, weight]: [&Plain; 2], [x_needs, weight_needs]: [bool; 2]) -> (Plain, Self::Saved) {
        (forward(x, weight, None), [weight_needs.then(|| x.clone()), x_needs.then(|| weight.clone())])
    }

    fn backward(&self, saved: Self::Saved, gradient: Plain, needs: [bool; 2]) -> [Option<Plain>; 2] {
        let [x, weight] = saved;
        [
            weight.filter(|_| needs[0]).map(|weight| input_gradient(&gradient, &weight)),
            x.filter(|_| needs[1]).map(|x| weight_gradient(&gradient, &x)),
        ]
    }
}

impl Kernel<3> for Linear {
    type Saved = [Option<Plain>; 2];

    fn forward(&self, [x, weight, bias]: [&Plain; 3], [x_needs, weight_needs, _]: [bool; 3]) -> (Plain, Self::Saved) {
        (forward(x, weight, Some(bias)), [weight_needs.then(|| x.clone()), x_needs.then(|| weight.clone())])
    }

    fn backward(&self, saved: Self::Saved, gradient: Plain, needs: [bool; 3]) -> [Option<Plain>; 3] {
        let bias = needs[2].then(|| bias_gradient(&gradient));
        let [x, weight] = Kernel::<2>::backward(self, saved, gradient, [needs[0], needs[1]]);
        [x, weight, bias]
    }
}
