//! `lora`: low-rank updates beside frozen linear maps.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Library, Parameter, ParameterType, Signature};
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
Three refinements, each for itself or together. `use_rslora` scales by `alpha / sqrt(rank)`. `lora_plus_ratio` trains `B` with that many times the learning \
rate of `A` (LoRA+, Hayou et al. 2024, arXiv 2402.12354). `use_dora` (DoRA, Liu et al. 2024, arXiv 2402.09353) takes direction and magnitude of each row of a map \
apart: `W' = m (W + s B A) / |W + s B A|`, where `m` `[out]` trains too and starts as the rows' norms, `|W|`; the denominator counts as a constant in gradients.\n\n\
The result is stored as a delta: `A`, `B` (and `m`) and the head, and the digest of the model they belong to. Publishing, predicting and later stages use the sum \
`W + s B A`, a model of the usual shape; `publish .. as adapter` writes it apart, for `peft`.\n\n\
```ftp\npipeline small = base -> peft(lora, rank = 8, alpha = 16) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[Artifact::Parametrised],
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
                "use_dora",
                T::Bool,
                Value::Bool(false),
                "Train the magnitude of each row of a map apart from its direction (DoRA).",
            ),
            P::optional(
                "lora_plus_ratio",
                T::Float { min: 0.0, max: 1e6, above: true },
                Value::Float(1.0),
                "Learning rate of `B` relative to that of `A` and of the head (LoRA+, whose paper recommends 16).",
            ),
            P::optional(
                "target",
                T::Choice(&["query_value", "attention", "all_linear"]),
                Value::Name("query_value".into()),
                "Which maps of every layer: the attention's queries and values, all four of the attention, or all six.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// What `peft` calls LoRA.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Peft)
}

