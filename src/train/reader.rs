//! Parameters of a stage, by name, as the numbers and names training works with.

use indexmap::IndexMap;

use super::error::TrainError;
use super::schedule::Warmup;
use crate::lang::value::Value;

/// Values by name. [`Value::None`] reads as missing.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a IndexMap<String, Value>);

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| **value != Value::None)
    }

    pub fn number(&self, name: &'static str) -> Result<Option<f64>, TrainError> {
        self.get(name)
            .map(|value| match *value {
                Value::Float(number) | Value::Epochs(number) | Value::Seconds(number) => Ok(number),
                Value::Int(number) => Ok(number as f64),
                ref other => Err(wrong(name, other.to_string(), "a number")),
            })
            .transpose()
    }

    pub fn at_least_0(&self, name: &'static str) -> Result<Option<f64>, TrainError> {
        match self.number(name)? {
            Some(number) if !(number >= 0.0 && number.is_finite()) => {
                Err(wrong(name, number.to_string(), "at least 0"))
            }
            number => Ok(number),
        }
    }

    /// Whether a parameter asks for something: it is there, and neither `none` nor 0.
    pub fn given(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.as_float() != Some(0.0))
    }

    pub fn count(&self, name: &'static str) -> Result<Option<u64>, TrainError> {
        self.get(name)
            .map(|value| match *value {
                Value::Steps(count) => Ok(count),
                Value::Int(count) if count >= 0 => Ok(count as u64),
                ref other => Err(wrong(name, other.to_string(), "a whole number from 0")),
            })
            .transpose()
    }

    pub fn switch(&self, name: &'static str) -> Result<Option<bool>, TrainError> {
        self.get(name)
            .map(|value| match value {
                Value::Bool(on) => Ok(*on),
                other => Err(wrong(name, other.to_string(), "true or false")),
            })
            .transpose()
    }

    pub fn name(&self, name: &'static str) -> Result<Option<&'a str>, TrainError> {
        self.get(name)
            .map(|value| match value {
                Value::Name(text) | Value::String(text) => Ok(text.as_str()),
                other => Err(wrong(name, other.to_string(), "a name")),
            })
            .transpose()
    }

    pub fn steps_or_ratio(&self, name: &'static str) -> Result<Option<Warmup>, TrainError> {
        self.get(name)
            .map(|value| match *value {
                Value::Float(ratio) => Ok(Warmup::Ratio(ratio)),
                Value::Steps(steps) => Ok(Warmup::Steps(steps)),
                Value::Int(0) => Ok(Warmup::Steps(0)),
                ref other => Err(wrong(name, other.to_string(), "a fraction from 0 to 1, or a number of steps")),
            })
            .transpose()
    }
}

/// A value that no training makes sense with.
pub(super) fn wrong(name: &'static str, found: String, expected: &'static str) -> TrainError {
    TrainError::Setting { name, found, expected }
}
