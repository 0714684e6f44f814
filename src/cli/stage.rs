//! `ftp stage`: the child process of a run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::exec;
use crate::methods::{self, Shared};

#[derive(Args)]
pub(super) struct Stage {
    /// What to do, as JSON
    #[arg(required_unless_present = "together")]
    spec: Option<PathBuf>,
    /// Run the stages that standard input names, with this many threads each
    #[arg(long, value_name = "THREADS", conflicts_with = "spec")]
    together: Option<usize>,
}

impl Stage {
    pub fn run(self) -> ExitCode {
        keep_pages();
        if let Some(spec) = self.spec {
            // Fails only where the threads have been started already, which costs nothing but time.
            let _ = working_here().build_global();
            return exec::stage::run_child(&spec, methods::run);
        }
        let threads = self.together.unwrap_or(1).max(1);
        let shared = Shared::among(rayon::current_num_threads(), threads);
        exec::stage::run_members(|spec, store, sink| {
            // A stage's own threads: where there is one, nothing waits for anything within an op.
            let _own = working_here().num_threads(threads).build();
            methods::run_among(&shared, spec, store, sink)
        })
    }
}

/// Makes this thread one of those that share the work. Otherwise it would hand over every loop of every op and sleep until
/// another thread has woken up, done it and woken this one.
fn working_here() -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().use_current_thread()
}

/// Training allocates and frees the same large buffers in every step. Handing them back to the system each time would cost
/// a page fault for every 4 kB, so the allocator keeps them.
fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator. No threshold is above 32 MB, so mapping is switched off whole.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        // Memory of other threads than the first would lie in arenas of 64 MB, which are handed back as they become empty.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
