//! Why a configuration or weights can't become a model.

/// Every variant names the key of `config.json` or the tensor it is about.
#[derive(Debug, Clone, PartialEq, thiserror::Error, miette::Diagnostic)]
pub enum ModelError {
    #[error("config.json has no `model_type`")]
    #[diagnostic(code(ftp::model::no_model_type), help("add \"model_type\": one of {supported}"))]
    NoModelType { supported: String },

    #[error("models of type `{model_type}` are not supported")]
    #[diagnostic(code(ftp::model::unsupported_architecture), help("supported: {supported}"))]
    UnsupportedArchitecture { model_type: String, supported: String },

    #[error("`{key}` of config.json is {found}, expected {expected}")]
    #[diagnostic(
        code(ftp::model::bad_setting),
        help("correct `{key}`, or leave it out to take the default of transformers")
    )]
    BadSetting { key: String, found: String, expected: String },

    #[error("config.json asks for `{key}` = {value}, which is not supported")]
    #[diagnostic(code(ftp::model::unsupported_setting), help("{help}"))]
    UnsupportedSetting { key: String, value: String, help: String },

    #[error("tensor `{name}` has the shape {found:?}; config.json asks for {expected:?}")]
    #[diagnostic(
        code(ftp::model::shape),
        help("config.json and the weights must come from the same model; save them together again")
    )]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },

    #[error("the weights lack {count} of the encoder's tensors, `{first}` among them")]
    #[diagnostic(
        code(ftp::model::incomplete),
        help(
            "config.json and the weights must come from the same model; the tensors' names must be those of transformers"
        )
    )]
    Incomplete { count: usize, first: String },

    #[error("{wanted} virtual tokens leave no room for a text: the model has {left} positions")]
    #[diagnostic(code(ftp::model::no_positions), help("lower `num_virtual_tokens`"))]
    NoPositions { wanted: usize, left: usize },

    #[error("a classification head needs at least one label")]
    #[diagnostic(code(ftp::model::no_labels), help("give the task its labels"))]
    NoLabels,
}
