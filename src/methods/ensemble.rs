//! `ensemble`: several models that answer together.

use super::Method;
use super::parameters::evaluated;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "ensemble",
        kind: Kind::Stage,
        version: 1,
        summary: "let several models answer together",
        docs: "The answer to a row is that of the mean of the models' logits, for a regression the mean of their scores. The models may be of any kind and size, as long as \
they know the same labels in the same order. An ensemble ends its pipeline: it is evaluated, not trained on and not published.\n\n\
```ftp\npipeline together = [small, large] -> ensemble\nexpect together.accuracy - small.accuracy >= 0.0\n```",
        input: &[Artifact::Models],
        output: Artifact::Ensemble,
        parameters: evaluated(),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use crate::plan::spec::Outcome;

    let count = stage.model_count();
    let mut notices = vec![];
    let mut summary = super::panel::report(stage, &mut notices, (0..count).map(|number| stage.model_of(number)))?;
    let members: Result<Vec<_>, _> =
        (0..count).map(|number| Ok(stage.result_of(number)?.map(|(output, _)| output))).collect();
    let members: Vec<_> = members.map_err(|failure: crate::plan::spec::StageFailure| failure)?;
    summary["members"] = serde_json::json!(members);
    Ok(Outcome { files: vec![], base: None, summary, notices })
}
