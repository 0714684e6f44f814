//! Which files a path means, and which bytes can be read.

use crate::{Case, TRAIN};

#[test]
fn braces_say_the_splits_and_train_comes_first() {
    let case = Case::new("labelled", "d/{test,validation,train}.jsonl");
    let case = case.file("d/test.jsonl", TRAIN).file("d/validation.jsonl", TRAIN).file("d/train.jsonl", TRAIN);
    let facts = case.facts();
    let files: Vec<_> = facts.files.iter().map(|file| (file.split.as_deref().unwrap(), file.shown.as_str())).collect();
    assert_eq!(files, [("train", "d/train.jsonl"), ("dev", "d/validation.jsonl"), ("test", "d/test.jsonl")]);
    assert!(facts.files.iter().all(|file| file.rows == 2 && file.bytes == TRAIN.len() as u64));
    assert_eq!(facts.files[0].digest, blake3::hash(TRAIN.as_bytes()).to_hex().as_str());
}

#[test]
fn a_glob_finds_splits_by_name_and_keeps_directories_out() {
    let case = Case::new("labelled", "d/*").file("d/x-train-0.jsonl", TRAIN).file("d/x-dev-0.jsonl", TRAIN);
    std::fs::create_dir(case.path().join("d/sub.jsonl")).unwrap();
    let splits: Vec<_> = case.facts().files.into_iter().map(|file| (file.split.unwrap(), file.shown)).collect();
    assert_eq!(splits, [("train".into(), "d/x-train-0.jsonl".into()), ("dev".into(), "d/x-dev-0.jsonl".to_string())]);
}

#[test]
fn a_file_that_names_no_split_is_train_and_said_to_be() {
    let case = Case::new("labelled", "reviews.jsonl").file("reviews.jsonl", TRAIN);
    case.notices(&[("ftp::data::split_guessed", "reviews.jsonl names no split: its rows are train")]);
    let case = Case::new("labelled", "*.jsonl").file("a.jsonl", TRAIN).file("b.jsonl", TRAIN);
    case.notices(&[("ftp::data::split_guessed", "2 files name no split (a.jsonl the first): their rows are train")]);
}

#[test]
fn a_set_without_train_is_an_error() {
    let case = Case::new("labelled", "test.jsonl").file("test.jsonl", TRAIN);
    case.fails("ftp::data::no_train", "no file is a train split: test.jsonl");
}

#[test]
fn a_missing_file_names_its_neighbours_and_all_that_is_missing_is_said() {
    let case =
        Case::new("labelled", "d/{train,dve,tset}.jsonl").file("d/train.jsonl", TRAIN).file("d/dev.jsonl", TRAIN);
    let errors = case.describe().unwrap_err();
    let messages: Vec<_> = errors.iter().map(|error| (error.code, error.message.as_str())).collect();
    let code = "ftp::data::missing_file";
    assert_eq!(messages, [(code, "no file matches d/dve.jsonl"), (code, "no file matches d/tset.jsonl")]);
    assert_eq!(errors[0].help.as_deref(), Some("near it in d: dev.jsonl, train.jsonl"));
    assert_eq!(errors[0].parameter, Some("path"));
}

#[test]
fn a_missing_directory_names_the_one_near_it() {
    let case = Case::new("text", "dta/wiki/*.txt").file("data/wiki/a.txt", "a\n");
    let error = case.error();
    assert_eq!(error.message, "no file matches dta/wiki/*.txt");
    assert_eq!(error.help.as_deref(), Some("near it in the `.ftp` file's directory: data"));
}

#[test]
fn a_directory_is_not_a_file() {
    let case = Case::new("text", "wiki").file("wiki/a.txt", "a\n");
    case.fails("ftp::data::is_directory", "wiki is a directory");
}

#[test]
fn an_unclosed_brace_is_an_error() {
    Case::new("text", "{a,b.txt").fails("ftp::data::path", "`{a,b.txt` opens a `{` that is not closed");
}

#[test]
fn names_with_pattern_letters_in_them_can_be_written() {
    let case = Case::new("text", "a[1].txt").file("a[1].txt", "one\n");
    assert_eq!(case.documents(), ["one"]);
}

