//! A line an event on standard error: for CI, files and pipes. Progress at most every ten seconds for each stage.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use super::text;
use crate::event::Event;

const INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn listener() -> impl Fn(&Event) {
    let last: RefCell<HashMap<String, Instant>> = RefCell::default();
    move |event| {
        if let Event::Progress { stage, .. } = event {
            let mut last = last.borrow_mut();
            if last.get(stage).is_none_or(|at| at.elapsed() >= INTERVAL) {
                last.insert(stage.clone(), Instant::now());
                print(&format!("{}: {}", text::printable(stage), text::progress(event).unwrap_or_default()));
            }
        } else if let Some(line) = text::line(event) {
            print(&line);
        }
    }
}

/// In one piece, since standard error is not buffered. A reader that went away is no reason to stop training.
fn print(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
