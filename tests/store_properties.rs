//! What the store promises: results come back whole or not at all, and misses are explained.

use std::fs;
use std::path::{Path, PathBuf};

use ftp::exec::{Status, status};
use ftp::lang::ir::Program;
use ftp::lang::signature::Artifact;
use ftp::lang::value::Value;
use ftp::lang::world::SourceFacts;
use ftp::plan::spec::Outcome;
use ftp::plan::{Keyed, Plan, PreImage, Reason};
use ftp::store::{Absence, Acquired, Committed, Lookup, Manifest, Patience, Product, Store, StoreError};

mod programs;
use programs::{chain, digest, source};

fn facts(program: &mut Program) -> &mut SourceFacts {
    program.nodes[1].source.as_mut().expect("node 1 is a source")
}

struct Bench {
    directory: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path().join("store")).expect("a new store");
        Self { directory, store }
    }

    /// Commits a stage of the chain whose only file has this content.
    fn commit(&self, program: &Program, index: usize, content: &str) -> Committed {
        self.try_commit(program, index, content, None).expect("committed")
    }

    fn try_commit(
        &self,
        program: &Program,
        index: usize,
        content: &str,
        base: Option<String>,
    ) -> Result<Committed, StoreError> {
        let keyed = self.key(program, index);
        let Acquired::Ours(lease) = self.store.acquire(&keyed.key, &mut Patience::default())? else {
            panic!("nobody else has the lease");
        };
        let attempt = self.store.attempt()?;
        fs::write(attempt.files().join("model.safetensors"), content).expect("written");
        let plan = Plan::new(program, "cpu");
        let node = plan.node(program, index);
        let outcome = Outcome {
            files: vec!["model.safetensors".into()],
            base,
            summary: serde_json::json!({ "accuracy": 0.8625, "labels": ["a", "b"] }),
            notices: vec![],
        };
        let product = Product {
            key: keyed.key.clone(),
            method: node.method.clone(),
            version: node.version,
            label: node.label.clone(),
            pre_image: keyed.pre_image,
            artifact: Artifact::Model,
            outcome,
            started: index as f64,
            seconds: 1.0,
        };
        self.store.commit(product, &attempt.files(), lease.nonce())
    }

    fn key(&self, program: &Program, index: usize) -> Keyed {
        let plan = Plan::new(program, "cpu");
        let mut outputs: Vec<String> = Vec::new();
        for stage in 0..index {
            let key = plan.key(program, stage, &|before| outputs[before].clone()).key;
            match self.store.lookup(&key) {
                Lookup::Hit(manifest) => outputs.push(manifest.output),
                Lookup::Miss(_) => outputs.push(String::new()),
            }
        }
        plan.key(program, index, &|before| outputs[before].clone())
    }

    fn status(&self, program: &Program) -> Vec<Status> {
        status(&Plan::new(program, "cpu"), program, &source(), &self.store)
    }

    /// What `ftp plan` says of a stage that runs.
    fn reason(&self, program: &Program, index: usize) -> String {
        match &self.status(program)[index] {
            Status::Run { reason, .. } => reason.to_string(),
            other => panic!("stage {index} does not run: {other:?}"),
        }
    }

    fn files_under(&self, part: &str) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).expect("readable").flatten() {
                if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
            }
        }
        let mut found = Vec::new();
        walk(&self.store.root().join(part), &mut found);
        found
    }
}

fn overwrite(path: &Path, content: &[u8]) {
    // Blobs are read-only; whoever damages one does not ask.
    fs::remove_file(path).expect("removed");
    fs::write(path, content).expect("written");
}

fn with_rate(rate: f64) -> Program {
    let mut program = chain();
    program.nodes[4].parameters["learning_rate"].value = Value::Float(rate);
    program
}

