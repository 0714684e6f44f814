//! Dropout masks from counters, and dropout itself.

use super::Dropout;
use super::extension::{Kernel, Plain, dims, tensor, values};
use super::parallel::{buffer, by_rows};
use super::vector::vectorised;

impl Dropout {
    /// Factors of the elements `first..first + factors.len()` of the site: 0 where dropped, 1 / (1 - probability) elsewhere.
    /// Element `i` is dropped where `key.uniform(i) < probability`.
    pub(super) fn factors(&self, first: usize, factors: &mut [f32]) {
        let kept = 1.0 / (1.0 - self.probability);
        // uniform(i) is the upper 24 bits of a draw over 2^24.
        let threshold = (f64::from(self.probability) * f64::from(1 << 24)).ceil() as u32;
        let mut draws = [0u32; BLOCK];
        let (mut index, mut done) = (first, 0);
        while done < factors.len() {
            let skipped = index % 4;
            self.key.fill((index / 4) as u64, &mut draws);
            let count = (BLOCK - skipped).min(factors.len() - done);
            choose(&draws[skipped..skipped + count], threshold, kept, &mut factors[done..done + count]);
            index += count;
            done += count;
        }
    }
}

/// Draws made at a time.
const BLOCK: usize = 1024;

vectorised! {
    fn choose(draws: &[u32], threshold: u32, kept: f32, factors: &mut [f32]) {
        for (factor, draw) in factors.iter_mut().zip(draws) {
            *factor = if draw >> 8 < threshold { 0.0 } else { kept };
        }
    }

    fn multiply(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y *= x;
        }
    }
}

/// Dropout by itself. The backward draws the same mask again.
#[derive(Debug, Clone)]
pub(super) struct Drop(pub Dropout);

impl Drop {
    fn scaled(&self, x: &Plain) -> Plain {
        let [rows, columns] = dims(x);
        let mut y = buffer(rows * columns);
        by_rows(&mut y, columns, |first, y| {
            self.0.factors(first * columns, y);
            multiply(&values(x)[first * columns..], y);
        });
        tensor(y, [rows, columns])
    }
}

impl Kernel<1> for Drop {
    type Saved = ();

    fn forward(&self, [x]: [&Plain; 1], _: [bool; 1]) -> (Plain, ()) {
        (self.scaled(x), ())
    }

    fn backward(&self, (): (), gradient: Plain, _: [bool; 1]) -> [Option<Plain>; 1] {
        [Some(self.scaled(&gradient))]
    }
}
