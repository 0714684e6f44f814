//! Rows of each format, and rows that can't be used.

use ftp::data::set::Target::{Class, Score};

use crate::{Case, TRAIN, rows};

#[test]
fn a_text_file_is_a_document_a_line_and_blank_lines_are_counted() {
    let case = Case::new("text", "*.txt").file("b.txt", "three\n").file("a.txt", "one\n\n  two\n \n");
    assert_eq!(case.documents(), ["one", "  two", "three"]);
    case.notices(&[("ftp::data::blank_lines", "2 blank lines of 2 files, first in a.txt: left out")]);
    assert_eq!(case.facts().files.iter().map(|file| file.rows).collect::<Vec<_>>(), [2, 1]);
    assert!(case.facts().columns.is_empty());
}

#[test]
fn tsv_takes_quotes_as_letters_and_csv_as_quotes() {
    let case =
        Case::new("labelled", "train.tsv").file("train.tsv", "text\tlabel\n\"quoted\" and \"open\tgood\n\"\"\tbad\n");
    assert_eq!(rows(&case.set(), "train"), [("\"quoted\" and \"open", None, Class(1)), ("\"\"", None, Class(0))]);
    let case = Case::new("labelled", "train.csv")
        .file("train.csv", "label,text\r\ngood,\"a \"\"word\"\", and\r\na line\"\r\n\r\nbad,plain\r\n");
    let set = case.set();
    assert_eq!(rows(&set, "train"), [("a \"word\", and\r\na line", None, Class(1)), ("plain", None, Class(0))]);
}

#[test]
fn json_arrays_and_lines_give_the_same_rows() {
    let array = "[\n  {\"text\": \"fine\", \"label\": \"good\"},\n  {\"text\": \"awful\",\n   \"label\": \"bad\"}\n]\n";
    let case = Case::new("labelled", "train.json").file("train.json", array);
    let lines = Case::new("labelled", "train.ndjson").file("train.ndjson", TRAIN);
    assert_eq!(rows(&case.set(), "train"), rows(&lines.set(), "train"));
}

#[test]
fn faults_name_file_and_line_and_come_all_at_once() {
    let bad = "{\"text\": \"fine\", \"label\": \"good\"}\n{\"text\": \"\", \"label\": \"bad\"}\n{\"text\": 3, \"label\": \"bad\"}\n\
               {\"label\": \"bad\"}\n{\"text\": \"x\", \"label\": null}\n{\"text\": \"x\",}\n[1]\n{\"text\": \"x\", \"label\": \"bad\"}\n";
    let case = Case::new("labelled", "d/train.jsonl").file("d/train.jsonl", bad);
    let errors = case.describe().unwrap_err();
    let messages: Vec<_> = errors.iter().map(|error| (error.code, error.message.as_str())).collect();
    assert_eq!(
        messages,
        [
            (
                "ftp::data::malformed_row",
                "2 rows are malformed:\n  d/train.jsonl:6: not JSON at column 14: trailing comma\n  \
                 d/train.jsonl:7: a list, not an object"
            ),
            (
                "ftp::data::missing_field",
                "2 rows have a missing field:\n  d/train.jsonl:4: no `text`\n  d/train.jsonl:5: `label` is null"
            ),
            ("ftp::data::wrong_type", "d/train.jsonl:3: `text` holds a number, not a string"),
            ("ftp::data::empty_text", "d/train.jsonl:2: `text` is empty"),
        ]
    );
    let case = case.with("bad_rows", "skip");
    case.notices(&[
        ("ftp::data::malformed_row", "2 of 8 rows were skipped: malformed (first: d/train.jsonl:6)"),
        ("ftp::data::missing_field", "2 of 8 rows were skipped: a missing field (first: d/train.jsonl:4)"),
        ("ftp::data::wrong_type", "1 of 8 rows was skipped: a field of the wrong type (d/train.jsonl:3)"),
        ("ftp::data::empty_text", "1 of 8 rows was skipped: an empty text (d/train.jsonl:2)"),
    ]);
    assert_eq!(rows(&case.set(), "train"), [("fine", None, Class(1)), ("x", None, Class(0))]);
    assert_eq!(case.facts().files[0].rows, 2);
}

#[test]
fn many_faults_show_five_and_count_the_rest() {
    let case = Case::new("text", "a.jsonl")
        .file("a.jsonl", format!("{{\"text\": \"x\"}}\n{}", "{\"text\": \" \"}\n".repeat(1207)));
    let places: Vec<String> = (2..7).map(|line| format!("\n  a.jsonl:{line}: `text` is empty")).collect();
    let message = format!("1,207 rows have an empty text:{}\n  and 1,202 more", places.concat());
    case.fails("ftp::data::empty_text", &message);
}