#[test]
fn what_was_committed_is_read_back_as_it_was() {
    let bench = Bench::new();
    let committed = bench.commit(&chain(), 0, "weights").manifest;
    assert_eq!(bench.store.result(&committed.key).expect("readable").as_ref(), Some(&committed));
    // A lookup leaves out what only reasons need.
    let found = Manifest { pre_image: PreImage::default(), ..committed.clone() };
    assert_eq!(bench.store.lookup(&committed.key), Lookup::Hit(Box::new(found)));
    let artifact = bench.store.artifact(&committed.output).expect("there");
    assert!(artifact.has("model.safetensors") && !artifact.has("config.json"));
    let path = artifact.path("model.safetensors").expect("verified");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "weights");
    assert_eq!(committed.files["model.safetensors"].digest, digest("weights"));
    assert!(fs::metadata(&path).expect("there").permissions().readonly());
    assert!(matches!(artifact.path("config.json"), Err(StoreError::NoSuchFile { .. })));
    assert!(bench.files_under("attempts").is_empty());
    // The same store, opened by another process or from another directory.
    let again = Store::open(bench.directory.path().join(".").join("store")).expect("opened");
    assert!(matches!(again.lookup(&committed.key), Lookup::Hit(_)));
}

#[test]
fn the_output_digest_is_of_the_content_only() {
    let (one, two) = (Bench::new(), Bench::new());
    let first = one.commit(&chain(), 0, "weights").manifest;
    let mut renamed = with_rate(1.0);
    renamed.nodes[2].label = "other".into();
    renamed.nodes[2].parameters["epochs"].value = Value::Epochs(9.0);
    let second = two.commit(&renamed, 0, "weights").manifest;
    assert_ne!(first.key, second.key);
    assert_eq!(first.output, second.output);
    assert_ne!(first.output, Bench::new().commit(&chain(), 0, "other weights").manifest.output);
}

#[test]
fn a_flipped_bit_in_a_blob_is_found_named_and_computed_again() {
    let bench = Bench::new();
    let committed = bench.commit(&chain(), 0, "weights").manifest;
    let path = &bench.files_under("blobs")[0];
    overwrite(path, b"weightt");
    let artifact = bench.store.artifact(&committed.output).expect("the manifest is whole");
    let error = artifact.path("model.safetensors").expect_err("not what was written");
    assert!(error.to_string().starts_with("`model.safetensors` of pretrain is damaged"), "{error}");
    assert!(!path.exists(), "moved aside");
    assert_eq!(bench.reason(&chain(), 0), "its result was damaged: model.safetensors is not as it was written");
    bench.commit(&chain(), 0, "weights");
    assert!(matches!(bench.status(&chain())[0], Status::Hit { .. }));
    assert!(bench.store.artifact(&committed.output).expect("there").path("model.safetensors").is_ok());
}

/// `FTP_TEST_ROUNDS` has every bit of the manifests flipped, and every day one in five, which reaches each byte.
#[test]
fn any_flipped_bit_of_a_manifest_or_a_blob_is_found() {
    let bench = Bench::new();
    let committed = bench.commit(&chain(), 0, "weights").manifest;
    let step = if std::env::var_os("FTP_TEST_ROUNDS").is_some() { 1 } else { 5 };
    let mut bits = [0; 2];
    for part in ["results", "outputs"] {
        let path = &bench.files_under(part)[0];
        let whole = fs::read(path).expect("readable");
        for bit in (0..whole.len() * 8).step_by(step) {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &damaged).expect("written");
            let found = bench.store.lookup(&committed.key);
            assert!(matches!(found, Lookup::Miss(Absence::Corrupt { .. })), "bit {bit} of {part}: {found:?}");
            bits[0] += 1;
        }
        fs::write(path, &whole).expect("written");
        assert!(matches!(bench.store.lookup(&committed.key), Lookup::Hit(_)));
    }
    let blob = &bench.files_under("blobs")[0];
    for bit in 0.."weights".len() * 8 {
        let mut damaged = b"weights".to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = fs::remove_file(blob);
        fs::write(blob, &damaged).expect("written");
        let artifact = bench.store.artifact(&committed.output).expect("the manifest is whole");
        let read = artifact.path("model.safetensors");
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "bit {bit} of a blob: {read:?}");
        bits[1] += 1;
    }
    println!(
        "{} bits of manifests and {} of a blob were flipped, one at a time: all were found on reading",
        bits[0], bits[1]
    );
}