#[cfg(feature = "train")]
pub(super) use run::{SITES, targets};

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::StageFailure;
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Layout, Map, Role, Slot};
    use crate::nn::pass::{Pass, site_index};
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    const A: &str = "lora_A.weight";
    const B: &str = "lora_B.weight";
    /// `[out]`
    const MAGNITUDE: &str = "lora_magnitude_vector";

    /// Of a delta that was made elsewhere, in place of `target`: the names of its modules.
    pub const SITES: &str = "sites";

    /// Of a row that is zero, so that it stays zero.
    const SMALLEST_NORM: f32 = 1e-12;

    /// The low-rank update of one map.
    #[derive(Debug)]
    struct LowRank {
        scale: f32,
        dropout: f32,
        dora: bool,
    }

    impl SiteDelta for LowRank {
        fn output(&self, pass: &Pass, site: &str, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
            let x = pass.dropout(&format!("{site}.lora_dropout"), x, self.dropout);
            let low = pass.linear(&format!("{site}.lora_A"), x) * self.scale; // [T, rank]
            let update = pass.linear(&format!("{site}.lora_B"), low);
            match self.dora {
                false => y + update,
                true => self.rescaled(pass, site, y, update),
            }
        }
    }

    impl LowRank {
        /// `m / |W + s B A| (x W^T + update) + b`, of `y = x W^T + b`.
        fn rescaled(&self, pass: &Pass, site: &str, y: Tensor<2>, update: Tensor<2>) -> Tensor<2> {
            let constant = |name: &str| pass.matrix(&format!("{site}.{name}")).detach();
            let directions = constant("weight") + constant(B).matmul(constant(A)) * self.scale;
            let norms = directions.powi_scalar(2).sum_dim(1).sqrt().clamp_min(SMALLEST_NORM); // [out, 1]
            let magnitude: Tensor<2> = pass.vector(&format!("{site}.{MAGNITUDE}")).unsqueeze(); // [1, out]
            let ratio = magnitude / norms.transpose();
            match pass.has(&format!("{site}.bias")) {
                false => (y + update) * ratio,
                true => {
                    let bias = pass.vector(&format!("{site}.bias")).unsqueeze();
                    (y - bias.clone() + update) * ratio + bias
                }
            }
        }
    }

    /// The L2 norm of each row, in f64.
    fn norms(weight: &HostTensor) -> impl Iterator<Item = f32> {
        let squares = |row: &[f32]| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        weight.data.chunks(weight.shape[1]).map(move |row| squares(row).sqrt() as f32)
    }

    fn scale(spec: &DeltaSpec) -> f32 {
        let rank = spec.int("rank") as f64;
        (spec.float("alpha") / if spec.bool("use_rslora") { rank.sqrt() } else { rank }) as f32
    }

    /// The modules that have an update, with the shapes of their weights `[out, in]`.
    fn sites(spec: &DeltaSpec, layout: &Layout) -> Result<Vec<(String, [usize; 2])>, StageFailure> {
        let own = |slot: &Slot| Some((slot.name.strip_suffix(".weight")?.to_owned(), [slot.shape[0], slot.shape[1]]));
        let weights = || layout.slots.iter().filter(|slot| slot.role == Role::Weight);
        let Some(named) = spec.strings(SITES) else {
            let targets = targets(spec.name("target"));
            return Ok(weights()
                .filter(|slot| slot.map.is_some_and(|map| targets.contains(&map)))
                .filter_map(own)
                .collect());
        };
        let find = |site: &&str| weights().filter_map(own).find(|(name, _)| name == site);
        named.iter().map(|site| find(site).ok_or_else(|| incomplete(site))).collect()
    }

    /// The maps of every layer that `target` stands for.
    pub fn targets(target: &str) -> &'static [Map] {
        match target {
            "query_value" => &[Map::Query, Map::Value],
            "attention" => &[Map::Query, Map::Key, Map::Value, Map::AttentionOutput],
            _ => &Map::ALL,
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let rank = spec.int("rank") as usize;
        let (scale, dropout, dora) = (scale(spec), spec.float("dropout") as f32, spec.bool("use_dora"));
        let delta = Arc::new(LowRank { scale, dropout, dora });
        let maps = sites(spec, model.layout())?;
        for (site, [outputs, inputs]) in maps {
            let (a, b) = (format!("{site}.{A}"), format!("{site}.{B}"));
            let (key, bound) = (Key::new(seed, "init").at(site_index(&a)), 1.0 / (inputs as f32).sqrt());
            let draws = (0..rank * inputs).map(|index| (2.0 * key.uniform(index as u64) - 1.0) * bound);
            model.add_parameter(a, Role::Weight, &HostTensor { shape: vec![rank, inputs], data: draws.collect() });
            let zeros = HostTensor { shape: vec![outputs, rank], data: vec![0.0; outputs * rank] };
            model.add_parameter(b.clone(), Role::Weight, &zeros);
            model.parameters[&b].rate = spec.float("lora_plus_ratio");
            if dora {
                let weight = model.parameters[&format!("{site}.weight")].weight.to_host();
                let magnitude = HostTensor { shape: vec![outputs], data: norms(&weight).collect() };
                model.add_parameter(format!("{site}.{MAGNITUDE}"), Role::Weight, &magnitude);
            }
            model.set_delta(site, delta.clone());
        }
        Ok(())
    }

    /// `W + s B A`, summed in f64; with magnitudes, its rows have these norms.
    pub fn fold(spec: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let scale = f64::from(scale(spec));
        let sites: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix(&format!(".{A}"))).map(str::to_owned).collect();
        for site in sites {
            let mut take = |name: &str| tensors.shift_remove(&format!("{site}.{name}"));
            let (a, b, magnitude) = (take(A), take(B), take(MAGNITUDE));
            let (Some(a), Some(b), Some(weight)) = (a, b, tensors.get_mut(&format!("{site}.weight"))) else {
                return Err(incomplete(&site));
            };
            if spec.bool("use_dora") != magnitude.is_some() {
                return Err(incomplete(&site));
            }
            let (rank, inputs) = (a.shape[0], a.shape[1]);
            weight.data.par_chunks_mut(inputs).zip(b.data.par_chunks(rank)).enumerate().for_each(|(at, (row, b))| {
                let update = |column: usize| {
                    let products = b.iter().enumerate().map(|(k, b)| (k * inputs + column, f64::from(*b)));
                    scale * products.map(|(index, b)| b * f64::from(a.data[index])).sum::<f64>()
                };
                let sums: Vec<f64> = row.iter().enumerate().map(|(at, value)| f64::from(*value) + update(at)).collect();
                let norm = || sums.iter().map(|value| value.powi(2)).sum::<f64>().sqrt().max(f64::from(SMALLEST_NORM));
                let factor = magnitude.as_ref().map_or(1.0, |magnitude| f64::from(magnitude.data[at]) / norm());
                row.iter_mut().zip(&sums).for_each(|(value, sum)| *value = (sum * factor) as f32);
            });
        }
        Ok(())
    }

    fn incomplete(site: &str) -> StageFailure {
        let message = format!("the delta has no matching tensors for `{site}`");
        StageFailure::new("ftp::peft::incomplete_delta", message)
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
            for changes in [&[][..], &[("use_rslora", Value::Bool(true))], &[("use_dora", Value::Bool(true))]] {
                oracle::folds(&spec(target, changes));
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

    fn dora() -> DeltaSpec {
        spec("all_linear", &[("use_dora", Value::Bool(true))])
    }

    #[test]
    fn the_model_is_the_same_until_magnitudes_have_been_trained() {
        oracle::assert_close(
            &oracle::evaluated(&oracle::attached(&dora())),
            &oracle::evaluated(&oracle::model()),
            1e-6,
        );
    }

    /// Liu et al. 2024, equation 5: magnitudes of twice the rows' norms, without an update, double the rows.
    #[test]
    fn magnitudes_are_the_norms_of_the_rows_of_the_folded_map() {
        let mut model = oracle::attached(&dora());
        let (map, at) = ("bert.encoder.layer.0.output.dense", 3);
        let name = format!("{map}.lora_magnitude_vector");
        let mut magnitude = model.parameters[&name].weight.to_host();
        magnitude.data[at] *= 2.0;
        oracle::set(&mut model, &name, &magnitude);
        let mut tensors = model.tensors();
        run::fold(&dora(), &mut tensors).unwrap();
        let (before, after) = (oracle::model().tensors(), tensors);
        for (index, value) in after[&format!("{map}.weight")].data.iter().enumerate() {
            let factor = if index / 12 == at { 2.0 } else { 1.0 };
            assert!((value - factor * before[&format!("{map}.weight")].data[index]).abs() < 1e-6);
        }
        assert_eq!(after[&format!("{map}.bias")], before[&format!("{map}.bias")]);
    }

    /// With the denominator constant, DoRA is LoRA over `r W` with `r B`, `r = m / |W + s B A|` row by row: its gradients of
    /// `A` are that model's, those of `B` are `r` times that model's.
    #[test]
    fn gradients_with_magnitudes_are_those_of_finite_differences_with_a_constant_denominator() {
        let spec = dora();
        let mut model = oracle::moved(&spec);
        let found = oracle::gradients(&spec, &mut model);
        assert_eq!(found.len(), 3 * 2 * 6);
        let (mut tensors, mut folded) = (model.tensors(), model.tensors());
        run::fold(&spec, &mut folded).unwrap();
        let sites: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix(".lora_A.weight")).map(str::to_owned).collect();
        let mut ratios = indexmap::IndexMap::new();
        for site in &sites {
            let magnitude = &tensors[&format!("{site}.lora_magnitude_vector")];
            let name = format!("{site}.lora_magnitude_vector");
            oracle::is_slope(&mut model, &name, &found[&name]);
            let (weight, a, b) = (
                &tensors[&format!("{site}.weight")],
                &tensors[&format!("{site}.lora_A.weight")],
                &tensors[&format!("{site}.lora_B.weight")],
            );
            let (inputs, scale) = (weight.shape[1], 3.0 / 2.0);
            let ratio: Vec<f32> = (0..weight.shape[0])
                .map(|row| {
                    let entry = |column: usize| {
                        let update = (0..2).map(|k| b.data[row * 2 + k] * a.data[k * inputs + column]).sum::<f32>();
                        weight.data[row * inputs + column] + scale * update
                    };
                    magnitude.data[row] / (0..inputs).map(|column| entry(column).powi(2)).sum::<f32>().sqrt()
                })
                .collect();
            ratios.insert(site.clone(), ratio);
        }
        tensors.retain(|name, _| !name.contains("lora_"));
        for (site, ratio) in &ratios {
            scale_rows(tensors.get_mut(&format!("{site}.weight")).unwrap(), ratio);
        }
        let plain = self::spec("all_linear", &[]);
        let mut twin = oracle::model_of(&tensors);
        run::attach(&plain, &mut twin, 5).unwrap();
        for (site, ratio) in &ratios {
            oracle::set(
                &mut twin,
                &format!("{site}.lora_A.weight"),
                &model.tensors()[&format!("{site}.lora_A.weight")],
            );
            let mut b = model.tensors()[&format!("{site}.lora_B.weight")].clone();
            scale_rows(&mut b, ratio);
            oracle::set(&mut twin, &format!("{site}.lora_B.weight"), &b);
        }
        let mut expected = oracle::gradients(&plain, &mut twin);
        for (site, ratio) in &ratios {
            let [a, b] = ["A", "B"].map(|matrix| format!("{site}.lora_{matrix}.weight"));
            oracle::assert_close(&found[&a].data, &expected[&a].data, 1e-4);
            scale_rows(&mut expected[&b], ratio);
            oracle::assert_close(&found[&b].data, &expected[&b].data, 1e-4);
        }
    }

    fn scale_rows(matrix: &mut crate::hub::tensors::HostTensor, factors: &[f32]) {
        let columns = matrix.shape[1];
        for (row, factor) in matrix.data.chunks_mut(columns).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// Adam's first step moves every number by the learning rate.
    #[test]
    fn b_moves_as_many_times_as_far_as_the_ratio_says() {
        let moved = |ratio: f64| {
            let spec = spec("query_value", &[("lora_plus_ratio", Value::Float(ratio))]);
            let mut model = oracle::moved(&spec);
            let before = model.tensors();
            oracle::fit(&mut model, 1e-3, Some(1));
            let site = "bert.encoder.layer.1.attention.self.value";
            ["lora_A.weight", "lora_B.weight"].map(|name| {
                let name = format!("{site}.{name}");
                let (before, after) = (&before[&name].data, &model.tensors()[&name].data);
                before.iter().zip(after).map(|(before, after)| (after - before).abs()).sum::<f32>()
                    / before.len() as f32
            })
        };
        oracle::assert_close(&moved(1.0), &[1e-3, 1e-3], 1e-5);
        oracle::assert_close(&moved(16.0), &[1e-3, 16e-3], 1e-4);
    }

    #[test]
    fn training_the_delta_with_all_refinements_learns_more_than_the_head_alone() {
        let on = |name| (name, Value::Bool(true));
        let ratio = ("lora_plus_ratio", Value::Float(4.0));
        oracle::learns(&spec("query_value", &[on("use_rslora"), on("use_dora"), ratio]), 1e-2);
    }

    #[test]
    fn training_the_delta_learns_more_than_the_head_alone() {
        oracle::learns(&spec("query_value", &[]), 2e-2);
    }
}
