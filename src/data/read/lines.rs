//! `.txt`: a document a line. Blank lines hold none, and are counted.

use super::decode::Decoded;
use super::{Cell, LINE_COLUMN, Row, Table};

pub(super) fn read(decoded: &Decoded) -> Table {
    let mut table = Table { columns: vec![LINE_COLUMN.into()], ..Table::default() };
    for (line, text) in (1..).zip(decoded.text.lines()) {
        if text.trim().is_empty() {
            table.blank += 1;
        } else if let Some(fault) = decoded.fault(line, line) {
            table.rows.push(Row::bad(line, fault));
        } else {
            table.rows.push(Row::new(line, vec![Cell::Text(text.to_string())]));
        }
    }
    table
}
