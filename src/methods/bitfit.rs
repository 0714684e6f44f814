//! `bitfit`: train the biases only.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta::of(|_, _, parameter| parameter.is_bias())),
};

fn signature() -> Signature {
    Signature {
        name: "bitfit",
        kind: Kind::Delta,
        version: 1,
        summary: "train the biases (and the head) only",
        docs: "BitFit (Ben-Zaken et al. 2021, arXiv 2106.10199): every bias of the encoder trains - those of the attention, the feed-forward \
maps, the norms, the embeddings' norm and the pooler - and the new head; nothing else does. For BERT-base these are 102,912 parameters without the head, \
0.09 % of the model. Learning rates are higher than for full fine-tuning: 1e-4 to 1e-3.\n\n\
The result is stored as a delta: the biases and the head, and the digest of the model they belong to. Publishing makes a whole model of it.\n\n\
```ftp\npipeline small = base -> peft(bitfit) -> finetune(target, learning_rate = 1e-3)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![],
        reports: false,
        saved_as: None,
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::oracle;

    /// Of each of two layers eight biases, of the embeddings' norm, the pooler and the head one.
    #[test]
    fn gradients_of_the_biases_are_those_of_finite_differences_and_nothing_else_has_any() {
        oracle::has_gradients(&oracle::spec("bitfit", &[]), 2 * 8 + 3);
    }

    #[test]
    fn training_the_biases_learns_more_than_the_head_alone() {
        oracle::learns(&oracle::spec("bitfit", &[]), 3e-2);
    }
}
