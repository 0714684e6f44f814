//! Events as JSON lines on standard output.

use std::io::Write;

use crate::event::Event;

pub(super) fn listener() -> impl Fn(&Event) {
    |event| {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that went away is not a reason to stop training.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}
