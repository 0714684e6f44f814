//! The part of an encoder that a delta method holds fixed.

use ftp::data::batch::Batch;
use ftp::hub::tensors::HostTensor;
use ftp::nn::models::Model;
use ftp::nn::parameters::Weight;
use ftp::nn::pass::Pass;
use ftp::random::Key;
use ftp::train::{Objective, Rows, Settings, States};

use super::tiny;

/// Trains the head, the pooler and the layers from `fixed` up.
fn held(dropout: f64, fixed: usize) -> Model {
    let mut model = tiny::classifier(dropout);
    model.train_only(|slot| {
        slot.layer.is_some_and(|layer| layer >= fixed)
            || slot.name.contains("pooler")
            || slot.name.contains("classifier")
    });
    model.fix(fixed);
    model
}

/// All tokens' states.
fn states(model: &Model, pass: &Pass) -> HostTensor {
    let (rows, _) = tiny::marked(5, 1);
    let batch = Batch::pack(rows.iter());
    Weight::Matrix(model.encode(pass, &batch)).to_host()
}

#[test]
fn nothing_falls_in_the_fixed_part_and_dropout_acts_above_it() {
    let model = held(0.5, 2);
    let evaluated = states(&model, &model.evaluating_pass());
    for step in 0..3 {
        assert_eq!(states(&model, &model.training_pass(Key::new(step, "dropout"))), evaluated);
    }
    let model = held(0.5, 1);
    let [first, second] = [1, 2].map(|seed| states(&model, &model.training_pass(Key::new(seed, "dropout"))));
    assert_ne!(first, second);
    assert_ne!(first, evaluated);
}

#[test]
fn what_trains_gets_the_gradients_it_gets_when_everything_trains() {
    let (rows, targets) = tiny::marked(6, 2);
    let rows = Rows::labelled(&rows, &targets);
    let gradients = |model: &Model| {
        let pass = model.training_pass(Key::new(1, "dropout"));
        let chosen: Vec<usize> = (0..rows.len()).collect();
        let loss = tiny::classification().loss(model, &pass, rows, &chosen, Key::new(1, "masks")).unwrap();
        pass.gradients(loss.sum)
    };
    let all = gradients(&tiny::classifier(0.0));
    for fixed in [0, 1, 2] {
        let model = held(0.0, fixed);
        let some = gradients(&model);
        let trainable = model.parameters.values().filter(|parameter| parameter.trainable).count();
        assert_eq!(some.len(), trainable, "one gradient for each that trains");
        for (name, gradient) in &some {
            assert_eq!(gradient.to_host(), all[name].to_host(), "{name}");
        }
    }
}

#[test]
fn training_changes_what_trains_and_not_a_bit_of_the_rest() {
    let (rows, targets) = tiny::marked(32, 3);
    let mut model = held(0.1, 1);
    let before = tiny::bytes(&model);
    tiny::quiet(&mut model, &tiny::classification(), Rows::labelled(&rows, &targets), &tiny::settings()).unwrap();
    for ((name, old), (_, new)) in before.into_iter().zip(tiny::bytes(&model)) {
        assert_eq!(old != new, model.parameters[&name].trainable, "{name}");
    }
}

/// Rows with states are to be trained, evaluated and kept like rows without.
#[test]
fn states_computed_once_give_the_training_that_computing_them_in_every_step_gives() {
    let ((rows, targets), (dev, dev_targets)) = (tiny::marked(40, 3), tiny::marked(11, 4));
    let settings = Settings { epochs: 3.0, ..tiny::settings() };
    let directory = tempfile::tempdir().unwrap();
    for fixed in [0, 1, 2] {
        let train = |states: Option<(&States, &States)>| {
            let mut model = held(0.1, fixed);
            let rows = Rows::labelled(&rows, &targets).with_states(states.map(|states| states.0));
            let dev = Rows::labelled(&dev, &dev_targets).with_states(states.map(|states| states.1));
            let fitted = ftp::train::fit(
                &mut model,
                &tiny::classification(),
                rows,
                Some(dev),
                &settings,
                tiny::around("test", &|_| {}),
            );
            (fitted.unwrap().train_loss, model.tensors())
        };
        let (loss, tensors) = train(None);
        let model = held(0.1, fixed);
        let of = |rows| States::of(&model, rows, Some(directory.path())).unwrap();
        for _ in 0..2 {
            let (found, others) = train(Some((&of(&rows), &of(&dev))));
            assert!((found - loss).abs() < 1e-5, "{fixed}: {found} {loss}");
            for (name, tensor) in &tensors {
                for (value, other) in tensor.data.iter().zip(&others[name].data) {
                    assert!((value - other).abs() < 1e-4, "{fixed} {name}: {value} {other}");
                }
            }
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 6);
}

#[test]
fn a_damaged_file_of_states_is_computed_again() {
    let (rows, _) = tiny::marked(9, 1);
    let (model, directory) = (held(0.1, 1), tempfile::tempdir().unwrap());
    let read = || {
        let (states, offsets) = States::of(&model, &rows, Some(directory.path())).unwrap().pack(&[8, 0, 3]);
        (Weight::Matrix(states).to_host(), offsets)
    };
    let whole = read();
    let lengths: Vec<u32> = whole.1.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(lengths, [8, 0, 3].map(|row: usize| rows[row].len() as u32));
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[5] ^= 1;
    for bad in [&good[..good.len() / 2], &[], &flipped] {
        std::fs::write(&file, bad).unwrap();
        assert_eq!(read(), whole);
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
}