#[test]
fn ragged_rows_and_unbalanced_quotes_name_the_line_they_begin_on() {
    let case = Case::new("labelled", "train.tsv").file("train.tsv", "text\tlabel\nfine\tgood\nodd\nawful\tbad\n");
    case.fails("ftp::data::field_count", "train.tsv:3: 1 field, but the header names 2 columns");
    let csv = "text,label\nfine,good\n\"over\ntwo lines\",bad\n\n\"open,bad\nfine,good\n";
    let case = Case::new("labelled", "train.csv").file("train.csv", csv);
    case.fails("ftp::data::quote", "train.csv:6: a `\"` without its partner, which takes in everything to line 7");
    let case = Case::new("labelled", "train.csv").file("train.csv", "text,label\nfine,good\n5\" wide,bad\nawful,bad\n");
    case.fails("ftp::data::quote", "train.csv:3: a `\"` without its partner");
}

#[test]
fn a_header_names_each_column_once() {
    let case = Case::new("labelled", "train.csv").file("train.csv", "text,label,text\na,b,c\n");
    case.fails("ftp::data::header", "train.csv:1: the header names the column \"text\" twice");
}

#[test]
fn broken_json_files_name_the_line() {
    let case = Case::new("text", "a.json").file("a.json", "[\n{\"text\": \"x\"},\n{\"text\": }\n]");
    case.fails("ftp::data::malformed_file", "a.json:3: not JSON: expected value");
    let case = Case::new("text", "a.json").file("a.json", "[\n{\"text\": \"x\"}\n{\"text\": \"y\"}]");
    case.fails("ftp::data::malformed_file", "a.json:3: not JSON: expected `,` or `]` after an object");
    let case = Case::new("text", "a.json").file("a.json", "[{\"text\": \"x\"},\n");
    case.fails("ftp::data::malformed_file", "a.json:2: not JSON: the file ends inside the array");
    let case = Case::new("text", "a.json").file("a.json", "{\"data\": []}");
    case.fails("ftp::data::malformed_file", "a.json is a JSON object, not an array of objects");
}

#[test]
fn labels_outside_the_list_and_outside_train_name_the_line() {
    let dev = "{\"text\": \"so so\", \"label\": \"mixed\"}\n{\"text\": \"nice\", \"label\": \"good\"}\n";
    let case = Case::new("labelled", "{train,dev}.jsonl").file("train.jsonl", TRAIN).file("dev.jsonl", dev);
    case.fails("ftp::data::label_not_in_train", "dev.jsonl:1: the label \"mixed\" is not in train");
    let case = case.labels(&["good", "bad"]);
    case.fails("ftp::data::unknown_label", "dev.jsonl:1: the label \"mixed\" is not in `labels`");
    let case = case.with("bad_rows", "skip");
    let what = "1 of 4 rows was skipped: a label that is not in `labels` (dev.jsonl:1)";
    case.notices(&[("ftp::data::unknown_label", what)]);
    assert_eq!(rows(&case.set(), "dev"), [("nice", None, Class(0))]);
}

#[test]
fn a_score_that_is_no_number_names_the_line() {
    let csv = "text,score\na,1.5\nb,high\nc,nan\nd,-2\n";
    let case = Case::new("labelled", "train.csv").file("train.csv", csv).with("task", "regression");
    case.fails(
        "ftp::data::not_a_number",
        "2 rows have a target that is no number:\n  train.csv:3: `score` is \"high\", not a number\n  \
         train.csv:4: `score` is \"nan\", not a number",
    );
    let case = case.with("bad_rows", "skip");
    assert_eq!(rows(&case.set(), "train"), [("a", None, Score(1.5)), ("d", None, Score(-2.0))]);
}

#[test]
fn skipping_may_not_leave_a_split_empty() {
    let case = Case::new("labelled", "{train,dev}.jsonl").file("train.jsonl", TRAIN).file("dev.jsonl", "[]\n");
    case.with("bad_rows", "skip").fails("ftp::data::no_rows", "no row of dev can be used");
}

#[test]
fn a_file_of_nothing_but_bad_rows_says_what_is_wrong_with_them() {
    let case = Case::new("labelled", "train.jsonl").file("train.jsonl", "[]\n");
    case.fails("ftp::data::malformed_row", "train.jsonl:1: a list, not an object");
    let case = Case::new("labelled", "{train,dev}.jsonl").file("train.jsonl", TRAIN).file("dev.jsonl", "[]\n");
    case.fails("ftp::data::malformed_row", "dev.jsonl:1: a list, not an object");
}

#[test]
fn rows_that_train_and_test_share_are_counted() {
    let test = "{\"text\": \"fine\", \"label\": \"bad\"}\n{\"text\": \"new\", \"label\": \"good\"}\n";
    let case = Case::new("labelled", "{train,test}.jsonl").file("train.jsonl", TRAIN).file("test.jsonl", test);
    let message = "1 of 2 rows of test are in train too: a score on them says little about new texts";
    case.notices(&[("ftp::data::leak", message)]);
}
