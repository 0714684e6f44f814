//! `.parquet`: columns of strings, numbers and booleans. Rows are numbered from 1.

use std::fs::File;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::{Cell, Row, Table};
use crate::data::error::problem;
use crate::lang::world::SourceError;

pub(super) fn read(shown: &str, path: &Path) -> Result<Table, SourceError> {
    let unreadable = |error: ParquetError| {
        problem(
            "ftp::data::malformed_file",
            Some("path"),
            format!("{shown} can't be read as Parquet: {error}"),
            "not readable as Parquet",
            "write it again, uncompressed or with Snappy or Zstandard, or convert it to .jsonl",
        )
    };
    let file = File::open(path).map_err(|error| unreadable(error.into()))?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns = schema.get_fields().iter().map(|field| field.name().to_string()).collect();
    let mut table = Table { columns, numbers_rows: true, ..Table::default() };
    for (number, row) in (1..).zip(reader.get_row_iter(None).map_err(unreadable)?) {
        let row = row.map_err(unreadable)?;
        let cells = row.get_column_iter().map(|(_, field)| cell(field)).collect();
        table.rows.push(Row::new(number, cells));
    }
    Ok(table)
}

fn cell(field: &Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Bool(value) => Cell::Bool(*value),
        Field::Byte(value) => Cell::Int((*value).into()),
        Field::Short(value) => Cell::Int((*value).into()),
        Field::Int(value) => Cell::Int((*value).into()),
        Field::Long(value) => Cell::Int(*value),
        Field::UByte(value) => Cell::Int((*value).into()),
        Field::UShort(value) => Cell::Int((*value).into()),
        Field::UInt(value) => Cell::Int((*value).into()),
        Field::ULong(value) => i64::try_from(*value).map_or(Cell::Other("a number out of range"), Cell::Int),
        Field::Float16(value) => Cell::Float(value.to_f64()),
        Field::Float(value) => Cell::Float((*value).into()),
        Field::Double(value) => Cell::Float(*value),
        Field::Str(text) => Cell::Text(text.clone()),
        Field::Bytes(_) => Cell::Other("bytes without a character set"),
        Field::ListInternal(_) => Cell::Other("a list"),
        Field::MapInternal(_) | Field::Group(_) => Cell::Other("an object"),
        _ => Cell::Other("a value of another type"),
    }
}
