//! `diff_pruning`: a sparse difference to every weight.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta {
        attach: run::attach,
        trains: |_, _, parameter| parameter.part == crate::nn::models::layout::Part::Delta,
        fold: Some(run::fold),
        pack: Some(run::pack),
        head_alone: false,
    }),
};

fn signature() -> Signature {
    use Parameter as P;
    use ParameterType as T;
    Signature {
        name: "diff_pruning",
        kind: Kind::Delta,
        version: 2,
        summary: "train a sparse difference to every weight",
        docs: "Diff pruning (Guo, Rush & Kim 2021, arXiv 2012.07463): `theta = theta_pretrained + z w`, a difference `w` for every number of the model below the head, and a gate `z` for \
each. Gates are hard-concrete (Louizos et al. 2018): `z = min(1, max(0, s (zeta - gamma) + gamma))`, `s = sigmoid((ln u - ln(1 - u) + a) / beta)`, drawn anew in every pass, and `a` trains. \
The loss has, beside the task's, `l0_weight` times the expected number of open gates, the sum of `sigmoid(a - beta ln(-gamma / zeta))`. With `structured`, a number's gate is its own times \
one that its whole tensor shares, so that tensors that need no change lose it together.\n\n\
After `prune_at` of the steps, the differences are pruned by magnitude to `target` of all, the gates stay as they are then, open or shut, and training goes on with what is left. \
Only evaluations after that count for `keep` and `patience`. Where the penalty has shut more gates than that by then, fewer are left, and a note says so: \
AdamW moves a gate that no gradient of the task holds open by up to `gate_learning_rate` a step, even where `l0_weight` is small, so a set that teaches slowly may lose all of them. \
A smaller `gate_learning_rate` gives the differences time to grow.\n\n\
`w` starts at 0, so training starts from the pretrained model. The result is stored as a delta: the head, and for each tensor the \
columns and values of what differs, row by row: 8 bytes a number. In training it needs memory for a difference and a gate a weight, each with AdamW's two moments.\n\n\
```ftp\npipeline sparse = base -> peft(diff_pruning, target = 0.5 %) -> finetune(target, epochs = 6, learning_rate = 5e-5)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: vec![
            P::optional(
                "target",
                T::Ratio,
                Value::Float(0.005),
                "Share of the numbers below the head that may differ in the end.",
            ),
            P::optional("structured", T::Bool, Value::Bool(true), "A gate more for each tensor as a whole."),
            P::optional(
                "l0_weight",
                T::Float { min: 0.0, max: 1e6, above: false },
                Value::Float(1.25e-7),
                "`lambda`: weight of the expected number of open gates in the loss.",
            ),
            P::optional(
                "prune_at",
                T::Ratio,
                Value::Float(0.5),
                "Share of the steps after which the differences are pruned and the gates stay.",
            ),
            P::optional(
                "gate_learning_rate",
                T::Float { min: 0.0, max: 1e6, above: false },
                Value::Float(0.1),
                "Highest learning rate of the gates, under the same schedule as that of the differences.",
            ),
            P::optional(
                "gate_init",
                T::Float { min: -100.0, max: 100.0, above: false },
                Value::Float(5.0),
                "Where `a` starts: at 5 nearly all gates are open.",
            ),
            P::optional(
                "beta",
                T::Float { min: 0.0, max: 5.0, above: true },
                Value::Float(1.0),
                "Temperature of the gates.",
            ),
            P::optional(
                "gamma",
                T::Float { min: -100.0, max: -1e-6, above: false },
                Value::Float(-1.5),
                "Lower end of what gates are stretched to, below 0.",
            ),
            P::optional(
                "zeta",
                T::Float { min: 1.000_001, max: 100.0, above: false },
                Value::Float(1.5),
                "Upper end of what gates are stretched to, above 1.",
            ),
        ],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::{Packed, StageFailure};
    use crate::nn::hard_concrete::HardConcrete;
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Part, Role};
    use crate::nn::ops;
    use crate::nn::pass::Pass;
    use crate::nn::reparametrisation::Reparametrisation;
    use crate::plan::spec::DeltaSpec;
    use crate::train::stability::diff_pruning::{DIFFERENCE, GATE, GROUP_GATE};

    /// What of a parameter's difference is stored: for each row how many numbers differ, for each of these its column and its
    /// value. Counts and columns are whole numbers below 2^24, which 32-bit floats hold.
    const ROWS: &str = ".diff_rows";
    const COLUMNS: &str = ".diff_columns";
    const VALUES: &str = ".diff_values";

    #[derive(Debug)]
    struct Gated {
        gates: HardConcrete,
        structured: bool,
    }

    impl Reparametrisation for Gated {
        fn of(&self, pass: &Pass, name: &str, stored: Tensor<1>) -> Tensor<1> {
            let [difference, gate, group] = [DIFFERENCE, GATE, GROUP_GATE].map(|suffix| format!("{name}{suffix}"));
            let shared = self.structured.then(|| self.gates.gates(pass.vector(&group), pass.draws(&group)));
            let gated = ops::Gated { gates: self.gates, key: pass.draws(&gate) };
            ops::gated(stored, pass.vector(&difference), pass.vector(&gate), shared, gated)
        }
    }

    fn gates(spec: &DeltaSpec) -> HardConcrete {
        let [beta, gamma, zeta] = ["beta", "gamma", "zeta"].map(|name| spec.float(name) as f32);
        HardConcrete { beta, gamma, zeta }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, _: u64) -> Result<(), StageFailure> {
        let structured = spec.bool("structured");
        let delta = Arc::new(Gated { gates: gates(spec), structured });
        let slots = model.layout().slots.iter().filter(|slot| matches!(slot.part, Part::Encoder | Part::Pooler));
        let slots: Vec<(String, usize)> = slots.map(|slot| (slot.name.clone(), slot.count())).collect();
        for (name, count) in slots {
            let all = |value: f64, count| HostTensor { shape: vec![count], data: vec![value as f32; count] };
            model.add_parameter(format!("{name}{DIFFERENCE}"), Role::Weight, &all(0.0, count));
            let groups: &[(&str, usize)] =
                if structured { &[(GATE, count), (GROUP_GATE, 1)] } else { &[(GATE, count)] };
            for &(suffix, count) in groups {
                let gate = format!("{name}{suffix}");
                model.add_parameter(gate, Role::Weight, &all(spec.float("gate_init"), count));
            }
            model.reparametrise(name, delta.clone());
        }
        Ok(())
    }

    /// Replaces differences and gates by what of them is not 0; returns how many numbers that is. `columns` says how wide the
    /// rows of a parameter are.
    fn sparse(spec: &DeltaSpec, tensors: &mut Tensors, columns: impl Fn(&str) -> Option<usize>) -> Option<usize> {
        let gates = gates(spec);
        let names = tensors.keys().filter_map(|name| name.strip_suffix(DIFFERENCE));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let mut kept = 0;
        for name in names {
            let columns = columns(&name)?.max(1);
            let mut take = |suffix: &str| tensors.shift_remove(&format!("{name}{suffix}"));
            let (differences, locations) = (take(DIFFERENCE)?, take(GATE)?);
            let group = match spec.bool("structured") {
                true => gates.gate(*take(GROUP_GATE)?.data.first()?),
                false => 1.0,
            };
            let (mut rows, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for (differences, locations) in differences.data.chunks(columns).zip(locations.data.chunks(columns)) {
                let before = values.len();
                for (column, (difference, location)) in differences.iter().zip(locations).enumerate() {
                    let value = difference * gates.gate(*location) * group;
                    if value != 0.0 {
                        places.push(column as f32);
                        values.push(value);
                    }
                }
                rows.push((values.len() - before) as f32);
            }
            kept += values.len();
            if !values.is_empty() {
                for (suffix, data) in [(ROWS, rows), (COLUMNS, places), (VALUES, values)] {
                    tensors.insert(format!("{name}{suffix}"), HostTensor { shape: vec![data.len()], data });
                }
            }
        }
        Some(kept)
    }

    pub fn pack(spec: &DeltaSpec, model: &Model, tensors: &mut Tensors) -> Result<Packed, StageFailure> {
        let columns = |name: &str| model.parameters.get(name)?.weight.shape().last().copied();
        let numbers = sparse(spec, tensors, columns).ok_or_else(incomplete)?;
        Ok(Packed { numbers, ..Packed::default() })
    }

    pub fn fold(spec: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let widths = tensors.iter().filter_map(|(name, tensor)| Some((name.clone(), *tensor.shape.last()?)));
        let widths: indexmap::IndexMap<String, usize> = widths.collect();
        sparse(spec, tensors, |name| widths.get(name).copied()).ok_or_else(incomplete)?;
        let names = tensors.keys().filter_map(|name| name.strip_suffix(VALUES));
        let names: Vec<String> = names.map(str::to_owned).collect();
        for name in names {
            add(&name, tensors).ok_or_else(incomplete)?;
        }
        Ok(())
    }

    /// Adds a stored difference to its parameter; `None` if they are not each other's.
    fn add(name: &str, tensors: &mut Tensors) -> Option<()> {
        let mut take = |suffix: &str| tensors.shift_remove(&format!("{name}{suffix}"));
        let (rows, columns, values) = (take(ROWS)?, take(COLUMNS)?, take(VALUES)?);
        let weight = tensors.get_mut(name)?;
        let mut entries = columns.data.iter().zip(&values.data);
        let width = (*weight.shape.last()?).max(1);
        if weight.data.len().div_ceil(width) != rows.data.len() {
            return None;
        }
        for (row, count) in weight.data.chunks_mut(width).zip(&rows.data) {
            for (column, value) in entries.by_ref().take(*count as usize) {
                *row.get_mut(*column as usize)? += value;
            }
        }
        entries.next().is_none().then_some(())
    }

    fn incomplete() -> StageFailure {
        let message = "the sparse difference and the model below it do not belong together";
        StageFailure::new("ftp::peft::incomplete_delta", message)
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use std::collections::HashSet;

    use super::super::{DeltaSpec, Model, oracle};
    use super::*;
    use crate::nn::gradient::Gradients;
    use crate::nn::models::layout::Part;
    use crate::train::reader::Reader;
    use crate::train::stability::{Beginning, Techniques};

    /// Gates that are neither open nor shut.
    fn half_open(structured: bool) -> DeltaSpec {
        oracle::spec("diff_pruning", &[("structured", Value::Bool(structured)), ("gate_init", Value::Float(0.2))])
    }

    fn below_the_head(model: &Model) -> usize {
        model.layout().count(|slot| matches!(slot.part, Part::Encoder | Part::Pooler))
    }

    #[test]
    fn the_model_is_the_same_until_differences_have_been_trained() {
        let model = oracle::attached(&oracle::spec("diff_pruning", &[]));
        assert_eq!(oracle::evaluated(&model), oracle::evaluated(&oracle::model()));
        assert_eq!(oracle::drawn(&model), oracle::evaluated(&oracle::model()));
        let tensors = model.layout().slots.iter().filter(|slot| matches!(slot.part, Part::Encoder | Part::Pooler));
        let added = model.layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(added, 2 * below_the_head(&model) + tensors.count());
    }

    #[test]
    fn folding_the_differences_gives_the_model_with_the_differences_beside_its_weights() {
        for structured in [true, false] {
            oracle::folds(&half_open(structured));
        }
    }

    #[test]
    fn what_is_stored_is_what_differs_and_laying_it_over_the_model_gives_the_trained_one() {
        let spec = half_open(true);
        let model = oracle::moved(&spec);
        let mut stored = model.tensors();
        stored.retain(|name, _| name.contains(".diff"));
        let differing = run::pack(&spec, &model, &mut stored).unwrap().numbers;
        let numbers = stored.iter().filter(|(name, _)| name.ends_with(".diff_values"));
        assert_eq!(numbers.map(|(_, tensor)| tensor.data.len()).sum::<usize>(), differing);
        assert!(differing < below_the_head(&model) && !stored.keys().any(|name| name.ends_with("gate")));
        let mut whole = oracle::model().tensors();
        whole.extend(stored);
        run::fold(&spec, &mut whole).unwrap();
        oracle::assert_close(&oracle::evaluated(&oracle::model_of(&whole)), &oracle::evaluated(&model), 1e-5);
    }

    #[test]
    fn differences_of_another_model_are_an_error() {
        oracle::misses(&half_open(true), "bert.encoder.layer.0.output.dense.weight");
    }

    /// Of the same draws.
    #[test]
    fn gradients_of_differences_and_gates_are_those_of_finite_differences() {
        for structured in [true, false] {
            let spec = half_open(structured);
            let mut model = oracle::moved(&spec);
            let gradients = oracle::gradients(&spec, &mut model);
            for site in [
                "embeddings.word_embeddings.weight",
                "encoder.layer.1.attention.self.query.weight",
                "pooler.dense.bias",
            ] {
                for suffix in [".diff", ".diff_gate", ".diff_group_gate"] {
                    let name = format!("bert.{site}{suffix}");
                    let Some(gradient) = gradients.get(&name) else {
                        assert!(!structured && suffix == ".diff_group_gate");
                        continue;
                    };
                    oracle::is_slope_of(&mut model, &name, gradient, &oracle::drawn);
                }
            }
        }
    }

    fn expected_open(model: &Model, group: bool) -> f64 {
        let open = |location: f32| 1.0 / (1.0 + (-f64::from(location) + (0.5f64 / 1.5).ln()).exp());
        let tensors = model.tensors();
        let gates = tensors.iter().filter_map(|(name, gates)| Some((name.strip_suffix(".diff_gate")?, gates)));
        gates
            .map(|(name, gates)| {
                let shared = if group { open(tensors[&format!("{name}.diff_group_gate")].data[0]) } else { 1.0 };
                gates.data.iter().map(|location| open(*location)).sum::<f64>() * shared
            })
            .sum()
    }

    #[test]
    fn the_cost_of_open_gates_has_the_gradient_of_finite_differences() {
        for structured in [true, false] {
            let mut spec = half_open(structured);
            spec.parameters["l0_weight"] = Value::Float(0.25);
            spec.parameters["gamma"] = Value::Float(-0.5);
            let mut model = oracle::moved(&spec);
            let settings = crate::train::Settings::default().with_delta(&spec.method, &spec.parameters);
            let mut beginning = Beginning {
                read: Reader(&settings.stability),
                model: &model,
                seed: 1,
                learning_rate: 1e-3,
                epochs: 1.0,
                steps: 10,
                steps_per_epoch: 10,
                rows: 8,
                labelled: 8,
                notices: Vec::new(),
            };
            let mut techniques = Techniques::begin(&mut beginning).unwrap();
            let mut gradients = Gradients::new();
            techniques.differentiated(&mut model, &mut gradients, 3.0);
            let suffixes: &[&str] = if structured { &[".diff_gate", ".diff_group_gate"] } else { &[".diff_gate"] };
            for suffix in suffixes {
                let name = format!("bert.encoder.layer.0.output.dense.bias{suffix}");
                let (gradient, original) = (gradients[&name].to_host(), model.tensors()[&name].clone());
                let mut cost = |distance: f32| {
                    let mut moved = original.clone();
                    moved.data[0] += distance;
                    oracle::set(&mut model, &name, &moved);
                    3.0 * 0.25 * expected_open(&model, structured)
                };
                let slope = (cost(1e-2) - cost(-1e-2)) / 2e-2;
                oracle::set(&mut model, &name, &original);
                assert!((slope - f64::from(gradient.data[0])).abs() < 1e-3, "{name}: {slope} {}", gradient.data[0]);
            }
        }
    }

    #[test]
    fn exactly_the_target_share_differs_after_training_and_the_rest_is_the_pretrained_model_to_the_bit() {
        let spec = oracle::spec("diff_pruning", &[("target", Value::Float(0.05)), ("l0_weight", Value::Float(1e-5))]);
        let mut model = oracle::attached(&spec);
        model.train_only(|slot| matches!(slot.part, Part::Head | Part::Delta));
        let (_, notices) = oracle::fit_delta(Some(&spec), &mut model, 5e-3, Some(40));
        let mut folded = model.tensors();
        run::fold(&spec, &mut folded).unwrap();
        let before = oracle::model().tensors();
        let heads: HashSet<&str> = model.head_parameters().into_iter().collect();
        let differing: usize = folded
            .iter()
            .filter(|(name, _)| !heads.contains(name.as_str()))
            .map(|(name, tensor)| {
                tensor.data.iter().zip(&before[name].data).filter(|(one, other)| one != other).count()
            })
            .sum();
        assert_eq!(differing, (0.05 * below_the_head(&model) as f64) as usize);
        let codes: Vec<&str> = notices.iter().map(|notice| &*notice.code).collect();
        assert_eq!(codes, ["ftp::train::pruned"]);
    }

    #[test]
    fn fewer_differences_than_the_target_are_told() {
        let settings = [
            ("target", Value::Float(0.05)),
            ("l0_weight", Value::Float(1e3)),
            ("gate_learning_rate", Value::Float(2.0)),
        ];
        let spec = oracle::spec("diff_pruning", &settings);
        let mut model = oracle::attached(&spec);
        model.train_only(|slot| matches!(slot.part, Part::Head | Part::Delta));
        let (_, notices) = oracle::fit_delta(Some(&spec), &mut model, 5e-3, Some(40));
        let codes: Vec<&str> = notices.iter().map(|notice| &*notice.code).collect();
        assert_eq!(codes, ["ftp::train::pruned", "ftp::train::gates_shut"]);
        assert!(notices[0].message.starts_with("0 of "), "{}", notices[0].message);
    }

    #[test]
    fn training_sparse_differences_learns_more_than_the_head_alone() {
        oracle::learns(&oracle::spec("diff_pruning", &[("target", Value::Float(0.2))]), 1e-2);
    }
}
