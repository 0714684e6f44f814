//! `pretrain`: a new model, from scratch.

use super::Method;
use super::parameters::{Training, masking, training};
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType as T, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    let size = T::Int { min: 1, max: 65_536 };
    let mut parameters = vec![
        Parameter::required("corpus", T::Artifact(Artifact::Text), "The text to learn from.").positional(),
        Parameter::optional(
            "vocab_size",
            T::Int { min: 100, max: 1_000_000 },
            Value::Int(8000),
            "WordPiece vocabulary, special tokens included; small corpora may give fewer.",
        ),
        Parameter::optional(
            "lowercase",
            T::Bool,
            Value::Bool(true),
            "Lower-case the text and strip accents before tokenising.",
        ),
        Parameter::optional(
            "hidden_size",
            size.clone(),
            Value::Int(256),
            "Width of the model; a multiple of `num_attention_heads`.",
        ),
        Parameter::optional("num_hidden_layers", size.clone(), Value::Int(4), "Number of layers."),
        Parameter::optional("num_attention_heads", size.clone(), Value::Int(4), "Heads of each attention."),
        Parameter::optional(
            "intermediate_size",
            size,
            Value::None,
            "Inner width of the feed-forward maps; by default 4 x `hidden_size`.",
        ),
        Parameter::optional(
            "hidden_dropout_prob",
            T::Ratio,
            Value::Float(0.1),
            "Dropout after embeddings and sub-layers; kept in the model's configuration for later stages.",
        ),
        Parameter::optional(
            "attention_probs_dropout_prob",
            T::Ratio,
            Value::Float(0.1),
            "Dropout of attention probabilities.",
        ),
    ];
    parameters.extend(masking());
    parameters.extend(training(Training {
        epochs: 10.0,
        batch_size: 32,
        learning_rate: 5e-4,
        warmup: 0.1,
        max_length: 128,
    }));
    Signature {
        name: "pretrain",
        kind: Kind::Stage,
        version: 2,
        summary: "a new BERT with its own WordPiece tokenizer, trained as a masked language model",
        docs: "Trains a WordPiece tokenizer on `corpus`, initialises a BERT of the given size as `transformers` does, and trains it to \
predict masked tokens (Devlin et al. 2019, BERT). It begins a chain. Documents are cut into blocks of `max_length` tokens; blocks never span documents.\n\n\
From scratch, a small model on a small corpus learns word order and frequent phrases, not knowledge: use it to try pipelines out, for languages \
and alphabets nobody pretrained, or for symbols that are not language.\n\n\
```ftp\nset pretrain(corpus = general, hidden_size = 256)\npipeline tiny = pretrain -> finetune(target)\n```",
        input: &[],
        output: Artifact::Model,
        parameters,
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use super::bundle::Bundle;
    use crate::data::tokenizer::Tokenizer;
    use crate::plan::spec::StageFailure;

    let corpus = stage.text("corpus")?;
    stage.activity(format!("training the tokenizer on {} documents", corpus.len()));
    let size = stage.int("vocab_size") as usize;
    let tokenizer = Tokenizer::train_wordpiece(&corpus, size, stage.bool("lowercase"), 2)?;
    let (hidden, heads) = (stage.int("hidden_size"), stage.int("num_attention_heads"));
    if hidden % heads != 0 {
        return Err(StageFailure::new(
            "ftp::pretrain::heads",
            format!("a hidden_size of {hidden} can't be shared evenly by {heads} attention heads"),
        )
        .help("choose a hidden_size that is a multiple of num_attention_heads"));
    }
    let config = serde_json::json!({
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": hidden,
        "num_hidden_layers": stage.int("num_hidden_layers"),
        "num_attention_heads": heads,
        "intermediate_size": stage.optional_int("intermediate_size").unwrap_or(4 * hidden),
        "hidden_act": "gelu",
        "hidden_dropout_prob": stage.float("hidden_dropout_prob"),
        "attention_probs_dropout_prob": stage.float("attention_probs_dropout_prob"),
        "max_position_embeddings": stage.int("max_length").max(512),
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": tokenizer.special().pad,
        "tie_word_embeddings": true,
        "dtype": "float32",
    });
    let bundle = Bundle::fresh(config, tokenizer);
    super::unsupervised::masked_lm(stage, bundle, &corpus)
}
