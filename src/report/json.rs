//! Events as JSON lines on standard output.

use std::io::Write;

use crate::event::Event;

pub(super) fn listener() -> impl Fn(&Event) {
    outlive_readers();
    |event| {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that went away is not a reason to stop training.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}

/// From here on writing to a closed pipe is an error, and not the end of the program as it is for other commands: with
/// `--json`, whoever reads is a program, which may crash, and everything that is printed is printed here.
fn outlive_readers() {
    #[cfg(unix)]
    // SAFETY: says that a signal is to be ignored; no memory is involved.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
