//! What it costs to run a file whose results are all in the store, and to start at all: time, and memory of the process.
//!
//! The limits are those of a release build. `FTP_TEST_PROGRAM` names one that is measured in the place of the program that was
//! built with this test; a debug build has wider ones.
#![cfg(all(feature = "train", target_os = "linux"))]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ftp::data::FileWorld;
use ftp::methods;
use ftp::plan::Plan;
use ftp::store::Store;
use ftp::syntax::Source;

mod programs;

const PREPARE: &str = "FTP_TEST_PREPARE";

/// Held by whoever measures: the tests of one binary run at once.
static ALONE: Mutex<()> = Mutex::new(());

/// Chains of a hundred stages, no two stages equal.
fn project(root: &Path, chains: usize) {
    let mut text = String::from("let corpus = text(\"corpus.txt\")\n");
    for chain in 0..chains {
        write!(text, "\npipeline chain{chain} =\n  pretrain(corpus, seed = {chain})").expect("a string");
        for seed in 1..100 {
            write!(text, "\n  -> adapt(corpus, seed = {seed})").expect("a string");
        }
        text.push('\n');
    }
    fs::write(root.join("p.ftp"), text).expect("written");
    fs::write(root.join("corpus.txt"), "the cat sat on the mat\n".repeat(100)).expect("written");
}

/// Puts a result of every stage into the store.
fn fill(root: &Path) {
    let source = Source::new("p.ftp", fs::read_to_string(root.join("p.ftp")).expect("readable"));
    let checked = ftp::lang::check(&source, methods::registry(), &FileWorld::new(root), &[]);
    let program = checked.unwrap_or_else(|found| panic!("{:?}", found.all)).program;
    programs::fill(&program, &Plan::new(&program, "cpu"), &Store::open(root.join("store")).expect("a new store"));
}

/// A process of its own fills the store: a child's peak begins with the memory of the one that started it.
#[test]
fn child_entry() {
    if let Some(root) = std::env::var_os(PREPARE) {
        fill(Path::new(&root));
    }
}

/// The program to measure, and whether it is held to the limits of a release build.
fn program() -> (PathBuf, bool) {
    match std::env::var_os("FTP_TEST_PROGRAM") {
        Some(path) => (fs::canonicalize(path).expect("FTP_TEST_PROGRAM is there"), true),
        None => (env!("CARGO_BIN_EXE_ftp").into(), !cfg!(debug_assertions)),
    }
}

/// How long a call takes from start to end, and the most memory that it had, in bytes.
#[allow(clippy::zombie_processes, reason = "it is waited for by its number")]
fn measure(root: &Path, arguments: &[&str]) -> (Duration, u64) {
    let begun = Instant::now();
    let child = Command::new(program().0)
        .current_dir(root)
        .env("FTP_STORE", root.join("store"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ftp starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    let mut status = 0;
    // SAFETY: a struct of numbers, of which zeros are valid; both outlive the call, which waits for our own child.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    let took = begun.elapsed();
    assert_eq!((waited, status), (pid, 0), "ftp {arguments:?}");
    (took, u64::try_from(usage.ru_maxrss).expect("a size") * 1024)
}

/// Of several calls.
struct Figures {
    /// What a call takes when nothing else is in its way.
    least: Duration,
    median: Duration,
    memory: u64,
}

fn figures(root: &Path, arguments: &[&str], calls: usize) -> Figures {
    measure(root, arguments);
    let mut all: Vec<(Duration, u64)> = (0..calls).map(|_| measure(root, arguments)).collect();
    all.sort_unstable();
    let memory = all.iter().map(|one| one.1).max().unwrap_or(0);
    Figures { least: all[0].0, median: all[calls / 2].0, memory }
}

fn within(what: &str, figures: &Figures, limit: Duration, most: u64) {
    let Figures { least, median, memory } = *figures;
    let (_, strict) = program();
    // What else the machine does counts in: the figure is printed, and only what is far off fails.
    let (times, build) = if strict { (3, "release") } else { (10, "debug") };
    println!(
        "{what}: {:.1} ms, median {:.1} (limit {}), {} MB (limit {}), {build} build",
        least.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3,
        limit.as_millis(),
        memory / 1_000_000,
        most / 1_000_000,
    );
    assert!(least <= limit * u32::try_from(times).expect("small"), "{what} takes {least:?}");
    assert!(memory <= if strict { most } else { 2 * most }, "{what} takes {memory} bytes");
}

/// Memory, where there is a file system of it: what is measured reads from the page cache in any case, and ten thousand
/// commits each wait for a disk several times.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

fn no_op(stages: usize, calls: usize, limit: Duration, most: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = place();
    let root = directory.path();
    project(root, stages / 100);
    let mut prepare = Command::new(std::env::current_exe().expect("this binary"));
    prepare.args(["child_entry", "--exact"]).env(PREPARE, root).stdout(Stdio::null());
    assert!(prepare.status().expect("it starts").success());
    let said = Command::new(program().0)
        .current_dir(root)
        .env("FTP_STORE", root.join("store"))
        .args(["run", "p.ftp"])
        .output()
        .expect("ftp starts");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("nothing to train: all {stages} stages were in the store")), "{said}");
    within(
        &format!("`ftp run` of {stages} stages that are there"),
        &figures(root, &["run", "p.ftp"], calls),
        limit,
        most,
    );
}

#[test]
fn a_run_of_a_thousand_stages_that_are_there_takes_a_tenth_of_a_second() {
    no_op(1000, 11, Duration::from_millis(100), 60_000_000);
}

#[test]
fn a_run_of_ten_thousand_stages_that_are_there_takes_a_second() {
    no_op(10_000, 3, Duration::from_secs(1), 300_000_000);
}

#[test]
fn the_program_starts_in_ten_milliseconds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = place();
    let version = figures(directory.path(), &["--version"], 21);
    within("`ftp --version`", &version, Duration::from_millis(10), 60_000_000);
}
