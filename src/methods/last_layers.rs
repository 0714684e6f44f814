//! `last_layers`: train the top of the model only.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta { attach, head_alone: true, ..super::Delta::of(trains) }),
};

fn signature() -> Signature {
    Signature {
        name: "last_layers",
        kind: Kind::Delta,
        version: 1,
        summary: "train the head and the last layers only",
        docs: "The embeddings and the lower layers stay as they are; the last `layers` layers (with BERT's pooler) and the new head train (Lee et al. 2019, \
arXiv 1911.03090). With `layers = 0` only the head does: feature extraction, or linear probing (Peters et al. 2019, arXiv 1903.05987).\n\n\
What does not train is a fixed extractor of features: dropout does not act in it, so a row always has the same states there. They are computed once, \
kept in the store's `states` directory, and read again in every epoch, evaluation and run with other seeds. That directory may be deleted at any time.\n\n\
```ftp\npipeline probe = base -> peft(last_layers) -> finetune(target, learning_rate = 1e-3, epochs = 10)\n\
pipeline top   = base -> peft(last_layers, layers = 2) -> finetune(target)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: vec![Parameter::optional(
            "layers",
            ParameterType::Int { min: 0, max: 1000 },
            Value::Int(0),
            "Layers that train, counted from the top.",
        )],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn attach(spec: &super::DeltaSpec, model: &mut super::Model, _: u64) -> Result<(), super::StageFailure> {
    let (wanted, layers) = (spec.int("layers") as usize, model.layers());
    if wanted > layers {
        let message = format!("`last_layers` is to train {wanted} layers, and this model has {layers}");
        return Err(super::StageFailure::new("ftp::peft::too_many_layers", message)
            .help(format!("write `layers = {layers}` or fewer; leave `peft(..)` out to train everything")));
    }
    if model.virtual_tokens() > 0 {
        let message =
            "`last_layers` keeps what fixed layers make of a text, but a prompt below this model puts tokens before it";
        return Err(super::StageFailure::new("ftp::peft::virtual_tokens", message)
            .help("train `lora`, `adapter` or `bitfit` over a model with a prompt"));
    }
    model.fix(layers - wanted);
    Ok(())
}

#[cfg(feature = "train")]
fn trains(spec: &super::DeltaSpec, layers: usize, parameter: &super::Slot) -> bool {
    use crate::nn::models::layout::Part;
    let wanted = spec.int("layers") as usize;
    match parameter.layer {
        Some(layer) => layer + wanted >= layers,
        None => parameter.part == Part::Pooler && wanted > 0,
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::super::{DeltaSpec, Model};
    use super::*;
    use crate::hub::tensors::Tensors;
    use crate::lang::world::Task;
    use crate::nn::models::Head;

    fn spec(layers: i64) -> DeltaSpec {
        let parameters = [("layers".to_owned(), Value::Int(layers))].into_iter().collect();
        DeltaSpec { method: "last_layers".into(), version: 1, parameters }
    }

    fn head() -> Head {
        Head::Sequence(Task::Classification { labels: vec!["no".into(), "yes".into()] })
    }

    /// A layer of the base models has 4 (d d + d) + (ff d + ff) + (d ff + d) + 4 d parameters, d = 768, ff = 3072.
    #[test]
    fn as_many_parameters_train_as_the_top_layers_have_in_every_architecture() {
        let layer = 4 * (768 * 768 + 768) + (3072 * 768 + 3072) + (768 * 3072 + 768) + 4 * 768;
        for (model_type, count, pooler) in [("bert", 12, 768 * 768 + 768), ("roberta", 12, 0), ("distilbert", 6, 0)] {
            let layout = Model::layout_of(&json!({"model_type": model_type}), &head()).unwrap();
            assert_eq!(layout.layers(), count);
            for layers in [0, 1, 3, count] {
                let expected = layers * layer + if layers > 0 { pooler } else { 0 };
                let found = layout.count(|slot| trains(&spec(layers as i64), count, slot));
                assert_eq!(found, expected, "{model_type} {layers}");
            }
        }
    }

    #[test]
    fn more_layers_than_the_model_has_are_an_error_that_says_how_many_there_are() {
        let config = json!({
            "model_type": "distilbert", "vocab_size": 20, "dim": 8, "n_layers": 6, "n_heads": 2, "hidden_dim": 8,
        });
        let mut model = Model::new(&config, &Tensors::new(), &head(), 0, &Device::flex()).unwrap().0;
        let error = attach(&spec(7), &mut model, 0).unwrap_err();
        assert_eq!(error.code, "ftp::peft::too_many_layers");
        assert!(error.message.contains("has 6"), "{}", error.message);
        attach(&spec(2), &mut model, 0).unwrap();
        assert_eq!(model.fixed(), Some(4));
    }
}
