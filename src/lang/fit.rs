//! Does a written value fit a parameter's type, and which value is it then?

use super::literal::{Literal, number};
use super::signature::ParameterType;
use super::suggest;
use super::value::Value;
use crate::syntax::Span;

/// Why a value does not fit.
pub(super) struct Misfit {
    pub code: &'static str,
    /// Reads after the parameter's name: "expects a whole number, found `0.5`".
    pub message: String,
    /// For the mark under the value.
    pub label: String,
    pub help: Option<String>,
    /// A part of the value, when only that is at fault.
    pub span: Option<Span>,
}

const WRONG_TYPE: &str = "ftp::value::wrong_type";
const OUT_OF_RANGE: &str = "ftp::value::out_of_range";
const WRONG_UNIT: &str = "ftp::value::wrong_unit";

/// What a type expects, with an example where its form is not obvious.
pub(super) fn phrase(ty: &ParameterType) -> String {
    match ty {
        ParameterType::Bool => "`true` or `false`".into(),
        ParameterType::Int { .. } => "a whole number".into(),
        ParameterType::Float { .. } => "a number".into(),
        ParameterType::Ratio => "a fraction such as `0.1` or `10 %`".into(),
        ParameterType::String => "a string".into(),
        ParameterType::Epochs => "epochs, such as `3` or `0.5 epochs`".into(),
        ParameterType::Steps => "steps, such as `500`".into(),
        ParameterType::StepsOrRatio => "a share such as `10 %` or a count such as `100 steps`".into(),
        ParameterType::Duration => "a duration such as `30 min`".into(),
        ParameterType::Size => "a size such as `8 GB`".into(),
        ParameterType::Choice(choices) => format!("one of {}", suggest::quoted(choices)),
        ParameterType::Strings => "a list of strings".into(),
        ParameterType::Secret => "a secret such as `secret(\"HF_TOKEN\")`".into(),
        ParameterType::Artifact(artifact) => format!("the name of {}", artifact.phrase()),
        ParameterType::Delta | ParameterType::DeltaName => "the name of a delta method".into(),
        ParameterType::Recipe(takes) if takes.is_empty() => "the name of a recipe or a stage".into(),
        ParameterType::Recipe(takes) => {
            let takes: Vec<&str> = takes.iter().map(|artifact| artifact.phrase()).collect();
            format!("the name of a recipe or a stage that takes {}", takes.join(" and "))
        }
    }
}

/// Fits a value to a type. `optional`: the parameter may be `none`. An error that was reported already fits as
/// [`Value::None`].
pub(super) fn fit(literal: &Literal, ty: &ParameterType, optional: bool) -> Result<Value, Misfit> {
    use Literal as L;
    use ParameterType as T;
    match (ty, literal) {
        (_, L::Error) => Ok(Value::None),
        (_, L::None) if optional => Ok(Value::None),
        (_, L::Of(given)) if flows(given, ty) => Ok(Value::None),
        (T::Bool, L::Bool(value)) => Ok(Value::Bool(*value)),
        (T::String, L::String(value)) => Ok(Value::String(value.clone())),
        (T::Int { min, max }, L::Int(value)) => {
            if (min..=max).contains(&value) {
                Ok(Value::Int(*value))
            } else {
                Err(int_range(*value, *min, *max))
            }
        }
        (T::Float { .. }, L::Int(value)) => float(*value as f64, ty),
        (T::Float { .. }, L::Float(value)) => float(*value, ty),
        (T::Ratio, L::Int(_) | L::Float(_) | L::Percent(_)) => share(literal),
        (T::StepsOrRatio, L::Float(_) | L::Percent(_) | L::Int(0)) => share(literal),
        (T::StepsOrRatio, L::Int(value)) => Err(Misfit {
            code: WRONG_UNIT,
            message: format!("needs a unit: {value} steps, or a share of all steps?"),
            label: "no unit".into(),
            help: Some(format!("write `{} steps` or a share such as `10 %`", value.abs())),
            span: None,
        }),
        (T::StepsOrRatio, L::Steps(value)) if *value == 0.0 => Ok(Value::Steps(0)),
        (T::Steps, L::Int(value)) => steps(*value as f64),
        (T::Steps | T::StepsOrRatio, L::Steps(value)) => steps(*value),
        (T::Epochs, L::Int(value)) => positive(*value as f64, "epochs").map(Value::Epochs),
        (T::Epochs, L::Float(value) | L::Epochs(value)) => positive(*value, "epochs").map(Value::Epochs),
        (T::Duration, L::Seconds(value)) => positive(*value, "seconds").map(Value::Seconds),
        (T::Duration, L::Int(_) | L::Float(_)) => Err(Misfit {
            code: WRONG_UNIT,
            message: "needs a unit of time".into(),
            label: "no unit".into(),
            help: Some("write `45 s`, `30 min` or `2 h`".into()),
            span: None,
        }),
        (T::Size, L::Bytes(value)) => positive(*value, "bytes").map(|value| Value::Bytes(value as u64)),
        (T::Size, L::Int(_) | L::Float(_)) => Err(Misfit {
            code: WRONG_UNIT,
            message: "needs a unit of size".into(),
            label: "no unit".into(),
            help: Some("write `500 MB`, `8 GB` or `8 GiB`".into()),
            span: None,
        }),
        (T::Choice(choices), L::String(value)) => choice(value, choices),
        (T::Strings, L::List(items)) => strings(items),
        (T::Secret, L::Secret(variable)) => Ok(Value::Secret(variable.clone())),
        (T::Secret, L::String(_)) => Err(plain_secret()),
        _ => Err(mismatch(literal, ty)),
    }
}

