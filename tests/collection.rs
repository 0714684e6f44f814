//! What `ftp cache` does to a store: what it removes, what it must not, and what it finds.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ftp::lang::ir::Program;
use ftp::lang::signature::Artifact;
use ftp::lang::value::Value;
use ftp::plan::spec::Outcome;
use ftp::plan::{Keyed, Plan};
use ftp::random::Key;
use ftp::store::{
    Absence, Acquired, Lease, Lookup, Manifest, Part, Patience, Policy, Product, Publication, RunEntry, Store,
    StoreError, Why,
};

mod programs;
use programs::chain;
mod walk;
use walk::files_under;

/// Removes whatever nothing but its age would keep.
const NOTHING_IS_YOUNG: Policy = Policy { keep_runs: 10, grace: Duration::ZERO };
const NO_RUN_COUNTS: Policy = Policy { keep_runs: 0, grace: Duration::ZERO };

fn new_store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    (directory, store)
}

/// The chain, with a first stage like no other number's.
fn numbered(number: u64) -> Program {
    let mut program = chain();
    program.nodes[2].parameters["epochs"].value = Value::Epochs(number as f64);
    program
}

fn keyed(number: u64) -> Keyed {
    Plan::new(&numbered(number), "cpu").key(&numbered(number), 0, &|_| String::new())
}

fn lease(store: &Store, key: &String) -> Option<Lease> {
    match store.acquire(key, &mut Patience::default()).expect("asked") {
        Acquired::Ours(lease) => Some(lease),
        Acquired::Held { .. } => None,
    }
}

fn product(keyed: Keyed, base: Option<&Manifest>) -> Product {
    Product {
        key: keyed.key,
        method: "pretrain".into(),
        version: 1,
        label: "pretrain".into(),
        pre_image: keyed.pre_image,
        artifact: Artifact::Model,
        outcome: Outcome {
            files: vec!["model.safetensors".into()],
            base: base.map(|base| base.output.clone()),
            summary: serde_json::Value::Null,
            notices: vec![],
        },
        started: 0.0,
        seconds: 1.0,
    }
}

fn commit_as(store: &Store, keyed: Keyed, content: &str, base: Option<&Manifest>) -> Manifest {
    let lease = lease(store, &keyed.key).expect("nobody else computes this");
    let attempt = store.attempt().expect("a directory");
    fs::write(attempt.files().join("model.safetensors"), content).expect("written");
    store.commit(product(keyed, base), &attempt.files(), lease.nonce()).expect("committed").manifest
}

fn commit(store: &Store, number: u64, content: &str) -> Manifest {
    commit_as(store, keyed(number), content, None)
}

/// A run of a file that came to these results.
fn a_run(store: &Store, file: &str, results: &[&Manifest]) -> RunEntry {
    let entry = store.begin_run(file, &[]).expect("begun");
    for manifest in results {
        assert!(matches!(entry.lookup(&manifest.label, &manifest.key), Ok(Lookup::Hit(_))));
    }
    entry
}

fn there(store: &Store, manifest: &Manifest) -> bool {
    let there = matches!(store.lookup(&manifest.key), Lookup::Hit(_));
    if there {
        let artifact = store.artifact(&manifest.output).expect("its output is there");
        artifact.path("model.safetensors").expect("it is whole");
    }
    there
}

fn part(store: &Store, name: &str) -> Vec<PathBuf> {
    files_under(&store.root().join(name))
}

fn age(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("its time is set");
}

#[test]
fn what_nothing_keeps_goes_with_its_blobs_and_what_is_shared_stays() {
    let (_directory, store) = new_store();
    let (kept, gone) = (commit(&store, 1, "shared"), commit(&store, 2, "alone"));
    let twin = commit_as(&store, keyed(3), "shared", Some(&gone));
    drop(a_run(&store, "x.ftp", &[&kept]));
    let planned = store.collectable(&NOTHING_IS_YOUNG).expect("planned");
    assert_eq!((planned.results.len(), planned.kept), (2, 1));
    assert_eq!(planned.of(Part::Blobs), (1, 5), "only the blob that no other result has");
    assert!(there(&store, &gone) && there(&store, &twin), "a plan removes nothing");
    let done = store.collect(&NOTHING_IS_YOUNG).expect("collected");
    assert_eq!(done.files, planned.files);
    assert!(there(&store, &kept));
    for manifest in [&gone, &twin] {
        assert_eq!(store.lookup(&manifest.key), Lookup::Miss(Absence::Never));
    }
    assert_eq!((part(&store, "blobs").len(), part(&store, "outputs").len()), (1, 1));
    assert!(part(&store, "attempts").is_empty());
    assert!(store.collect(&NOTHING_IS_YOUNG).expect("collected").files.is_empty(), "nothing is left to do");
}

