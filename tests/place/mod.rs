//! A directory with a small pipeline, a module, its data and a store, and the program to call on it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub const PIPELINE: &str = "\
use \"team/recipes.ftp\" as team

param rate: float = 1e-2

let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2,
  max_length = 16, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)

let base = pretrain -> adapt(corpus, epochs = 1, max_length = 8, batch_size = 8)

pipeline tries = base -> each(seed in 1..2) team.tuned(target, rate = rate)

## The better of two seeds, & <nothing> | else.
pipeline best = tries -> select(best = accuracy)

expect best.accuracy >= 0.0
expect mean(tries.accuracy) >= 0.0
publish best to \"out/best\"
";

const MODULE: &str = "\
recipe tuned(base: model, target: labelled, rate: float, seed: int) =
  base -> finetune(target, learning_rate = rate, epochs = 2, max_length = 16, seed = seed)
";

pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new(pipeline: &str) -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a directory") };
        place.write("p.ftp", pipeline);
        place.write("team/recipes.ftp", MODULE);
        let corpus = (0..60).map(|n| format!("the cat number {n} sat on the mat and saw {} dogs\n", n % 7));
        place.write("corpus.txt", &corpus.collect::<String>());
        for (split, count, shift) in [("train", 48, 0), ("dev", 12, 100), ("test", 14, 200)] {
            let row = |n: usize| match n % 2 {
                0 => format!(
                    "{{\"text\": \"the good cat {} sat on the mat and saw many dogs in the sun again and again\", \"label\": \"good\"}}\n",
                    n + shift
                ),
                _ => format!(
                    "{{\"text\": \"the bad dog {} sat on the mat and saw many cats in the sun again and again\", \"label\": \"bad\"}}\n",
                    n + shift
                ),
            };
            place.write(&format!("target/{split}.jsonl"), &(0..count).map(row).collect::<String>());
        }
        place
    }

    /// A directory with nothing in it.
    pub fn empty() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub fn read(&self, path: &str) -> String {
        Self::text(&self.path().display().to_string(), path)
    }

    pub fn text(directory: &str, path: &str) -> String {
        fs::read_to_string(Path::new(directory).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
        command.current_dir(self.path()).env("FTP_STORE", self.at("store")).args(arguments);
        // A user of its own, with no key and no remote unless the test gives one.
        command.env("XDG_CONFIG_HOME", self.at("config"));
        for name in ["FTP_REMOTE", "FTP_SIGNING_KEY", "FTP_TRUST"] {
            command.env_remove(name);
        }
        command
    }

    /// What it writes to standard output and, when it fails as expected, what to standard error.
    pub fn ftp(&self, arguments: &[&str], code: i32) -> String {
        let output = self.command(arguments).output().expect("ftp starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(code),
            "ftp {arguments:?}\nstandard output:\n{out}\nstandard error:\n{err}"
        );
        if code == 0 { out.into_owned() } else { out.into_owned() + &err }
    }
}
