//! The losses that ask for the same answer when the embeddings change.

use std::cell::RefCell;

use burn::tensor::Device;
use ftp::lang::value::Value;
use ftp::lang::world::Task;
use ftp::nn::gradient::Gradients;
use ftp::nn::models::{Head, Model};
use ftp::nn::parameters::Weight;
use ftp::train::{SequenceTask, Settings};

use super::stability::{assert_slopes, begin, is_head, name, shift, slope_over_norm, step_of, train, trained, with};
use super::tiny;

fn classifier_of(task: Task, dropout: f64) -> (Model, SequenceTask) {
    (tiny::model(&tiny::config(dropout), Head::Sequence(task.clone())), SequenceTask { task })
}

#[test]
fn gradients_of_every_regularizer_are_the_slopes_of_its_loss() {
    let big = ("noise", Value::Float(0.3));
    let cases: [(&str, Vec<(&str, Value)>); 4] = [
        ("r3f", vec![big.clone(), ("regularizer_weight", Value::Float(2.0))]),
        // With one pass the perturbation is drawn and does not follow the weights.
        ("freelb", vec![big.clone(), ("ascent_steps", Value::Int(1))]),
        // Without ascent likewise.
        (
            "smart",
            vec![
                big.clone(),
                ("noise_radius", Value::Float(1.0)),
                ("ascent_steps", Value::Int(0)),
                ("proximal_weight", Value::Float(0.0)),
            ],
        ),
        ("smart", vec![("regularizer_weight", Value::Float(0.0)), ("proximal_weight", Value::Float(3.0))]),
    ];
    for task in [tiny::two_labels(), Task::Regression] {
        for (regularizer, mut parameters) in cases.clone() {
            let (mut model, objective) = classifier_of(task.clone(), 0.1);
            parameters.push(("regularizer", name(regularizer)));
            let techniques = begin(&model, &parameters);
            // Away from where the running mean is.
            shift(&mut model, |_| true, 0.05);
            // The embeddings of R3F's second pass have no gradient, by design.
            let which = |name: &str| regularizer != "r3f" || !name.contains("word_embeddings");
            let mut run = |model: &mut Model| step_of(model, &objective, &techniques);
            assert_slopes(&mut model, &mut run, which, 3e-2);
        }
    }
}

#[test]
fn without_noise_and_dropout_r3f_adds_nothing_and_with_a_weight_of_0_it_is_plain_training() {
    let plain = step_of(&tiny::classifier(0.0), &tiny::classification(), &begin(&tiny::classifier(0.0), &[]));
    let model = tiny::classifier(0.0);
    let r3f = |parameters: &[(&'static str, Value)]| {
        let parameters = [&[("regularizer", name("r3f"))], parameters].concat();
        step_of(&model, &tiny::classification(), &begin(&model, &parameters))
    };
    for sum in [r3f(&[("noise", Value::Float(0.0))]), r3f(&[("regularizer_weight", Value::Float(0.0))])] {
        assert!((sum.loss - plain.loss).abs() < 1e-5);
        close(&sum.gradients, &plain.gradients, 1e-5);
    }
    assert!(r3f(&[("noise", Value::Float(0.5))]).loss > plain.loss + 1e-3, "the divergence is above 0");
}

fn close(left: &Gradients, right: &Gradients, within: f32) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, gradient) in left {
        for (one, other) in gradient.to_host().data.iter().zip(&right[name].to_host().data) {
            assert!((one - other).abs() <= within * one.abs().max(1.0), "{name}: {one} {other}");
        }
    }
}

/// The loss has a slope through the second pass's embeddings too, which its gradient must not follow.
#[test]
fn the_noised_pass_of_r3f_does_not_reach_the_word_embeddings() {
    let mut model = tiny::classifier(0.1);
    let words = "bert.embeddings.word_embeddings.weight";
    let mut slope = |regularizer: &str, noise: f64| {
        let parameters = [
            ("regularizer", name(regularizer)),
            ("noise", Value::Float(noise)),
            ("regularizer_weight", Value::Float(4.0)),
        ];
        let techniques = begin(&model, &parameters);
        slope_over_norm(&mut model, &mut |model| step_of(model, &tiny::classification(), &techniques), words).unwrap()
    };
    assert!((slope("r3f", 0.5) - 1.0).abs() > 0.1);
}

#[test]
fn r4f_holds_the_largest_singular_values_of_the_head_at_one() {
    let mut model = tiny::classifier(0.1);
    shift(&mut model, is_head, 1.0);
    let largest = |model: &Model, name: &str| {
        // Of W W^T by power iteration from another start, in f64.
        let host = model.parameters[name].weight.to_host();
        let (rows, columns) = (host.shape[0], host.shape[1]);
        let mut vector: Vec<f64> = (0..rows).map(|at| if at % 2 == 0 { 1.0 } else { 0.3 }).collect();
        let mut value = 0.0;
        for _ in 0..3000 {
            let across: Vec<f64> = (0..columns)
                .map(|column| (0..rows).map(|row| f64::from(host.data[row * columns + column]) * vector[row]).sum())
                .collect();
            let next: Vec<f64> = (0..rows)
                .map(|row| {
                    (0..columns).map(|column| f64::from(host.data[row * columns + column]) * across[column]).sum()
                })
                .collect();
            value = next.iter().map(|value: &f64| value * value).sum::<f64>().sqrt();
            vector = next.into_iter().map(|entry| entry / value).collect();
        }
        value.sqrt()
    };
    let heads = ["bert.pooler.dense.weight", "classifier.weight"];
    assert!(heads.iter().all(|name| largest(&model, name) > 1.5));
    let body = largest(&model, "bert.encoder.layer.0.intermediate.dense.weight");
    let settings = with(&[("regularizer", name("r4f")), ("noise", Value::Float(0.1))]);
    train(&mut model, &settings, &RefCell::default()).unwrap();
    for name in heads {
        assert!(largest(&model, name) <= 1.0 + 1e-3, "{name}");
    }
    assert!(body > 1.0 && largest(&model, "bert.encoder.layer.0.intermediate.dense.weight") > 1.0, "only the head");
}

