//! `peft`: attach a delta method to a model.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "peft",
        kind: Kind::Stage,
        version: 1,
        summary: "train only a small delta in the next stage",
        docs: "Parameter-efficient fine-tuning: the next training stage leaves the model as it is and trains a delta, theta = \
theta_pretrained + delta. The first argument names the delta method; further arguments are that method's.\n\n\
Several deltas train together in a `stack(..)`, each with its own arguments; all that they train is stored as one delta. They act in the order in which `ftp methods` \
lists them, however they are written, so that equal stacks have equal results. A method can be in a stack once, and `last_layers` stands alone. `freeze(layers = 6)` keeps the others out of the lowest layers.\n\n\
A saved delta, `delta(\"..\")`, is attached with its values: the next training stage trains it further, and `evaluate` uses it as it is.\n\n\
```ftp\npipeline small = base -> peft(bitfit) -> finetune(target)\n\
pipeline both  = base -> peft(stack(lora(rank = 4), bitfit)) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[Artifact::Model],
        output: Artifact::Parametrised,
        parameters: vec![
            Parameter::required(
                "method",
                ParameterType::Delta,
                "The delta method: `bitfit`, `lora`, `last_layers`; several, `stack(lora, bitfit)`; or the name of a saved delta.",
            )
            .positional(),
        ],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    super::bundle::parametrise(stage)
}
