//! GELU, the erf form (Hendrycks & Gimpel 2016): `x Phi(x)`.

use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, by_rows};
use super::vector::{normal, vectorised};

#[derive(Debug, Clone)]
pub(super) struct Gelu;

impl Kernel<1> for Gelu {
    type Saved = Option<Plain>;

    fn forward(&self, [x]: [&Plain; 1], [needs]: [bool; 1]) -> (Plain, Self::Saved) {
        let [rows, columns] = dims(x);
        let mut y = buffer(rows * columns);
        by_rows(&mut y, columns, |first, y| activate(&values(x)[first * columns..], y));
        (tensor(y, [rows, columns]), needs.then(|| x.clone()))
    }

    fn backward(&self, saved: Self::Saved, gradient: Plain, _: [bool; 1]) -> [Option<Plain>; 1] {
        let Some(x) = saved else { return [None] };
        let [rows, columns] = dims(&x);
        let mut dx = buffer(rows * columns);
        by_rows(&mut dx, columns, |first, dx| {
            derive(&values(&x)[first * columns..], &values(&gradient)[first * columns..], dx);
        });
        [Some(tensor(dx, [rows, columns]))]
    }
}

vectorised! {
    fn activate(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * normal(x).0;
        }
    }

    /// `g (Phi(x) + x phi(x))`.
    fn derive(x: &[f32], gradient: &[f32], dx: &mut [f32]) {
        for ((dx, &x), &gradient) in dx.iter_mut().zip(x).zip(gradient) {
            let (distribution, density) = normal(x);
            *dx = gradient * (distribution + x * density);
        }
    }
}
