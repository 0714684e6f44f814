//! Rows that can't be used: collected by kind, then an error each (`bad_rows = stop`) or a notice each (`skip`).

use std::collections::BTreeMap;

use crate::event::Notice;
use crate::lang::world::SourceError;

/// How many places an error names before it counts the rest.
const SHOWN: usize = 5;

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    InvalidUtf8,
    Malformed,
    FieldCount,
    Quote,
    MissingField,
    WrongType,
    EmptyText,
    NotANumber,
    UnknownLabel,
    LabelNotInTrain,
}

impl Kind {
    /// Code, what is said of one and of many rows, and the label under the declaration.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::InvalidUtf8 => ("ftp::data::invalid_utf8", "not UTF-8", "has bytes that are not UTF-8"),
            Kind::Malformed => ("ftp::data::malformed_row", "malformed", "has malformed rows"),
            Kind::FieldCount => {
                ("ftp::data::field_count", "another number of fields than the header", "has ragged rows")
            }
            Kind::Quote => ("ftp::data::quote", "an unbalanced quote", "has an unbalanced quote"),
            Kind::MissingField => ("ftp::data::missing_field", "a missing field", "has rows with missing fields"),
            Kind::WrongType => ("ftp::data::wrong_type", "a field of the wrong type", "has fields of the wrong type"),
            Kind::EmptyText => ("ftp::data::empty_text", "an empty text", "has rows with an empty text"),
            Kind::NotANumber => {
                ("ftp::data::not_a_number", "a target that is no number", "has targets that are no numbers")
            }
            Kind::UnknownLabel => {
                ("ftp::data::unknown_label", "a label that is not in `labels`", "has labels `labels` lacks")
            }
            Kind::LabelNotInTrain => {
                ("ftp::data::label_not_in_train", "a label that train lacks", "has labels train lacks")
            }
        }
    }

    fn help(self) -> &'static str {
        match self {
            Kind::InvalidUtf8 => {
                "convert the file, e.g. `iconv -f WINDOWS-1252 -t UTF-8 old > new`, or leave such rows out with `bad_rows = skip`"
            }
            Kind::UnknownLabel => "add the label to `labels`, or leave such rows out with `bad_rows = skip`",
            Kind::LabelNotInTrain => {
                "a model can't learn a label it never sees: add rows with it to train, or leave these out with `bad_rows = skip`"
            }
            _ => "mend the rows, or leave them out with `bad_rows = skip`",
        }
    }
}

/// What is wrong with one row, in words that follow its place: "`text` is empty".
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub kind: Kind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The faults of a source.
#[derive(Debug, Default)]
pub(super) struct Faults {
    kinds: BTreeMap<Kind, Found>,
}

#[derive(Debug, Default)]
struct Found {
    count: usize,
    /// The first [`SHOWN`], as `place: message`.
    first: Vec<String>,
    /// The place of the first alone.
    place: String,
}

impl Faults {
    pub fn add(&mut self, place: String, fault: Fault) {
        let found = self.kinds.entry(fault.kind).or_default();
        found.count += 1;
        if found.first.len() < SHOWN {
            found.first.push(format!("{place}: {}", fault.message));
        }
        if found.count == 1 {
            found.place = place;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// One error a kind, naming the first places.
    pub fn errors(&self) -> Vec<SourceError> {
        let error = |(kind, found): (&Kind, &Found)| {
            let (code, what, label) = kind.words();
            let message = if found.count == 1 {
                found.first[0].clone()
            } else {
                let are = if matches!(kind, Kind::InvalidUtf8 | Kind::Malformed) { "are" } else { "have" };
                let mut message = format!("{} rows {are} {what}:", count(found.count));
                for line in &found.first {
                    message.push_str(&format!("\n  {line}"));
                }
                if found.count > SHOWN {
                    message.push_str(&format!("\n  and {} more", count(found.count - SHOWN)));
                }
                message
            };
            SourceError { code, message, label: label.into(), help: Some(kind.help().into()), parameter: None }
        };
        self.kinds.iter().map(error).collect()
    }

    /// One notice a kind, for rows that were left out of `rows` read.
    pub fn notices(&self, rows: usize) -> Vec<Notice> {
        let notice = |(kind, found): (&Kind, &Found)| {
            let (code, what, _) = kind.words();
            let be = if found.count == 1 { "was" } else { "were" };
            let first = if found.count == 1 { "" } else { "first: " };
            Notice::new(
                code,
                format!(
                    "{} of {} {be} skipped: {what} ({first}{})",
                    count(found.count),
                    counted(rows, "row"),
                    found.place
                ),
            )
        };
        self.kinds.iter().map(notice).collect()
    }
}

/// A number with separators between thousands: `6,917`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: "1 row", "1,700 rows".
pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}
