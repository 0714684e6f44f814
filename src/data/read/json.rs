//! `.jsonl`, `.ndjson`: an object a line. `.json`: an array of objects.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::decode::Decoded;
use super::{Cell, Row, Table};
use crate::data::error::problem;
use crate::data::fault::{Fault, Kind};
use crate::lang::world::SourceError;

pub(super) fn read_lines(decoded: &Decoded) -> Table {
    let mut builder = Builder::default();
    for (line, text) in (1..).zip(decoded.text.lines()) {
        if text.trim().is_empty() {
            builder.table.blank += 1;
        } else if let Some(fault) = decoded.fault(line, line) {
            builder.table.rows.push(Row::bad(line, fault));
        } else {
            match serde_json::from_str(text) {
                Ok(value) => builder.add(line, value),
                Err(error) => {
                    let message = format!("not JSON at column {}: {}", error.column(), reason(&error));
                    builder.table.rows.push(Row::bad(line, Fault::new(Kind::Malformed, message)));
                }
            }
        }
    }
    builder.table
}

pub(super) fn read_array(shown: &str, decoded: &Decoded) -> Result<Table, SourceError> {
    let text = decoded.text.as_str();
    let mut builder = Builder::default();
    let mut cursor = Cursor { text, at: 0, line: 1 };
    if !cursor.take('[') {
        let (message, help) = if text.trim_start().starts_with('{') {
            (format!("{shown} is a JSON object, not an array of objects"), "put the rows into an array, or use .jsonl")
        } else {
            (format!("{shown} is not an array of objects"), "use `[{..}, {..}]`, or an object a line in a .jsonl file")
        };
        return Err(problem("ftp::data::malformed_file", Some("path"), message, "not an array of objects", help));
    }
    if cursor.take(']') {
        return Ok(builder.table);
    }
    loop {
        cursor.skip_space();
        let line = cursor.line;
        let mut values = serde_json::Deserializer::from_str(&text[cursor.at..]).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(broken(shown, line + error.line() as u64 - 1, &reason(&error))),
            None => return Err(broken(shown, line, "the file ends inside the array")),
        };
        cursor.advance(values.byte_offset());
        match decoded.fault(line, cursor.line) {
            Some(fault) => builder.table.rows.push(Row::bad(line, fault)),
            None => builder.add(line, value),
        }
        if cursor.take(']') {
            break;
        }
        if !cursor.take(',') {
            return Err(broken(shown, cursor.line, "expected `,` or `]` after an object"));
        }
    }
    Ok(builder.table)
}

/// An array broken in one place can't be read past it, so this is the file's error, not a row's.
fn broken(shown: &str, line: u64, why: &str) -> SourceError {
    let message = format!("{shown}:{line}: not JSON: {why}");
    problem(
        "ftp::data::malformed_file",
        Some("path"),
        message,
        "not JSON",
        "mend the file; a .jsonl file may skip bad rows",
    )
}

/// serde's reason without the place it puts behind it: it counts lines from the row.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_string())
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl Cursor<'_> {
    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.advance(rest.len() - rest.trim_start().len());
    }

    fn take(&mut self, character: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(character);
        if found {
            self.at += character.len_utf8();
        }
        found
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.text[self.at..self.at + bytes].matches('\n').count() as u64;
        self.at += bytes;
    }
}

/// Rows may have different fields: the columns are all that occur, in the order they first do.
#[derive(Default)]
struct Builder {
    table: Table,
    columns: HashMap<String, usize>,
}

impl Builder {
    fn add(&mut self, line: u64, value: Value) {
        match value {
            Value::Object(fields) => {
                let cells = self.cells(fields);
                self.table.rows.push(Row::new(line, cells));
            }
            other => {
                let message = format!("{}, not an object", cell(other).phrase());
                self.table.rows.push(Row::bad(line, Fault::new(Kind::Malformed, message)));
            }
        }
    }

    fn cells(&mut self, fields: Map<String, Value>) -> Vec<Cell> {
        let mut cells = vec![Cell::Missing; self.table.columns.len()];
        for (name, value) in fields {
            let at = *self.columns.entry(name.clone()).or_insert_with(|| {
                self.table.columns.push(name);
                cells.push(Cell::Missing);
                cells.len() - 1
            });
            cells[at] = cell(value);
        }
        cells
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Cell::Int(value),
            None => number.as_f64().map_or(Cell::Other("a number out of range"), Cell::Float),
        },
        Value::String(text) => Cell::Text(text),
        Value::Array(_) => Cell::Other("a list"),
        Value::Object(_) => Cell::Other("an object"),
    }
}
