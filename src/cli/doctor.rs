//! `ftp doctor`: what of this machine `ftp` can use.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, limits, project};
use crate::report::text;

#[derive(Args)]
pub(super) struct Doctor {
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE")]
    store: Option<PathBuf>,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Exit {
        let findings = Findings::look(&project::store_directory(self.store.as_deref()));
        if self.json {
            println!("{}", findings.to_json());
        } else {
            findings.print();
        }
        if findings.store.fault.is_none() { Exit::Ok } else { Exit::Failed }
    }
}

struct Findings {
    processor: String,
    cores: usize,
    instructions: Vec<&'static str>,
    threads: usize,
    quota: Option<f64>,
    memory: Option<Memory>,
    devices: Vec<Device>,
    store: Store,
}

/// In bytes.
struct Memory {
    total: u64,
    available: u64,
    /// Of the control group this process is in, when that is less.
    limit: Option<u64>,
}

struct Device {
    name: String,
    /// What `precision` may be there, or why the device can't be used.
    state: Result<Vec<&'static str>, String>,
}

struct Store {
    path: PathBuf,
    bytes: u64,
    results: usize,
    free: Option<u64>,
    /// Why nothing could be kept there.
    fault: Option<String>,
}

impl Findings {
    fn look(store: &Path) -> Self {
        let processor = proc_field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok());
        let threads = threads.filter(|count| *count > 0).unwrap_or(cores);
        Self {
            processor,
            cores,
            instructions: instructions(),
            threads,
            quota: limits::cores(),
            memory: memory(),
            devices: devices(),
            store: Store::look(store),
        }
    }

    fn print(&self) {
        let line = |name: &str, what: String| println!("{name:10} {what}");
        let features = if cfg!(feature = "cuda") {
            "trains on CPU and CUDA"
        } else if cfg!(feature = "train") {
            "trains on CPU; build with `--features cuda` for GPUs"
        } else {
            "checks and plans only; build with the feature `train` to train"
        };
        line("ftp", format!("{}, {features}", env!("CARGO_PKG_VERSION")));
        line("processor", format!("{}, {} cores", self.processor, self.cores));
        line("", self.instructions.join(", "));
        let quota = self.quota.map_or(String::new(), |cores| format!("; this process may use {cores:.1} cores"));
        line("threads", format!("{}{quota}", self.threads));
        if let Some(memory) = &self.memory {
            let limit = memory.limit.map_or(String::new(), |limit| format!("; limited to {}", text::bytes(limit)));
            let (total, available) = (text::bytes(memory.total), text::bytes(memory.available));
            line("memory", format!("{total}, {available} available{limit}"));
        }
        for device in &self.devices {
            match &device.state {
                Ok(precisions) => line("device", format!("{}: precision {}", device.name, precisions.join(", "))),
                Err(why) => line("device", format!("{}: {why}", device.name)),
            }
        }
        let Store { path, bytes, results, free, fault } = &self.store;
        let free = free.map_or(String::new(), |free| format!(", {} free on its disk", text::bytes(free)));
        line("store", format!("{}: {results} results, {}{free}", path.display(), text::bytes(*bytes)));
        if let Some(fault) = fault {
            line("", format!("not usable: {fault}; choose another with --store DIR or $FTP_STORE"));
        }
    }

    fn to_json(&self) -> Value {
        let devices: Vec<Value> = self
            .devices
            .iter()
            .map(|device| match &device.state {
                Ok(precisions) => json!({ "name": device.name, "usable": true, "precisions": precisions }),
                Err(why) => json!({ "name": device.name, "usable": false, "reason": why }),
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "features": { "train": cfg!(feature = "train"), "cuda": cfg!(feature = "cuda") },
            "processor": { "name": self.processor, "cores": self.cores, "instructions": self.instructions },
            "threads": self.threads,
            "core_quota": self.quota,
            "memory": self.memory.as_ref().map(|memory| json!({
                "total": memory.total, "available": memory.available, "limit": memory.limit,
            })),
            "devices": devices,
            "store": {
                "path": self.store.path, "bytes": self.store.bytes, "results": self.store.results,
                "free": self.store.free, "fault": self.store.fault,
            },
        })
    }
}

/// What the processor has of what training uses, and whether matrix tiles may be used.
fn instructions() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, there) in [
            ("AVX2", is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            ("AVX-512", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")),
            ("AVX512-BF16", is_x86_feature_detected!("avx512bf16")),
        ] {
            if there {
                found.push(name);
            }
        }
    }
    #[cfg(feature = "train")]
    found.push(crate::nn::ops::tiles());
    if found.is_empty() {
        found.push("no wide instructions this program knows");
    }
    found
}

#[cfg(not(feature = "train"))]
fn devices() -> Vec<Device> {
    vec![Device { name: "none".into(), state: Err("this program was built without training".into()) }]
}

#[cfg(feature = "train")]
fn devices() -> Vec<Device> {
    let mut devices = vec![Device { name: "cpu".into(), state: Ok(vec!["f32", "f32_strict", "bf16"]) }];
    // burn has no way to keep a GPU from rounding factors to TF32.
    let cuda = |index| Device { name: format!("cuda:{index}"), state: Ok(vec!["f32", "bf16"]) };
    match crate::train::cuda_devices() {
        Err(why) => devices.push(Device { name: "cuda".into(), state: Err(why) }),
        Ok(count) => devices.extend((0..count).map(cuda)),
    }
    devices
}

impl Store {
    fn look(path: &Path) -> Self {
        let (mut bytes, mut results) = (0, 0);
        walk(path, &mut |file, size| {
            bytes += size;
            results += usize::from(file.starts_with(path.join("results")));
        });
        // Where the store will be made, if it is not there yet.
        let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let fault = tempfile::tempfile_in(there).err().map(|error| format!("nothing can be written there ({error})"));
        Self { path: path.to_owned(), bytes, results, free: free_space(there), fault }
    }
}

/// Every file under a directory, with its size. What can't be read is left out.
fn walk(directory: &Path, found: &mut impl FnMut(&Path, u64)) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => walk(&entry.path(), found),
            Ok(metadata) if metadata.is_file() => found(&entry.path(), metadata.len()),
            _ => {}
        }
    }
}

#[cfg(unix)]
fn free_space(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the structure is read only where the call has filled it.
    let found = unsafe { (libc::statvfs(path.as_ptr(), found.as_mut_ptr()) == 0).then(|| found.assume_init())? };
    #[allow(clippy::unnecessary_cast)] // the fields' types differ between systems
    Some(found.f_bavail as u64 * found.f_frsize as u64)
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

fn memory() -> Option<Memory> {
    let total = limits::total_memory()?;
    let available = proc_field("/proc/meminfo", "MemAvailable")?;
    let available = available.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let limit = limits::memory().filter(|limit| *limit < total);
    Some(Memory { total, available, limit })
}

/// The first `name : value` of a file of Linux's.
fn proc_field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}
