//! `delta`: a delta that `peft` or `adapters` saved, or `publish .. as adapter` wrote.

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
        name: "delta",
        kind: Kind::Source,
        version: 1,
        summary: "a delta that `peft` or `adapters` saved",
        docs: "The directory holds `adapter_config.json` and its weights as safetensors, as `save_pretrained` of `peft`, `save_adapter` of `adapters` and `publish .. as adapter` leave them. \
Of `peft`: LoRA (also rank-stabilised, and DoRA), IA3, prompt tuning, P-tuning, prefix tuning. Of `adapters`: bottlenecks as `seq_bn` and `double_seq_bn`, each also with `_inv`. \
A setting that would change what is computed and that ftp can't do is an error when the file is checked; docs/interchange.md lists them.\n\n\
It is no model: `peft(..)` attaches it to the one it was made for. A training stage after that trains it further, from its values; `evaluate` uses it as it is. The key of a result knows what the files hold, not where \
they lie.\n\n\
```ftp\nlet mood = delta(\"out/mood\")\npipeline as_it_is = base -> peft(mood) -> evaluate(target)\npipeline further  = base -> peft(mood) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[],
        output: Artifact::Delta,
        parameters: vec![path("The directory, relative to the `.ftp` file.")],
        reports: false,
        saved_as: None,
    }
}
