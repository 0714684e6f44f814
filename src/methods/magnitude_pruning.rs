//! `magnitude_pruning`: the smallest weights are pruned, a given share of each map.

use super::{Method, pruning};
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(pruning::delta(pruning::no_scores)),
};

fn signature() -> Signature {
    Signature {
        name: "magnitude_pruning",
        kind: Kind::Delta,
        version: 1,
        summary: "prune the weights nearest to 0, to a given share",
        docs: "Gradual magnitude pruning (Han et al. 2015; Zhu & Gupta 2017, arXiv 1710.01878), as Sanh et al. 2020 (arXiv 2005.07683) compare it with `movement_pruning`: the same maps, the same schedule, the \
same storage, but of each map those weights act that are farthest from 0. A weight that was pruned has no gradient any more, so that it stays as it is, but for the optimizer's momentum and decay.\n\n\
Up to 30 to 40 % of BERT's weights can go at next to no cost, by magnitude, and much more costs what pretraining taught (Gordon, Duh & Andrews 2020, arXiv 2002.08307). It needs no memory for scores.\n\n\
```ftp\npipeline sparse = base -> peft(magnitude_pruning, keep = 60 %) -> finetune(target, epochs = 5, learning_rate = 3e-5)\n```",
        input: &[],
        output: Artifact::Parametrised,
        parameters: [vec![pruning::keep()], pruning::warmups().to_vec()].concat(),
        reports: false,
        saved_as: None,
    }
}
