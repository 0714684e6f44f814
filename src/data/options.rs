//! The parameters of a source, as the language resolved them.

use indexmap::IndexMap;

use super::error::problem;
use crate::lang::value::Value;
use crate::lang::world::SourceError;

pub(super) type Parameters = IndexMap<String, Value>;

/// What to do with rows that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRows {
    Stop,
    Skip,
}

/// The task as the file says it, before looking at rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskChoice {
    Classification,
    Regression,
}

/// Everything `text`, `labelled` and `pairs` may say beside `path`; columns by role.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub path: String,
    pub bad_rows: BadRows,
    pub text: Option<String>,
    pub text_pair: Option<String>,
    pub label: Option<String>,
    pub labels: Option<Vec<String>>,
    pub task: Option<TaskChoice>,
    pub is_pair: bool,
}

impl Options {
    /// Reads the parameters of a source method. The checker has already seen to names and types.
    pub fn new(method: &str, parameters: &Parameters) -> Result<Self, SourceError> {
        let text = |name: &str| match parameters.get(name) {
            Some(Value::String(value) | Value::Name(value)) => Some(value.clone()),
            _ => None,
        };
        let labels = match parameters.get("labels") {
            Some(Value::List(values)) => Some(values.iter().map(plain).collect::<Vec<_>>()),
            _ => None,
        };
        if let Some(labels) = &labels {
            let mut sorted = labels.clone();
            sorted.sort();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(problem(
                    "ftp::data::labels",
                    Some("labels"),
                    format!("`labels` names {:?} twice", twice[0]),
                    "a label is one class",
                    "name each label once",
                ));
            }
            if labels.len() < 2 {
                return Err(problem(
                    "ftp::data::labels",
                    Some("labels"),
                    "`labels` must name at least two labels",
                    "nothing to choose from",
                    "leave `labels` out to take them from the data",
                ));
            }
        }
        let task = match text("task").as_deref() {
            Some("classification") => Some(TaskChoice::Classification),
            Some("regression") => Some(TaskChoice::Regression),
            _ => None,
        };
        if task == Some(TaskChoice::Regression) && labels.is_some() {
            return Err(problem(
                "ftp::data::labels",
                Some("labels"),
                "`labels` has no meaning with `task = regression`",
                "a score is not one of a list",
                "remove `labels`, or say `task = classification`",
            ));
        }
        Ok(Self {
            path: text("path").unwrap_or_default(),
            bad_rows: if text("bad_rows").as_deref() == Some("skip") { BadRows::Skip } else { BadRows::Stop },
            // The column of `text(..)` is called `column` there, for the method has the name.
            text: text("text").or_else(|| text("column")),
            text_pair: text("text_pair"),
            label: text("label"),
            labels,
            task,
            is_pair: method == "pairs",
        })
    }
}

/// A label as it stands in the data: without the quotes the language shows.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Name(text) => text.clone(),
        other => other.to_string(),
    }
}
