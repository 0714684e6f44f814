//! `finetune`: training on the target's labels.

use super::Method;
use super::parameters::supervised;
use super::stability::stability;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "finetune",
        kind: Kind::Stage,
        version: 2,
        summary: "train on the target's labels; report on its test split",
        docs: "A new head on the encoder, trained with it (Devlin et al. 2019, section 4): all weights, or only those of the delta that a \
`peft(..)` before it attached. The best epoch on the `dev` split is kept; the `test` split is looked at once, at the end.\n\n\
The parameters from `layer_decay` on are for small sets, on which fine-tuning may fail with one seed and succeed with the next; docs/stability.md has their formulas and \
the recipes they come from.\n\n\
```ftp\npipeline small = base -> peft(bitfit) -> finetune(target, epochs = 5, learning_rate = 1e-3)\nexpect small.accuracy >= 0.8\n```",
        input: &[Artifact::Model, Artifact::Parametrised, Artifact::Loaded],
        output: Artifact::Model,
        parameters: [supervised("target", "The set to learn, with its splits."), stability()].concat(),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    super::supervised::fine_tune(stage, "target")
}
