//! `freeze`: hold the embeddings and the lowest layers as they are.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta::of(run::trains)),
};

fn signature() -> Signature {
    Signature {
        name: "freeze",
        kind: Kind::Delta,
        version: 1,
        summary: "hold the embeddings and the lowest layers as they are",
        docs: "What lies in the embeddings and in the lowest `layers` layers does not train. In a `stack(..)` the deltas it stands with are kept out of these layers: \
they train nothing of them, and put nothing into them. Alone it trains all weights above, with the pooler and the new head, and what is stored are those.\n\n\
`prompt`, `p_tuning` and `invertible` act before the layers, and are not kept from that; nor is `prefix` from the positions that it takes. Unlike under `last_layers`, dropout acts in the frozen layers as it does \
in the others.\n\n\
```ftp\npipeline upper = base -> peft(stack(lora, freeze(layers = 6))) -> finetune(target, learning_rate = 5e-4)\n\
pipeline top   = base -> peft(freeze, layers = 6) -> finetune(target)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![Parameter::optional(
            "layers",
            ParameterType::Int { min: 0, max: 1000 },
            Value::Int(0),
            "Layers that stay as they are, counted from the bottom; the embeddings do in any case.",
        )],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
pub(super) use run::{attach, holds, into_others, layers};

#[cfg(feature = "train")]
mod run {
    use crate::lang::value::Value;
    use crate::methods::bundle::known_delta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::{Part, Slot};
    use crate::plan::spec::{DeltaSpec, StageFailure};

    const NAME: &str = "freeze";

    /// How many layers another delta is kept out of, among that delta's parameters: with them wherever they are stored.
    const FROZEN: &str = "frozen_layers";

    /// All that a model has below its head; what [`holds`] is taken out of it.
    pub fn trains(_: &DeltaSpec, _: usize, slot: &Slot) -> bool {
        matches!(slot.part, Part::Encoder | Part::Pooler)
    }

    /// The deltas of a stack, each of which knows what it is kept out of. `freeze` itself is left where it is all there is.
    pub fn into_others(deltas: &[DeltaSpec]) -> Vec<DeltaSpec> {
        let Some(freeze) = deltas.iter().find(|spec| spec.method == NAME && deltas.len() > 1) else {
            return deltas.to_vec();
        };
        let layers = Value::Int(freeze.int("layers"));
        let others = deltas.iter().filter(|spec| spec.method != NAME).cloned();
        others
            .map(|mut spec| {
                spec.parameters.insert(FROZEN.into(), layers.clone());
                spec
            })
            .collect()
    }

    /// How many of the lowest layers a delta is kept out of, with the embeddings; `None` for nothing.
    pub fn layers(spec: &DeltaSpec) -> Option<usize> {
        let name = if spec.method == NAME { "layers" } else { FROZEN };
        spec.optional_int(name).map(|layers| layers as usize)
    }

    /// Whether a parameter lies where a delta is kept out.
    pub fn holds(spec: &DeltaSpec, slot: &Slot) -> bool {
        layers(spec).is_some_and(|layers| match slot.layer {
            Some(layer) => layer < layers,
            None => slot.part == Part::Encoder,
        })
    }

