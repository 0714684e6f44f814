//! Values a parameter can have once everything is resolved.

use serde::{Deserialize, Serialize};

/// A resolved value. Percentages are already fractions; units are part of the variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Value {
    /// A parameter without a value, e.g. no limit.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    /// One of the names a [`ParameterType::Choice`](super::signature::ParameterType::Choice) lists, e.g. `linear`.
    Name(String),
    /// `3 epochs`; fractions allowed.
    Epochs(f64),
    /// `500 steps`: optimizer steps.
    Steps(u64),
    /// `30 min`.
    Seconds(f64),
    /// `8 GB`.
    Bytes(u64),
    List(Vec<Value>),
    /// `secret("HF_TOKEN")`: the environment variable that holds it. What it holds is read where it is used, and is no value.
    Secret(String),
}

impl Value {
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number counts too.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    pub fn as_string(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_name(&self) -> Option<&str> {
        match self {
            Value::Name(value) => Some(value),
            _ => None,
        }
    }
}

impl std::fmt::Display for Value {
    /// As it would be written in a `.ftp` file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::None => f.write_str("none"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            // What stands between `${` and `}` would be read as a name.
            Value::String(value) => f.write_str(&format!("{value:?}").replace("${", "\\${")),
            Value::Name(value) => f.write_str(value),
            Value::Epochs(value) => write!(f, "{value} epochs"),
            Value::Steps(value) => write!(f, "{value} steps"),
            Value::Seconds(value) => write!(f, "{value} s"),
            Value::Bytes(value) => {
                let (size, unit) = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")]
                    .into_iter()
                    .find(|(size, _)| value.is_multiple_of(*size))
                    .unwrap_or((1, "B"));
                write!(f, "{} {unit}", value / size)
            }
            Value::Secret(variable) => write!(f, "secret({variable:?})"),
            Value::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}
