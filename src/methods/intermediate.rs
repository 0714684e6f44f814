//! `intermediate`: behavioural fine-tuning on a labelled task that is not the target.

use super::Method;
use super::parameters::supervised;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "intermediate",
        kind: Kind::Stage,
        version: 2,
        summary: "fine-tune on an intermediate labelled task first",
        docs: "Behavioural fine-tuning: supplementary training on a labelled task that teaches what the target needs (Phang et al. 2018, \
STILTs; natural language inference is the best all-rounder). Its head is dropped when the next stage brings its own labels, and the report says so.\n\n\
```ftp\npipeline chain = base -> intermediate(task = mnli) -> finetune(target)\n```",
        input: &[Artifact::Model, Artifact::Parametrised, Artifact::Loaded],
        output: Artifact::Model,
        parameters: supervised("task", "The intermediate task."),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    super::supervised::fine_tune(stage, "task")
}
