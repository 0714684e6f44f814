//! What the tests of all ops share: running an op with gradients, and what to hold the results against.

use burn::tensor::{Device, Tensor, TensorData};

use crate::random::Key;

/// An input's values and shape; vectors are matrices of one row.
pub type Value = (Vec<f32>, [usize; 2]);

/// An op under test.
pub type Op<'a> = &'a (dyn Fn(&[Tensor<2>]) -> Tensor<2> + Sync);

/// An output and the gradients of its inputs.
pub type Results = (Vec<f32>, Vec<Option<Vec<f32>>>);

/// Standard normal values.
pub fn random(rows: usize, columns: usize, seed: u64) -> Value {
    let key = Key::new(seed, "test");
    ((0..rows * columns).map(|index| key.normal(index as u64)).collect(), [rows, columns])
}

/// A plain tensor.
pub fn leaf((values, shape): &Value) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.clone(), *shape), &Device::flex())
}

/// The one row of a matrix.
pub fn vector(x: &Tensor<2>) -> Tensor<1> {
    x.clone().reshape([-1])
}

pub fn read<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

/// The weight of each output element in the loss that is differentiated.
fn weights(count: usize) -> Vec<f32> {
    random(1, count, 99).0
}

/// Runs an op on inputs that are tracked where `tracked` says, and on plain tensors when nothing is.
pub fn run(op: Op, inputs: &[Value], tracked: &[bool]) -> Results {
    if !tracked.contains(&true) {
        let inputs: Vec<_> = inputs.iter().map(leaf).collect();
        return (read(op(&inputs)), vec![None; inputs.len()]);
    }
    let device = Device::flex().autodiff();
    let inputs: Vec<Tensor<2>> = inputs
        .iter()
        .zip(tracked)
        .map(|((values, shape), tracked)| {
            let tensor = Tensor::from_data(TensorData::new(values.clone(), *shape), &device);
            if *tracked { tensor.require_grad() } else { tensor }
        })
        .collect();
    let output = op(&inputs);
    let shape = output.dims();
    let weights = Tensor::<2>::from_data(TensorData::new(weights(shape[0] * shape[1]), shape), &Device::flex());
    let result = read(output.clone().inner());
    let gradients = (output * Tensor::from_inner(weights)).sum().backward();
    let gradients = inputs.iter().zip(tracked).map(|(input, tracked)| {
        let gradient = if *tracked { input.grad(&gradients) } else { None };
        gradient.map(read)
    });
    (result, gradients.collect())
}

fn all(inputs: &[Value]) -> Vec<bool> {
    vec![true; inputs.len()]
}

/// Fails unless all elements agree to `tolerance` times the largest magnitude.
pub fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: lengths");
    let scale = theirs.iter().fold(1e-3f32, |scale, value| scale.max(value.abs()));
    for (index, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}, element {index}: {a} and {b}");
    }
}

/// Holds output and every gradient against the twin's.
pub fn agrees_with_twin(op: Op, twin: Op, inputs: &[Value]) {
    let ((ours, our_gradients), (theirs, their_gradients)) =
        (run(op, inputs, &all(inputs)), run(twin, inputs, &all(inputs)));
    close("output", &ours, &theirs, 1e-5);
    close("output without autodiff", &run(op, inputs, &vec![false; inputs.len()]).0, &ours, 0.0);
    for (index, (ours, theirs)) in our_gradients.iter().zip(&their_gradients).enumerate() {
        close(&format!("gradient {index}"), ours.as_ref().unwrap(), theirs.as_ref().unwrap(), 1e-5);
    }
}

/// Tracks one input at a time: its gradient must not change, and no other appears.
pub fn differentiates_only_what_is_tracked(op: Op, inputs: &[Value]) {
    let (_, expected) = run(op, inputs, &all(inputs));
    for one in 0..inputs.len() {
        let tracked: Vec<bool> = (0..inputs.len()).map(|index| index == one).collect();
        let (_, gradients) = run(op, inputs, &tracked);
        for (index, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.as_ref(), expected[index].as_ref().filter(|_| index == one));
        }
    }
}

/// Holds output and gradients against a definition in f64 and its central differences.
pub fn agrees_with_differences(op: Op, definition: &dyn Fn(&[Vec<f64>]) -> Vec<f64>, inputs: &[Value]) {
    const STEP: f64 = 1e-5;
    let (output, gradients) = run(op, inputs, &all(inputs));
    let mut exact: Vec<Vec<f64>> =
        inputs.iter().map(|(values, _)| values.iter().map(|value| f64::from(*value)).collect()).collect();
    let expected: Vec<f32> = definition(&exact).into_iter().map(|value| value as f32).collect();
    close("output", &output, &expected, 1e-5);
    let weights = weights(output.len());
    let loss = |inputs: &[Vec<f64>]| -> f64 {
        definition(inputs).iter().zip(&weights).map(|(value, weight)| value * f64::from(*weight)).sum()
    };
    for input in 0..exact.len() {
        let slopes: Vec<f32> = (0..exact[input].len())
            .map(|at| {
                let middle = exact[input][at];
                let mut at_offset = |offset| {
                    exact[input][at] = middle + offset;
                    loss(&exact)
                };
                let slope = (at_offset(STEP) - at_offset(-STEP)) / (2.0 * STEP);
                exact[input][at] = middle;
                slope as f32
            })
            .collect();
        close(&format!("gradient {input}"), gradients[input].as_ref().unwrap(), &slopes, 2e-5);
    }
}

/// Output and gradients must have the same bits in pools of 1, 2 and 5 threads.
pub fn same_bits_for_any_number_of_threads(op: Op, inputs: &[Value]) {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (output, gradients) = pool.install(|| run(op, inputs, &all(inputs)));
        let arrays = gradients.into_iter().flatten().chain([output]);
        arrays.map(|values| values.into_iter().map(f32::to_bits).collect()).collect::<Vec<Vec<u32>>>()
    };
    let one = bits(1);
    assert_eq!(one.len(), inputs.len() + 1);
    for threads in [2, 5] {
        assert!(bits(threads) == one, "{threads} threads give other bits than one");
    }
}
