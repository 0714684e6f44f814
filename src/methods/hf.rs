//! `hf`: a pretrained model from a Hugging Face directory.

use super::Method;
use super::parameters::path;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Source,
};

fn signature() -> Signature {
    Signature {
        name: "hf",
        kind: Kind::Source,
        version: 1,
        summary: "a pretrained model from a Hugging Face directory",
        docs: "The directory holds `config.json`, `model.safetensors` (or its shards) and `tokenizer.json` or `vocab.txt`, as \
`save_pretrained` and `huggingface-cli download` leave them. Architectures: BERT, RoBERTa, DistilBERT.\n\n\
```ftp\nlet base = hf(\"models/minilm\")\n```",
        input: &[],
        output: Artifact::Model,
        parameters: vec![path("The directory, relative to the `.ftp` file.")],
        reports: false,
    }
}
