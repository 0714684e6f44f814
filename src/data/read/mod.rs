//! Files -> tables. Every row keeps its line (for Parquet: its number), every row that can't be read its fault.

mod decode;
mod delimited;
mod json;
mod lines;
#[cfg(feature = "train")]
mod parquet;

use std::path::Path;

use super::digest;
use super::error::problem;
use super::fault::Fault;
use super::paths::Found;
use crate::lang::world::{Digest, SourceError};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// The row has no such field.
    Missing,
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Something a text or a label can't be, by name: `a list`.
    Other(&'static str),
}

impl Cell {
    /// As messages name it, with its article.
    pub fn phrase(&self) -> &'static str {
        match self {
            Cell::Missing => "nothing",
            Cell::Null => "null",
            Cell::Text(_) => "a string",
            Cell::Int(_) | Cell::Float(_) => "a number",
            Cell::Bool(_) => "true or false",
            Cell::Other(what) => what,
        }
    }
}

#[derive(Debug)]
pub(super) struct Row {
    /// Line of the file, or number of the row, from 1.
    pub at: u64,
    /// In the order of [`Table::columns`]; may be shorter, when later rows brought more columns.
    pub cells: Result<Vec<Cell>, Fault>,
}

impl Row {
    pub fn new(at: u64, cells: Vec<Cell>) -> Self {
        Self { at, cells: Ok(cells) }
    }

    pub fn bad(at: u64, fault: Fault) -> Self {
        Self { at, cells: Err(fault) }
    }
}

/// A file, read.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// Lines with nothing on them.
    pub blank: usize,
    /// Rows are numbered rather than lines.
    pub numbers_rows: bool,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// `data/x.jsonl:17`; for Parquet `data/x.parquet, row 17`.
    pub fn place(&self, shown: &str, at: u64) -> String {
        if self.numbers_rows { format!("{shown}, row {at}") } else { format!("{shown}:{at}") }
    }
}

/// A file that was read, and what its bytes were.
#[derive(Debug)]
pub(super) struct Content {
    pub table: Table,
    pub digest: Digest,
    pub bytes: u64,
}

/// Reads a whole file by its extension. Where a digest is expected, the bytes must still have it.
pub(super) fn read(file: &Found, expected: Option<&Digest>) -> Result<Content, SourceError> {
    let bytes = std::fs::read(&file.path).map_err(|error| {
        problem(
            "ftp::data::unreadable_file",
            Some("path"),
            format!("{} can't be read: {error}", file.shown),
            "can't be read",
            "check that the file exists and that you may read it",
        )
    })?;
    let (digest, length) = (digest::bytes(&bytes), bytes.len() as u64);
    if expected.is_some_and(|expected| *expected != digest) {
        return Err(problem(
            "ftp::data::changed",
            Some("path"),
            format!("{} changed after the plan was made", file.shown),
            "changed",
            "run again: the new content makes a new plan",
        ));
    }
    Ok(Content { table: parse(file, bytes)?, digest, bytes: length })
}

/// The columns of a text file: one, the line.
pub(super) const LINE_COLUMN: &str = "text";

fn parse(file: &Found, bytes: Vec<u8>) -> Result<Table, SourceError> {
    let shown = &file.shown;
    let extension = Path::new(shown).extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let table = match extension.as_deref() {
        Some("txt") => lines::read(&decode::decode(shown, bytes)?),
        Some("jsonl" | "ndjson") => json::read_lines(&decode::decode(shown, bytes)?),
        Some("json") => json::read_array(shown, &decode::decode(shown, bytes)?)?,
        Some("csv") => delimited::read_csv(shown, &decode::decode(shown, bytes)?)?,
        Some("tsv") => delimited::read_tsv(shown, &decode::decode(shown, bytes)?)?,
        #[cfg(feature = "train")]
        Some("parquet") => parquet::read(shown, &file.path)?,
        #[cfg(not(feature = "train"))]
        Some("parquet") => {
            return Err(problem(
                "ftp::data::format",
                Some("path"),
                format!("{shown} is a Parquet file, which this build of ftp can't read"),
                "Parquet",
                "use a build with the feature `train`, or convert the file to .jsonl",
            ));
        }
        _ => {
            decode::refuse_compressed(shown, &bytes)?;
            return Err(problem(
                "ftp::data::format",
                Some("path"),
                format!("{shown} is of no format ftp reads"),
                "unknown format",
                "use .txt, .jsonl, .json, .csv, .tsv or .parquet",
            ));
        }
    };
    if table.rows.is_empty() {
        return Err(decode::empty(shown));
    }
    Ok(table)
}
