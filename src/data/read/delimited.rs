//! `.csv` (RFC 4180) and `.tsv` (as GLUE writes it: no quoting, a `"` is a character like any other). The first line
//! names the columns.

use super::decode::Decoded;
use super::{Cell, Row, Table};
use crate::data::error::problem;
use crate::data::fault::{Fault, Kind};
use crate::lang::world::SourceError;

pub(super) fn read_tsv(shown: &str, decoded: &Decoded) -> Result<Table, SourceError> {
    let mut lines = (1..).zip(decoded.text.lines());
    let (_, header) = lines.next().unwrap_or((1, ""));
    let mut table = with_header(shown, decoded, 1, header.split('\t').map(str::to_string).collect())?;
    for (line, text) in lines {
        if text.trim().is_empty() {
            table.blank += 1;
            continue;
        }
        let row = match decoded.fault(line, line) {
            Some(fault) => Row::bad(line, fault),
            None => row(line, text.split('\t'), &table.columns),
        };
        table.rows.push(row);
    }
    Ok(table)
}

pub(super) fn read_csv(shown: &str, decoded: &Decoded) -> Result<Table, SourceError> {
    let text = decoded.text.as_bytes();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    // The reader passes over blank lines: records are what lies between one record's start and the next one's.
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, csv::Position::line);
            problem(
                "ftp::data::malformed_file",
                Some("path"),
                format!("{shown}:{line}: {error}"),
                "not CSV",
                "mend the file",
            )
        })?;
        records.push(record);
    }
    let starts: Vec<usize> =
        records.iter().map(|record| record.position().map_or(0, |at| at.byte() as usize)).collect();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut table = Table::default();
    for (index, record) in records.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(text.len());
        // A position is where the previous record ended: step over the line ends and blank lines before this one.
        let blank = text[starts[index]..end].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let first = lines.line_of(starts[index] + blank);
        let raw = &text[starts[index] + blank..end];
        let content = raw.len() - raw.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let last = lines.line_of(starts[index] + blank + content);
        let fields = record.iter().map(str::to_string);
        if index == 0 {
            table = with_header(shown, decoded, last, fields.collect())?;
        } else if let Some(fault) = decoded.fault(first, last) {
            table.rows.push(Row::bad(first, fault));
        } else if raw.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            // Quotes come in pairs, whether they enclose a field or stand doubled inside one.
            let reach =
                if last > first { format!(", which takes in everything to line {last}") } else { String::new() };
            let fault = Fault::new(Kind::Quote, format!("a `\"` without its partner{reach}"));
            table.rows.push(Row::bad(first, fault));
        } else {
            table.rows.push(row(first, record.iter(), &table.columns));
        }
    }
    Ok(table)
}

fn with_header(shown: &str, decoded: &Decoded, last: u64, columns: Vec<String>) -> Result<Table, SourceError> {
    if let Some(fault) = decoded.fault(1, last) {
        let message = format!("{shown}:1: {}", fault.message);
        return Err(problem("ftp::data::encoding", Some("path"), message, "not UTF-8", "convert the file to UTF-8"));
    }
    let columns: Vec<String> = columns.into_iter().map(|column| column.trim().to_string()).collect();
    if let Some(twice) = (1..columns.len()).find(|&at| !columns[at].is_empty() && columns[..at].contains(&columns[at]))
    {
        return Err(problem(
            "ftp::data::header",
            Some("path"),
            format!("{shown}:1: the header names the column {:?} twice", columns[twice]),
            "a column twice",
            "the first line must name the columns, each once",
        ));
    }
    Ok(Table { columns, ..Table::default() })
}

fn row<'a>(line: u64, fields: impl Iterator<Item = &'a str>, columns: &[String]) -> Row {
    let cells: Vec<Cell> = fields.map(|field| Cell::Text(field.to_string())).collect();
    if cells.len() != columns.len() {
        let fields = if cells.len() == 1 { "field" } else { "fields" };
        let message = format!("{} {fields}, but the header names {} columns", cells.len(), columns.len());
        return Row::bad(line, Fault::new(Kind::FieldCount, message));
    }
    Row::new(line, cells)
}

/// Line numbers of growing byte positions.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    fn line_of(&mut self, position: usize) -> u64 {
        self.line += self.text[self.at..position].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = position;
        self.line
    }
}
