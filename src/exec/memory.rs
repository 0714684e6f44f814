//! Whether the operating system ended processes because memory ran out.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long before the end of a process a kill for want of memory counts as its own.
const WINDOW: Duration = Duration::from_secs(1);

/// Looks at the kernel's count from time to time, so that it is known how it stood a moment before a process ended: kills of
/// other processes during a week of training say nothing about this one.
pub(super) struct Watch {
    seen: Cell<(Instant, u64)>,
}

impl Watch {
    pub fn new() -> Self {
        Self { seen: Cell::new((Instant::now(), killed())) }
    }

    /// To be called while the process runs, as often as one likes.
    pub fn look(&self) {
        if self.seen.get().0.elapsed() >= WINDOW {
            self.seen.set((Instant::now(), killed()));
        }
    }

    /// Whether a process was killed for want of memory just now.
    pub fn grew(&self) -> bool {
        killed() > self.seen.get().1
    }
}

/// How many processes the kernel has killed for want of memory since it started; 0 where that can't be known.
fn killed() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.unwrap_or(0) + in_group()
}

/// The same for the control group this process is in, which may have a limit of its own.
fn in_group() -> u64 {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return 0 };
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.events")).unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
