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
                "rank_stabilised",
                T::Bool,
                Value::Bool(false),
                "Scale by `alpha / sqrt(rank)` instead (Kalajdzievski 2023, arXiv 2312.03732): `use_rslora` of `peft`.",
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
        fn linear(&self, pass: &Pass, site: &str, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
            let x = pass.dropout(&format!("{site}.lora_dropout"), x, self.dropout);
            let low = pass.linear(&format!("{site}.lora_A"), x) * self.scale; // [T, rank]
            y + pass.linear(&format!("{site}.lora_B"), low)
        }
    }

    fn scale(spec: &DeltaSpec) -> f32 {
        let rank = spec.int("rank") as f64;
        (spec.float("alpha") / if spec.bool("rank_stabilised") { rank.sqrt() } else { rank }) as f32
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
    use burn::tensor::{Device, Tensor};
    use serde_json::json;

    use super::super::{DeltaSpec, Model, Slot};
    use super::*;
    use crate::data::batch::{Batch, Encoding};
    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::lang::world::Task;
    use crate::nn::models::Head;
    use crate::nn::models::layout::Part;
    use crate::nn::ops::Precision;
    use crate::nn::parameters::Weight;
    use crate::nn::pass::Pass;
    use crate::random::Key;

    fn spec(changes: &[(&str, Value)]) -> DeltaSpec {
        let mut parameters: indexmap::IndexMap<String, Value> = [
            ("rank", Value::Int(2)),
            ("alpha", Value::Float(3.0)),
            ("dropout", Value::Float(0.0)),
            ("rank_stabilised", Value::Bool(false)),
            ("target", Value::Name("query_value".into())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        parameters.extend(changes.iter().map(|(name, value)| (name.to_string(), value.clone())));
        DeltaSpec { method: "lora".into(), version: 1, parameters }
    }

    /// Without dropout, and with first weights large enough for so narrow a model to say something.
    fn model(tensors: &Tensors) -> Model {
        let config = json!({
            "model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 12, "max_position_embeddings": 16, "initializer_range": 0.3,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        });
        let head = Head::Sequence(Task::Classification { labels: vec!["no".into(), "yes".into(), "maybe".into()] });
        let mut model = Model::new(&config, tensors, &head, 5, &Device::flex()).unwrap().0;
        model.precision = Precision::F32Strict;
        model
    }

    fn logits(model: &Model, pass: &Pass) -> Tensor<2> {
        let row = |ids: &[u32]| Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], words: vec![] };
        let batch = Batch::pack(&[row(&[2, 7, 9, 3]), row(&[2, 11, 3])]);
        model.sequence_logits(pass, model.encode_at(pass, &batch, &batch.first_tokens()))
    }

    fn evaluated(model: &Model) -> Vec<f32> {
        Weight::Matrix(logits(model, &model.evaluating_pass())).to_host().data
    }

    /// Attached, with numbers in `B` too, so that the update is not nothing.
    fn moved(spec: &DeltaSpec) -> Model {
        let mut model = model(&Tensors::new());
        run::attach(spec, &mut model, 5).unwrap();
        for (name, parameter) in &mut model.parameters {
            if name.ends_with("lora_B.weight") {
                let shape = parameter.weight.shape();
                let data = (0..shape[0] * shape[1]).map(|at| (at as f32 * 0.7).sin()).collect();
                parameter.weight = Weight::from_host(&HostTensor { shape, data }, &Device::flex()).unwrap();
            }
        }
        model
    }

    const TARGETS: [(&str, usize); 3] = [("query_value", 2), ("attention", 4), ("all_linear", 6)];

    #[test]
    fn the_model_is_the_same_until_the_delta_has_been_trained() {
        for (target, maps) in TARGETS {
            let mut model = model(&Tensors::new());
            let before = evaluated(&model);
            run::attach(&spec(&[("target", Value::Name(target.into()))]), &mut model, 5).unwrap();
            assert_eq!(evaluated(&model), before);
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
            for rank_stabilised in [false, true] {
                let target = ("target", Value::Name(target.into()));
                let spec = spec(&[target, ("rank_stabilised", Value::Bool(rank_stabilised))]);
                let with = moved(&spec);
                let mut tensors = with.tensors();
                run::fold(&spec, &mut tensors).unwrap();
                let folded = model(&tensors);
                assert_eq!(tensors.len(), folded.tensors().len(), "nothing of the delta is left");
                for (one, other) in evaluated(&with).iter().zip(evaluated(&folded)) {
                    assert!((one - other).abs() < 1e-5, "{one} {other}");
                }
                assert_ne!(evaluated(&folded), evaluated(&model(&Tensors::new())));
            }
        }
    }

    #[test]
    fn a_delta_without_its_map_is_an_error() {
        let spec = spec(&[]);
        let mut tensors = moved(&spec).tensors();
        tensors.shift_remove("bert.encoder.layer.0.attention.self.value.weight");
        assert_eq!(run::fold(&spec, &mut tensors).unwrap_err().code, "ftp::peft::incomplete_delta");
    }

    /// Central differences of the sum of weighted logits.
    #[test]
    fn gradients_of_the_delta_are_those_of_finite_differences_and_nothing_else_has_any() {
        let spec = spec(&[("target", Value::Name("all_linear".into()))]);
        let mut model = moved(&spec);
        model.train_only(|slot: &Slot| slot.part == Part::Delta);
        let weights: Vec<f32> = (0..6).map(|at| (at as f32 + 0.5).cos()).collect();
        let objective = |logits: Vec<f32>| logits.iter().zip(&weights).map(|(x, w)| f64::from(x * w)).sum::<f64>();

        let pass = model.training_pass(Key::new(1, "dropout"));
        let weights_of = Weight::from_host(&HostTensor { shape: vec![2, 3], data: weights.clone() }, &Device::flex());
        let Some(Weight::Matrix(factor)) = weights_of else { unreachable!("a matrix") };
        let loss = (logits(&model, &pass) * Tensor::from_inner(factor)).sum();
        let gradients = pass.gradients(loss);
        assert_eq!(gradients.len(), 2 * 2 * 6);
        for (name, gradient) in &gradients {
            let gradient = gradient.to_host();
            let original = model.parameters[name].weight.to_host();
            for at in (0..original.data.len()).step_by(5) {
                let mut at_distance = |distance: f32| {
                    let mut changed = original.clone();
                    changed.data[at] += distance;
                    model.parameters[name].weight = Weight::from_host(&changed, &Device::flex()).unwrap();
                    objective(evaluated(&model))
                };
                let slope = (at_distance(1e-2) - at_distance(-1e-2)) / 2e-2;
                let difference = (slope - f64::from(gradient.data[at])).abs();
                assert!(difference < 2e-3 * slope.abs().max(1.0), "{name} {at}: {slope} {}", gradient.data[at]);
            }
            model.parameters[name].weight = Weight::from_host(&original, &Device::flex()).unwrap();
        }
    }
}
