//! What the fuzzers begin with and have found (`fuzz/`), once more.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Runs a target on every text of these directories.
fn replay(directories: &[&str], run: fn(&str)) {
    let mut count = 0;
    for directory in directories {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            // The fuzzer gives its targets nothing but text.
            if let Some(text) = std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                eprintln!("{}", path.display());
                run(&text);
                count += 1;
            }
        }
    }
    assert!(count > 5, "{directories:?} hold {count} texts");
}

const TEXTS: &[&str] = &["fuzz/corpus/texts", "tests/ui", "stdlib", "pipelines"];

#[test]
fn every_text_of_the_corpus_is_parsed() {
    replay(TEXTS, targets::parse);
}

#[test]
fn every_text_of_the_corpus_is_checked() {
    replay(TEXTS, targets::check);
}

#[test]
fn every_text_of_the_corpus_keeps_its_format() {
    replay(TEXTS, targets::format);
}

#[test]
fn the_language_server_survives_every_text_of_the_corpus() {
    replay(&["fuzz/corpus/lsp"], targets::lsp);
}
