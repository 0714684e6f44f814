//! Parameters that several methods share, declared once, with each method's own defaults.

use crate::lang::signature::{Artifact, Class, Parameter, ParameterType};
use crate::lang::value::Value;

const COUNT: ParameterType = ParameterType::Int { min: 1, max: 1_000_000_000 };

/// The metrics of all tasks, and the loss.
pub(super) const METRIC: ParameterType = ParameterType::Choice(&[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "matthews",
    "pearson",
    "spearman",
    "mean_squared_error",
    "loss",
]);

/// What several models are evaluated on together, and how.
pub(super) fn evaluated() -> Vec<Parameter> {
    vec![
        Parameter::optional(
            "target",
            ParameterType::Artifact(Artifact::Labelled),
            Value::None,
            "The set to report on; by default the one that all the models learnt last.",
        )
        .positional(),
        Parameter::optional(
            "max_length",
            ParameterType::Int { min: 8, max: 8192 },
            Value::Int(128),
            "Longest sequence in tokens, special tokens included; longer rows are cut, and counted.",
        ),
    ]
}

/// What differs between the methods that train.
pub(super) struct Training {
    pub epochs: f64,
    pub batch_size: i64,
    pub learning_rate: f64,
    /// Fraction of the steps.
    pub warmup: f64,
    pub max_length: i64,
}

/// Loop, optimizer and schedule, in the order of the manual.
pub(super) fn training(defaults: Training) -> Vec<Parameter> {
    use Parameter as P;
    use ParameterType as T;
    vec![
        P::optional("epochs", T::Epochs, Value::Epochs(defaults.epochs), "Passes over the training rows; fractions allowed."),
        P::optional("steps", T::Steps, Value::None, "Optimizer steps, instead of epochs."),
        P::optional("batch_size", COUNT, Value::Int(defaults.batch_size), "Rows in an optimizer step."),
        P::optional(
            "micro_batch_size",
            COUNT,
            Value::None,
            "Rows in one pass through the model. A step's passes add up to the same gradient as one big pass; lower it when memory is short.",
        )
        .class(Class::Numeric),
        P::optional(
            "micro_batch_tokens",
            COUNT,
            Value::Int(16_384),
            "Most tokens in one pass. A step with more is cut into passes of rows of similar length.",
        )
        .class(Class::Numeric),
        P::optional(
            "learning_rate",
            T::Float { min: 0.0, max: 1.0, above: true },
            Value::Float(defaults.learning_rate),
            "The highest learning rate, reached at the end of the warm-up.",
        ),
        P::optional(
            "schedule",
            T::Choice(&["linear", "cosine", "constant", "slanted"]),
            Value::Name("linear".into()),
            "How the learning rate falls after the warm-up: to 0 in a straight line, to 0 along half a cosine, or not at all; `slanted` rises from 1/32 over the warm-up \
and falls back to that in straight lines (Howard & Ruder 2018).",
        ),
        P::optional(
            "warmup",
            T::StepsOrRatio,
            Value::Float(defaults.warmup),
            "Steps (or share of all steps) over which the learning rate rises from 0.",
        ),
        P::optional(
            "weight_decay",
            T::Float { min: 0.0, max: 1.0, above: false },
            Value::Float(0.01),
            "Decoupled weight decay of AdamW, on all trained weights but biases and norms.",
        ),
        P::optional("adam_beta1", T::Float { min: 0.0, max: 0.999_999, above: false }, Value::Float(0.9), "AdamW's decay of the first moment."),
        P::optional("adam_beta2", T::Float { min: 0.0, max: 0.999_999, above: false }, Value::Float(0.999), "AdamW's decay of the second moment."),
        P::optional("adam_epsilon", T::Float { min: 0.0, max: 1.0, above: true }, Value::Float(1e-8), "AdamW's epsilon."),
        P::optional(
            "bias_correction",
            T::Bool,
            Value::Bool(true),
            "Corrects AdamW's moments for their start at 0. The first BERT code did not (Mosbach et al. 2021 show what that costs).",
        ),
        P::optional(
            "max_grad_norm",
            T::Float { min: 0.0, max: 1e9, above: false },
            Value::Float(1.0),
            "Gradients are scaled down to this global norm; 0 switches clipping off.",
        ),
        P::optional(
            "max_length",
            T::Int { min: 8, max: 8192 },
            Value::Int(defaults.max_length),
            "Longest sequence in tokens, special tokens included; longer rows are cut, and counted.",
        ),
        P::optional(
            "precision",
            T::Choice(&["f32", "f32_strict", "bf16"]),
            Value::Name("f32".into()),
            "How the factors of matrix products are rounded; weights, sums and everything else are 32-bit floats. `bf16` keeps 8 bits of each factor and is about \
twice as fast where the processor has instructions for it. On a processor with matrix tiles (AMX), `f32` multiplies three pairs of bfloat16s for each pair of floats, \
16 bits of precision; `f32_strict` does not.",
        )
        .class(Class::Numeric),
        P::optional("seed", T::Int { min: 0, max: i64::MAX }, Value::Int(42), "Seed of everything random: new weights, order, dropout, masks."),
        P::optional(
            "checkpoint_every",
            T::Duration,
            Value::Seconds(300.0),
            "How often the state of the training is kept, so that a run that was killed or stopped goes on from there; less often where that would cost more than \
1 % of the time. The result is the same.",
        )
        .class(Class::Operational),
        P::optional("checkpoint_steps", T::Steps, Value::None, "Keeps the state also after every so many steps, whatever that costs.")
            .class(Class::Operational),
        P::optional("time_limit", T::Duration, Value::None, "The stage is stopped, and fails, after this time.")
            .class(Class::Operational),
        P::optional(
            "cores",
            T::Int { min: 1, max: 1024 },
            Value::None,
            "Cores of the processor that the stage is to have to itself while others run beside it (`--jobs`); by default its even share.",
        )
        .class(Class::Operational),
        P::optional(
            "memory",
            T::Size,
            Value::None,
            "Memory that the stage needs: it begins when those that run beside it (`--jobs`) leave so much.",
        )
        .class(Class::Operational),
    ]
}

