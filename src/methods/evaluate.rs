//! `evaluate`: a model as it is, on a set.

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
        name: "evaluate",
        kind: Kind::Stage,
        version: 1,
        summary: "use a model as it is, and report on a set",
        docs: "Trains nothing. The model's own head answers, so the set must have its labels, in its order. A saved delta that `peft(..)` attached before it becomes part of the model: laid into the weights \
where it can be (`lora`, `ia3`), beside them otherwise.\n\n\
Without a set nothing is reported, and the model can be published, or go on to further stages.\n\n\
```ftp\nlet mood = delta(\"out/mood\")\npipeline imported = base -> peft(mood) -> evaluate(target)\nexpect imported.accuracy >= 0.8\n```",
        input: &[Artifact::Model, Artifact::Loaded],
        output: Artifact::Model,
        parameters: evaluated(),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use super::bundle;
    use crate::plan::spec::Outcome;

    let mut model = stage.model()?;
    let apart = model.take_attached(stage.task_of("model")?)?;
    let mut notices = vec![];
    let Some(apart) = apart else {
        let summary = super::panel::report(stage, &mut notices, std::iter::once(Ok(&model)))?;
        let files = match &model.origin {
            Some(_) => vec![],
            None => model.save(&stage.spec.attempt)?,
        };
        return Ok(Outcome { files, base: model.origin, summary, notices });
    };
    let (config, changed, base) = (apart.config(&model.config)?, apart.tensors(), model.origin.clone());
    model.lay_over(config.clone(), changed.clone(), &apart.specs)?;
    let mut summary = super::panel::report(stage, &mut notices, std::iter::once(Ok(&model)))?;
    summary[bundle::TRAINED] = bundle::described(&apart.specs);
    let base = base.ok_or_else(|| bundle::not_stored("the model below the delta"))?;
    bundle::write_delta(stage, base, &config, &changed, summary, notices)
}
