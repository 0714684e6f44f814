//! Tokenizers against `transformers`, and against themselves.

use std::path::Path;

use ftp::data::tokenizer::{Input, Tokenizer};
use serde_json::{Value, json};

const VOCABULARY: &str = include_str!("tokenizer/vocab.txt");
const CORPUS: &str = include_str!("../../pipelines/data/domain/train.txt");

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn from_vocabulary(lowercase: bool) -> Tokenizer {
    let config = json!({ "do_lower_case": lowercase }).to_string();
    Tokenizer::load(directory(&[("vocab.txt", VOCABULARY), ("tokenizer_config.json", &config)]).path()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().map_or(u32::MAX, |id| id as u32)).collect()
}

#[test]
fn ids_segments_and_words_are_those_of_transformers() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("tokenizer/expected.json")).unwrap();
    assert!(cases.len() > 80);
    let tokenizers = [from_vocabulary(false), from_vocabulary(true)];
    for case in &cases {
        let tokenizer = &tokenizers[usize::from(case["lowercase"].as_bool().unwrap())];
        let input: Input = (case["text"].as_str().unwrap(), case["pair"].as_str());
        let encoded = tokenizer.encode_all(&[input], case["max_length"].as_u64().unwrap() as usize).unwrap();
        let encoding = &encoded.encodings[0];
        assert_eq!(encoding.ids, numbers(&case["ids"]), "{case}");
        assert_eq!(encoding.segments, numbers(&case["segments"]), "{case}");
        // Theirs start from 0 in the second text again, ours go on.
        let theirs = numbers(&case["words"]);
        let in_first = |at: &usize| encoding.segments[*at] == 0 && theirs[*at] != u32::MAX;
        let words = (0..theirs.len()).filter(in_first).map(|at| theirs[at] + 1).max().unwrap_or(0);
        let expected: Vec<u32> = (0..theirs.len())
            .map(
                |at| if theirs[at] == u32::MAX || encoding.segments[at] == 0 { theirs[at] } else { theirs[at] + words },
            )
            .collect();
        assert_eq!(encoding.words, expected, "{case}");
    }
}

#[test]
fn training_gives_the_same_bytes_whatever_the_threads_and_the_order() {
    let mut lines: Vec<&str> = CORPUS.lines().collect();
    let train = |lines: &[&str], threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Tokenizer::train_wordpiece(lines, 600, true, 2).unwrap().to_json().unwrap())
    };
    let first = train(&lines, 1);
    assert_eq!(first, train(&lines, 1));
    assert_eq!(first, train(&lines, 4));
    lines.reverse();
    assert_eq!(first, train(&lines, 3));
}

#[test]
fn a_trained_vocabulary_begins_with_the_special_tokens_and_has_the_size_asked_for() {
    let lines: Vec<&str> = CORPUS.lines().collect();
    let tokenizer = Tokenizer::train_wordpiece(&lines, 600, true, 2).unwrap();
    assert_eq!(tokenizer.vocab_size(), 600);
    let special = tokenizer.special();
    assert_eq!([special.pad, special.unk, special.cls, special.sep, special.mask], [0, 1, 2, 3, 4]);
    assert!((0..5).all(|id| tokenizer.is_special(id)) && !tokenizer.is_special(5));
    assert!(tokenizer.notices().is_empty());
    let encoded = tokenizer.encode_documents(&lines).unwrap();
    assert_eq!(encoded.unknown, 0);
    assert!(encoded.encodings.iter().all(|document| !document.ids.iter().any(|id| tokenizer.is_special(*id))));
}

#[test]
fn a_vocabulary_that_can_not_have_the_size_says_so() {
    let tokenizer = Tokenizer::train_wordpiece(&["aa aa ab"], 100, true, 2).unwrap();
    let notice = &tokenizer.notices()[0];
    assert_eq!(notice.code, "ftp::data::small_vocabulary");
    assert_eq!(notice.message, "the vocabulary has 10 tokens, not 100: no other pair of pieces occurs 2 times");
    let error = Tokenizer::train_wordpiece(&["abcdefgh"], 10, true, 1).unwrap_err();
    assert_eq!(error.code, "ftp::data::vocab_size");
}

#[test]
fn what_is_saved_loads_to_the_same_ids() {
    let lines: Vec<&str> = CORPUS.lines().collect();
    let inputs: Vec<Input> = lines.iter().map(|line| (*line, None)).collect();
    for lowercase in [true, false] {
        let tokenizer = Tokenizer::train_wordpiece(&lines, 600, lowercase, 2).unwrap();
        let directory = tempfile::tempdir().unwrap();
        tokenizer.save(directory.path()).unwrap();
        let loaded = Tokenizer::load(directory.path()).unwrap();
        assert_eq!(loaded.to_json().unwrap(), tokenizer.to_json().unwrap());
        assert_eq!(loaded.special(), tokenizer.special());
        let ids = |tokenizer: &Tokenizer| tokenizer.encode_all(&inputs, 64).unwrap().encodings;
        assert_eq!(ids(&loaded), ids(&tokenizer));
    }
}

