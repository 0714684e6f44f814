//! `ftp stage`: the child process of a run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::exec;
use crate::methods;

#[derive(Args)]
pub(super) struct Stage {
    /// What to do, as JSON
    spec: PathBuf,
}

impl Stage {
    pub fn run(self) -> ExitCode {
        keep_pages();
        work_here();
        exec::stage::run_child(&self.spec, methods::run)
    }
}

/// Makes this thread one of those that share the work. Otherwise it would hand over every loop of every op and sleep until
/// another thread has woken up, done it and woken this one.
fn work_here() {
    // Fails only where the threads have been started already, which costs nothing but time.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
}

/// Training allocates and frees the same large buffers in every step. Handing them back to the system each time would cost
/// a page fault for every 4 kB, so the allocator keeps them.
fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator. No threshold is above 32 MB, so mapping is switched off whole.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