#[test]
fn r4f_whose_bound_is_never_met_is_r3f_to_the_bit() {
    let trained = |regularizer: &str| {
        let mut model = tiny::classifier(0.1);
        let settings = Settings { learning_rate: 1e-5, ..with(&[("regularizer", name(regularizer))]) };
        for head in ["bert.pooler.dense.weight", "classifier.weight"] {
            let mut host = model.parameters[head].weight.to_host();
            host.data.iter_mut().for_each(|value| *value *= 0.01);
            model.parameters[head].weight = Weight::from_host(&host, &Device::flex()).unwrap();
        }
        let before = tiny::bytes(&model);
        train(&mut model, &settings, &RefCell::default()).unwrap();
        assert!(tiny::bytes(&model) != before);
        tiny::bytes(&model)
    };
    assert!(trained("r4f") == trained("r3f"));
}

#[test]
fn freelb_with_one_pass_and_no_noise_is_plain_training_to_the_bit() {
    let freelb = [("regularizer", name("freelb")), ("ascent_steps", Value::Int(1)), ("noise", Value::Float(0.0))];
    assert!(tiny::bytes(&trained(0.1, &freelb)) == tiny::bytes(&trained(0.1, &[])));
}

#[test]
fn freelb_climbs_and_its_gradients_are_the_mean_over_its_passes() {
    let model = tiny::classifier(0.1);
    let run = |steps: i64, size: f64| {
        let parameters = [
            ("regularizer", name("freelb")),
            ("ascent_steps", Value::Int(steps)),
            ("ascent_size", Value::Float(size)),
            ("noise", Value::Float(0.1)),
        ];
        step_of(&model, &tiny::classification(), &begin(&model, &parameters))
    };
    // Passes that stay where they are are one pass: half the loss twice, half the gradients twice.
    let (one, still) = (run(1, 0.2), run(2, 0.0));
    assert!((one.loss - still.loss).abs() < 1e-5);
    close(&one.gradients, &still.gradients, 1e-5);
    assert_eq!(one.targets, still.targets);
    // The loss of pass k, from the means over k passes, rises: the adversary goes up.
    let totals: Vec<f64> = (1..=4).map(|steps| run(steps, 0.2).loss * steps as f64).collect();
    let each: Vec<f64> = std::iter::once(totals[0]).chain(totals.windows(2).map(|pair| pair[1] - pair[0])).collect();
    assert!(each.windows(2).all(|pair| pair[1] > pair[0]), "{each:?}");
}

#[test]
fn smart_without_its_two_terms_is_plain_training_and_its_adversary_raises_the_divergence() {
    let off = [
        ("regularizer", name("smart")),
        ("regularizer_weight", Value::Float(0.0)),
        ("proximal_weight", Value::Float(0.0)),
    ];
    assert!(tiny::bytes(&trained(0.1, &off)) == tiny::bytes(&trained(0.1, &[])));

    let model = tiny::classifier(0.1);
    let run = |weight: f64, noise: f64, radius: f64, steps: i64| {
        let parameters = [
            ("regularizer", name("smart")),
            ("regularizer_weight", Value::Float(weight)),
            ("noise", Value::Float(noise)),
            ("noise_radius", Value::Float(radius)),
            ("ascent_steps", Value::Int(steps)),
            ("ascent_size", Value::Float(50.0)),
        ];
        step_of(&model, &tiny::classification(), &begin(&model, &parameters)).loss
    };
    let plain = run(0.0, 0.1, 0.1, 0);
    // Dropout is on and the same in all passes: without a change the answers are the same. The running mean is still there.
    assert!((run(1.0, 0.0, 0.1, 0) - plain).abs() < 1e-5);
    let (drawn, climbed) = (run(1.0, 0.1, 0.1, 0) - plain, run(1.0, 0.1, 0.1, 3) - plain);
    assert!(drawn > 1e-4 && climbed > 1.5 * drawn, "{drawn} {climbed}");
    // Held within the radius: a hundredth of the change has about a ten-thousandth of the divergence.
    assert!(run(1.0, 0.1, 0.001, 3) - plain < 0.01 * climbed);
}

#[test]
fn regularizers_train_biases_alone_and_over_fixed_layers() {
    for regularizer in ["r3f", "r4f", "freelb", "smart", "pi", "temporal"] {
        for fixed in [None, Some(1), Some(2)] {
            let mut model = tiny::classifier(0.1);
            match fixed {
                None => model.train_only(|slot| slot.is_bias() || is_head(slot)),
                Some(layers) => {
                    model.train_only(|slot| slot.layer.is_some_and(|layer| layer >= layers) || is_head(slot))
                }
            };
            if let Some(layers) = fixed {
                model.fix(layers);
            }
            let before = tiny::bytes(&model);
            let mut parameters = vec![("regularizer", name(regularizer))];
            if !["pi", "temporal"].contains(&regularizer) {
                parameters.push(("noise", Value::Float(0.01)));
            }
            let settings = with(&parameters);
            let fitted = train(&mut model, &settings, &RefCell::default()).unwrap();
            assert!(fitted.train_loss.is_finite());
            for ((name, old), (_, new)) in before.into_iter().zip(tiny::bytes(&model)) {
                assert!(
                    (old != new) == model.parameters[&name].trainable || name.ends_with("key.bias"),
                    "{regularizer} {name}"
                );
            }
        }
    }
}
