//! `labelled`: single texts with a label or a score.

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
        path("A pattern whose files are the splits, relative to the `.ftp` file: `\"data/{train,dev,test}.jsonl\"`."),
        column("text", "The column with the text."),
    ];
    parameters.extend(labels());
    parameters.extend(reading());
    Signature {
        name: "labelled",
        kind: Kind::Source,
        version: 1,
        summary: "texts with a label or a score, in splits",
        docs: "`train` is trained on, `dev` chooses the best epoch, `test` is what tables report. Columns and task are guessed only \
where there is one way to read the files; otherwise the error lists the columns and asks.\n\n\
```ftp\nlet target = labelled(\"data/sst2/{train,dev,test}.jsonl\", labels = [\"negative\", \"positive\"])\n```",
        input: &[],
        output: Artifact::Labelled,
        parameters,
        reports: false,
        saved_as: None,
    }
}
