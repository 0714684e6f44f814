use super::*;
use crate::nn::ops::oracle::{close, random};

/// `a b` in double precision.
fn exact(a: &[f32], b: &[f32], [rows, inner, columns]: [usize; 3]) -> Vec<f32> {
    let term = |at: usize, k: usize| f64::from(a[at / columns * inner + k]) * f64::from(b[k * columns + at % columns]);
    (0..rows * columns).map(|at| (0..inner).map(|k| term(at, k)).sum::<f64>() as f32).collect()
}

fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect()
}

const SHAPES: [[usize; 3]; 7] =
    [[1, 1, 1], [5, 2, 33], [12, 31, 32], [13, 97, 70], [33, 64, 31], [100, 130, 64], [40, 900, 17]];

/// Every kind of instructions there is here, and the model of them.
fn every() -> impl Iterator<Item = Instructions> {
    [Some(Instructions::Model), Instructions::best()].into_iter().flatten()
}

type Multiply<'a> = &'a dyn Fn(&mut [f32], bool, Matrix, Matrix);

fn check(precision: Precision, tolerance: f32, multiply: Multiply) {
    for [rows, inner, columns] in SHAPES {
        let ((a, _), (b, _)) = (random(rows, inner, 1), random(inner, columns, 2));
        let (a_turned, b_turned) = (turned(&a, rows, inner), turned(&b, inner, columns));
        let (a_rounded, b_rounded) = match precision {
            Precision::Bf16 => (bfloat::rounded(&a), bfloat::rounded(&b)),
            _ => (a.clone(), b.clone()),
        };
        let expected = exact(&a_rounded, &b_rounded, [rows, inner, columns]);
        let lefts = [Matrix::new(&a, rows, inner), Matrix::new(&a_turned, inner, rows).transposed()];
        let rights = [Matrix::new(&b, inner, columns), Matrix::new(&b_turned, columns, inner).transposed()];
        for left in lefts {
            for right in rights {
                let mut out = vec![7.0; rows * columns];
                multiply(&mut out, false, left, right);
                close("product", &out, &expected, tolerance);
                multiply(&mut out, true, left, right);
                let twice: Vec<f32> = expected.iter().map(|value| 2.0 * value).collect();
                close("sum of products", &out, &twice, tolerance);
            }
        }
    }
}

#[test]
fn products_of_bfloat16s_are_those_of_the_rounded_factors() {
    for instructions in every() {
        let multiply = |out: &mut [f32], accumulate, a: Matrix, b: Matrix| {
            pairs::multiply(out, accumulate, a, b, Precision::Bf16, instructions);
        };
        check(Precision::Bf16, 1e-5, &multiply);
    }
    check(Precision::Bf16, 1e-5, &|out, accumulate, a, b| multiply(out, accumulate, a, b, Precision::Bf16));
}

#[test]
fn products_of_split_floats_are_those_of_the_floats_to_sixteen_bits() {
    for instructions in every() {
        let multiply = |out: &mut [f32], accumulate, a: Matrix, b: Matrix| {
            pairs::multiply(out, accumulate, a, b, Precision::F32, instructions);
        };
        check(Precision::F32, 4e-5, &multiply);
    }
    for precision in [Precision::F32, Precision::F32Strict] {
        check(precision, 4e-5, &|out, accumulate, a, b| multiply(out, accumulate, a, b, precision));
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for instructions in every() {
        for (value, precision) in
            [(f32::NAN, Precision::Bf16), (f32::INFINITY, Precision::Bf16), (f32::NAN, Precision::F32)]
        {
            let mut a = vec![1.0; 4];
            a[1] = value;
            let mut out = [0.0; 4];
            let ones = [1.0; 4];
            pairs::multiply(&mut out, false, Matrix::new(&a, 2, 2), Matrix::new(&ones, 2, 2), precision, instructions);
            assert!(!out[0].is_finite() && !out[1].is_finite() && out[2..] == [2.0, 2.0], "{out:?}");
        }
    }
}

#[test]
fn products_are_the_same_bits_for_any_number_of_threads() {
    let ((a, _), (b, _)) = (random(301, 517, 1), random(517, 130, 2));
    for instructions in every() {
        let product = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0.0; 301 * 130];
            let (a, b) = (Matrix::new(&a, 301, 517), Matrix::new(&b, 517, 130));
            pool.install(|| pairs::multiply(&mut out, false, a, b, Precision::Bf16, instructions));
            out
        };
        assert_eq!(product(1), product(3));
    }
}
