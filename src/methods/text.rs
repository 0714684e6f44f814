//! `text`: unlabelled documents.

use super::Method;
use super::parameters::{column, path, reading};
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Source,
};

fn signature() -> Signature {
    let mut parameters = vec![
        path(
            "A file or a pattern with `*` and `{a,b}`, relative to the `.ftp` file: `.txt` (a document a line), `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`.",
        ),
        column("column", "The column with the text, for files with columns."),
    ];
    parameters.extend(reading());
    Signature {
        name: "text",
        kind: Kind::Source,
        version: 1,
        summary: "unlabelled documents from files",
        docs: "A `.txt` file holds a document a line. Of other files one column is read.\n\n```ftp\nlet domain = text(\"data/tickets/*.txt\")\n```",
        input: &[],
        output: Artifact::Text,
        parameters,
        reports: false,
        saved_as: None,
    }
}