/// Learning a labelled set: the set in its `slot`, and how. The defaults lie within what Devlin et al. 2019, appendix A.3,
/// recommend.
pub(super) fn supervised(slot: &'static str, doc: &'static str) -> Vec<Parameter> {
    let set = Parameter::required(slot, ParameterType::Artifact(Artifact::Labelled), doc).positional();
    let defaults = Training { epochs: 3.0, batch_size: 32, learning_rate: 2e-5, warmup: 0.1, max_length: 128 };
    [vec![set], training(defaults), selection()].concat()
}

/// Choosing the best checkpoint by a labelled dev split.
fn selection() -> Vec<Parameter> {
    use Parameter as P;
    use ParameterType as T;
    vec![
        P::optional(
            "keep",
            T::Choice(&["best", "last"]),
            Value::Name("best".into()),
            "Which weights to keep: those of the best epoch on the dev split, or the last ones. Without a dev split, the last.",
        ),
        P::optional(
            "metric",
            METRIC,
            Value::None,
            "What `best` and `patience` look at on the dev split; by default accuracy, for a regression Pearson's correlation.",
        ),
        P::optional(
            "patience",
            ParameterType::Int { min: 1, max: 1_000_000 },
            Value::None,
            "Early stopping: end after this many evaluations without improvement.",
        ),
    ]
}

/// How many virtual tokens a delta puts before every text.
pub(super) fn virtual_tokens() -> Parameter {
    let count = ParameterType::Int { min: 1, max: 4096 };
    Parameter::optional("num_virtual_tokens", count, Value::Int(20), "Virtual tokens before every text, `P`.")
}

/// Masked language modelling.
pub(super) fn masking() -> Vec<Parameter> {
    vec![
        Parameter::optional(
            "mask_probability",
            ParameterType::Ratio,
            Value::Float(0.15),
            "Share of the tokens to predict; of these 80 % are masked, 10 % replaced by a random token, 10 % left (Devlin et al. 2019). Drawn afresh each epoch.",
        ),
        Parameter::optional(
            "whole_word",
            ParameterType::Bool,
            Value::Bool(false),
            "Mask all pieces of a word together.",
        ),
    ]
}

/// What sources of rows share.
pub(super) fn reading() -> Vec<Parameter> {
    vec![Parameter::optional(
        "bad_rows",
        ParameterType::Choice(&["stop", "skip"]),
        Value::Name("stop".into()),
        "What to do with malformed rows, empty texts and unknown labels: stop with the file and line, or skip and count them.",
    )]
}

/// Where the files are: the first, positional parameter of every source.
pub(super) fn path(doc: &'static str) -> Parameter {
    Parameter::required("path", ParameterType::String, doc).positional()
}

/// A column to read, guessed when that is unambiguous.
pub(super) fn column(name: &'static str, doc: &'static str) -> Parameter {
    Parameter::optional(name, ParameterType::String, Value::None, doc)
}

/// How the labels of a set are read.
pub(super) fn labels() -> Vec<Parameter> {
    vec![
        column("label", "The column with the label or score."),
        Parameter::optional(
            "labels",
            ParameterType::Strings,
            Value::None,
            "The label names in the order of their class ids; a label outside the list is an error. By default those found, sorted.",
        ),
        Parameter::optional(
            "task",
            ParameterType::Choice(&["classification", "regression"]),
            Value::None,
            "Needed only when the label column could be read both ways.",
        ),
    ]
}
