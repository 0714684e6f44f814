//! `average`: one model whose weights are the mean of several.

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
        name: "average",
        kind: Kind::Stage,
        version: 1,
        summary: "average the weights of several models",
        docs: "Each weight is the mean of the models' weights, heads included: a uniform soup (Wortsman et al. 2022, section 2). It costs no more than one model to use. \
The models must be fine-tuned from one and the same model on one task; means of models that started elsewhere are of no use. New heads \
start from each seed's own draw, so a soup over seeds needs enough training for them to agree; the dev split tells.\n\n\
```ftp\npipeline soup = base -> each(learning_rate in [1e-5, 2e-5, 5e-5]) finetune(target) -> average\n```",
        input: &[Artifact::Models],
        output: Artifact::Model,
        parameters: evaluated(),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use super::beside;
    use crate::plan::spec::{Outcome, StageFailure};

    let count = stage.model_count();
    let mut soup = stage.model_of(0)?;
    let mut sums: Vec<Vec<f64>> =
        soup.tensors.values().map(|tensor| tensor.data.iter().map(|value| f64::from(*value)).collect()).collect();
    for number in 1..count {
        let other = stage.model_of(number)?;
        let differs = |what: String| {
            StageFailure::new("ftp::average::different_models", format!("model {} of the list {what}", number + 1))
                .help("average models that were fine-tuned from one model on one task")
        };
        if other.config["id2label"] != soup.config["id2label"] {
            return Err(differs("has other labels than the first".to_owned()));
        }
        if other.config.get(beside::KEY) != soup.config.get(beside::KEY) {
            return Err(differs("has other deltas beside it than the first".to_owned()));
        }
        if other.tensors.len() != soup.tensors.len() {
            return Err(differs("has other weights than the first".to_owned()));
        }
        for ((name, tensor), sum) in soup.tensors.iter().zip(&mut sums) {
            let found = other.tensors.get(name).filter(|found| found.shape == tensor.shape);
            let found = found.ok_or_else(|| differs(format!("has no weight `{name}` of the first one's shape")))?;
            sum.iter_mut().zip(&found.data).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    for (tensor, sum) in soup.tensors.values_mut().zip(sums) {
        tensor.data = sum.into_iter().map(|sum| (sum / count as f64) as f32).collect();
    }
    soup.origin = None;
    let mut notices = vec![];
    let mut summary = super::panel::report(stage, &mut notices, std::iter::once(Ok(&soup)))?;
    summary["averaged"] = serde_json::json!(count);
    stage.activity("saving");
    let files = soup.save(&stage.spec.attempt)?;
    Ok(Outcome { files, base: None, summary, notices })
}
