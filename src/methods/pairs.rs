//! `pairs`: pairs of texts with a label or a score.

use super::Method;
use super::parameters::{column, labels, path, reading};
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Source,
};

fn signature() -> Signature {
    let mut parameters = vec![
        path("A pattern whose files are the splits, relative to the `.ftp` file: `\"data/{train,dev}.jsonl\"`."),
        column("text", "The column with the first text (premise, question ...)."),
        column("text_pair", "The column with the second text (hypothesis, answer ...)."),
    ];
    parameters.extend(labels());
    parameters.extend(reading());
    Signature {
        name: "pairs",
        kind: Kind::Source,
        version: 1,
        summary: "pairs of texts with a label or a score, in splits",
        docs: "As `labelled`, for two texts a row: `[CLS] first [SEP] second [SEP]`.\n\n\
```ftp\nlet mnli = pairs(\"data/mnli/{train,dev}.jsonl\")\n```",
        input: &[],
        output: Artifact::Labelled,
        parameters,
        reports: false,
        saved_as: None,
    }
}
