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
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use crate::lang::metric;
    use crate::lang::world::Task;
    use crate::plan::spec::{Outcome, StageFailure};

    let mut best: Option<(f64, usize, crate::lang::world::Digest, serde_json::Value)> = None;
    let mut values = vec![];
    let mut by = stage.optional_name("best").map(str::to_owned);
    for number in 0..stage.model_count() {
        let without = || {
            StageFailure::new(
                "ftp::select::no_metrics",
                format!("model {} of the list was not evaluated on a dev split", number + 1),
            )
            .help(
                "give the set a dev split, and end each of the models with a stage that learns it: `finetune(target)`",
            )
        };
        let (output, summary) = stage.result_of(number)?.ok_or_else(without)?;
        let by = by.get_or_insert_with(|| {
            let task: Option<Task> = serde_json::from_value(summary["task"].clone()).ok();
            task.map_or("loss", |task| metric::of(&task)[0]).to_owned()
        });
        let value = summary["metrics"]["dev"][by.as_str()].as_f64().ok_or_else(without)?;
        let better = match &best {
            None => true,
            Some((least, ..)) if metric::rises(by) => value > *least,
            Some((most, ..)) => value < *most,
        };
        values.push(value);
        if better {
            best = Some((value, number, output, summary));
        }
    }
    let Some((value, number, output, mut summary)) = best else {
        return Err(StageFailure::new("ftp::select::no_models", "there is no model to choose from"));
    };
    summary["selected"] = serde_json::json!({ "model": number, "by": by, "value": value, "of": values });
    Ok(Outcome { files: vec![], base: Some(output), summary, notices: vec![] })
}