#[test]
fn unknown_and_compressed_formats_are_named() {
    let case = Case::new("text", "a.docx").file("a.docx", "x");
    case.fails("ftp::data::format", "a.docx is of no format ftp reads");
    let case = Case::new("text", "a.txt.gz").file("a.txt.gz", b"\x1f\x8b\x08\x00");
    case.fails("ftp::data::compressed", "a.txt.gz is compressed (gzip)");
    let case = Case::new("text", "a.txt").file("a.txt", b"\x28\xb5\x2f\xfd....");
    case.fails("ftp::data::compressed", "a.txt is compressed (Zstandard)");
}

#[test]
fn an_empty_file_is_an_error() {
    for content in ["", "\n \n", "\u{feff}"] {
        Case::new("text", "a.txt").file("a.txt", content).fails("ftp::data::empty_file", "a.txt is empty");
    }
    Case::new("text", "a.json").file("a.json", "[]").fails("ftp::data::empty_file", "a.json is empty");
    Case::new("text", "a.csv").file("a.csv", "text\n").fails("ftp::data::empty_file", "a.csv is empty");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(Case::new("text", "a.txt").file("a.txt", "\u{feff}one\r\ntwo\n").documents(), ["one", "two"]);
    assert_eq!(Case::new("text", "a.csv").file("a.csv", "\u{feff}text\none\n").documents(), ["one"]);
}

#[test]
fn utf16_is_named_with_and_without_its_mark() {
    let little: Vec<u8> = "some text\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = "some text\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &little].concat();
    let case = Case::new("text", "a.txt").file("a.txt", marked);
    case.fails("ftp::data::encoding", "a.txt is UTF-16 (little endian), not UTF-8");
    assert_eq!(case.error().help.as_deref(), Some("convert it: `iconv -f UTF-16 -t UTF-8 a.txt > new`"));
    let case = Case::new("text", "a.txt").file("a.txt", little);
    case.fails("ftp::data::encoding", "a.txt is UTF-16 (little endian), not UTF-8");
    let case = Case::new("text", "a.txt").file("a.txt", big);
    case.fails("ftp::data::encoding", "a.txt is UTF-16 (big endian), not UTF-8");
    let case = Case::new("text", "a.txt").file("a.txt", "a\0b\nlonger text without more");
    case.fails("ftp::data::encoding", "a.txt is not text: it has zero bytes");
}

#[test]
fn latin1_is_named_with_line_and_column() {
    let case = Case::new("text", "a.txt").file("a.txt", b"one\nun caf\xe9\n");
    case.fails(
        "ftp::data::invalid_utf8",
        "a.txt:2: column 7: the byte 0xE9 is not UTF-8; the file looks like Latin-1 (Windows-1252)",
    );
    assert!(case.error().help.unwrap().contains("iconv -f WINDOWS-1252 -t UTF-8"));
}

#[test]
fn a_stray_byte_in_utf8_is_no_latin1_and_its_row_can_be_skipped() {
    let case = Case::new("text", "a.txt").file("a.txt", b"caf\xc3\xa9\ncaf\xe9\nx\n");
    case.fails("ftp::data::invalid_utf8", "a.txt:2: column 4: the byte 0xE9 is not UTF-8");
    let case = case.with("bad_rows", "skip");
    case.notices(&[("ftp::data::invalid_utf8", "1 of 3 rows was skipped: not UTF-8 (a.txt:2)")]);
    assert_eq!(case.documents(), ["café", "x"]);
}

#[test]
fn a_file_changed_after_the_plan_is_refused() {
    let case = Case::new("labelled", "train.jsonl").file("train.jsonl", TRAIN);
    let facts = case.facts();
    assert!(case.read_labelled(&facts).is_ok());
    let case = case.file("train.jsonl", "{not json");
    let error = case.read_labelled(&facts).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        ("ftp::data::changed", "train.jsonl changed after the plan was made")
    );
    let text = Case::new("text", "a.txt").file("a.txt", "one\n");
    let facts = text.facts();
    let text = text.file("a.txt", "two\n");
    let error = ftp::data::read_text(&text.request.parameters, &facts).unwrap_err();
    assert_eq!(error.code, "ftp::data::changed");
}