/// Whether every value of one type, or some within narrower limits, is one of another.
fn flows(given: &ParameterType, wanted: &ParameterType) -> bool {
    use ParameterType as T;
    matches!(
        (given, wanted),
        (T::Bool, T::Bool)
            | (T::Int { .. }, T::Int { .. } | T::Float { .. } | T::Ratio | T::Epochs | T::Steps | T::StepsOrRatio)
            | (T::Float { .. } | T::Ratio, T::Float { .. } | T::Ratio | T::Epochs | T::StepsOrRatio)
            | (T::String, T::String | T::Choice(_))
            | (T::Epochs, T::Epochs)
            | (T::Steps, T::Steps | T::StepsOrRatio)
            | (T::Duration, T::Duration)
            | (T::Size, T::Size)
            | (T::Strings, T::Strings)
            | (T::Secret, T::Secret)
    )
}

/// One of the names a choice allows.
pub(super) fn choice(value: &str, choices: &[&'static str]) -> Result<Value, Misfit> {
    if choices.contains(&value) {
        return Ok(Value::Name(value.to_owned()));
    }
    Err(Misfit {
        code: "ftp::value::bad_choice",
        message: format!("can't be `{value}`"),
        label: "not one of its choices".into(),
        help: suggest::help(value, choices, "choose one of these"),
        span: None,
    })
}

fn strings(items: &[(Literal, Span)]) -> Result<Value, Misfit> {
    let fitted = items.iter().map(|(item, span)| match item {
        Literal::String(value) => Ok(Value::String(value.clone())),
        Literal::Error => Ok(Value::None),
        other => Err(Misfit {
            code: WRONG_TYPE,
            message: format!("expects a list of strings, found {} in it", other.phrase()),
            label: "not a string".into(),
            help: Some("put it between double quotes".into()),
            span: (span.end > 0).then_some(*span),
        }),
    });
    fitted.collect::<Result<_, _>>().map(Value::List)
}

/// Where a secret itself stands, it is not repeated.
fn plain_secret() -> Misfit {
    Misfit {
        code: "ftp::value::plain_secret",
        message: "expects a secret, found plain text".into(),
        label: "readable by all who read the file".into(),
        help: Some(
            "write the name of the environment variable that holds it: `secret(\"HF_TOKEN\")`; if this is the secret itself, it is known to others now"
                .into(),
        ),
        span: None,
    }
}

/// The right type of thing in the wrong unit, or the wrong type altogether.
fn mismatch(literal: &Literal, ty: &ParameterType) -> Misfit {
    use Literal as L;
    use ParameterType as T;
    let has_unit = matches!(literal, L::Percent(_) | L::Epochs(_) | L::Steps(_) | L::Seconds(_) | L::Bytes(_));
    let plain = matches!(ty, T::Int { .. } | T::Float { .. });
    let measured = plain || matches!(ty, T::Ratio | T::Epochs | T::Steps | T::StepsOrRatio | T::Duration | T::Size);
    let help = match (ty, literal) {
        (T::Float { .. }, L::Percent(value)) => Some(format!("write the number itself: `{}`", number(*value))),
        _ if plain && has_unit => Some("leave the unit out".into()),
        (T::Int { .. }, L::Float(value)) if value.fract() == 0.0 => Some(format!("write `{value:.0}`")),
        (T::Int { .. }, L::Float(value)) => Some(format!("write a whole number, such as `{:.0}`", value.abs().ceil())),
        (T::Bool, L::Int(value @ (0 | 1))) => Some(format!("write `{}`", *value == 1)),
        (T::Strings, L::String(value)) => Some(format!("put it into a list: `[{value:?}]`")),
        (_, L::None) => Some("leave the argument out to have the default".into()),
        (_, L::String(text)) if measured && text.parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: `{text}`"))
        }
        (T::Bool, L::String(text)) if text == "true" || text == "false" => {
            Some(format!("write it without quotes: `{text}`"))
        }
        (T::String, L::Int(_) | L::Float(_) | L::Bool(_)) => Some("put it between double quotes".into()),
        _ => None,
    };
    let help = help.or_else(|| Some(format!("write {}", phrase(ty))));
    Misfit {
        code: if has_unit && measured { WRONG_UNIT } else { WRONG_TYPE },
        message: format!("expects {}, found {}", phrase(ty), literal.phrase()),
        label: format!("expected {}", phrase(ty)),
        help,
        span: None,
    }
}

