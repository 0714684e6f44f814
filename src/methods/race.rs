//! `race`: of several trainings, only the most promising go on.

use super::Method;
use super::parameters::METRIC;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    Signature {
        name: "race",
        kind: Kind::Stage,
        version: 1,
        summary: "begin several trainings, and go on with the most promising only",
        docs: "Each training of the list runs until the share `at` of its steps and is evaluated on the `dev` split; the `keep` that do best then run to their end, and \
the others are not gone on with (Dodge et al. 2020, section 6). A training that is kept comes to what it would have come to alone, to the bit. With `s` trainings of \
`T` steps, `at = f` and `keep = p`, `s f T + p (1 - f) T` steps are taken.\n\n\
What is left is a list: `select`, `average`, `ensemble` and `each` take it, a fold such as `mean(tries.accuracy)` is over those that were kept, and a single one that was \
stopped has no results. Which were kept is stored like any result. `keep` counts models: it can't be larger than what there is.\n\n\
```ftp\npipeline best = base -> each(seed in 1..20) finetune(target) -> race(keep = 5, at = 30 %) -> select\n```",
        input: &[Artifact::Models],
        output: Artifact::Models,
        parameters: vec![
            Parameter::required(
                "keep",
                ParameterType::Int { min: 1, max: 10_000 },
                "How many go on; fewer than there are.",
            ),
            Parameter::optional(
                "at",
                ParameterType::Ratio,
                Value::Float(0.25),
                "The share of the steps after which they are compared; 20 to 30 % tells enough (Dodge et al. 2020).",
            ),
            Parameter::optional(
                "best",
                METRIC,
                Value::None,
                "What to compare by, on the dev split; by default accuracy, for a regression Pearson's correlation.",
            ),
        ],
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use super::ranking::Ranking;
    use crate::plan::race::Decision;
    use crate::plan::spec::Outcome;

    let Ranking { by, values, order, .. } = Ranking::of(stage)?;
    let mut kept = order;
    kept.truncate(stage.int("keep") as usize);
    kept.sort_unstable();
    let decision = Decision { by, of: values, kept };
    Ok(Outcome { files: vec![], base: None, summary: serde_json::json!(decision), notices: vec![] })
}
