//! `adapt`: adaptive fine-tuning on unlabelled text.

use super::Method;
use super::parameters::{Training, masking, training};
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    let mut parameters = vec![
        Parameter::required(
            "domain",
            ParameterType::Artifact(Artifact::Text),
            "Text of the domain (or of the task: its unlabelled texts).",
        )
        .positional(),
    ];
    parameters.extend(masking());
    parameters.extend(training(Training {
        epochs: 3.0,
        batch_size: 32,
        learning_rate: 1e-4,
        warmup: 0.06,
        max_length: 128,
    }));
    Signature {
        name: "adapt",
        kind: Kind::Stage,
        version: 2,
        summary: "go on with masked language modelling on text of the target's domain",
        docs: "Adaptive fine-tuning: the pretraining loss, on text closer to what the model will see (Gururangan et al. 2020, \"Don't stop \
pretraining\": DAPT on text of the domain, TAPT on the task's own texts). It helps most when the domain is far from the pretraining text and labels are few; \
several tasks can share one adapted model, which is trained once.\n\n\
All weights train, unless a `peft(..)` stands before it. A model without a masked-LM head gets a new one, and says so.\n\n\
```ftp\nlet adapted = base -> adapt(domain, epochs = 3)\n```",
        input: &[Artifact::Model, Artifact::Parametrised, Artifact::Loaded],
        output: Artifact::Model,
        parameters,
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    let domain = stage.text("domain")?;
    let bundle = stage.model()?;
    super::unsupervised::masked_lm(stage, bundle, &domain)
}
