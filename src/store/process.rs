//! Which process wrote something, so that another can tell whether it is still there.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A process, told apart from any later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub host: String,
    /// Changes with every start of the machine.
    pub boot: String,
    /// Process numbers mean something only within it (containers).
    pub namespace: String,
    pub pid: u32,
    /// In clock ticks since the machine started.
    pub started: u64,
}

/// What can be said of another process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Alive,
    Dead,
    /// It runs on another host or in another container: only its heartbeat tells.
    OutOfSight,
}

impl Process {
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            host: host_name(),
            boot: read_word("/proc/sys/kernel/random/boot_id"),
            namespace: std::fs::read_link("/proc/self/ns/pid")
                .map(|link| link.display().to_string())
                .unwrap_or_default(),
            pid,
            started: start_time(pid).unwrap_or(0),
        }
    }

    /// What this process can say about another one.
    pub fn life_of(&self, other: &Process) -> Life {
        if self.host != other.host {
            return Life::OutOfSight;
        }
        if self.boot != other.boot {
            return Life::Dead;
        }
        if self.namespace != other.namespace {
            return Life::OutOfSight;
        }
        match exists(other.pid) {
            // Without /proc there are no start times (0), and the number has to do.
            true if start_time(other.pid).unwrap_or(0) == other.started => Life::Alive,
            _ => Life::Dead,
        }
    }

    /// All of it in a file name, so that what a dead process left is known without opening it.
    pub(super) fn slug(&self) -> String {
        let place = [&self.host, &self.boot, &self.namespace].map(|part| blake3::hash(part.as_bytes()).to_hex());
        format!("{}.{}.{}.{}.{}", &place[0][..12], &place[1][..12], &place[2][..12], self.pid, self.started)
    }

    /// What this process can say about the one a slug names; `None` when it is not a slug.
    pub(super) fn life_of_slug(&self, slug: &str) -> Option<Life> {
        let mine = self.slug();
        let mine: Vec<&str> = mine.split('.').collect();
        let other: Vec<&str> = slug.split('.').collect();
        let [host, boot, namespace, pid, started] = other[..] else { return None };
        let (pid, started) = (pid.parse().ok()?, started.parse().ok()?);
        let like = |ours: bool, own: &str| if ours { own.to_owned() } else { format!("not {own}") };
        let other = Process {
            host: like(host == mine[0], &self.host),
            boot: like(boot == mine[1], &self.boot),
            namespace: like(namespace == mine[2], &self.namespace),
            pid,
            started,
        };
        Some(self.life_of(&other))
    }
}

/// A string that no other process, and this one no second time, comes up with.
pub(super) fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    // `RandomState` is seeded by the operating system.
    let random = RandomState::new().build_hasher().finish();
    let bytes = format!("{random} {now} {} {count}", std::process::id());
    blake3::hash(bytes.as_bytes()).to_hex()[..16].to_owned()
}

fn read_word(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn host_name() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is writable for the length given; the last byte stays zero.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0;
    if failed {
        return "unknown".into();
    }
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

fn exists(pid: u32) -> bool {
    if Path::new("/proc/self").exists() {
        // A zombie has ended, whoever has yet to notice.
        return stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X');
    }
    let Ok(pid) = i32::try_from(pid) else { return false };
    // SAFETY: signal 0 is not delivered; only whether it could be is reported.
    let there = unsafe { libc::kill(pid, 0) } == 0;
    there || std::io::Error::last_os_error().kind() == std::io::ErrorKind::PermissionDenied
}

fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, started)| started)
}

/// State and start time of a process: fields 3 and 22 of proc(5)'s stat.
fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may itself hold spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_ended_is_dead() {
        let this = Process::current();
        assert_eq!(this.life_of(&this), Life::Alive);
        assert_eq!(this.life_of_slug(&this.slug()), Some(Life::Alive));
        let mut child = std::process::Command::new("true").spawn().expect("true(1) starts");
        let gone = Process { pid: child.id(), ..this.clone() };
        child.wait().expect("true(1) ends");
        assert_eq!(this.life_of(&gone), Life::Dead);
        assert_eq!(this.life_of_slug(&gone.slug()), Some(Life::Dead));
    }

    #[test]
    fn a_reused_process_number_is_another_process() {
        let this = Process::current();
        let earlier = Process { started: this.started.wrapping_sub(1), ..this.clone() };
        assert_eq!(this.life_of(&earlier), Life::Dead);
    }

    #[test]
    fn another_boot_of_this_host_is_dead_and_another_host_out_of_sight() {
        let this = Process::current();
        assert_eq!(this.life_of(&Process { boot: "earlier".into(), ..this.clone() }), Life::Dead);
        assert_eq!(this.life_of(&Process { host: "elsewhere".into(), ..this.clone() }), Life::OutOfSight);
        assert_eq!(this.life_of(&Process { namespace: "pid:[1]".into(), ..this.clone() }), Life::OutOfSight);
        let elsewhere = Process { host: "elsewhere".into(), ..this.clone() };
        assert_eq!(this.life_of_slug(&elsewhere.slug()), Some(Life::OutOfSight));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce(), nonce());
    }
}