#[test]
fn a_well_formed_manifest_in_the_wrong_place_is_no_result() {
    let bench = Bench::new();
    bench.commit(&chain(), 0, "weights");
    let path = bench.files_under("results").remove(0);
    let other = Bench::new();
    let mut program = chain();
    program.nodes[2].parameters["epochs"].value = Value::Epochs(1.0);
    other.commit(&program, 0, "other weights");
    fs::copy(other.files_under("results").remove(0), &path).expect("copied");
    assert_eq!(bench.reason(&chain(), 0), "its result was damaged: its manifest is not as it was written");
}

#[test]
fn a_missing_blob_is_an_evicted_result() {
    let bench = Bench::new();
    let base = bench.commit(&chain(), 0, "weights").manifest;
    let delta = bench.try_commit(&chain(), 1, "delta", Some(base.output.clone())).expect("committed").manifest;
    assert!(matches!(bench.status(&chain())[1], Status::Hit { .. }));
    let blob = |content: &str| {
        let name = digest(content);
        bench.files_under("blobs").into_iter().find(|path| path.ends_with(&name)).expect("there")
    };
    fs::remove_file(blob("weights")).expect("removed");
    assert_eq!(bench.reason(&chain(), 0), "its result was evicted: model.safetensors is missing");
    assert_eq!(bench.status(&chain())[1], Status::After { stage: 0 });
    let evicted = Absence::Evicted { missing: "model.safetensors of the model it builds on".into() };
    assert_eq!(bench.store.lookup(&delta.key), Lookup::Miss(evicted));
    // Computed again to the same bytes, it brings back everything built on it.
    bench.commit(&chain(), 0, "weights");
    assert!(matches!(bench.status(&chain())[1], Status::Hit { .. }));
}

#[test]
fn the_first_of_two_different_results_of_one_key_stays() {
    let bench = Bench::new();
    let first = bench.commit(&chain(), 0, "weights");
    assert_eq!(first.notice, None);
    assert_eq!(bench.commit(&chain(), 0, "weights").notice, None);
    let second = bench.commit(&chain(), 0, "other weights");
    assert_eq!(second.notice.expect("told").code, "ftp::store::divergent");
    assert_eq!(second.manifest.output, first.manifest.output);
    assert_eq!(bench.store.result(&first.manifest.key).expect("readable"), Some(first.manifest));
}

#[test]
fn a_stage_can_only_hand_over_files_it_wrote_into_its_directory() {
    let bench = Bench::new();
    let keyed = bench.key(&chain(), 0);
    for (name, code) in [("../spec.json", "bad_name"), ("/etc/hostname", "bad_name"), ("absent", "not_written")] {
        let outcome =
            Outcome { files: vec![name.into()], base: None, summary: serde_json::Value::Null, notices: vec![] };
        let product = Product {
            key: keyed.key.clone(),
            method: "pretrain".into(),
            version: 1,
            label: "pretrain".into(),
            pre_image: keyed.pre_image.clone(),
            artifact: Artifact::Model,
            outcome,
            started: 0.0,
            seconds: 0.0,
        };
        let attempt = bench.store.attempt().expect("a directory");
        let error = bench.store.commit(product, &attempt.files(), "nonce").expect_err(name);
        let found = miette::Diagnostic::code(&error).expect("every error has a code").to_string();
        assert_eq!(found, format!("ftp::store::{code}"));
    }
}

#[test]
fn without_the_lease_nothing_is_committed() {
    let bench = Bench::new();
    let keyed = bench.key(&chain(), 0);
    let outcome = Outcome { files: vec![], base: None, summary: serde_json::Value::Null, notices: vec![] };
    let product = Product {
        key: keyed.key.clone(),
        method: "pretrain".into(),
        version: 1,
        label: "pretrain".into(),
        pre_image: keyed.pre_image,
        artifact: Artifact::Model,
        outcome,
        started: 0.0,
        seconds: 0.0,
    };
    let attempt = bench.store.attempt().expect("a directory");
    let error = bench.store.commit(product, &attempt.files(), "somebody else's").expect_err("no lease");
    assert!(matches!(error, StoreError::LeaseLost { .. }));
    assert_eq!(bench.store.lookup(&keyed.key), Lookup::Miss(Absence::Never));
}