#[test]
fn what_is_young_stays_by_the_clock_of_the_files() {
    let (_directory, store) = new_store();
    let (young, old) = (commit(&store, 1, "young"), commit(&store, 2, "old"));
    for path in part(&store, "results").iter().chain(&part(&store, "outputs")).chain(&part(&store, "blobs")) {
        let text = fs::read(path).expect("readable");
        if text == b"old" || text.windows(64).any(|digest| digest == old.key.as_bytes()) {
            age(path, 20);
        }
    }
    store.collect(&Policy::default()).expect("collected");
    assert!(there(&store, &young) && !there(&store, &old));
    assert_eq!(part(&store, "blobs").len(), 1);
}

#[test]
fn a_kept_delta_keeps_its_bases_and_a_pin_all_it_was_made_from() {
    let (_directory, store) = new_store();
    let base = commit(&store, 1, "base");
    let middle = commit_as(&store, keyed(2), "middle", Some(&base));
    let delta = commit_as(&store, keyed(3), "delta", Some(&middle));
    let mut made = keyed(4);
    made.pre_image.leaves.insert("inputs.model.output".into(), delta.output.clone());
    let made = commit_as(&store, made, "made from the delta", None);
    drop(a_run(&store, "x.ftp", &[&delta]));
    store.collect(&NOTHING_IS_YOUNG).expect("collected");
    assert!(there(&store, &delta) && there(&store, &middle) && there(&store, &base) && !there(&store, &made));

    let mut again = keyed(4);
    again.pre_image.leaves.insert("inputs.model.output".into(), delta.output.clone());
    let made = commit_as(&store, again, "made from the delta", None);
    let key = store.find(&made.key[..12]).expect("found by the first characters");
    store.pin(&key, &made.key[..12]).expect("pinned");
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!([&made, &delta, &middle, &base].iter().all(|one| there(&store, one)));
    assert!(store.unpin(&key).expect("unpinned") && !store.unpin(&key).expect("asked"));
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!(part(&store, "blobs").is_empty() && part(&store, "results").is_empty());
}

#[test]
fn what_is_published_stays_with_all_it_was_made_from_as_long_as_it_stands() {
    let (_directory, store) = new_store();
    let base = commit(&store, 1, "base");
    let mut made = keyed(2);
    made.pre_image.leaves.insert("inputs.model.output".into(), base.output.clone());
    let made = commit_as(&store, made, "made from the base", None);
    let out = store.root().join("out");
    fs::create_dir(&out).expect("made");
    let label =
        |output: &str| fs::write(out.join("ftp.json"), format!("{{\"output\": \"{output}\"}}")).expect("written");
    label(&made.output);
    let publish = || {
        let entry = a_run(&store, "x.ftp", &[&base, &made]);
        entry.pipeline("small", &made.key).expect("written");
        let directory = out.display().to_string();
        let publication = Publication { pipeline: "small".into(), directory, output: made.output.clone() };
        entry.published(publication).expect("written");
    };
    publish();
    publish();
    for _ in 0..3 {
        store.collect(&NO_RUN_COUNTS).expect("collected");
        assert!(there(&store, &base) && there(&store, &made));
        assert_eq!(store.known_runs().expect("read").len(), 1, "one record says that it was published");
    }
    let survey = store.survey(&NO_RUN_COUNTS).expect("read");
    let why = |manifest: &Manifest| {
        let result = survey.results.iter().find(|one| one.manifest.key == manifest.key).expect("there");
        result.why.as_ref().expect("it stays").to_string()
    };
    assert_eq!(why(&made), format!("published in {}", out.display()));
    assert_eq!(why(&base), format!("pretrain builds on it (published in {})", out.display()));

    // Another model takes its place there.
    label("another");
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!(!there(&store, &base) && !there(&store, &made) && store.known_runs().expect("read").is_empty());
}

