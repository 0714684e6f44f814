//! What went wrong with the user's data.

use crate::lang::world::SourceError;

/// An error for people: what and where, why, and one action.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    /// Stable, e.g. `ftp::data::changed`.
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl DataError {
    pub fn new(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: Some(help.into()) }
    }
}

impl miette::Diagnostic for DataError {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
}

impl From<SourceError> for DataError {
    fn from(error: SourceError) -> Self {
        Self { code: error.code, message: error.message, help: error.help }
    }
}

impl From<Vec<SourceError>> for DataError {
    /// The first error's code and help, everybody's message.
    fn from(errors: Vec<SourceError>) -> Self {
        let message = errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("\n");
        match errors.into_iter().next() {
            Some(first) => Self { message, ..first.into() },
            None => Self { code: "ftp::data::unreadable", message: "the data can't be read".into(), help: None },
        }
    }
}

/// Shorthand for the fields of a [`SourceError`].
pub(super) fn problem(
    code: &'static str,
    parameter: Option<&'static str>,
    message: impl Into<String>,
    label: impl Into<String>,
    help: impl Into<String>,
) -> SourceError {
    SourceError { code, message: message.into(), label: label.into(), help: Some(help.into()), parameter }
}