// Reasons.

#[test]
fn an_empty_store_explains_the_first_stage_and_the_rest_waits() {
    let bench = Bench::new();
    let all = bench.status(&chain());
    assert_eq!(bench.reason(&chain(), 0), "never computed in this store");
    assert_eq!(all[1..], [Status::After { stage: 0 }, Status::After { stage: 1 }]);
}

#[test]
fn a_changed_parameter_is_named_with_both_values_and_its_place() {
    let bench = Bench::new();
    for (index, content) in ["one", "two", "three"].iter().enumerate() {
        bench.commit(&chain(), index, content);
    }
    assert!(bench.status(&chain()).iter().all(|status| matches!(status, Status::Hit { .. })));
    let edited = with_rate(5e-5);
    assert!(matches!(bench.status(&edited)[1], Status::Hit { .. }));
    assert_eq!(bench.reason(&edited, 2), "learning_rate 2e-5 -> 5e-5 (x.ftp:12:17)");
}

#[test]
fn a_changed_file_of_the_user_is_named() {
    let bench = Bench::new();
    for (index, content) in ["one", "two", "three"].iter().enumerate() {
        bench.commit(&chain(), index, content);
    }
    let mut edited = chain();
    facts(&mut edited).files[0].digest = digest("edited");
    assert_eq!(bench.reason(&edited, 2), "the train file of target changed (data/sst2/train.jsonl)");
    let mut edited = chain();
    edited.nodes[1].parameters["bad_rows"].value = Value::Name("skip".into());
    assert_eq!(bench.reason(&edited, 2), "bad_rows of target error -> skip (x.ftp:2:1)");
}

#[test]
fn the_closest_earlier_result_explains_and_of_equals_the_newest() {
    let bench = Bench::new();
    let mut far = chain();
    far.nodes[2].parameters["epochs"].value = Value::Epochs(1.0);
    far.nodes[2].parameters["micro_batch_size"].value = Value::Int(1);
    bench.commit(&far, 0, "far");
    let mut near = chain();
    near.nodes[2].parameters["epochs"].value = Value::Epochs(2.0);
    bench.commit(&near, 0, "near");
    assert_eq!(bench.reason(&chain(), 0), "epochs 2 epochs -> 3 epochs (x.ftp:10:5)");
    let Status::Run { reason: Reason::Changed(change), .. } = &bench.status(&chain())[0] else { panic!("it runs") };
    assert_eq!((change.leaf.as_str(), change.others), ("parameters.epochs", 0));
}

#[test]
fn another_model_before_it_is_a_reason_too() {
    let bench = Bench::new();
    bench.commit(&chain(), 0, "one");
    bench.commit(&chain(), 1, "two");
    let mut edited = chain();
    edited.nodes[2].parameters["epochs"].value = Value::Epochs(1.0);
    assert_eq!(bench.status(&edited)[1], Status::After { stage: 0 });
    bench.commit(&edited, 0, "another");
    let reason = bench.reason(&edited, 1);
    assert_eq!(reason, "the model changed: pretrain has another result than before (x.ftp:10:5)");
}

#[test]
fn a_stage_run_again_to_the_same_bytes_keeps_everything_below_it() {
    let bench = Bench::new();
    for (index, content) in ["one", "two", "three"].iter().enumerate() {
        bench.commit(&chain(), index, content);
    }
    let mut edited = chain();
    edited.nodes[2].version = 2;
    assert_eq!(bench.reason(&edited, 0), "the version of pretrain 1 -> 2");
    bench.commit(&edited, 0, "one");
    let status = bench.status(&edited);
    assert!(status.iter().all(|status| matches!(status, Status::Hit { .. })));
    let run = status.iter().filter(|status| !matches!(status, Status::Hit { .. })).count();
    println!("1 of {} stages ran again to the same bytes: {run} of those below it run", status.len());
}