#[test]
fn the_last_runs_of_each_file_count_and_equal_ones_once() {
    let (_directory, store) = new_store();
    let results: Vec<Manifest> = (0..4).map(|number| commit(&store, number, &number.to_string())).collect();
    let other = commit(&store, 9, "of another file");
    drop(a_run(&store, "other.ftp", &[&other]));
    for manifest in &results {
        drop(a_run(&store, "x.ftp", &[manifest]));
        // Records are ordered by the file system's clock.
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..5 {
        drop(a_run(&store, "x.ftp", &[&results[3]]));
        // A run that came to nothing pushes nothing out.
        drop(a_run(&store, "x.ftp", &[]));
    }
    store.collect(&Policy { keep_runs: 2, grace: Duration::ZERO }).expect("collected");
    let stay: Vec<bool> = results.iter().map(|manifest| there(&store, manifest)).collect();
    assert_eq!(stay, [false, false, true, true]);
    assert!(there(&store, &other));
    assert_eq!(store.known_runs().expect("read").len(), 3, "records of runs that do not count go too");
}

#[test]
fn a_run_that_goes_on_keeps_what_it_found_and_no_longer() {
    let (_directory, store) = new_store();
    let result = commit(&store, 1, "weights");
    let entry = a_run(&store, "x.ftp", &[&result]);
    entry.ended(None, false, 0).expect("written");
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!(there(&store, &result), "it is still to be published");
    let why = &store.survey(&NO_RUN_COUNTS).expect("looked through").results[0].why;
    assert_eq!(why, &Some(Why::InUse { run: entry.id().to_owned() }));
    drop(entry);
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!(!there(&store, &result));
}

#[test]
fn a_lease_keeps_the_result_and_the_checkpoint_of_its_key() {
    let (_directory, store) = new_store();
    let checkpoints = store.root().join("checkpoints");
    fs::create_dir(&checkpoints).expect("made");
    let (done, going, given_up) = (commit(&store, 1, "done"), keyed(2).key, keyed(3).key);
    drop(a_run(&store, "x.ftp", &[&done]));
    for key in [&done.key, &going, &given_up] {
        fs::write(checkpoints.join(key), "state").expect("written");
        age(&checkpoints.join(key), 31);
    }
    let _lease = lease(&store, &going).expect("free");
    let unfinished = keyed(4).key;
    fs::write(checkpoints.join(&unfinished), "state").expect("written");
    age(&checkpoints.join(&unfinished), 29);
    store.collect(&NOTHING_IS_YOUNG).expect("collected");
    let mut left = vec![checkpoints.join(&going), checkpoints.join(&unfinished)];
    left.sort();
    assert_eq!(files_under(&checkpoints), left);

    let committed = commit(&store, 5, "between its commit and the end of its lease");
    let held = lease(&store, &committed.key).expect("free");
    store.collect(&NO_RUN_COUNTS).expect("collected");
    assert!(there(&store, &committed));
    drop(held);
}

#[test]
fn only_what_the_store_put_there_is_touched() {
    let (_directory, store) = new_store();
    commit(&store, 1, "weights");
    for foreign in ["notes.txt", "mine/data.csv", "memo/digests"] {
        let path = store.root().join(foreign);
        fs::create_dir_all(path.parent().expect("in the store")).expect("made");
        fs::write(&path, "mine").expect("written");
        age(&path, 400);
    }
    store.collect(&NO_RUN_COUNTS).expect("collected");
    for foreign in ["notes.txt", "mine/data.csv", "memo/digests", "schema"] {
        assert!(store.root().join(foreign).exists(), "{foreign}");
    }
    assert!(part(&store, "results").is_empty());
}

#[test]
fn a_name_that_is_nothing_or_several_things_is_refused() {
    let (_directory, store) = new_store();
    let result = commit(&store, 1, "weights");
    assert!(matches!(store.find("nothing"), Err(StoreError::NothingNamed { .. })));
    assert!(matches!(store.find("00"), Err(StoreError::NothingNamed { .. })), "too short for a key");
    let entry = a_run(&store, "x.ftp", &[&result]);
    entry.pipeline("baseline", &result.key).expect("written");
    assert_eq!(store.find("baseline").expect("found"), result.key);
    let alike = format!("{}{}", &result.key[..60], "0000");
    store.pin(&alike, "alike").expect("pinned");
    assert!(matches!(store.find(&result.key[..60]), Err(StoreError::SeveralNamed { .. })));
}

// Verifying.

#[test]
fn a_flipped_bit_in_any_file_is_found_named_and_moved_aside() {
    for name in ["blobs", "results", "outputs"] {
        for position in [0_usize, 100, 1000, usize::MAX] {
            let (_directory, store) = new_store();
            let result = commit(&store, 1, &"weights".repeat(300));
            let path = part(&store, name).remove(0);
            let mut bytes = fs::read(&path).expect("readable");
            let position = position.min(bytes.len() - 1);
            bytes[position] ^= 1 << (position % 8);
            fs::remove_file(&path).expect("removed");
            fs::write(&path, bytes).expect("written");
            let verified = store.verify(&|_| {}).expect("read");
            assert_eq!(verified.damaged.len(), 1, "byte {position} of {name}");
            assert_eq!(verified.damaged[0].path, path);
            assert!(!path.exists() && verified.damaged[0].moved.as_ref().is_some_and(|moved| moved.exists()));
            let found = store.lookup(&result.key);
            assert!(matches!(found, Lookup::Miss(Absence::Corrupt { .. })), "byte {position} of {name}: {found:?}");
            commit(&store, 1, &"weights".repeat(300));
            assert!(there(&store, &result), "computed again");
            assert!(store.verify(&|_| {}).expect("read").damaged.is_empty());
        }
    }
    println!("12 flipped bits: each was found by `verify`, named, moved aside, and computed again");
}

#[test]
fn swapped_blobs_are_found_on_reading_and_on_verifying() {
    for verifying in [false, true] {
        let (_directory, store) = new_store();
        let (one, two) = (commit(&store, 1, "one"), commit(&store, 2, "two"));
        let blobs = part(&store, "blobs");
        let beside = store.root().join("beside");
        fs::rename(&blobs[0], &beside).expect("moved");
        fs::rename(&blobs[1], &blobs[0]).expect("moved");
        fs::rename(&beside, &blobs[1]).expect("moved");
        if verifying {
            let verified = store.verify(&|_| {}).expect("read");
            assert_eq!((verified.damaged.len(), verified.blobs, verified.manifests), (2, 2, 4));
            assert_eq!(verified.damaged[0].what, "`model.safetensors` of pretrain");
        } else {
            for result in [&one, &two] {
                let artifact = store.artifact(&result.output).expect("the manifest is whole");
                assert!(matches!(artifact.path("model.safetensors"), Err(StoreError::Corrupt { .. })));
            }
        }
        for result in [&one, &two] {
            assert!(matches!(store.lookup(&result.key), Lookup::Miss(Absence::Corrupt { .. })));
        }
    }
    println!("2 swapped blobs: both were found on reading, and by `verify`");
}

#[test]
fn a_file_that_is_gone_is_missing_and_not_damaged() {
    let (_directory, store) = new_store();
    commit(&store, 1, "weights");
    fs::remove_file(part(&store, "blobs").remove(0)).expect("removed");
    let verified = store.verify(&|_| {}).expect("read");
    assert_eq!((verified.damaged.len(), verified.missing), (0, vec!["`model.safetensors` of pretrain".to_owned()]));
}

// Collecting while others work.

/// What a run does: looks a few results up, computes those that are missing from others, reads them to its end.
fn work(store: &Store, random: Key) {
    let entry = store.begin_run("x.ftp", &[]).expect("begun");
    let mut found: Vec<Manifest> = vec![];
    for step in 0..4 {
        let number = u64::from(random.below(step, 6));
        let key = keyed(number);
        let base = found.last().filter(|base| base.key != key.key).cloned();
        let manifest = loop {
            if let Lookup::Hit(manifest) = entry.lookup("pretrain", &key.key).expect("looked up") {
                break *manifest;
            }
            let Some(lease) = lease(store, &key.key) else {
                std::thread::yield_now();
                continue;
            };
            if let Lookup::Hit(manifest) = entry.lookup("pretrain", &key.key).expect("looked up") {
                break *manifest;
            }
            let attempt = store.attempt().expect("a directory");
            fs::write(attempt.files().join("model.safetensors"), format!("weights {number}")).expect("written");
            // Some are deltas of what this run found before; never in a circle.
            let base = base.as_ref().filter(|base| base.base.is_none() && number % 2 == 1);
            let nonce = lease.nonce();
            store.commit(product(key.clone(), base), &attempt.files(), nonce).expect("committed");
            let Lookup::Hit(manifest) = entry.lookup("pretrain", &key.key).expect("looked up") else {
                panic!("a result is lost between its commit and the end of its lease");
            };
            break *manifest;
        };
        found.push(manifest);
        for manifest in &found {
            assert!(there(store, manifest), "a result is lost while a run uses it");
        }
    }
}

const ROLE: &str = "FTP_TEST_ROLE";
const STORE: &str = "FTP_TEST_STORE";

/// How often what is random is tried: `FTP_TEST_ROUNDS`, or a number that suits every day.
fn rounds(usual: u64) -> u64 {
    std::env::var("FTP_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn start(role: &str, store: &Store) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["child_entry", "--exact", "--nocapture"]).env(ROLE, role).env(STORE, store.root());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// What a process of these tests that was started with a role does.
#[test]
fn child_entry() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Store::open(std::env::var_os(STORE).expect("a store")).expect("it opens");
    println!();
    match role.as_str() {
        "collect" => loop {
            store.collect(&NO_RUN_COUNTS).expect("collected");
            println!("collected");
        },
        limit => commit_within(&store, limit.parse().expect("a number of bytes")),
    }
}

#[test]
fn collecting_at_every_moment_loses_nothing_in_use_and_may_be_killed() {
    let (_directory, store) = new_store();
    let done = AtomicBool::new(false);
    let collections = std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collections = 0;
            while !done.load(Ordering::Relaxed) {
                // Another process, killed after a while, at whatever it is doing.
                let mut child = start("collect", &store);
                let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
                collections += lines.filter(|line| line == "collected").take(20).count();
                std::thread::sleep(Duration::from_micros(collections as u64 * 7919 % 5000));
                child.kill().expect("killed");
                child.wait().expect("ended");
            }
            collections
        });
        let runs: Vec<_> = (0..3)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    (0..rounds(40)).for_each(|round| work(store, Key::new(thread, "work").at(round)));
                })
            })
            .collect();
        // The collector is told to end also when a run failed.
        let failed: Vec<_> = runs.into_iter().filter_map(|run| run.join().err()).collect();
        done.store(true, Ordering::Relaxed);
        let collections = collector.join().expect("it collected");
        assert!(failed.is_empty(), "a run lost something");
        collections
    });
    println!("{} runs, {collections} collections", 3 * rounds(40));
    assert!(collections > 0);
    assert!(store.verify(&|_| {}).expect("read").damaged.is_empty());
    // What killed collectors took away is swept; nothing that no manifest names is left.
    store.collect(&NO_RUN_COUNTS).expect("collected");
    for name in ["blobs", "results", "outputs", "attempts"] {
        assert!(part(&store, name).is_empty(), "{name}");
    }
}

