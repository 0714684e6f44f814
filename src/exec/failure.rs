//! What is said of a stage process that ended badly.

use std::path::Path;
use std::process::ExitStatus;

use crate::plan::spec::StageFailure;

const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 4096;

/// What Rust's allocator says before it aborts.
const ALLOCATION_FAILED: &str = "memory allocation of ";

/// A process that ended without saying why.
/// `out_of_memory`: the operating system has killed a process for want of memory meanwhile.
pub(super) fn unexplained(label: &str, status: ExitStatus, log: &Path, out_of_memory: bool) -> StageFailure {
    use std::os::unix::process::ExitStatusExt;
    let refused = refused(log).filter(|_| status.signal() == Some(libc::SIGABRT));
    let smaller = "lower micro_batch_size, micro_batch_tokens or max_length, or run fewer stages at once";
    let (code, how, help) = match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) if out_of_memory => (
            "ftp::exec::out_of_memory",
            "was killed by the operating system because memory ran out".to_owned(),
            smaller.to_owned(),
        ),
        // Where a limit (`ulimit -v`, a job system) refuses memory instead of killing, the allocator gives up.
        _ if refused.is_some() => (
            "ftp::exec::out_of_memory",
            format!("gave up because it was refused memory: {}", refused.as_deref().unwrap_or_default()),
            smaller.to_owned(),
        ),
        (Some(libc::SIGKILL), _) => (
            "ftp::exec::killed",
            "was killed (signal 9)".to_owned(),
            "something outside ftp ended it: a person, a job system, or a container's memory limit".to_owned(),
        ),
        (Some(signal), _) => (
            "ftp::exec::crashed",
            format!("crashed (signal {signal})"),
            "please report this, with the stage's log".into(),
        ),
        (None, Some(0)) => (
            "ftp::exec::no_result",
            "ended without a result".into(),
            "the store may have been changed by something else; run again".into(),
        ),
        (None, code) => (
            "ftp::exec::ended",
            format!("ended with exit status {} without saying why", code.unwrap_or(-1)),
            "please report this, with the stage's log".into(),
        ),
    };
    let mut message = format!("the process of {label} {how}");
    // What was refused says it all.
    let tail = if refused.is_some() { String::new() } else { tail(log) };
    if !tail.is_empty() {
        message.push_str(&format!("; the end of its log:\n{tail}"));
    }
    StageFailure::new(code, message).help(help)
}

/// A process with several stages, which ended before they did.
pub(super) fn dissolved(label: &str, status: Option<ExitStatus>, log: &Path, out_of_memory: bool) -> StageFailure {
    let failure = match status {
        Some(status) => unexplained(label, status, log, out_of_memory),
        None => StageFailure::new("ftp::exec::ended", format!("the process of {label} ended before it began")),
    };
    StageFailure { message: format!("{}; it runs by itself now", failure.message), ..failure }
}

/// Whether a stage may succeed when it is simply run again: nothing it did itself made it fail.
pub(super) fn is_transient(failure: &StageFailure) -> bool {
    matches!(failure.code.as_str(), "ftp::exec::killed" | "ftp::store::lease_lost")
}

pub(super) fn over_time(label: &str, seconds: f64) -> StageFailure {
    StageFailure::new(
        "ftp::exec::time_limit",
        format!("{label} was stopped: it ran longer than its time_limit of {seconds} s"),
    )
    .help("raise time_limit, or give the stage less to do; earlier stages need not run again")
}

/// A stage that needs more memory than the run may use.
pub(super) fn too_large(needed: u64, there: u64) -> StageFailure {
    let [needed, there] = [needed, there].map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    StageFailure::new("ftp::exec::too_large", format!("it needs {needed} of memory, and the run may use {there}"))
        .help("run it on a larger machine, lower its `memory`, or allow the run more: `--memory 64GB`")
}

pub(super) fn not_run(program: &Path, error: &std::io::Error) -> StageFailure {
    StageFailure::new("ftp::exec::not_run", format!("can't run {}: {error}", program.display()))
        .help("was ftp moved or replaced while it ran? Run again")
}

/// The failure with the place of the stage's log in its help.
pub(super) fn with_log(mut failure: StageFailure, log: &Path) -> StageFailure {
    let place = format!("its log is {}", log.display());
    failure.help = Some(failure.help.map_or(place.clone(), |help| format!("{help}; {place}")));
    failure
}

/// What stays when a stage fails: the results before it.
pub(super) fn kept(finished: &[String]) -> String {
    match finished {
        [] => "no stage was finished before".into(),
        [one] => format!("{one} is in the store and need not run again"),
        [first, .., last] if finished.len() > 4 => {
            format!("{} stages from {first} to {last} are in the store and need not run again", finished.len())
        }
        [others @ .., last] => {
            format!("{} and {last} are in the store and need not run again", others.join(", "))
        }
    }
}

/// What the allocator said before it gave up.
fn refused(log: &Path) -> Option<String> {
    let end = end(log, 16 * TAIL_BYTES);
    let line = end.lines().rfind(|line| line.starts_with(ALLOCATION_FAILED))?;
    Some(line.trim_end().to_owned())
}

fn end(log: &Path, most: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(most)..]).into_owned()
}

fn tail(log: &Path) -> String {
    let text = end(log, TAIL_BYTES);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_listed_while_it_is_short() {
        let kept =
            |count: usize| kept(&["a", "b", "c", "d", "e", "f"][..count].iter().map(|&l| l.into()).collect::<Vec<_>>());
        assert_eq!(kept(0), "no stage was finished before");
        assert_eq!(kept(1), "a is in the store and need not run again");
        assert_eq!(kept(3), "a, b and c are in the store and need not run again");
        assert_eq!(kept(6), "6 stages from a to f are in the store and need not run again");
    }

    #[test]
    fn a_long_log_shows_its_last_lines() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let lines: Vec<String> = (1..=1000).map(|number| format!("line {number}")).collect();
        std::fs::write(&log, lines.join("\n")).expect("written");
        let shown = tail(&log);
        assert_eq!(shown.lines().count(), TAIL_LINES);
        assert!(shown.starts_with("  line 981\n") && shown.ends_with("  line 1000"), "{shown}");
    }
}
