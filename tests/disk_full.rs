//! A disk that is really full while `ftp run` trains: a small file system in memory, mounted where only the processes of this test
//! see it. Where that is not allowed, this is said and not tested; `collection.rs` has the store alone with a limit on files.
#![cfg(all(feature = "train", target_os = "linux"))]

mod place;

use std::path::Path;
use std::process::Command;

use place::{PIPELINE, Place};

/// Runs with a store of `$1` kilobytes, then with room, and leaves exit codes and what was said beside the project.
const SCRIPT: &str = r#"
mkdir -p "$FTP_STORE"
mount -t tmpfs -o size="$1"k none "$FTP_STORE" || exit 99
"$FTP" run p.ftp >said 2>&1; echo $? >codes
"$FTP" cache verify >verified 2>&1; echo $? >>codes
mount -o remount,size=64m none "$FTP_STORE" || exit 99
"$FTP" run p.ftp >again 2>&1; echo $? >>codes
"$FTP" cache verify >verified_again 2>&1; echo $? >>codes
"#;

/// What the four commands ended with; `None` where nothing can be mounted.
fn with_room(here: &Place, kilobytes: u64) -> Option<Vec<String>> {
    let _ = std::fs::remove_dir_all(here.at("store"));
    let mut shell = Command::new("unshare");
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        shell.args(["--user", "--map-root-user"]);
    }
    shell.args(["--mount", "sh", "-c", SCRIPT, "sh", &kilobytes.to_string()]);
    shell.env("FTP", env!("CARGO_BIN_EXE_ftp")).env("FTP_STORE", here.at("store")).current_dir(here.path());
    let ended = shell.output().ok()?;
    ended.status.success().then(|| here.read("codes").lines().map(str::to_owned).collect())
}

#[test]
fn a_run_on_a_full_disk_says_so_damages_nothing_and_goes_on_when_there_is_room() {
    assert!(Path::new(env!("CARGO_BIN_EXE_ftp")).is_absolute());
    let here = Place::new(PIPELINE);
    let sizes: Vec<u64> = match std::env::var("FTP_TEST_ROUNDS").ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(rounds) => (0..rounds).map(|round| 60 + 8 * round).collect(),
        None => vec![64, 160, 240],
    };
    let mut full = 0;
    for kilobytes in &sizes {
        let Some(codes) = with_room(&here, *kilobytes) else {
            println!("not seen here: a full disk, for no file system can be mounted");
            return;
        };
        let said = here.read("said");
        match codes[0].as_str() {
            "0" => {}
            "1" => {
                full += 1;
                let reason = said.contains("No space left") || said.contains("free space");
                assert!(reason && !said.contains("panicked"), "{kilobytes} kB:\n{said}");
            }
            code => panic!("{kilobytes} kB: exit code {code}\n{said}"),
        }
        assert_eq!(
            codes[1..],
            ["0", "0", "0"],
            "{kilobytes} kB:\n{said}\n{}\n{}",
            here.read("verified"),
            here.read("again")
        );
    }
    println!("{full} of {} runs had a full disk, said so, and went on when there was room", sizes.len());
    assert!(full > 0);
}
