use super::super::oracle::*;
use super::*;
use crate::random::Key;

fn site() -> Option<Dropout> {
    Some(Dropout { probability: 0.25, key: Key::new(5, "dropout") })
}

fn op(inputs: &[Tensor<2>], heads: usize, offsets: &[u32], dropout: Option<Dropout>) -> Tensor<2> {
    attention(inputs[0].clone(), inputs[1].clone(), inputs[2].clone(), heads, Bounds::same(offsets.into()), dropout)
}

fn burns(inputs: &[Tensor<2>], heads: usize, offsets: &[u32], dropout: Option<Dropout>) -> Tensor<2> {
    twin::twin(inputs[0].clone(), inputs[1].clone(), inputs[2].clone(), heads, Bounds::same(offsets.into()), dropout)
}

fn inputs(tokens: u32, d: usize) -> Vec<Value> {
    (1..=3).map(|seed| random(tokens as usize, d, seed)).collect()
}

#[test]
fn attention_agrees_with_burn_on_ragged_batches() {
    let batches: [(&[u32], usize, usize); 5] = [
        (&[0, 1], 1, 3),
        (&[0, 1, 8, 10], 2, 5),
        (&[0, 16, 48, 49], 3, 16),
        (&[0, 150, 153], 2, 8),
        (&[0, 3, 3, 5], 1, 20),
    ];
    for (offsets, heads, head_dim) in batches {
        let inputs = inputs(*offsets.last().unwrap(), heads * head_dim);
        for dropout in [None, site()] {
            agrees_with_twin(&|x| op(x, heads, offsets, dropout), &|x| burns(x, heads, offsets, dropout), &inputs);
        }
    }
}

#[test]
fn fewer_queries_than_keys_agree_with_burn_and_with_all_queries() {
    let (heads, d) = (2, 10);
    let bounds = Bounds { queries: [0, 1, 1, 4].into(), keys: [0, 3, 5, 155].into() };
    let mut inputs = inputs(155, d);
    let all = run(&|x| op(x, heads, &bounds.keys, None), &inputs, &[false; 3]).0;
    let rows = [2, 7, 10, 154];
    inputs[0] = (rows.iter().flat_map(|row| inputs[0].0[row * d..][..d].to_vec()).collect(), [4, d]);
    let some =
        |x: &[Tensor<2>], dropout| attention(x[0].clone(), x[1].clone(), x[2].clone(), heads, bounds.clone(), dropout);
    for dropout in [None, site()] {
        let theirs =
            |x: &[Tensor<2>]| twin::twin(x[0].clone(), x[1].clone(), x[2].clone(), heads, bounds.clone(), dropout);
        agrees_with_twin(&|x| some(x, dropout), &theirs, &inputs);
    }
    same_bits_for_any_number_of_threads(&|x| some(x, site()), &inputs);
    let found = run(&|x| some(x, None), &inputs, &[false; 3]).0;
    let expected: Vec<f32> = rows.iter().flat_map(|row| all[row * d..][..d].to_vec()).collect();
    close("outputs", &found, &expected, 1e-6);
}

#[test]
fn attention_and_its_gradients_follow_the_definition_in_double_precision() {
    let (offsets, heads, head_dim) = ([0usize, 1, 5, 7], 2, 3);
    let d = heads * head_dim;
    let definition = |inputs: &[Vec<f64>]| {
        let mut out = vec![0.0; 7 * d];
        for bounds in offsets.windows(2) {
            for column in (0..d).step_by(head_dim) {
                for i in bounds[0]..bounds[1] {
                    let score = |j: usize| -> f64 {
                        let products = (column..column + head_dim).map(|c| inputs[0][i * d + c] * inputs[1][j * d + c]);
                        products.sum::<f64>() / (head_dim as f64).sqrt()
                    };
                    let total: f64 = (bounds[0]..bounds[1]).map(|j| score(j).exp()).sum();
                    for j in bounds[0]..bounds[1] {
                        for c in column..column + head_dim {
                            out[i * d + c] += score(j).exp() / total * inputs[2][j * d + c];
                        }
                    }
                }
            }
        }
        out
    };
    agrees_with_differences(&|x| op(x, heads, &[0, 1, 5, 7], None), &definition, &inputs(7, d));
}

#[test]
fn dropout_keeps_the_mean_of_constant_values() {
    // With all values 1, an output is the sum of its kept probabilities, 1 on average.
    let mut inputs = inputs(512, 4);
    inputs[2].0.fill(1.0);
    let (output, _) = run(&|x| op(x, 1, &[0, 256, 512], site()), &inputs, &[false; 3]);
    let mean = output.iter().sum::<f32>() / output.len() as f32;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert!(output.iter().any(|value| (value - 1.0).abs() > 0.02));
}

#[test]
fn frozen_inputs_of_attention_get_no_gradient() {
    differentiates_only_what_is_tracked(&|x| op(x, 2, &[0, 2, 7], site()), &inputs(7, 6));
}

#[test]
fn other_sequences_do_not_matter() {
    let both = inputs(9, 8);
    let alone: Vec<Value> = both.iter().map(|(values, _)| (values[..5 * 8].to_vec(), [5, 8])).collect();
    let (together, _) = run(&|x| op(x, 2, &[0, 5, 9], site()), &both, &[false; 3]);
    let (alone, _) = run(&|x| op(x, 2, &[0, 5], site()), &alone, &[false; 3]);
    assert_eq!(together[..5 * 8], alone);
}

#[test]
fn attention_gives_the_same_bits_for_any_number_of_threads() {
    same_bits_for_any_number_of_threads(&|x| op(x, 4, &[0, 1, 30, 190, 197], site()), &inputs(197, 64));
}
