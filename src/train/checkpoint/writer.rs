//! When checkpoints are written, and the thread that writes them.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Place, Snapshot, file};

/// A checkpoint that time asks for waits until training has gone on for this many times what the last one cost, so that
/// together they cost one part in a hundred however slow the disk is.
const SHARE: u32 = 100;

/// Writes checkpoints every so often. A write goes on beside the next step's passes, which only read the weights, and is
/// waited for before they are updated: nothing is copied, and no step is taken that a killed run would repeat in vain.
pub struct Writer<'a> {
    place: Option<&'a Place>,
    every: Option<Duration>,
    steps: Option<u64>,
    last: Instant,
    cost: Duration,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl<'a> Writer<'a> {
    /// `every` in seconds, 0 for never; `steps` for one every so many steps, whatever they cost.
    pub fn new(place: Option<&'a Place>, every: f64, steps: Option<u64>, now: Instant) -> Self {
        let every = Duration::try_from_secs_f64(every).ok().filter(|every| !every.is_zero());
        Self { place, every, steps, last: now, cost: Duration::ZERO, writing: None }
    }

    /// Whether a checkpoint should be written after step `step`.
    pub fn due(&self, step: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.last);
        let time = self.every.is_some_and(|every| elapsed >= every.max(self.cost * SHARE));
        self.place.is_some() && (time || self.steps.is_some_and(|steps| step.is_multiple_of(steps.max(1))))
    }

    /// Begins to write. `begun` is when the snapshot was begun.
    pub fn begin(&mut self, step: u64, snapshot: Snapshot, begun: Instant) {
        let Some(place) = self.place.cloned() else { return };
        self.writing = Some(thread::spawn(move || file::write(&place, step, snapshot)));
        self.last = Instant::now();
        self.cost = self.last.saturating_duration_since(begun);
    }

    /// Waits for the write that goes on, if one does: afterwards nothing shares the weights.
    ///
    /// # Errors
    /// Why it failed, as the end of a sentence. An earlier checkpoint is still whole.
    pub fn settle(&mut self) -> Result<(), String> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let waiting = Instant::now();
        let written = writing.join();
        self.last = Instant::now();
        self.cost += self.last.saturating_duration_since(waiting);
        match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the device failed".into()),
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // Training ended or failed: what is being written is not waited for in vain by the next attempt.
        let _ = self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { file: "checkpoint".into(), draft: "draft".into(), key: "k".into() }
    }

    #[test]
    fn checkpoints_are_due_by_time_or_by_steps_and_never_without_a_place() {
        let (start, place) = (Instant::now(), place());
        let after = |seconds| start + Duration::from_secs(seconds);
        let by_time = Writer::new(Some(&place), 60.0, None, start);
        assert!(!by_time.due(1, after(59)) && by_time.due(1, after(60)));
        let by_steps = Writer::new(Some(&place), 0.0, Some(10), start);
        assert!(by_steps.due(20, start) && !by_steps.due(21, after(10_000)));
        assert!(!Writer::new(None, 60.0, Some(10), start).due(10, after(60)));
    }

    #[test]
    fn a_slow_disk_makes_checkpoints_rarer() {
        let (start, place) = (Instant::now(), place());
        let mut writer = Writer::new(Some(&place), 60.0, None, start);
        writer.cost = Duration::from_secs(3);
        assert!(!writer.due(1, start + Duration::from_secs(299)));
        assert!(writer.due(1, start + Duration::from_secs(300)));
    }
}
