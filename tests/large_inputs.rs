//! Large inputs are digested fast, once, and not read again as long as they have not changed.
//!
//! `FTP_TEST_GIGABYTES=100` makes the input that large (it takes no room: it is a hole); every day one does.
//! `FTP_TEST_PROGRAM` names a release build to measure, as in `no_op.rs`.
#![cfg(target_os = "linux")]

use std::fs::{self, File, FileTimes};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Planned {
    took: Duration,
    /// Bytes that went through `read` and its like.
    read: u64,
    /// The most bytes of memory that it had, among them the parts of mapped files that it touched.
    memory: u64,
    /// What it says of the stage on the large input.
    key: String,
}

#[allow(clippy::zombie_processes, reason = "it is waited for by its number")]
fn plan(root: &Path) -> Planned {
    let program = std::env::var_os("FTP_TEST_PROGRAM").map(fs::canonicalize);
    let program =
        program.map_or_else(|| env!("CARGO_BIN_EXE_ftp").into(), |path| path.expect("FTP_TEST_PROGRAM is there"));
    let said = root.join("said");
    let begun = Instant::now();
    let child = Command::new(program)
        .current_dir(root)
        .env("FTP_STORE", root.join("store"))
        .args(["plan", "p.ftp", "--json"])
        .stdout(File::create(&said).expect("made"))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("ftp starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    // SAFETY: structs of numbers, of which zeros are valid; they outlive the calls, which wait for our own child.
    let (status, read, took, usage) = unsafe {
        let mut ended: libc::siginfo_t = std::mem::zeroed();
        // Ended, and still there to be asked what it has read.
        let id = libc::id_t::try_from(pid).expect("a process number");
        assert_eq!(libc::waitid(libc::P_PID, id, &raw mut ended, libc::WEXITED | libc::WNOWAIT), 0);
        let took = begun.elapsed();
        let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("readable");
        let mut status = 0;
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid);
        (status, io, took, usage)
    };
    assert_eq!(status, 0, "ftp plan");
    let read = read.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("counted").parse().expect("a number");
    let stages: serde_json::Value = serde_json::from_slice(&fs::read(said).expect("readable")).expect("JSON");
    let key = stages[0]["key"].as_str().expect("a key").to_owned();
    Planned { took, read, memory: u64::try_from(usage.ru_maxrss).expect("a size") * 1024, key }
}

/// A model whose weights are zeros that are not on any disk.
fn project(root: &Path, bytes: u64) {
    fs::write(
        root.join("p.ftp"),
        "let base = hf(\"model\")\nlet corpus = text(\"corpus.txt\")\npipeline p = base -> adapt(corpus)\n",
    )
    .expect("written");
    fs::write(root.join("corpus.txt"), "the cat sat on the mat\n".repeat(100)).expect("written");
    let model = root.join("model");
    fs::create_dir(&model).expect("made");
    fs::write(model.join("config.json"), "{\"model_type\": \"bert\"}\n").expect("written");
    fs::write(model.join("tokenizer.json"), "{}\n").expect("written");
    let header = format!("{{\"weights\":{{\"dtype\":\"U8\",\"shape\":[{bytes}],\"data_offsets\":[0,{bytes}]}}}}");
    let mut weights = File::create(model.join("model.safetensors")).expect("made");
    weights.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
    weights.write_all(header.as_bytes()).expect("written");
    weights.set_len(8 + header.len() as u64 + bytes).expect("a hole");
}

/// How fast a file's first gigabytes are read and thrown away, in GB/s: once as they lie there, and once from memory.
fn reading(file: &Path) -> [f64; 2] {
    let mut buffer = vec![0; 1 << 20];
    [(); 2].map(|()| {
        let (mut file, begun) = (File::open(file).expect("opened").take(4_000_000_000), Instant::now());
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer).expect("read") {
                0 => break bytes as f64 / 1e9 / begun.elapsed().as_secs_f64(),
                read => bytes += read,
            }
        }
    })
}

/// A file that has just changed is not remembered: two seconds must pass.
fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

#[test]
fn a_large_input_is_digested_once_and_whatever_its_times_say_its_key_is_that_of_its_content() {
    let gigabytes = std::env::var("FTP_TEST_GIGABYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1u64);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    project(root, gigabytes * 1_000_000_000);
    let weights = root.join("model/model.safetensors");
    let [disk, memory] = reading(&weights);
    settle();
    let first = plan(root);
    let speed = gigabytes as f64 / first.took.as_secs_f64();
    println!(
        "{gigabytes} GB digested in {:.2} s: {speed:.2} GB/s; reading alone: {disk:.2} GB/s at first, {memory:.2} GB/s from memory",
        first.took.as_secs_f64()
    );
    let again = plan(root);
    println!(
        "unchanged: {:.1} ms, {} bytes read, {} MB of memory at most",
        again.took.as_secs_f64() * 1e3,
        again.read,
        again.memory / 1_000_000
    );
    assert_eq!(first.key, again.key);
    assert!(again.read < 1_000_000, "{} bytes read", again.read);
    assert!(again.memory < 200_000_000, "{} bytes of memory: the file was mapped and read", again.memory);
    assert!(again.took < first.took / 2, "{:?}, {:?} at first", again.took, first.took);
    if std::env::var_os("FTP_TEST_PROGRAM").is_some() || !cfg!(debug_assertions) {
        // The figure is printed; what else the machine does counts in.
        assert!(speed >= disk.min(1.0) * 0.3, "{speed:.2} GB/s, and the disk has {disk:.2}");
    }

    // Touched, from a machine whose clock is wrong, or copied without times: read again, and the same stage.
    let hour = Duration::from_secs(3600);
    let times = [UNIX_EPOCH, SystemTime::now() - hour, SystemTime::now(), SystemTime::now() + hour];
    let open = || File::options().write(true).open(&weights).expect("opened");
    // A hundred times as much is not read five times over.
    for time in times.into_iter().take(if gigabytes > 10 { 1 } else { 4 }) {
        open().set_times(FileTimes::new().set_modified(time)).expect("set");
        assert_eq!(plan(root).key, first.key, "{time:?}");
    }
    // Edited in place, with the size and the time that it had.
    let before = fs::metadata(&weights).expect("there").modified().expect("known");
    let mut file = open();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 1_000_000).expect("written");
    file.flush().expect("flushed");
    file.set_times(FileTimes::new().set_modified(before)).expect("set");
    assert_ne!(plan(root).key, first.key, "an edit that keeps size and time was not noticed");
    println!("touched {} times: the same key; edited with its size and time kept: another one", times.len());
}
