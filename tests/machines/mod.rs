//! Machines that share results: each with the project, a store and a user of its own; and directories that are their remotes.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::place::Place;
use crate::servers;
use crate::walk::files_under;

/// Four stages; the last is a delta of the first.
pub const PIPELINE: &str = "\
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(vocab_size = 200, hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2)
set pretrain(max_length = 16, epochs = 1, batch_size = 8, learning_rate = 1e-3)
set finetune(learning_rate = 1e-2, epochs = 1, max_length = 16)

let corpus = text(\"corpus.txt\")
let base = pretrain(corpus)

pipeline full = base -> finetune(target)
pipeline light = base -> peft(bitfit) -> finetune(target)

publish full to \"out/full\"
";

pub const STAGES: usize = 4;
pub const SECRET: &str = "canary-5b2e-of-the-secret-access-key";

/// A machine with the project, its own store and its own user.
pub struct Machine {
    pub place: Place,
    pub environment: Vec<(&'static str, String)>,
}

/// What a command said.
pub struct Said {
    pub out: String,
    pub err: String,
}

impl Machine {
    pub fn new() -> Self {
        Self { place: Place::new(PIPELINE), environment: vec![] }
    }

    /// One whose user trusts another's.
    pub fn that_trusts(other: &Self) -> Self {
        let machine = Self::new();
        machine.trust("them", other);
        machine
    }

    /// One with a key to sign with.
    pub fn that_signs() -> Self {
        let machine = Self::new();
        machine.ftp("key new", 0);
        machine
    }

    pub fn trust(&self, name: &str, other: &Self) {
        let said = other.ftp("key show", 0).out;
        let key = said.split_whitespace().find(|word| word.starts_with("ed25519:")).expect("a public key");
        self.ftp(&format!("key trust {name} {key}"), 0);
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = self.place.command(&words.split_whitespace().collect::<Vec<_>>());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn ftp(&self, words: &str, code: i32) -> Said {
        let output = self.command(words).output().expect("ftp starts");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(output.status.code(), Some(code), "ftp {words}\nstandard output:\n{out}\nstandard error:\n{err}");
        Said { out, err }
    }

    /// How many stages a run computed, and the notices it gave.
    pub fn run(&self, words: &str) -> (usize, Vec<String>) {
        let events = self.ftp(&format!("run p.ftp --json {words}"), 0).out;
        let events = events.lines().map(|line| serde_json::from_str(line).expect("an event a line"));
        let events: Vec<serde_json::Value> = events.collect();
        let notices = events.iter().filter(|event| event["event"] == "notice");
        let notices = notices.map(|event| event["notice"]["code"].as_str().expect("a code").to_owned());
        let notices = notices.filter(|code| code.starts_with("ftp::remote::"));
        (events.iter().filter(|event| event["event"] == "stage_started").count(), notices.collect())
    }

    /// What a run prints of its results.
    pub fn table(&self, words: &str) -> String {
        let out = self.ftp(&format!("run p.ftp {words}"), 0).out;
        let from = out.find("test").unwrap_or_else(|| panic!("no table of results in\n{out}"));
        let table = &out[from..];
        table[..table.find("published").expect("it publishes")].to_owned()
    }

    pub fn with_s3(mut self, buckets: &Path) -> Self {
        fs::create_dir_all(buckets.join("results")).expect("made");
        let address = servers::s3(buckets, "somebody", SECRET);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ENDPOINT_URL", &format!("http://{address}")),
        ] {
            self.environment.push((name, value.to_owned()));
        }
        self
    }
}

/// A directory for a remote.
pub struct Shelf(pub TempDir);

impl Shelf {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub fn address(&self) -> String {
        self.0.path().join("remote").display().to_string()
    }

    /// All objects in it by their path.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let root = PathBuf::from(self.address());
        files_under(&root)
            .into_iter()
            .map(|path| {
                let name = path.strip_prefix(&root).expect("below").display().to_string();
                (name, fs::read(&path).expect("read"))
            })
            // What a client that was killed left unfinished has no object's name.
            .filter(|(name, _)| !name.contains('#'))
            .collect()
    }

    pub fn put(&self, object: &str, content: &[u8]) {
        fs::write(Path::new(&self.address()).join(object), content).expect("written");
    }

    /// Every manifest that lies there has its contents and what it is a delta of; how many results there are.
    pub fn verify(&self) -> usize {
        let objects = self.objects();
        let mut results = 0;
        for (name, content) in objects.iter().filter(|(name, _)| name.ends_with(".json")) {
            let line = content.split(|byte| *byte == b'\n').next().expect("a line");
            let line: serde_json::Value = serde_json::from_slice(line).expect("a manifest");
            let manifest = &line["manifest"];
            for (file, entry) in manifest["files"].as_object().expect("files") {
                let digest = entry["digest"].as_str().expect("a digest");
                let blob = objects.get(&format!("blobs/{}/{digest}", &digest[..2]));
                let blob = blob.unwrap_or_else(|| panic!("{name} is there without {file}"));
                assert_eq!(blake3::hash(blob).to_hex().as_str(), digest, "{file} of {name}");
            }
            if let Some(base) = manifest["base"].as_str() {
                assert!(
                    objects.contains_key(&format!("outputs/{}/{base}.json", &base[..2])),
                    "{name} without its base"
                );
            }
            results += usize::from(name.starts_with("results/"));
        }
        results
    }
}
