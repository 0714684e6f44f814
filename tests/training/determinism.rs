//! The same training gives the same bits.

use ftp::nn::models::{Head, Model};
use ftp::train::{Fitted, Objective, Rows, Settings, fit};
use serde_json::Value;

use super::tiny::{around, bytes, classification, config, marked, masked_lm, model, settings, two_labels};

/// Wide enough that the work is shared between threads.
fn wide() -> Value {
    let mut config = config(0.1);
    config["hidden_size"] = 128.into();
    config["intermediate_size"] = 512.into();
    config
}

/// Five steps with dropout on `threads` threads.
fn train(mut model: Model, objective: &(dyn Objective + Sync), threads: usize, seed: u64) -> (Fitted, Model) {
    let (encodings, targets) = marked(160, 3);
    let settings = Settings { batch_size: 32, micro_batch_size: Some(24), steps: Some(5), seed, ..settings() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let fitted = pool.install(|| {
        let rows = match objective.task() {
            Some(_) => Rows::labelled(&encodings, &targets),
            None => Rows::text(&encodings),
        };
        fit(&mut model, objective, rows, Some(rows), &settings, around("test", &|_| {})).unwrap()
    });
    (fitted, model)
}

#[test]
fn weights_and_scores_have_the_same_bits_on_one_two_and_three_threads() {
    let objectives: [(Head, Box<dyn Objective + Sync>); 2] =
        [(Head::Sequence(two_labels()), Box::new(classification())), (Head::MaskedLm, Box::new(masked_lm()))];
    for (head, objective) in objectives {
        let run = |threads| train(model(&wide(), head.clone()), objective.as_ref(), threads, 1);
        let (fitted, model) = run(1);
        for threads in [2, 3] {
            let (other_fitted, other_model) = run(threads);
            assert_eq!(fitted, other_fitted);
            assert!(bytes(&model) == bytes(&other_model), "{head:?} on {threads} threads");
        }
    }
}

#[test]
fn another_seed_gives_another_training() {
    let run = |seed| train(model(&wide(), Head::MaskedLm), &masked_lm(), 2, seed).0;
    assert_ne!(run(1).train_loss, run(2).train_loss);
}
