//! A tiny project that trains within seconds, and `ftp` in it as people call it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// What its files begin with: data, settings, and a base model.
pub const BEGINNING: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")
set pretrain(
  corpus = corpus, vocab_size = 120, hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set finetune(epochs = 4, max_length = 32, batch_size = 7, learning_rate = 1e-2)
let base = pretrain
";

/// The data.
pub fn project() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let corpus: String =
        (0..40).map(|n| format!("the cat number {n} sat on the mat and saw {} dogs\n", n % 7)).collect();
    fs::write(root.join("corpus.txt"), corpus).expect("written");
    fs::create_dir(root.join("target")).expect("made");
    for (split, count) in [("train", 40), ("dev", 30), ("test", 6)] {
        let row = |n: usize| {
            let (word, label) = if (n * 7 + n / 3).is_multiple_of(2) { ("good", "yes") } else { ("bad", "no") };
            format!("{{\"text\": \"the {word} cat {} {split}\", \"label\": \"{label}\"}}\n", n % 11)
        };
        let text: String = (0..count).map(row).collect();
        fs::write(root.join(format!("target/{split}.jsonl")), text).expect("written");
    }
    directory
}

/// Calls `ftp`, with a store within the project.
pub fn call(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(root).env("FTP_STORE", root.join("store")).args(arguments).output().expect("it runs")
}

/// What a call that succeeds writes to standard output.
pub fn ftp(root: &Path, arguments: &[&str]) -> String {
    let ended = call(root, arguments);
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// Writes `p.ftp`: the beginning, and this.
pub fn write(root: &Path, text: &str) {
    fs::write(root.join("p.ftp"), BEGINNING.to_owned() + text).expect("written");
}

/// The events of a run of a file with the beginning and this.
pub fn run(root: &Path, text: &str) -> Vec<Value> {
    write(root, text);
    let out = ftp(root, &["run", "p.ftp", "--json"]);
    out.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}
