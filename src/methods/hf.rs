//! `hf`: a pretrained model from a Hugging Face directory, or from the hub.

use super::Method;
use super::parameters::path;
use crate::lang::signature::{Artifact, Class, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

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
        summary: "a pretrained model from a Hugging Face directory, or from the hub",
        docs: "The directory holds `config.json`, `model.safetensors` (or its shards) and `tokenizer.json` or `vocab.txt`, as \
`save_pretrained` and `hf download` leave them. Architectures: BERT, RoBERTa, DistilBERT.\n\n\
With a `revision` it is a model of the Hugging Face hub (`$HF_ENDPOINT`, else huggingface.co). `ftp lock` fetches the files \
above, and no other, and records commit and content digest in `ftp.lock`; `ftp run` does so by itself unless it is told `--locked`. From then \
on it is those files or an error. The key of a result knows the files only, not where they came from.\n\n\
```ftp\nlet base = hf(\"models/minilm\")\nlet other = hf(\"sentence-transformers/all-MiniLM-L6-v2\", revision = \"main\")\n```",
        input: &[],
        output: Artifact::Model,
        parameters: vec![
            path("The directory, relative to the `.ftp` file; with `revision`, the name of a model on the hub."),
            on_hub("revision", ParameterType::String, "A branch, a tag or a commit of a model on the hub."),
            on_hub(
                "token",
                ParameterType::Secret,
                "The environment variable with the access token for a private or gated model. Read when the model is fetched, and by nothing else.",
            ),
        ],
        reports: false,
        saved_as: None,
    }
}

/// Where the files are fetched from is no part of a key: they are.
fn on_hub(name: &'static str, ty: ParameterType, doc: &'static str) -> Parameter {
    Parameter::optional(name, ty, Value::None, doc).class(Class::Operational)
}