// A full disk.

/// Commits where no file can have more than so many bytes, and says how that ended.
fn commit_within(store: &Store, limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: sets a limit and a signal's disposition of this process; the struct outlives the call.
    unsafe {
        // Writing past the limit is then an error, as on a full disk.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let commit = || -> Result<(), StoreError> {
        let entry = store.begin_run("x.ftp", &[])?;
        let keyed = keyed(7);
        let Acquired::Ours(lease) = store.acquire(&keyed.key, &mut Patience::default())? else {
            panic!("nobody else computes this");
        };
        let attempt = store.attempt()?;
        fs::write(attempt.files().join("model.safetensors"), "small").expect("smaller than every limit");
        let key = keyed.key.clone();
        store.commit(product(keyed, None), &attempt.files(), lease.nonce())?;
        entry.lookup("pretrain", &key).map(drop)
    };
    match commit() {
        Ok(()) => println!("\ncommitted"),
        Err(error) => println!("\nrefused {}", miette::Diagnostic::code(&error).expect("every error has a code")),
    }
}

#[test]
fn a_full_disk_is_an_error_that_damages_nothing() {
    let (_directory, store) = new_store();
    let before = commit(&store, 1, "weights");
    let (mut refused, mut committed) = (0, 0);
    for limit in (8..5000).step_by(120) {
        let output = start(&limit.to_string(), &store).wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("refused ftp::store::io") {
            refused += 1;
        } else {
            assert!(text.contains("committed"), "{limit} bytes: {text}");
            committed += 1;
        }
        assert!(there(&store, &before));
        assert!(store.verify(&|_| {}).expect("read").damaged.is_empty(), "{limit} bytes");
        // What there is of it is no obstacle when there is room again, and can be collected.
        let whole = commit(&store, 7, "small");
        assert!(there(&store, &whole));
        drop(a_run(&store, "x.ftp", &[&before]));
        store.collect(&Policy { keep_runs: 1, grace: Duration::ZERO }).expect("collected");
        assert!(!there(&store, &whole));
    }
    println!("{refused} commits were refused, {committed} had room");
    assert!(refused > 5 && committed > 5, "both happen: {refused}, {committed}");
}
