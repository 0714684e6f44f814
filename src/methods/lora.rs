//! `lora`: low-rank updates beside frozen linear maps.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta {
        attach: run::attach,
        trains: |_, _, parameter| parameter.part == crate::nn::models::layout::Part::Delta,
        fold: run::fold,
        head_alone: false,
    }),
};

fn signature() -> Signature {
    use Parameter as P;
    use ParameterType as T;
    Signature {
        name: "lora",
        kind: Kind::Delta,
        version: 1,
        summary: "train low-rank updates of linear maps",
        docs: "LoRA (Hu et al. 2021, arXiv 2106.09685): beside a frozen map `W` `[out, in]` two small ones train, `A` `[rank, in]` and `B` `[out, rank]`: \
`y = x W^T + b + s (drop(x) A^T) B^T` with `s = alpha / rank`. `B` starts at 0, so training starts from the pretrained model; `A` is drawn uniformly \
from +-1 / sqrt(in), as `peft` does. No gradient of `W` is ever computed. Learning rates are higher than for full fine-tuning: 1e-4 to 1e-3.\n\n\
The result is stored as a delta: `A`, `B` and the head, and the digest of the model they belong to. Publishing, predicting and later stages use the sum \
`W + s B A`, a model of the usual shape.\n\n\
```ftp\npipeline small = base -> peft(lora, rank = 8, alpha = 16) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: vec![
            P::optional("rank", T::Int { min: 1, max: 4096 }, Value::Int(8), "Rows of `A`: `r` of `peft`."),
            P::optional(
                "alpha",
                T::Float { min: 0.0, max: 1e6, above: true },
                Value::Float(8.0),
                "Scales the update by `alpha / rank`: `lora_alpha` of `peft`.",
            ),
            P::optional(
                "dropout",
                T::Float { min: 0.0, max: 0.99, above: false },
                Value::Float(0.0),
                "Dropout of what `A` sees: `lora_dropout` of `peft`.",
            ),
            P::optional(
                "use_rslora",
                T::Bool,
                Value::Bool(false),
                "Scale by `alpha / sqrt(rank)` instead, so that updates do not shrink as the rank grows (Kalajdzievski 2023, arXiv 2312.03732).",
            ),
            P::optional(
                "target",
                T::Choice(&["query_value", "attention", "all_linear"]),
                Value::Name("query_value".into()),
                "Which maps of every layer: the attention's queries and values, all four of the attention, or all six.",
            ),
        ],
        reports: false,
    }
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::StageFailure;
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Map, Role};
    use crate::nn::pass::{Pass, site_index};
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    /// The low-rank update of one map.
    #[derive(Debug)]
    struct LowRank {
        scale: f32,
        dropout: f32,
    }

    impl SiteDelta for LowRank {
        fn output(&self, pass: &Pass, site: &str, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
            let x = pass.dropout(&format!("{site}.lora_dropout"), x, self.dropout);
            let low = pass.linear(&format!("{site}.lora_A"), x) * self.scale; // [T, rank]
            y + pass.linear(&format!("{site}.lora_B"), low)
        }
    }

    fn scale(spec: &DeltaSpec) -> f32 {
        let rank = spec.int("rank") as f64;
        (spec.float("alpha") / if spec.bool("use_rslora") { rank.sqrt() } else { rank }) as f32
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let targets: &[Map] = match spec.name("target") {
            "query_value" => &[Map::Query, Map::Value],
            "attention" => &[Map::Query, Map::Key, Map::Value, Map::AttentionOutput],
            _ => &Map::ALL,
        };
        let rank = spec.int("rank") as usize;
        let delta = Arc::new(LowRank { scale: scale(spec), dropout: spec.float("dropout") as f32 });
        let maps: Vec<(String, [usize; 2])> = model
            .layout()
            .slots
            .iter()
            .filter(|slot| slot.role == Role::Weight && slot.map.is_some_and(|map| targets.contains(&map)))
            .filter_map(|slot| Some((slot.name.strip_suffix(".weight")?.to_owned(), [slot.shape[0], slot.shape[1]])))
            .collect();
        for (site, [outputs, inputs]) in maps {
            let (a, b) = (format!("{site}.lora_A.weight"), format!("{site}.lora_B.weight"));
            let (key, bound) = (Key::new(seed, "init").at(site_index(&a)), 1.0 / (inputs as f32).sqrt());
            let draws = (0..rank * inputs).map(|index| (2.0 * key.uniform(index as u64) - 1.0) * bound);
            model.add_parameter(a, Role::Weight, &HostTensor { shape: vec![rank, inputs], data: draws.collect() });
            let zeros = HostTensor { shape: vec![outputs, rank], data: vec![0.0; outputs * rank] };
            model.add_parameter(b, Role::Weight, &zeros);
            model.set_delta(site, delta.clone());
        }
        Ok(())
    }

    /// `W + s B A`, summed in f64.
    pub fn fold(spec: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let scale = f64::from(scale(spec));
        let sites: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix(".lora_A.weight")).map(str::to_owned).collect();
        for site in sites {
            let a = tensors.shift_remove(&format!("{site}.lora_A.weight"));
            let b = tensors.shift_remove(&format!("{site}.lora_B.weight"));
            let (Some(a), Some(b), Some(weight)) = (a, b, tensors.get_mut(&format!("{site}.weight"))) else {
                let message = format!("the delta has no matching tensors for `{site}`");
                return Err(StageFailure::new("ftp::peft::incomplete_delta", message));
            };
            let (rank, inputs) = (a.shape[0], a.shape[1]);
            weight.data.par_chunks_mut(inputs).zip(b.data.par_chunks(rank)).for_each(|(row, b)| {
                for (column, value) in row.iter_mut().enumerate() {
                    let update = |(k, b): (usize, &f32)| f64::from(*b) * f64::from(a.data[k * inputs + column]);
                    *value = (f64::from(*value) + scale * b.iter().enumerate().map(update).sum::<f64>()) as f32;
                }
            });
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::oracle;
    use super::*;
    use crate::nn::models::layout::Part;
    use crate::plan::spec::DeltaSpec;

    const TARGETS: [(&str, usize); 3] = [("query_value", 2), ("attention", 4), ("all_linear", 6)];

    fn spec(target: &str, changes: &[(&str, Value)]) -> DeltaSpec {
        let own = [("rank", Value::Int(2)), ("alpha", Value::Float(3.0)), ("target", Value::Name(target.into()))];
        oracle::spec("lora", &[&own, changes].concat())
    }

    #[test]
    fn the_model_is_the_same_until_the_delta_has_been_trained() {
        let before = oracle::evaluated(&oracle::model());
        for (target, maps) in TARGETS {
            let model = oracle::attached(&spec(target, &[]));
            assert_eq!(oracle::evaluated(&model), before);
            let added = model.layout().slots.iter().filter(|slot| slot.part == Part::Delta).count();
            assert_eq!(added, 2 * 2 * maps, "two tensors for each map of two layers");
            assert_eq!(
                model.parameters["bert.encoder.layer.1.attention.self.query.lora_A.weight"].weight.shape(),
                [2, 8]
            );
        }
    }

    #[test]
    fn folding_the_delta_into_the_maps_gives_the_model_with_the_delta_beside_them() {
        for (target, _) in TARGETS {
            for stabilised in [false, true] {
                oracle::folds(&spec(target, &[("use_rslora", Value::Bool(stabilised))]));
            }
        }
    }

    #[test]
    fn a_delta_without_its_map_is_an_error() {
        oracle::misses(&spec("query_value", &[]), "bert.encoder.layer.0.attention.self.value.weight");
    }

    #[test]
    fn gradients_of_the_delta_are_those_of_finite_differences_and_nothing_else_has_any() {
        oracle::has_gradients(&spec("all_linear", &[]), 2 * 2 * 6);
    }

    #[test]
    fn training_the_delta_learns_more_than_the_head_alone() {
        oracle::learns(&spec("query_value", &[]), 2e-2);
    }
}
