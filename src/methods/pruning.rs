//! What the methods that prune weights share: the parameters of their schedule, what trains, and how the result is stored.

use crate::lang::signature::{Parameter, ParameterType};
use crate::lang::value::Value;

/// The share of weights that is left, and when.
pub(super) fn keep() -> Parameter {
    Parameter::optional(
        "keep",
        ParameterType::Ratio,
        Value::Float(0.15),
        "Share of the weights of each map that are left in the end; 1 less this is the sparsity.",
    )
}

pub(super) fn warmups() -> [Parameter; 2] {
    let share = |name, default, doc| Parameter::optional(name, ParameterType::Ratio, Value::Float(default), doc);
    [
        share("initial_warmup", 0.1, "Share of the steps before pruning begins."),
        share(
            "final_warmup",
            0.2,
            "Share of the steps after pruning has ended, in which what is left goes on training.",
        ),
    ]
}

#[cfg(feature = "train")]
pub(super) use run::{delta, no_scores, scores};

#[cfg(feature = "train")]
mod run {
    use serde_json::json;

    use crate::event::Notice;
    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::{Delta, Packed, StageFailure};
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Part, Slot};
    use crate::nn::ops::Kept;
    use crate::nn::parameters::Weight;
    use crate::nn::pruning::{self, SCORES};
    use crate::plan::spec::DeltaSpec;

    /// What of a pruned weight is stored: which numbers are kept, and these. A number of the mask is a whole one below 2^24,
    /// which a 32-bit float holds: a bit for each of [`BITS`] weights, the first the lowest.
    const MASK: &str = ".mask";
    const KEPT: &str = ".kept";
    const BITS: usize = 24;

    pub const fn delta(attach: fn(&DeltaSpec, &mut Model, u64) -> Result<(), StageFailure>) -> Delta {
        Delta { attach, trains, fold: Some(fold), pack: Some(pack), head_alone: false }
    }

    pub fn scores(_: &DeltaSpec, model: &mut Model, _: u64) -> Result<(), StageFailure> {
        pruning::add_scores(model);
        pruning::prune(model, Kept::Largest(1.0));
        Ok(())
    }

    pub fn no_scores(_: &DeltaSpec, model: &mut Model, _: u64) -> Result<(), StageFailure> {
        pruning::prune(model, Kept::Largest(1.0));
        Ok(())
    }

    /// All but the embeddings.
    fn trains(_: &DeltaSpec, _: usize, slot: &Slot) -> bool {
        matches!(slot.part, Part::Delta | Part::Pooler) || slot.layer.is_some()
    }

    /// Replaces weights and scores by what is left of the weights.
    fn pack(spec: &DeltaSpec, model: &Model, tensors: &mut Tensors) -> Result<Packed, StageFailure> {
        let pass = model.evaluating_pass();
        let (mut all, mut left, mut wanted) = (0, 0, 0);
        for name in pruning::weights(model) {
            tensors.shift_remove(&format!("{name}{SCORES}"));
            tensors.shift_remove(&name);
            let weight = Weight::Matrix(pass.matrix(&name)).to_host().data;
            let mask = weight.chunks(BITS).map(|weights| {
                let bits = weights.iter().enumerate().map(|(at, weight)| u32::from(*weight != 0.0) << at);
                bits.sum::<u32>() as f32
            });
            let mask: Vec<f32> = mask.collect();
            let kept: Vec<f32> = weight.iter().copied().filter(|weight| *weight != 0.0).collect();
            all += weight.len();
            left += kept.len();
            wanted +=
                spec.parameters.get("keep").map_or(weight.len(), |_| Kept::count(spec.float("keep"), weight.len()));
            for (suffix, data) in [(MASK, mask), (KEPT, kept)] {
                tensors.insert(format!("{name}{suffix}"), HostTensor { shape: vec![data.len()], data });
            }
        }
        let heads = model.head_parameters();
        let others = tensors
            .iter()
            .filter(|(name, _)| !name.ends_with(MASK) && !name.ends_with(KEPT) && !heads.contains(&name.as_str()));
        let numbers = left + others.map(|(_, tensor)| tensor.data.len()).sum::<usize>();
        let total = model.layout().count(|slot| slot.part != Part::Delta);
        let share = |count: usize, of: usize| 100.0 * count as f64 / of.max(1) as f64;
        let message = format!(
            "{left} of {all} weights of the layers' maps are left, {:.3} %: of the whole model {:.1} % is 0",
            share(left, all),
            share(all - left, total)
        );
        let mut notices = vec![Notice::new("ftp::train::pruned", message)];
        if left > wanted {
            let message = format!(
                "{} was to keep {:.3} % of the weights and keeps {:.3} %: training ended before pruning did",
                spec.method,
                share(wanted, all),
                share(left, all)
            );
            notices.push(Notice::new("ftp::train::sparsity_not_reached", message));
        }
        let summary = Some(("sparsity", json!({ "zeros": all - left, "of": all, "total": total })));
        Ok(Packed { numbers, summary, notices })
    }

    fn fold(_: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let names = tensors.keys().filter_map(|name| name.strip_suffix(MASK));
        let names: Vec<String> = names.map(str::to_owned).collect();
        names.iter().try_for_each(|name| lay(name, tensors)).ok_or_else(|| {
            let message = "the pruned weights and the model below them do not belong together";
            StageFailure::new("ftp::peft::incomplete_delta", message)
        })
    }

    /// Lays what is left of a weight over the weight; `None` if they are not each other's.
    fn lay(name: &str, tensors: &mut Tensors) -> Option<()> {
        let [mask, kept] = [MASK, KEPT].map(|suffix| tensors.shift_remove(&format!("{name}{suffix}")));
        let (mask, mut kept) = (mask?.data, kept?.data.into_iter());
        let weights = &mut tensors.get_mut(name)?.data;
        if weights.len().div_ceil(BITS) != mask.len() {
            return None;
        }
        for (weights, bits) in weights.chunks_mut(BITS).zip(mask) {
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight = if (bits as u32 >> at) & 1 == 1 { kept.next()? } else { 0.0 };
            }
        }
        kept.next().is_none().then_some(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{Model, Packed, delta, oracle};
    use super::*;
    use crate::hub::tensors::Tensors;
    use crate::nn::models::layout::{Part, Slot};
    use crate::nn::ops::Kept;
    use crate::nn::pruning::{self, SCORES};
    use crate::plan::spec::DeltaSpec;

    const METHODS: [&str; 3] = ["movement_pruning", "soft_movement_pruning", "magnitude_pruning"];

    fn spec(method: &str) -> DeltaSpec {
        oracle::spec(method, &[])
    }

    /// In the middle of a training: scores have moved, and some weights are pruned.
    fn pruned(method: &str) -> Model {
        let mut model = oracle::moved(&spec(method));
        let soft = method == "soft_movement_pruning";
        pruning::prune(&mut model, if soft { Kept::Above(0.5) } else { Kept::Largest(0.4) });
        model
    }

    fn of_maps(model: &Model) -> usize {
        model.layout().count(|slot| slot.map.is_some() && slot.shape.len() == 2)
    }

    /// What is stored of a model, and the model that it is opened as again.
    fn stored(method: &str, model: &Model) -> (Tensors, Packed, Tensors) {
        let (spec, delta, layers) = (spec(method), delta(method).unwrap(), model.layers());
        let mut stored = model.tensors();
        let trains = |slot: &&Slot| slot.part == Part::Head || (delta.trains)(&spec, layers, slot);
        let trained: Vec<&String> = model.layout().slots.iter().filter(trains).map(|slot| &slot.name).collect();
        stored.retain(|name, _| trained.contains(&name));
        let packed = (delta.pack.unwrap())(&spec, model, &mut stored).unwrap();
        let mut whole = oracle::model().tensors();
        whole.extend(stored.clone());
        (delta.fold.unwrap())(&spec, &mut whole).unwrap();
        (stored, packed, whole)
    }

    fn zeros(tensors: &Tensors, name: &str) -> usize {
        tensors[name].data.iter().filter(|value| **value == 0.0).count()
    }

    #[test]
    fn the_model_is_the_same_until_weights_have_been_pruned_and_embeddings_do_not_train() {
        for method in METHODS {
            let model = oracle::attached(&spec(method));
            assert_eq!(oracle::evaluated(&model), oracle::evaluated(&oracle::model()));
            let scores = if method == "magnitude_pruning" { 0 } else { of_maps(&model) };
            assert_eq!(model.layout().count(|slot| slot.part == Part::Delta), scores);
            let trains = delta(method).unwrap().trains;
            let fixed = model.layout().slots.iter().filter(|slot| slot.part != Part::Head);
            let fixed: Vec<&str> = fixed
                .filter(|slot| !trains(&spec(method), model.layers(), slot))
                .map(|slot| slot.name.as_str())
                .collect();
            assert!(fixed.len() == 5 && fixed.iter().all(|name| name.contains("embeddings")), "{fixed:?}");
        }
    }

    #[test]
    fn what_is_stored_is_what_is_left_and_opening_it_gives_a_dense_model_with_zeros_that_says_the_same() {
        for method in METHODS {
            let model = pruned(method);
            let (stored, packed, whole) = stored(method, &model);
            assert!(!stored.keys().any(|name| name.ends_with(SCORES)));
            let left = stored.iter().filter(|(name, _)| name.ends_with(".kept"));
            let left: usize = left.map(|(_, tensor)| tensor.data.len()).sum();
            let (_, sparsity) = packed.summary.unwrap();
            assert_eq!(sparsity["of"], of_maps(&model));
            assert_eq!(sparsity["zeros"], of_maps(&model) - left);
            let bytes = |tensors: &Tensors| tensors.values().map(|tensor| 4 * tensor.data.len()).sum::<usize>();
            let below = stored.keys().filter(|name| name.ends_with(".kept")).count();
            assert!(below == 12 && bytes(&stored) < bytes(&model.tensors()) * 2 / 3);
            let again = oracle::model_of(&whole);
            assert_eq!(whole.len(), again.tensors().len(), "nothing of the delta is left");
            assert_eq!(oracle::evaluated(&again), oracle::evaluated(&model));
            assert_ne!(oracle::evaluated(&again), oracle::evaluated(&oracle::model()));
        }
    }

    #[test]
    fn a_delta_of_another_model_is_an_error() {
        for (lacks, more) in [(true, false), (false, true)] {
            let (mut tensors, ..) = stored("movement_pruning", &pruned("movement_pruning"));
            let name = "bert.encoder.layer.0.output.dense.weight";
            tensors.extend(oracle::model().tensors());
            if lacks {
                tensors.shift_remove(name).unwrap();
            }
            if more {
                tensors[&format!("{name}.kept")].data.push(1.0);
            }
            let fold = delta("movement_pruning").unwrap().fold.unwrap();
            assert_eq!(fold(&spec("movement_pruning"), &mut tensors).unwrap_err().code, "ftp::peft::incomplete_delta");
        }
    }

    /// `dL/dS = dL/dW' W` and `dL/dW = dL/dW' M`, where `dL/dW'` is the gradient of the dense model with zeros.
    #[test]
    fn gradients_of_scores_and_weights_are_those_of_the_dense_model_straight_through_the_mask() {
        for method in METHODS {
            let mut model = pruned(method);
            let gradients = oracle::gradients(&spec(method), &mut model);
            let (_, _, whole) = stored(method, &model);
            let dense = oracle::gradients(&spec(method), &mut oracle::model_of(&whole));
            for name in pruning::weights(&model) {
                let (weights, slopes) = (&model.parameters[&name].weight.to_host().data, &dense[&name].data);
                for (at, slope) in slopes.iter().enumerate() {
                    let expected = if whole[&name].data[at] == 0.0 { 0.0 } else { *slope };
                    assert_eq!(gradients[&name].data[at], expected, "{method} {name} {at}");
                    if let Some(scores) = gradients.get(&format!("{name}{SCORES}")) {
                        assert_eq!(scores.data[at], slope * weights[at], "{method} {name} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_of_weights_are_those_of_finite_differences_where_scores_hold_the_mask() {
        let mut model = pruned("movement_pruning");
        let gradients = oracle::gradients(&spec("movement_pruning"), &mut model);
        for (name, gradient) in gradients.iter().filter(|(name, _)| !name.ends_with(SCORES)) {
            oracle::is_slope(&mut model, name, gradient);
        }
    }

    #[test]
    fn after_training_exactly_the_share_of_each_map_is_left_and_nothing_else_is_pruned() {
        for (method, rate) in [("movement_pruning", 5e-3), ("magnitude_pruning", 5e-3)] {
            let mut spec = spec(method);
            spec.parameters["keep"] = Value::Float(0.1);
            let mut model = oracle::attached(&spec);
            let (trains, layers) = (delta(method).unwrap().trains, model.layers());
            model.train_only(|slot| slot.part == Part::Head || trains(&spec, layers, slot));
            oracle::fit_delta(Some(&spec), &mut model, rate, Some(40));
            let (_, packed, whole) = stored(method, &model);
            let maps = pruning::weights(&model);
            for (name, tensor) in &whole {
                let all = tensor.data.len();
                let expected = if maps.contains(name) { all - Kept::count(0.1, all) } else { 0 };
                let before = zeros(&oracle::model().tensors(), name);
                assert!(
                    zeros(&whole, name) == expected || !maps.contains(name) && zeros(&whole, name) <= before,
                    "{name}"
                );
            }
            let codes: Vec<&str> = packed.notices.iter().map(|notice| notice.code.as_str()).collect();
            // With the default of 15 % asked for, 10 % are enough.
            assert_eq!(codes, ["ftp::train::pruned"]);
            if method == "magnitude_pruning" {
                for name in maps {
                    let raw = model.parameters[&name].weight.to_host().data;
                    let (kept, gone): (Vec<_>, Vec<_>) =
                        raw.iter().zip(&whole[&name].data).partition(|(_, left)| **left != 0.0);
                    assert!(kept.iter().all(|(kept, _)| gone.iter().all(|(gone, _)| kept.abs() >= gone.abs())));
                }
            }
        }
    }

    #[test]
    fn a_training_that_ends_before_the_share_is_reached_says_so() {
        let (_, packed, _) = stored("movement_pruning", &pruned("movement_pruning"));
        let codes: Vec<&str> = packed.notices.iter().map(|notice| notice.code.as_str()).collect();
        assert_eq!(codes, ["ftp::train::pruned", "ftp::train::sparsity_not_reached"]);
        let (_, packed, _) = stored("soft_movement_pruning", &pruned("soft_movement_pruning"));
        assert_eq!(packed.notices.len(), 1, "no share was asked for");
    }

    #[test]
    fn training_what_is_left_learns_more_than_the_head_alone() {
        for method in ["movement_pruning", "magnitude_pruning"] {
            oracle::learns(&oracle::spec(method, &[("keep", Value::Float(0.5))]), 1e-2);
        }
        let soft = [("score_weight", Value::Float(1.0)), ("score_learning_rate", Value::Float(0.1))];
        oracle::learns(&oracle::spec("soft_movement_pruning", &soft), 1e-2);
    }

    #[test]
    fn masks_that_keep_all_few_or_none_are_stored_and_read_again() {
        for keep in [0.0, 0.03, 1.0] {
            let mut model = oracle::moved(&spec("movement_pruning"));
            pruning::prune(&mut model, Kept::Largest(keep));
            let (_, _, whole) = stored("movement_pruning", &model);
            assert_eq!(oracle::evaluated(&oracle::model_of(&whole)), oracle::evaluated(&model));
        }
    }
}
