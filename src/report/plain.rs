//! A line an event on standard error: for CI, files and pipes. Progress at most every ten seconds.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::text;
use crate::event::Event;

const INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn listener() -> impl Fn(&Event) {
    let last: Cell<Option<Instant>> = Cell::new(None);
    move |event| {
        if let Event::Progress { stage, .. } = event {
            if last.get().is_none_or(|at| at.elapsed() >= INTERVAL) {
                last.set(Some(Instant::now()));
                eprintln!("{stage}: {}", text::progress(event).unwrap_or_default());
            }
        } else if let Some(line) = text::line(event) {
            eprintln!("{line}");
        }
    }
}
