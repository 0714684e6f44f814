//! Whether the operating system ended processes because memory ran out.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A process that is killed while it has much memory takes seconds to end. A kill for want of memory within this time, and
/// at most twice this time, before its end is known counts as its own.
const WINDOW: Duration = Duration::from_secs(5);

/// Looks at the kernel's count from time to time, so that it is known how it stood a while before a process ended: kills of
/// other processes during a week of training say nothing about this one.
pub(super) struct Watch {
    /// The count that was seen last, and when.
    seen: Cell<(Instant, u64)>,
    /// The one before it.
    earlier: Cell<u64>,
}

impl Watch {
    pub fn new() -> Self {
        Self::begun(Instant::now(), killed())
    }

    fn begun(at: Instant, count: u64) -> Self {
        Self { seen: Cell::new((at, count)), earlier: Cell::new(count) }
    }

    /// To be called while the process runs, as often as one likes.
    pub fn look(&self) {
        let now = Instant::now();
        if self.is_due(now) {
            self.note(now, killed());
        }
    }

    /// Whether a process was killed for want of memory just now.
    pub fn grew(&self) -> bool {
        killed() > self.earlier.get()
    }

    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.seen.get().0) >= WINDOW
    }

    fn note(&self, now: Instant, count: u64) {
        self.earlier.set(self.seen.get().1);
        self.seen.set((now, count));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_counts_for_a_while_and_not_for_ever() {
        let begun = Instant::now();
        let watch = Watch::begun(begun, 3);
        assert!(!watch.is_due(begun + WINDOW / 2) && watch.is_due(begun + WINDOW));
        // It was killed, and is still giving its memory back when the count is looked at.
        watch.note(begun + WINDOW, 4);
        assert_eq!(watch.earlier.get(), 3);
        // It goes on, so it was another one.
        watch.note(begun + 2 * WINDOW, 4);
        assert_eq!(watch.earlier.get(), 4);
    }
}
