//! Parquet there and back.

use std::sync::Arc;

use ftp::data::set::Target::Class;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::{Case, rows};

/// Rows of an optional text and an integer label.
fn parquet(rows: &[(Option<&str>, i64)]) -> Vec<u8> {
    let schema = "message m { optional binary text (UTF8); required int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts: Vec<ByteArray> = rows.iter().filter_map(|row| Some(row.0?.into())).collect();
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.0.is_some())).collect();
    let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_columns_come_back_as_they_were() {
    let case = Case::new("labelled", "train-00000-of-00001.parquet")
        .file("train-00000-of-00001.parquet", parquet(&[(Some("one"), 1), (Some("zwei é"), 0)]));
    assert_eq!(rows(&case.set(), "train"), [("one", None, Class(1)), ("zwei é", None, Class(0))]);
    assert_eq!(case.facts().columns["label"], "label");
}

#[test]
fn a_bad_parquet_row_is_named_by_its_number() {
    let case = Case::new("labelled", "train.parquet")
        .file("train.parquet", parquet(&[(Some("one"), 1), (None, 0), (Some("two"), 0)]));
    case.fails("ftp::data::missing_field", "train.parquet, row 2: `text` is null");
}

#[test]
fn what_is_no_parquet_says_so() {
    let case = Case::new("text", "a.parquet").file("a.parquet", "no parquet at all");
    let error = case.error();
    assert_eq!(error.code, "ftp::data::malformed_file");
    assert!(error.message.starts_with("a.parquet can't be read as Parquet: "), "{}", error.message);
}
