//! `intrinsic`: a few numbers, projected onto every weight.

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
        name: "intrinsic",
        kind: Kind::Delta,
        version: 1,
        summary: "train a few numbers that a random projection turns into a change of every weight",
        docs: "Intrinsic dimension (Li et al. 2018, arXiv 1804.08838; Aghajanyan et al. 2021, arXiv 2012.13255): `theta = theta_pretrained + P v`, where `v` has \
`dimension` numbers and `P` is random and fixed. How well a model learns with how small a `dimension` measures how hard a task is for it: `d90` is the smallest one with 90 % of what \
full fine-tuning reaches.\n\n\
Each tensor below the head has a projection of its own, of which a vector's image has its length in expectation, `E |P v|^2 = |v|^2`. `dense` is a matrix of independent normal draws, \
which small models have room for; `fastfood` (Le et al. 2013) is a product of Hadamard matrices, a permutation and diagonals, which needs one number a weight. Both are drawn from \
`projection_seed`. With `per_layer` (the paper's SAID, structure-aware), each layer, the embeddings and the pooler have a scale `s` too, which starts at 1 and trains, `theta = theta_pretrained + s P v`; \
scales count as part of `dimension`.\n\n\
`v` starts at 0, so training starts from the pretrained model. The head trains beside it and does not count. Learning rates are those of few parameters: 1e-3 to 1e-2. The result is stored as `v`, the \
scales and the head; the rest comes from the seed.\n\n\
```ftp\npipeline d200 = base -> peft(intrinsic, dimension = 200) -> finetune(target, learning_rate = 5e-3, epochs = 10)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: vec![
            P::optional(
                "dimension",
                T::Int { min: 1, max: 100_000_000 },
                Value::Int(200),
                "Numbers that train, besides the head; the paper's `d`.",
            ),
            P::optional("per_layer", T::Bool, Value::Bool(true), "A scale for each layer, out of `dimension` (SAID)."),
            P::optional(
                "projection",
                T::Choice(&["fastfood", "dense"]),
                Value::Name("fastfood".into()),
                "How the numbers reach the weights.",
            ),
            P::optional(
                "projection_seed",
                T::Int { min: 0, max: i64::MAX },
                Value::Int(0),
                "Seed of the projection, apart from the `seed` of the training.",
            ),
        ],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
