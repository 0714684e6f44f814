//! `last_layers`: train the top of the model only.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta { attach, trains, head_alone: true, ..super::Delta::of(trains) }),
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
    }
}

#[cfg(feature = "train")]
fn attach(spec: &super::DeltaSpec, model: &mut super::Model, _: u64) -> Result<(), super::StageFailure> {
    let (wanted, layers) = (spec.int("layers") as usize, model.layout().layers());
    if wanted > layers {
        let message = format!("`last_layers` was asked for {wanted} layers, and the model has {layers}");
        return Err(super::StageFailure::new("ftp::peft::too_many_layers", message)
            .help(format!("write `layers = {layers}` or fewer; leave `peft(..)` out to train everything")));
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
