//! Whether the operating system ended processes because memory ran out.

/// How many processes the kernel has killed for want of memory since it started; 0 where that can't be known.
pub(super) fn killed() -> u64 {
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
