//! Why a training stage can't go on, said to the person who started it.

use miette::Diagnostic;
use thiserror::Error;

/// Every way training fails.
#[derive(Debug, Error, Diagnostic)]
pub enum TrainError {
    #[error("there are no rows to {purpose} on")]
    #[diagnostic(
        code(ftp::train::no_rows),
        help("look at the notices above: rows may have been dropped when the data was read")
    )]
    NoRows {
        /// `train` or `evaluate`.
        purpose: &'static str,
    },

    #[error("no parameter of the model would train")]
    #[diagnostic(
        code(ftp::train::nothing_trains),
        help(
            "the delta method finds nothing to change in this architecture; choose another one, or train all weights"
        )
    )]
    NothingTrains,

    #[error("no row has a token that could be masked")]
    #[diagnostic(
        code(ftp::train::nothing_to_mask),
        help("every text became special tokens only; check that the files hold text and that max_tokens is not tiny")
    )]
    NothingToMask,

    #[error("{rows} rows come with {targets} targets")]
    #[diagnostic(code(ftp::train::targets), help("every row of a labelled set needs exactly one label or score"))]
    TargetCount { rows: usize, targets: usize },

    #[error("row {row} has {found}, but the task needs {expected}")]
    #[diagnostic(code(ftp::train::targets), help("use a labelled set of the same task as the model's head"))]
    TargetKind { row: usize, found: String, expected: String },

    #[error("the {quantity} became {value} in step {step}")]
    #[diagnostic(
        code(ftp::train::diverged),
        help(
            "training diverged: lower learning_rate (a tenth is a good try), lengthen warmup, or set max_grad_norm = 1"
        )
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        quantity: &'static str,
        value: f64,
        /// Optimizer step, from 1.
        step: u64,
    },

    #[error("a {quantity} is {value}")]
    #[diagnostic(
        code(ftp::train::diverged),
        help("training diverged: lower learning_rate (a tenth is a good try), or lengthen warmup")
    )]
    NotFinite {
        /// `loss on held-out rows` or `logit`.
        quantity: &'static str,
        value: f64,
    },

    #[error("`{name}` is {found}, but it must be {expected}")]
    #[diagnostic(code(ftp::train::setting), help("give `{name}` another value, or leave it out to use its default"))]
    Setting { name: &'static str, found: String, expected: &'static str },

    #[error("`{name}` has no effect: nothing that is on reads it")]
    #[diagnostic(
        code(ftp::train::idle_setting),
        help("leave `{name}` out, or choose the `regularizer` it belongs to (docs/stability.md)")
    )]
    Idle { name: String },

    #[error("{rows} rows have no label, and nothing that is on learns from such rows")]
    #[diagnostic(
        code(ftp::train::unlabelled),
        help("write `regularizer = temporal` or `regularizer = pi`, or leave `unlabelled` out (docs/stability.md)")
    )]
    Unlabelled { rows: usize },

    #[error("there is no metric `{metric}` here")]
    #[diagnostic(code(ftp::train::metric), help("use one of: {available}"))]
    UnknownMetric { metric: String, available: String },

    #[error("there is no device `{name}`")]
    #[diagnostic(code(ftp::train::no_device), help("{advice}"))]
    NoDevice { name: String, advice: String },

    #[error("the device `{name}` can't be used: {reason}")]
    #[diagnostic(
        code(ftp::train::unusable_device),
        help(
            "check that `nvidia-smi` runs, that no other program has the GPU for itself, and that $CUDA_PATH names a \
             CUDA toolkit (docs/devices.md)"
        )
    )]
    UnusableDevice { name: String, reason: String },

    #[error("the device failed: {message}")]
    #[diagnostic(
        code(ftp::train::device),
        help("if it ran out of memory, set micro_batch_size: the result stays the same up to rounding")
    )]
    Device { message: String },
}
