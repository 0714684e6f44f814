//! `movement_pruning`: weights that move towards 0 in fine-tuning are pruned, a given share of each map.

use super::{Method, pruning};
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(pruning::delta(pruning::scores)),
};

/// Of the scores, for this method and its soft form.
pub(super) fn score_learning_rate() -> Parameter {
    Parameter::optional(
        "score_learning_rate",
        ParameterType::Float { min: 0.0, max: 1e6, above: false },
        Value::Float(1e-2),
        "Highest learning rate of the scores, under the same schedule as that of the weights.",
    )
}

fn signature() -> Signature {
    Signature {
        name: "movement_pruning",
        kind: Kind::Delta,
        version: 1,
        summary: "prune the weights that fine-tuning moves towards 0, to a given share",
        docs: "Movement pruning (Sanh, Wolf & Rush 2020, arXiv 2005.07683), in its hard form. The weights `W` of all six linear maps of every layer act as `W' = W M`, where the mask `M` \
is 1 for the share `v` of a map's weights with the largest scores `S` and 0 for the others. Scores start at 0 and train beside the weights, by the straight-through gradient `dL/dS = dL/dW' W`: a \
weight that fine-tuning moves away from 0 gains, one that it moves towards 0 loses, and one that was pruned may come back. Of equal scores, those of larger weights count as larger.\n\n\
`v` is 1 for `initial_warmup` of the steps, falls along a cubic curve to `keep`, steeply at first, and stays there for the last `final_warmup` of the steps: \
`v(t) = keep + (1 - keep) (1 - (t - t_i) / (T - t_i - t_f))^3`. Only evaluations after that count for `keep` and `patience` of `finetune`.\n\n\
All weights train at `learning_rate` but those of the embeddings, which are not pruned either. Pruning takes long trainings: the paper's have 6 to 10 epochs of large sets. With about \
15 % of the weights left, or fewer, it is better there than `magnitude_pruning`; with many left, magnitude is as good or better. Scores \
of short ones are noise, and what they prune may be what all else rests on: MiniLM-L6 on MRPC, 3 epochs, came to the majority class at `keep = 15 %` and at 50 %, its states the same for every text \
(as they were in a plain PyTorch implementation at 50 %, trained on 1,200 of the 3,668 rows), where `magnitude_pruning` to 15 % came to a Matthews correlation of 0.14.\n\n\
The result is stored as a mask and the weights that are left, beside biases, norms, pooler and head. Later stages, predicting and publishing see a model of the usual shape, with zeros, which `transformers` loads; \
a stage that trains all weights again fills them.\n\n\
```ftp\npipeline sparse = base -> peft(movement_pruning, keep = 15 %) -> finetune(target, epochs = 10, learning_rate = 3e-5)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: [vec![pruning::keep()], pruning::warmups().to_vec(), vec![score_learning_rate()]].concat(),
        reports: false,
        saved_as: None,
    }
}
