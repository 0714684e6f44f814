//! `select`: the best of several models.

use super::Method;
use super::parameters::METRIC;
use crate::lang::signature::{Artifact, Kind, Parameter, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "select",
        kind: Kind::Stage,
        version: 1,
        summary: "keep the best of several models",
        docs: "Takes the model that did best on the `dev` split of the set it learnt last; of equals the first. The `test` split is not looked at: what \
`expect` and the tables show of the result is the chosen model's own report.\n\n\
Reporting the best of many seeds flatters a method: compare it with the best of as many of another (Dodge et al. 2020).\n\n\
```ftp\npipeline best = base -> each(seed in 1..5) finetune(target) -> select(best = accuracy)\n```",
        input: &[Artifact::Models],
        output: Artifact::Model,
        parameters: vec![Parameter::optional(
            "best",
            METRIC,
            Value::None,
            "What to choose by, on the dev split; by default accuracy, for a regression Pearson's correlation.",
        )],
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use super::ranking::Ranking;
    use crate::plan::spec::Outcome;

    let Ranking { by, values, order, mut results } = Ranking::of(stage)?;
    // A ranking is of at least one model.
    let number = order[0];
    let (output, mut summary) = results.swap_remove(number);
    summary["selected"] = serde_json::json!({ "model": number, "by": by, "value": values[number], "of": values });
    Ok(Outcome { files: vec![], base: Some(output), summary, notices: vec![] })
}
