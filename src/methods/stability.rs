//! Parameters of `finetune` that keep it stable; what they do is in `train::stability`, a file for each technique.

use crate::lang::signature::{Artifact, Parameter, ParameterType as T};
use crate::lang::value::Value;

/// In the order of the manual: rates and freezing, weights, the loss.
pub(super) fn stability() -> Vec<Parameter> {
    let optional = |name, ty, doc| Parameter::optional(name, ty, Value::None, doc);
    let at_least_0 = || T::Float { min: 0.0, max: 1e9, above: false };
    vec![
        optional(
            "layer_decay",
            T::Float { min: 0.0, max: 1.0, above: true },
            "Layer-wise decay of the learning rate: each layer has that of the layer above times this, heads and the top layer the whole. 0.95 is common (Zhang et al. \
2021); 0.38 is ULMFiT's 1/2.6.",
        ),
        optional(
            "unfreeze_every",
            T::Epochs,
            "Gradual unfreezing (Howard & Ruder 2018): the head trains first, and one more layer from the top after every so many epochs; the embeddings come last.",
        ),
        optional(
            "reinit_layers",
            T::Int { min: 0, max: 65_536 },
            "Draws so many of the top layers, and the pooler, anew before training (Zhang et al. 2021; 1 to 6 of 24). They train whatever the delta.",
        ),
        optional(
            "remove_layers",
            T::Int { min: 0, max: 65_536 },
            "Takes so many of the top layers out before training: a smaller model, whose configuration says so (Chung et al. 2021). `reinit_layers` then counts from what is left.",
        ),
        optional(
            "mixout",
            T::Float { min: 0.0, max: 0.999_999, above: false },
            "In place of dropout, each number of a linear map is in each step with this probability what it was when training began (Lee et al. 2020; 0.1 to 0.9).",
        ),
        optional(
            "regularizer",
            T::Choice(&["r3f", "r4f", "freelb", "smart", "pi", "temporal"]),
            "A loss that also asks for the same answer when something changes a little; the next parameters are its own. `r3f`, `r4f`: under random noise on the embeddings \
(Aghajanyan et al. 2021). `freelb`: trains on adversarial embeddings (Zhu et al. 2020). `smart`: under the worst change, and from step to step (Jiang et al. 2020). `pi`: \
under other dropout; `temporal`: as in the epochs before (Laine & Aila 2017).",
        ),
        optional(
            "regularizer_weight",
            at_least_0(),
            "Weight of the divergence between the two answers, for `r3f`, `r4f` and `smart` by default 1; the highest weight, at which `ramp_up` ends, for `pi` 100 and for `temporal` \
30, in both times the share of the rows that have labels.",
        ).beside("regularizer", &["r3f", "r4f", "smart", "pi", "temporal"]),
        optional(
            "noise",
            at_least_0(),
            "Size of the change to begin with: by default for `r3f` and `r4f` 1e-5 (uniform, to both sides), for `smart` 1e-5 (standard deviation), for `freelb` 0.6 (about the \
norm in each row).",
        ).beside("regularizer", &["r3f", "r4f", "freelb", "smart"]),
        optional(
            "noise_radius",
            at_least_0(),
            "Bound of the change: of each number for `smart`, by default 1e-5; of the norm in each row for `freelb`, by default none.",
        ).beside("regularizer", &["freelb", "smart"]),
        optional(
            "ascent_steps",
            T::Int { min: 0, max: 1000 },
            "Steps of the adversary: for `smart` by default 1, for `freelb`, where each is a pass, 2.",
        ).beside("regularizer", &["freelb", "smart"]),
        optional(
            "ascent_size",
            at_least_0(),
            "Size of a step of the adversary: by default for `freelb` 0.1 (a norm), for `smart` 1e-3 (times the gradient).",
        ).beside("regularizer", &["freelb", "smart"]),
        optional(
            "proximal_weight",
            at_least_0(),
            "Weight of `smart`'s divergence from the running mean of the weights; by default 1.",
        ).beside("regularizer", &["smart"]),
        optional(
            "unlabelled",
            T::Artifact(Artifact::Text),
            "Text to learn from besides the set, each document a row without a label, for `pi` and `temporal`. Epochs and steps then go over rows of both kinds.",
        ).beside("regularizer", &["pi", "temporal"]),
        optional(
            "ramp_up",
            T::StepsOrRatio,
            "Steps (or share of all steps) over which the weight of `pi` and `temporal` rises; by default 80 / 300, the paper's epochs.",
        ).beside("regularizer", &["pi", "temporal"]),
        optional(
            "ensembling_momentum",
            T::Float { min: 0.0, max: 0.999_999, above: false },
            "What an epoch's answers count for `temporal` beside those of the next epoch; by default 0.6. With 0 only the last epoch's count.",
        ).beside("regularizer", &["temporal"]),
        optional(
            "cycles",
            T::Int { min: 1, max: 1_000_000 },
            "In place of `schedule` and `warmup`, the learning rate falls along half a cosine and begins anew, so many times (Huang et al. 2017).",
        ),
        optional(
            "snapshot",
            T::Int { min: 1, max: 1_000_000 },
            "Ends with this cycle and keeps its weights, whatever `keep` says. Each goes on from the one before it where that is still in the store: \
`each(snapshot in 1..5) finetune(task, cycles = 5) -> ensemble` is one training, and an ensemble of five.",
        ).beside("cycles", &[]),
        optional(
            "until",
            T::Ratio,
            "Ends after this share of the steps, under the learning rates of the whole training, and keeps the weights it has then, whatever `keep` says. The whole \
training, the same but for this, goes on from there where both run on one store. `race` compares trainings so.",
        ),
        optional(
            "average",
            T::Choice(&["swa", "uniform"]),
            "Keeps the mean of the weights along the last part of the training, instead of those of one step, whatever `keep` says. `swa`: at a learning rate that stays what it was \
at its begin (Izmailov et al. 2018); `uniform`: under the schedule as it is.",
        ),
        optional("average_from", T::Ratio, "Share of the steps after which weights are averaged; by default 75 %.").beside("average", &[]),
        optional(
            "average_every",
            T::Steps,
            "Steps between two that are averaged; by default an epoch, with `cycles` a cycle. The last step's weights always count.",
        ).beside("average", &[]),
    ]
}