#[test]
fn truncation_and_padding_in_the_file_are_overridden_and_said_to_be() {
    let mut file: Value = serde_json::from_str(&from_vocabulary(true).to_json().unwrap()).unwrap();
    file["truncation"] = json!({ "direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0 });
    file["padding"] = json!({ "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" });
    let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes(), Default::default()).unwrap();
    let messages: Vec<&str> = tokenizer.notices().iter().map(|notice| notice.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "tokenizer.json asks to cut texts to 6 tokens: overridden by `max_length`",
            "tokenizer.json asks to pad texts: overridden, nothing is padded"
        ]
    );
    let lengths = |text: &str| tokenizer.encode_all(&[(text, None)], 64).unwrap().encodings[0].len();
    assert_eq!((lengths("the movie"), lengths("a b c d e f g h")), (4, 10));
}

#[test]
fn cut_texts_and_unknown_tokens_are_counted() {
    let tokenizer = from_vocabulary(true);
    let encoded = tokenizer.encode_all(&[("a b c d", None), ("a b", None), ("a", Some("b c"))], 5).unwrap();
    assert_eq!(encoded.truncated, 2);
    let notices = encoded.notices("train", 5);
    assert_eq!(notices[0].message, "2 of 3 texts of train are longer than 5 tokens and were cut");
    assert_eq!(notices.len(), 1);
    let encoded = tokenizer.encode_all(&[("a b c ☃", None)], 64).unwrap();
    assert_eq!((encoded.unknown, encoded.tokens), (1, 4));
    let message = "25.0 % of the tokens of dev are unknown to the tokenizer: is it meant for these texts?";
    assert_eq!(encoded.notices("dev", 64)[0].message, message);
    assert_eq!(tokenizer.encode_all(&[("a b", None)], 3).unwrap().encodings[0].ids.len(), 3);
    let error = tokenizer.encode_all(&[("a b", None)], 2).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        ("ftp::data::max_length", "2 tokens hold no text beside the 2 special ones")
    );
    assert!(tokenizer.encode_all(&[("a", Some("b"))], 4).is_err());
}

#[test]
fn a_directory_without_a_tokenizer_and_a_tokenizer_without_a_mask_are_refused() {
    let error = Tokenizer::load(directory(&[]).path()).unwrap_err();
    assert!(error.message.ends_with("there is neither tokenizer.json nor vocab.txt"), "{}", error.message);
    let mut file: Value = serde_json::from_str(&from_vocabulary(true).to_json().unwrap()).unwrap();
    file["added_tokens"] = json!([]);
    file["model"]["vocab"].as_object_mut().unwrap().remove("[MASK]");
    let error = Tokenizer::from_bytes(file.to_string().as_bytes(), Default::default()).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        ("ftp::data::special_tokens", "the tokenizer has no `mask_token`")
    );
}

/// `FTP_PYTHON=python cargo test --test data -- --ignored` with a Python that has transformers.
#[test]
#[ignore = "needs a Python with transformers, named by FTP_PYTHON"]
fn transformers_loads_what_is_saved_and_gives_the_same_ids() {
    let python = std::env::var("FTP_PYTHON").expect("FTP_PYTHON");
    let lines: Vec<&str> = CORPUS.lines().chain(["Café CAFÉ don't [MASK] 日本", ""]).collect();
    let pair = ("one text", "and another");
    for lowercase in [true, false] {
        let tokenizer = Tokenizer::train_wordpiece(&lines, 600, lowercase, 2).unwrap();
        let directory = tempfile::tempdir().unwrap();
        tokenizer.save(directory.path()).unwrap();
        let mut texts: Vec<Value> = lines.iter().map(|line| json!(line)).collect();
        texts.push(json!([pair.0, pair.1]));
        let theirs = ask(&python, directory.path(), &Value::from(texts).to_string());
        assert_eq!(theirs["mask"], 4);
        let mut inputs: Vec<Input> = lines.iter().map(|line| (*line, None)).collect();
        inputs.push((pair.0, Some(pair.1)));
        let ours = tokenizer.encode_all(&inputs, 10_000).unwrap().encodings;
        for (ours, theirs) in ours.iter().zip(theirs["ids"].as_array().unwrap()) {
            assert_eq!(ours.ids, numbers(theirs));
        }
    }
}

fn ask(python: &str, directory: &Path, texts: &str) -> Value {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/make_tokenizer_fixture.py");
    let mut child =
        Command::new(python).arg(script).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(texts.as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}