    /// Attaches a delta to a model, but for where it is kept out.
    ///
    /// # Errors
    /// The method's own; when the model has fewer layers than are frozen.
    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let attach = known_delta(spec)?.attach;
        let Some(frozen) = layers(spec) else { return attach(spec, model, seed) };
        let layers = model.layers();
        if frozen > layers {
            let message = format!("`freeze` is to hold {frozen} layers, and this model has {layers}");
            return Err(StageFailure::new("ftp::peft::too_many_layers", message)
                .help(format!("write `layers = {}` or fewer", layers.saturating_sub(1))));
        }
        model.above(frozen, |model| attach(spec, model, seed))
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle, registry};
    use super::*;
    use crate::data::batch::{Batch, Encoding};
    use crate::nn::models::Model;
    use crate::nn::models::layout::Part;
    use crate::nn::parameters::Weight;

    /// What acts before the layers.
    const BEFORE: [&str; 3] = ["prompt", "p_tuning", "invertible"];

    /// Every delta that stacks, and that is in the layers, kept out of the lowest of two.
    fn kept_out() -> Vec<DeltaSpec> {
        let stacks = registry().of_kind(Kind::Delta).filter(|delta| delta.input.contains(&Artifact::Parametrised));
        let inside = stacks.filter(|delta| delta.name != "freeze" && !BEFORE.contains(&delta.name));
        let freeze = oracle::spec("freeze", &[("layers", Value::Int(1))]);
        let small = |name: &str| match name {
            "prefix" => vec![("num_virtual_tokens", Value::Int(3))],
            "pal" => vec![("hidden_size_aug", Value::Int(6)), ("num_attention_heads", Value::Int(2))],
            _ => vec![],
        };
        let stack = |name: &str| into_others(&[oracle::spec(name, &small(name)), freeze.clone()]);
        inside.flat_map(|delta| stack(delta.name)).collect()
    }

    /// The states that leave the lowest layer.
    fn lowest(mut model: Model) -> Vec<f32> {
        model.fix(1);
        let row = |ids: &[u32]| Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], words: vec![] };
        let batch = Batch::pack(&[row(&[2, 7, 9, 3]), row(&[2, 11, 3])]);
        Weight::Matrix(model.fixed_states(&batch, None)).to_host().data
    }

    #[test]
    fn deltas_of_a_stack_put_nothing_into_frozen_layers_and_act_in_the_others() {
        let (base, whole) = (oracle::model(), oracle::evaluated(&oracle::model()));
        let frozen = lowest(base);
        let specs = kept_out();
        assert!(specs.len() > 4 && specs.iter().all(|spec| layers(spec) == Some(1)));
        for spec in specs {
            // BitFit adds nothing: what it trains is asked below.
            if spec.method != "bitfit" {
                let model = oracle::moved(&spec);
                assert_ne!(oracle::evaluated(&model), whole, "{}", spec.method);
                assert!(model.layout().slots.iter().all(|slot| slot.part != Part::Delta || slot.layer != Some(0)));
                // A prefix takes positions, which the embeddings feel.
                assert!(spec.method == "prefix" || lowest(model) == frozen, "{}", spec.method);
            }
            let mut model = oracle::moved(&spec);
            for (name, gradient) in oracle::gradients(&spec, &mut model) {
                let slot = model.layout().slots.iter().find(|slot| slot.name == name).unwrap();
                assert!(!holds(&spec, slot) && slot.layer != Some(0), "{}: {name}", spec.method);
                oracle::is_slope(&mut model, &name, &gradient);
            }
        }
    }

    #[test]
    fn what_is_kept_out_of_a_layer_folds_like_the_rest() {
        for spec in kept_out().iter().filter(|spec| ["lora", "ia3"].contains(&spec.method.as_str())) {
            oracle::folds(spec);
        }
    }

    #[test]
    fn alone_it_trains_all_that_is_above() {
        let mut model = oracle::model();
        let spec = oracle::spec("freeze", &[("layers", Value::Int(1))]);
        for name in oracle::gradients(&spec, &mut model).keys() {
            let held = name.contains("embeddings") || name.contains("layer.0.");
            assert!(!held && (name.contains("layer.1.") || name.contains("pooler")), "{name}");
        }
        assert_eq!(
            model.trainable_count(),
            model.layout().count(|slot| slot.layer == Some(1) || slot.part == Part::Pooler)
        );
        assert_eq!(into_others(std::slice::from_ref(&spec)), [spec]);
    }

    #[test]
    fn more_layers_than_the_model_has_are_an_error_that_says_how_many_there_are() {
        let stack = [oracle::spec("lora", &[]), oracle::spec("freeze", &[("layers", Value::Int(3))])];
        let error = attach(&into_others(&stack)[0], &mut oracle::model(), 0).unwrap_err();
        assert_eq!(error.code, "ftp::peft::too_many_layers");
        assert!(error.message.contains("has 2"), "{}", error.message);
    }
}
