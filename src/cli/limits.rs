//! What Linux's control groups (versions 1 and 2) leave to this process: containers, batch systems and services set them.

use std::fs;
use std::path::{Path, PathBuf};

/// Cores' worth of time, where less than whole cores without end is granted.
pub fn cores() -> Option<f64> {
    cores_of(&Groups::of_this_process())
}

/// Bytes of memory, where they are limited.
pub fn memory() -> Option<u64> {
    memory_of(&Groups::of_this_process())
}

/// Bytes of memory of the machine.
pub fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    Some(kibibytes?.parse::<u64>().ok()? * 1024)
}

/// Bytes of memory that this process may use, where that can be known.
#[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only a run has stages that need memory"))]
pub fn usable_memory() -> Option<u64> {
    total_memory().map(|total| memory().map_or(total, |limit| limit.min(total)))
}

/// `64GB`, `512 MiB` in bytes.
#[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only a run has stages that need memory"))]
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let factor = match unit.trim() {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        _ => return Err("write a size with its unit, such as `64GB`, `64GiB` or `500MB`".to_owned()),
    };
    let number: f64 =
        text[..text.len() - unit.len()].parse().map_err(|_| "write a number and a unit, such as `64GB`".to_owned())?;
    Ok((number * factor) as u64)
}

/// The least that a group or one above it grants: a limit holds for everything below it.
fn cores_of(groups: &Groups) -> Option<f64> {
    let unified = groups.values("", "cpu.max").filter_map(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?) // a quota may be `max`
    });
    let quotas = groups.values("cpu", "cpu.cfs_quota_us");
    let periods = groups.values("cpu", "cpu.cfs_period_us");
    let old = quotas.zip(periods).filter_map(|(quota, period)| {
        let quota = quota.parse::<f64>().ok().filter(|quota| *quota > 0.0)?; // -1: none
        Some(quota / period.parse::<f64>().ok()?)
    });
    unified.chain(old).min_by(f64::total_cmp)
}

fn memory_of(groups: &Groups) -> Option<u64> {
    let values = groups.values("", "memory.max").chain(groups.values("memory", "memory.limit_in_bytes"));
    values.filter_map(|text| text.parse().ok()).min()
}

struct Groups {
    /// Where they are mounted.
    root: PathBuf,
    /// As `/proc/self/cgroup` lists them: `0::/a/b` (version 2), `4:cpu,cpuacct:/a/b` (version 1).
    listed: String,
}

impl Groups {
    fn of_this_process() -> Self {
        let listed = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { root: "/sys/fs/cgroup".into(), listed }
    }

    /// What `file` says in this process's group of `controller` (none: version 2) and in each group above it.
    fn values(&self, controller: &str, file: &str) -> impl Iterator<Item = String> {
        let mut listed = self.listed.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        let path = Path::new(listed.next().unwrap_or("/"));
        let top = self.root.join(controller);
        // In a container the path may be one of the host's; then only the topmost group can be read, and is the right one.
        let directories = path.ancestors().map(|path| top.join(path.strip_prefix("/").unwrap_or(path)));
        let values = directories.filter_map(|directory| fs::read_to_string(directory.join(file)).ok());
        values.map(|text| text.trim().to_owned()).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(listed: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Groups) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let groups = Groups { root: root.path().to_owned(), listed: listed.to_owned() };
        (root, groups)
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_holds() {
        let files = [
            ("job/cpu.max", "400000 100000\n"),
            ("job/memory.max", "2000\n"),
            ("job/step/cpu.max", "max 100000\n"),
            ("job/step/memory.max", "3000\n"),
        ];
        let (_root, groups) = groups("0::/job/step\n", &files);
        assert_eq!((cores_of(&groups), memory_of(&groups)), (Some(4.0), Some(2000)));
    }

    #[test]
    fn groups_of_version_1_count_too_and_minus_one_is_no_quota() {
        let files = [
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("cpu/box/cpu.cfs_quota_us", "150000\n"),
            ("cpu/box/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/box/memory.limit_in_bytes", "4096\n"),
        ];
        let (_root, groups) = groups("4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n", &files);
        assert_eq!((cores_of(&groups), memory_of(&groups)), (Some(1.5), Some(4096)));
    }

    #[test]
    fn without_groups_nothing_is_limited() {
        let (_root, groups) = groups("0::/\n", &[]);
        assert_eq!((cores_of(&groups), memory_of(&groups)), (None, None));
    }
}
