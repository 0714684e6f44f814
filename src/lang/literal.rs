//! Values as written, names resolved, before it is known which parameter they are for.

use super::signature::ParameterType;
use super::value::Value;
use crate::syntax::Span;

/// A written value. Units are checked against the parameter's type later.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// As a fraction.
    Percent(f64),
    Epochs(f64),
    /// Whole unless the file says something odd.
    Steps(f64),
    Seconds(f64),
    Bytes(f64),
    String(String),
    List(Vec<(Literal, Span)>),
    /// The environment variable that holds it.
    Secret(String),
    /// Some value of this type: a recipe's parameter while the recipe itself is checked.
    Of(ParameterType),
    /// Reported already; fits everything.
    Error,
}

/// The units there are, for messages.
pub(super) const UNITS: &[&str] = &["epochs", "steps", "%", "s", "min", "h", "MB", "GB", "MiB", "GiB"];

impl Literal {
    /// A number with its unit, or `None` when there is no such unit.
    pub(super) fn with_unit(number: f64, unit: &str) -> Option<Literal> {
        Some(match unit {
            "epochs" | "epoch" => Literal::Epochs(number),
            "steps" | "step" => Literal::Steps(number),
            "%" => Literal::Percent(number / 100.0),
            "s" => Literal::Seconds(number),
            "min" => Literal::Seconds(60.0 * number),
            "h" => Literal::Seconds(3600.0 * number),
            "B" => Literal::Bytes(number),
            "kB" => Literal::Bytes(1e3 * number),
            "MB" => Literal::Bytes(1e6 * number),
            "GB" => Literal::Bytes(1e9 * number),
            "MiB" => Literal::Bytes(f64::from(1 << 20) * number),
            "GiB" => Literal::Bytes(f64::from(1 << 30) * number),
            _ => return None,
        })
    }

    /// What it is, as messages name it.
    pub(super) fn phrase(&self) -> String {
        match self {
            Literal::None => "`none`".into(),
            Literal::Bool(value) => format!("`{value}`"),
            Literal::Int(value) => format!("the number {value}"),
            Literal::Float(value) => format!("the number {}", number(*value)),
            Literal::Percent(value) => format!("`{} %`", number(100.0 * value)),
            Literal::Epochs(value) => format!("`{} epochs`", number(*value)),
            Literal::Steps(value) => format!("`{} steps`", number(*value)),
            Literal::Seconds(value) => format!("the duration `{} s`", number(*value)),
            Literal::Bytes(value) => format!("the size `{}`", Value::Bytes(*value as u64)),
            Literal::String(value) => format!("the string {value:?}"),
            Literal::List(_) => "a list".into(),
            Literal::Secret(_) => "a secret".into(),
            Literal::Of(ty) => match ty {
                ParameterType::Float { .. } => "a number".into(),
                ParameterType::Bool => "a truth value".into(),
                ParameterType::Ratio => "a fraction".into(),
                ParameterType::Duration => "a duration".into(),
                ParameterType::Size => "a size".into(),
                ParameterType::Epochs => "a number of epochs".into(),
                ParameterType::Steps => "a number of steps".into(),
                other => super::fit::phrase(other),
            },
            Literal::Error => "an error".into(),
        }
    }
}

/// A float as people write it: no `.0`, and exponents for the very small.
pub(super) fn number(value: f64) -> String {
    let rounded = format!("{:.12}", value).trim_end_matches('0').trim_end_matches('.').to_owned();
    match value.abs() {
        v if v != 0.0 && !(1e-4..1e15).contains(&v) => format!("{value:e}"),
        _ => rounded,
    }
}

/// A `param`'s value where it is used. A `ratio` is a plain float by then.
impl From<&Value> for Literal {
    fn from(value: &Value) -> Self {
        match value {
            Value::None => Literal::None,
            Value::Bool(value) => Literal::Bool(*value),
            Value::Int(value) => Literal::Int(*value),
            Value::Float(value) => Literal::Float(*value),
            Value::String(value) | Value::Name(value) => Literal::String(value.clone()),
            Value::Epochs(value) => Literal::Epochs(*value),
            Value::Steps(value) => Literal::Steps(*value as f64),
            Value::Seconds(value) => Literal::Seconds(*value),
            Value::Bytes(value) => Literal::Bytes(*value as f64),
            Value::Secret(variable) => Literal::Secret(variable.clone()),
            Value::List(values) => Literal::List(values.iter().map(|value| (value.into(), Span::new(0, 0))).collect()),
        }
    }
}