#[cfg(feature = "train")]
pub(super) use run::{check_fixed, draw_top_again, remove_top};

#[cfg(feature = "train")]
mod run {
    use crate::methods::bundle::Bundle;
    use crate::nn::models;
    use crate::nn::models::Model;
    use crate::nn::models::layout::Part;
    use crate::plan::spec::StageFailure;

    /// Takes the top layers out of a model.
    ///
    /// # Errors
    /// When the model does not have more layers.
    pub fn remove_top(bundle: &mut Bundle, count: usize) -> Result<(), StageFailure> {
        if count == 0 {
            return Ok(());
        }
        let layers = models::layers(&bundle.config)?;
        if count >= layers {
            let message = format!("remove_layers is {count}, and this model has {layers} layers: none would be left");
            return Err(StageFailure::new("ftp::finetune::too_many_layers", message)
                .help(format!("remove {} or fewer", layers - 1)));
        }
        Ok(models::keep_layers(&mut bundle.config, &mut bundle.tensors, layers - count)?)
    }

    /// Draws the top layers and the pooler anew, as in a model without a file; returns the names of what is new.
    ///
    /// # Errors
    /// When the model has fewer layers.
    pub fn draw_top_again(model: &mut Model, count: usize, seed: u64) -> Result<Vec<String>, StageFailure> {
        let layers = model.layers();
        if count > layers {
            let message = format!("reinit_layers is {count}, but this model has {layers} layers");
            return Err(StageFailure::new("ftp::finetune::too_many_layers", message)
                .help("draw fewer layers anew; a model that is new as a whole comes from `pretrain`"));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        Ok(model.draw_again(seed, |slot| slot.layer.map_or(slot.part == Part::Pooler, |layer| layer >= layers - count)))
    }

    /// Of a model so many of whose lowest layers are to stay as they are.
    ///
    /// # Errors
    /// When a layer that was drawn anew would be one of these.
    pub fn check_fixed(model: &Model, fixed: Option<usize>, count: usize) -> Result<(), StageFailure> {
        let first = model.layers() - count;
        match fixed {
            Some(fixed) if count > 0 && fixed > first => {
                let message = format!(
                    "reinit_layers draws layers from {first} anew, but the delta holds the first {fixed} fixed"
                );
                Err(StageFailure::new("ftp::finetune::reinit_fixed", message)
                    .help("let the delta train at least as many layers as are drawn anew"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::hub::tensors::Tensors;
    use crate::lang::world::Task;
    use crate::nn::models::{Head, Model};

    fn model(seed: u64, tensors: &Tensors) -> Model {
        let config = json!({
            "model_type": "bert", "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 16, "initializer_range": 0.02,
        });
        let head = Head::Sequence(Task::Classification { labels: vec!["no".into(), "yes".into()] });
        Model::new(&config, tensors, &head, seed, &Device::flex()).unwrap().0
    }

    #[test]
    fn the_top_layers_and_the_pooler_are_drawn_from_the_seed_and_nothing_below_changes_a_bit() {
        let mut trained = model(1, &Tensors::new()).tensors();
        // No first values: every number is another one.
        trained.values_mut().flat_map(|tensor| &mut tensor.data).for_each(|value| *value = *value * 3.0 + 0.5);
        let drawn = |seed: u64| {
            let mut model = model(0, &trained);
            let names = draw_top_again(&mut model, 2, seed).unwrap();
            (model.tensors(), names)
        };
        let (found, names) = drawn(9);
        let again = |name: &str| name.contains("layer.1.") || name.contains("layer.2.") || name.contains("pooler");
        // 16 tensors a layer, two of the pooler.
        assert_eq!(names.len(), 34);
        for (name, tensor) in &found {
            assert_eq!(again(name), names.contains(name), "{name}");
            assert_eq!(again(name), *tensor != trained[name], "{name}");
            let data = &tensor.data;
            if again(name) && name.ends_with("LayerNorm.weight") {
                assert!(data.iter().all(|value| *value == 1.0));
            } else if again(name) && name.ends_with("bias") {
                assert!(data.iter().all(|value| *value == 0.0));
            } else if again(name) {
                // N(0, 0.02^2): five standard errors of the deviation.
                let deviation =
                    (data.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / data.len() as f64).sqrt();
                assert!((deviation / 0.02 - 1.0).abs() < 5.0 / (2.0 * data.len() as f64).sqrt(), "{name} {deviation}");
            }
        }
        assert_eq!(drawn(9).0, found);
        assert_ne!(drawn(8).0, found);
    }

    #[test]
    fn more_layers_than_there_are_and_layers_that_never_train_are_refused() {
        let mut model = model(0, &Tensors::new());
        assert_eq!(draw_top_again(&mut model, 4, 1).unwrap_err().code, "ftp::finetune::too_many_layers");
        assert!(draw_top_again(&mut model, 0, 1).unwrap().is_empty());
        model.fix(2);
        let check = |count| check_fixed(&model, model.fixed(), count);
        assert!(check(1).is_ok() && check(0).is_ok());
        assert_eq!(check(2).unwrap_err().code, "ftp::finetune::reinit_fixed");
    }
}
