//! `soft_movement_pruning`: weights whose score falls below a threshold are pruned; how many that is, training finds.

use super::movement_pruning::score_learning_rate;
use super::{Method, pruning};
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(pruning::delta(pruning::scores)),
};

fn signature() -> Signature {
    let threshold = Parameter::optional(
        "threshold",
        ParameterType::Float { min: 0.0, max: 0.999, above: true },
        Value::Float(0.1),
        "`tau` in the end: weights whose score has a larger sigmoid are left.",
    );
    let score_weight = Parameter::optional(
        "score_weight",
        ParameterType::Float { min: 0.0, max: 1e9, above: false },
        Value::Float(400.0),
        "`lambda` in the end: weight of the mean sigmoid of the scores in the loss. More of it leaves fewer weights.",
    );
    Signature {
        name: "soft_movement_pruning",
        kind: Kind::Delta,
        version: 1,
        summary: "prune the weights that fine-tuning moves towards 0, as many as fall below a threshold",
        docs: "Soft movement pruning (Sanh, Wolf & Rush 2020, arXiv 2005.07683, section 4). As `movement_pruning`, but a weight is left where the sigmoid of its score is above `tau`, so that each \
map keeps as many as it needs: some a half, some next to none. At least 0.5 % of a map, those with the largest scores, are left in any case.\n\n\
The loss has, beside the task's, `lambda` times the mean over maps of the mean sigmoid of their scores, which presses scores down. `tau` goes from 0 to `threshold` along the cubic curve of `movement_pruning`, between \
`initial_warmup` and `final_warmup`; `lambda = score_weight tau / threshold` rises with it.\n\n\
There is no share to ask for: what is left depends on `score_weight`, on the learning rate of scores and on the length of the training, and a note says what it came to. With 400 the paper's 55,000 steps on SQuAD left 3 to 10 %. Scores \
move by about `score_learning_rate` a step at most, and have to come from 0 to -2.2 to fall below 0.1, which short trainings need a larger rate for.\n\n\
```ftp\npipeline sparse =\n  base -> peft(soft_movement_pruning, score_weight = 400) -> finetune(target, epochs = 10, learning_rate = 3e-5)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: [vec![threshold, score_weight], pruning::warmups().to_vec(), vec![score_learning_rate()]].concat(),
        reports: false,
        saved_as: None,
    }
}