mod run {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use burn::tensor::{Device, Tensor};

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::methods::{Packed, StageFailure};
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Part, Role};
    use crate::nn::parameters::Weight;
    use crate::nn::pass::{Pass, site_index};
    use crate::nn::projection::Projection;
    use crate::nn::reparametrisation::Reparametrisation;
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    pub const VECTOR: &str = "intrinsic.vector";
    pub const SCALES: &str = "intrinsic.layer_scales";

    /// Numbers of all dense projections together that a training has room for: 1 GiB.
    const MOST: usize = 1 << 28;

    #[derive(Debug)]
    struct Projected {
        projection: Projection,
        /// Which of the scales is the tensor's.
        scale: Option<usize>,
    }

    impl Reparametrisation for Projected {
        fn of(&self, pass: &Pass, _: &str, stored: Tensor<1>) -> Tensor<1> {
            let difference = self.projection.apply(pass.vector(VECTOR));
            match self.scale {
                None => stored + difference,
                Some(at) => stored + difference * pass.vector(SCALES).narrow(0, at, 1),
            }
        }
    }

    /// Which part of a model a tensor belongs to, by its name: 0 the embeddings, 1 and more the layers, `usize::MAX` what is
    /// between the last layer and the head. `None` if it is not below the module `base`.
    pub fn part(base: &str, name: &str) -> Option<usize> {
        let path = name.strip_prefix(base)?.strip_prefix('.')?;
        match path.split('.').find_map(|module| module.parse::<usize>().ok()) {
            Some(layer) => Some(layer + 1),
            None if path.starts_with("embeddings.") => Some(0),
            None => Some(usize::MAX),
        }
    }

    /// The module that holds all of a model but its head: what has embeddings.
    pub fn base<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
        names.find_map(|name| name.split_once(".embeddings.").map(|(base, _)| base).filter(|base| !base.contains('.')))
    }

    fn projection(spec: &DeltaSpec, name: &str, inputs: usize, outputs: usize, device: &Device) -> Projection {
        let key = Key::new(spec.int("projection_seed").unsigned_abs(), "projection").at(site_index(name));
        match spec.name("projection") {
            "dense" => Projection::dense(inputs, outputs, key, device),
            _ => Projection::fastfood(inputs, outputs, key, device),
        }
    }

    /// The tensors of a model that are projected onto, each with its number of elements and its part's number among the parts.
    fn places(model: &Model) -> (Vec<(String, usize, usize)>, usize) {
        let slots = model.layout().slots.iter().filter(|slot| matches!(slot.part, Part::Encoder | Part::Pooler));
        let base = base(model.parameters.keys()).unwrap_or_default();
        let found = slots.filter_map(|slot| Some((slot.name.clone(), slot.count(), part(base, &slot.name)?)));
        let found: Vec<(String, usize, usize)> = found.collect();
        let parts: BTreeSet<usize> = found.iter().map(|(_, _, part)| *part).collect();
        let number = |part: usize| parts.range(..part).count();
        let numbered = found.into_iter().map(|(name, count, part)| (name, count, number(part)));
        (numbered.collect(), parts.len())
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, _: u64) -> Result<(), StageFailure> {
        let (dimension, per_layer) = (spec.int("dimension") as usize, spec.bool("per_layer"));
        let (places, parts) = places(model);
        let scales = if per_layer { parts } else { 0 };
        let Some(inputs) = dimension.checked_sub(scales).filter(|inputs| *inputs > 0) else {
            let message = format!(
                "`dimension = {dimension}` leaves nothing to project: {scales} of it are scales of parts of the model"
            );
            return Err(StageFailure::new("ftp::peft::dimension_too_small", message)
                .help(format!("write `dimension = {}` or more, or `per_layer = false`", scales + 1)));
        };
        let numbers = inputs.saturating_mul(places.iter().map(|(_, count, _)| count).sum());
        if spec.name("projection") == "dense" && numbers > MOST {
            let message = format!(
                "a dense projection of {inputs} numbers onto this model has {numbers} entries, more than {MOST}"
            );
            return Err(StageFailure::new("ftp::peft::projection_too_large", message)
                .help("write `projection = fastfood`, which needs one number a weight"));
        }
        let all = |value: f32, count| HostTensor { shape: vec![count], data: vec![value; count] };
        model.add_parameter(VECTOR.into(), Role::Weight, &all(0.0, inputs));
        if per_layer {
            model.add_parameter(SCALES.into(), Role::Weight, &all(1.0, scales));
        }
        let device = model.device().clone();
        for (name, count, part) in places {
            let projection = projection(spec, &name, inputs, count, &device);
            model.reparametrise(name, Arc::new(Projected { projection, scale: per_layer.then_some(part) }));
        }
        Ok(())
    }

    /// Says also without scales how many parts the model has, so that nothing else is laid over. Returns how many numbers trained.
    pub fn pack(_: &DeltaSpec, model: &Model, tensors: &mut Tensors) -> Result<Packed, StageFailure> {
        let count = |tensors: &Tensors, name: &str| tensors.get(name).map_or(0, |tensor| tensor.data.len());
        let trained = count(tensors, VECTOR) + count(tensors, SCALES);
        let parts = places(model).1;
        let ones = || HostTensor { shape: vec![parts], data: vec![1.0; parts] };
        tensors.entry(SCALES.into()).or_insert_with(ones);
        Ok(Packed { numbers: trained, ..Packed::default() })
    }

    pub fn fold(spec: &DeltaSpec, tensors: &mut Tensors) -> Result<(), StageFailure> {
        let incomplete = |what: &str| {
            let message = format!("the model that the projected numbers belong to lacks {what}");
            StageFailure::new("ftp::peft::incomplete_delta", message)
        };
        let (vector, scales) = (tensors.shift_remove(VECTOR), tensors.shift_remove(SCALES));
        let vector = vector.ok_or_else(|| incomplete("the numbers"))?;
        let base = base(tensors.keys()).ok_or_else(|| incomplete("its embeddings"))?.to_owned();
        let parts: BTreeSet<usize> = tensors.keys().filter_map(|name| part(&base, name)).collect();
        let device = Device::flex();
        let Some(Weight::Vector(x)) = Weight::from_host(&vector, &device) else {
            return Err(incomplete("the numbers"));
        };
        let scale = |part: usize| match &scales {
            None => Some(1.0),
            Some(scales) => scales.data.get(parts.range(..part).count()).copied(),
        };
        for (name, tensor) in tensors.iter_mut() {
            let Some(scale) = part(&base, name).and_then(scale) else { continue };
            let projection = projection(spec, name, vector.data.len(), tensor.data.len(), &device);
            let difference = Weight::Vector(projection.apply(x.clone())).to_host();
            tensor.data.iter_mut().zip(&difference.data).for_each(|(value, difference)| *value += scale * difference);
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use serde_json::json;

    use super::super::{DeltaSpec, Model, oracle};
    use super::*;
    use crate::lang::world::Task;
    use crate::nn::models::Head;
    use crate::nn::models::layout::Part;

    fn spec(projection: &str, per_layer: bool) -> DeltaSpec {
        let own = [
            ("dimension", Value::Int(20)),
            ("per_layer", Value::Bool(per_layer)),
            ("projection", Value::Name(projection.into())),
        ];
        oracle::spec("intrinsic", &own)
    }

    fn all() -> [DeltaSpec; 4] {
        [spec("dense", true), spec("dense", false), spec("fastfood", true), spec("fastfood", false)]
    }

    #[test]
    fn the_model_is_the_same_until_the_numbers_have_been_trained_and_there_are_as_many_as_asked_for() {
        for spec in all() {
            let model = oracle::attached(&spec);
            assert_eq!(oracle::evaluated(&model), oracle::evaluated(&oracle::model()));
            assert_eq!(model.layout().count(|slot| slot.part == Part::Delta), 20);
            let scales = model.parameters.get(run::SCALES).map(|scales| scales.weight.shape());
            // The embeddings, two layers, the pooler.
            assert_eq!(scales, spec.bool("per_layer").then(|| vec![4]));
        }
    }

    #[test]
    fn folding_the_numbers_gives_the_model_with_their_projection_beside_its_weights() {
        all().iter().for_each(oracle::folds);
    }

    #[test]
    fn gradients_of_numbers_and_scales_are_those_of_finite_differences() {
        for spec in all() {
            oracle::has_gradients(&spec, if spec.bool("per_layer") { 2 } else { 1 });
        }
    }

    #[test]
    fn another_seed_is_another_projection() {
        let folded = |seed: i64| {
            let mut spec = spec("fastfood", true);
            spec.parameters["projection_seed"] = Value::Int(seed);
            oracle::evaluated(&oracle::moved(&spec))
        };
        assert_eq!(folded(1), folded(1));
        assert_ne!(folded(1), folded(2));
    }

    #[test]
    fn parts_by_name_are_those_of_the_layout_in_every_architecture() {
        let head = Head::Sequence(Task::Classification { labels: vec!["no".into(), "yes".into()] });
        for model_type in ["bert", "roberta", "distilbert"] {
            let layout = Model::layout_of(&json!({"model_type": model_type}), &head).unwrap();
            let names: Vec<String> = layout.slots.iter().map(|slot| slot.name.clone()).collect();
            let base = run::base(names.iter()).unwrap();
            for slot in &layout.slots {
                let expected = match (slot.part, slot.layer) {
                    (_, Some(layer)) => Some(layer + 1),
                    (Part::Encoder, None) => Some(0),
                    (Part::Pooler, None) => Some(usize::MAX),
                    _ => None,
                };
                assert_eq!(run::part(base, &slot.name), expected, "{}", slot.name);
            }
        }
    }

    #[test]
    fn dimensions_that_are_too_small_and_matrices_that_are_too_large_are_errors() {
        let refused = |changes: &[(&str, Value)]| {
            let spec = oracle::spec("intrinsic", changes);
            (super::super::delta("intrinsic").unwrap().attach)(&spec, &mut oracle::model(), 0).unwrap_err().code
        };
        assert_eq!(refused(&[("dimension", Value::Int(4))]), "ftp::peft::dimension_too_small");
        let dense = ("projection", Value::Name("dense".into()));
        assert_eq!(refused(&[("dimension", Value::Int(10_000_000)), dense]), "ftp::peft::projection_too_large");
    }

    #[test]
    fn training_the_numbers_learns_more_than_the_head_alone() {
        oracle::learns(&oracle::spec("intrinsic", &[("dimension", Value::Int(200))]), 5e-3);
    }
}
