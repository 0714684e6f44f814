//! `ia3`: learned scales of keys, values and the feed-forward's inner activations.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Library, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta {
        attach: run::attach,
        trains: |_, _, parameter| parameter.part == crate::nn::models::layout::Part::Delta,
        fold: Some(run::fold),
        pack: None,
        head_alone: false,
    }),
};

fn signature() -> Signature {
    Signature {
        name: "ia3",
        kind: Kind::Delta,
        version: 1,
        summary: "train scales of keys, values and inner activations",
        docs: "(IA)^3 (Liu et al. 2022, arXiv 2205.05638): in every layer three vectors train, which multiply the attention's keys, its values and the inner \
activations of the feed-forward, element by element: `softmax(q (l_k k)^T) (l_v v)` and `W_2 (l_ff f(W_1 x))`. All are 1 at the start, so training starts \
from the pretrained model. They are `2 d + ff` numbers a layer: 55,296 for BERT-base, 0.05 % of the model. Learning rates are higher than for full \
fine-tuning: the paper's is 3e-3.\n\n\
The result is stored as a delta: the scales and the head, and the digest of the model they belong to. Publishing, predicting and later stages use a model \
of the usual shape: scales multiply the rows of the keys' and values' maps and the columns of the second map of the feed-forward. `publish .. as adapter` writes them apart, for `peft`.\n\n\
```ftp\npipeline small = base -> peft(ia3) -> finetune(target, learning_rate = 3e-3)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// What `peft` calls (IA)^3.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Peft)
}

#[cfg(feature = "train")]
pub(super) use run::{SCALED_INPUTS, SCALED_OUTPUTS};

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::StageFailure;
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Map, Role};
    use crate::nn::pass::Pass;
    use crate::plan::spec::DeltaSpec;

    /// Of a delta that was made elsewhere, in place of those of the paper: the modules whose outputs are scaled, and those
    /// whose inputs are.
    pub const SCALED_OUTPUTS: &str = "scaled_outputs";
    pub const SCALED_INPUTS: &str = "scaled_inputs";

    /// Multiplies what a map gives by `l` `[out, 1]`: the shape `peft` stores.
    #[derive(Debug)]
    struct Outputs;

    impl SiteDelta for Outputs {
        fn output(&self, pass: &Pass, site: &str, _: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
            y * pass.matrix(&name(site)).transpose()
        }
    }

    /// Multiplies what a map sees by `l` `[1, in]`.
    #[derive(Debug)]
    struct Inputs;

    impl SiteDelta for Inputs {
        fn input(&self, pass: &Pass, site: &str, x: Tensor<2>) -> Tensor<2> {
            x * pass.matrix(&name(site))
        }
    }

    fn name(site: &str) -> String {
        format!("{site}.ia3_l")
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, _: u64) -> Result<(), StageFailure> {
        let named = spec.strings(SCALED_OUTPUTS).zip(spec.strings(SCALED_INPUTS));
        let weights = model.layout().slots.iter().filter(|slot| slot.role == Role::Weight);
        let maps: Vec<(String, Map, [usize; 2])> = weights
            .filter_map(|slot| {
                Some((slot.name.strip_suffix(".weight")?.to_owned(), slot.map?, [slot.shape[0], slot.shape[1]]))
            })
            .collect();
        let known = |site: &&&str| !maps.iter().any(|(name, ..)| name == **site);
        if let Some(site) = named.iter().flat_map(|(outputs, inputs)| outputs.iter().chain(inputs)).find(known) {
            let message = format!("the delta scales `{site}`, which the model does not have");
            return Err(StageFailure::new("ftp::peft::incomplete_delta", message));
        }
        for (site, map, [outputs, inputs]) in maps {
            let (scales_outputs, scales_inputs) = match &named {
                None => (matches!(map, Map::Key | Map::Value), map == Map::Output),
                Some((outputs, inputs)) => (outputs.contains(&site.as_str()), inputs.contains(&site.as_str())),
            };
            let (shape, delta): (_, Arc<dyn SiteDelta>) = match (scales_outputs, scales_inputs) {
                (true, _) => (vec![outputs, 1], Arc::new(Outputs)),
                (_, true) => (vec![1, inputs], Arc::new(Inputs)),
                _ => continue,
            };
            let ones = HostTensor { data: vec![1.0; shape.iter().product()], shape };
            model.add_parameter(name(&site), Role::Weight, &ones);
            model.set_delta(site, delta);
        }
        Ok(())
    }

    /// `diag(l) W` and `l b` where outputs are scaled, `W diag(l)` where inputs are.
    pub fn fold(_: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let sites: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix(".ia3_l")).map(str::to_owned).collect();
        for site in sites {
            let (Some(scale), Some(weight)) =
                (tensors.shift_remove(&name(&site)), tensors.get_mut(&format!("{site}.weight")))
            else {
                let message = format!("the delta scales `{site}`, which the model does not have");
                return Err(StageFailure::new("ftp::peft::incomplete_delta", message));
            };
            let scales_inputs = scale.shape[0] == 1;
            for (row, weights) in weight.data.chunks_mut(weight.shape[1]).enumerate() {
                for (column, value) in weights.iter_mut().enumerate() {
                    *value *= scale.data[if scales_inputs { column } else { row }];
                }
            }
            if !scales_inputs && let Some(bias) = tensors.get_mut(&format!("{site}.bias")) {
                bias.data.iter_mut().zip(&scale.data).for_each(|(value, scale)| *value *= scale);
            }
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::oracle;
    use super::Value;
    use crate::nn::models::layout::Part;

    #[test]
    fn the_model_is_the_same_until_the_scales_have_been_trained() {
        let spec = oracle::spec("ia3", &[]);
        let before = oracle::evaluated(&oracle::model());
        assert_eq!(oracle::evaluated(&oracle::attached(&spec)), before);
    }

    /// Liu et al. 2022, section 3.3: `L (d_k + d_v + d_ff)`; here two layers of 8 + 8 + 12.
    #[test]
    fn as_many_scales_train_as_the_paper_counts() {
        let model = oracle::attached(&oracle::spec("ia3", &[]));
        assert_eq!(model.layout().count(|slot| slot.part == Part::Delta), 2 * (8 + 8 + 12));
        assert_eq!(model.parameters["bert.encoder.layer.1.attention.self.key.ia3_l"].weight.shape(), [8, 1]);
        assert_eq!(model.parameters["bert.encoder.layer.1.output.dense.ia3_l"].weight.shape(), [1, 12]);
    }

    #[test]
    fn folding_the_scales_into_the_maps_gives_the_model_with_the_scales_beside_them() {
        oracle::folds(&oracle::spec("ia3", &[]));
    }

    /// Scales of a map's inputs and outputs, and an update of the same map: whichever acts first sees the other's map.
    #[test]
    fn scales_and_low_rank_updates_of_one_map_fold_in_the_order_in_which_they_act() {
        let all = ("target", Value::Name("all_linear".into()));
        let (scales, update) = (oracle::spec("ia3", &[]), oracle::spec("lora", &[("rank", Value::Int(2)), all]));
        oracle::stack_folds(&[scales.clone(), update.clone()]);
        oracle::stack_folds(&[update, scales]);
    }

    #[test]
    fn scales_without_their_map_are_an_error() {
        oracle::misses(&oracle::spec("ia3", &[]), "bert.encoder.layer.0.output.dense.weight");
    }

    #[test]
    fn gradients_of_the_scales_are_those_of_finite_differences() {
        oracle::has_gradients(&oracle::spec("ia3", &[]), 2 * 3);
    }

    #[test]
    fn training_the_scales_learns_more_than_the_head_alone() {
        oracle::learns(&oracle::spec("ia3", &[]), 3e-2);
    }
}