fn out_of_range(message: String, help: String) -> Misfit {
    Misfit { code: OUT_OF_RANGE, message, label: "out of range".into(), help: Some(help), span: None }
}

fn int_range(value: i64, min: i64, max: i64) -> Misfit {
    let bounds = match (min, max) {
        (min, 1_000_000_000..) => format!("at least {min}"),
        (i64::MIN, max) => format!("at most {max}"),
        (min, max) => format!("between {min} and {max}"),
    };
    let nearest = value.clamp(min, max);
    out_of_range(format!("must be {bounds}, found {value}"), format!("the nearest value it can have is `{nearest}`"))
}

fn float(value: f64, ty: &ParameterType) -> Result<Value, Misfit> {
    let ParameterType::Float { min, max, above } = *ty else { return Ok(Value::Float(value)) };
    let enough = if above { value > min } else { value >= min };
    if enough && value <= max {
        return Ok(Value::Float(value));
    }
    let (low, high) = (number(min), number(max));
    let bounds = match (above, max.is_finite()) {
        (true, true) => format!("above {low} and at most {high}"),
        (true, false) => format!("above {low}"),
        (false, true) => format!("between {low} and {high}"),
        (false, false) => format!("at least {low}"),
    };
    let found = number(value);
    Err(out_of_range(format!("must be {bounds}, found {found}"), format!("write a number {bounds}")))
}

/// A fraction between 0 and 1.
fn share(literal: &Literal) -> Result<Value, Misfit> {
    let value = match literal {
        Literal::Percent(value) | Literal::Float(value) => *value,
        Literal::Int(value) => *value as f64,
        _ => 0.0,
    };
    if (0.0..=1.0).contains(&value) {
        return Ok(Value::Float(value));
    }
    let help = match literal {
        Literal::Percent(_) => "write a share between `0 %` and `100 %`".into(),
        _ if (1.0..=100.0).contains(&value) => format!("for a percentage write `{} %`", number(value)),
        _ => "write a fraction such as `0.1` or `10 %`".into(),
    };
    Err(out_of_range(format!("must be between 0 and 1 (0 % and 100 %), found {}", literal.phrase()), help))
}

fn positive(value: f64, unit: &str) -> Result<f64, Misfit> {
    if value > 0.0 {
        return Ok(value);
    }
    Err(out_of_range(format!("must be above 0, found {}", number(value)), format!("write a number of {unit} above 0")))
}

fn steps(value: f64) -> Result<Value, Misfit> {
    let value = positive(value, "steps")?;
    if value.fract() != 0.0 {
        let message = format!("must be a whole number of steps, found {}", number(value));
        return Err(out_of_range(message, format!("write `{} steps`", value.ceil())));
    }
    Ok(Value::Steps(value as u64))
}
