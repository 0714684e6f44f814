//! How fast training goes and how long it will still take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are taken over this much of the recent past.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts steps and tells when to report.
pub struct Meter {
    interval: Duration,
    steps: u64,
    step: u64,
    tokens: u64,
    /// Summed loss and targets since the last report.
    loss: f64,
    targets: u64,
    reported: Option<Instant>,
    /// Where the counters stood, oldest first; never empty.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    step: u64,
    tokens: u64,
}

/// What there is to say.
pub struct Report {
    /// Mean over the targets since the last report.
    pub loss: f64,
    pub tokens_per_second: f64,
    pub eta_seconds: f64,
}

impl Meter {
    /// For a run of `steps` steps, reporting at most every `interval` seconds.
    pub fn new(steps: u64, interval: f64, now: Instant) -> Self {
        let mark = Mark { at: now, step: 0, tokens: 0 };
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX);
        Self { interval, steps, step: 0, tokens: 0, loss: 0.0, targets: 0, reported: None, marks: [mark].into() }
    }

    /// For a run that goes on after `step` steps.
    pub fn after(self, step: u64, now: Instant) -> Self {
        let mut meter = Self { step, ..self };
        meter.restart(now);
        meter
    }

    /// Counts a finished step. Returns a report for the first and the last one, and when it is time.
    pub fn count(&mut self, loss: f64, targets: u64, tokens: u64, now: Instant) -> Option<Report> {
        self.step += 1;
        self.tokens += tokens;
        self.loss += loss;
        self.targets += targets;
        let due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= self.interval);
        if !due && self.step != self.steps {
            return None;
        }
        while self.marks.len() > 1 && now.saturating_duration_since(self.marks[1].at) >= WINDOW {
            self.marks.pop_front();
        }
        let since = self.marks[0];
        let seconds = now.saturating_duration_since(since.at).as_secs_f64().max(1e-9);
        let report = Report {
            loss: self.loss / self.targets.max(1) as f64,
            tokens_per_second: (self.tokens - since.tokens) as f64 / seconds,
            eta_seconds: self.steps.saturating_sub(self.step) as f64 * seconds / (self.step - since.step) as f64,
        };
        self.marks.push_back(Mark { at: now, step: self.step, tokens: self.tokens });
        self.reported = Some(now);
        (self.loss, self.targets) = (0.0, 0);
        Some(report)
    }

    /// Leaves what happened since the last step (an evaluation) out of the rates.
    pub fn restart(&mut self, now: Instant) {
        self.marks.clear();
        self.marks.push_back(Mark { at: now, step: self.step, tokens: self.tokens });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_step_are_reported_and_between_them_four_a_second() {
        let start = Instant::now();
        let mut meter = Meter::new(1000, 0.25, start);
        let reported: Vec<u64> = (1..=1000)
            .filter(|step| meter.count(1.0, 1, 1, start + Duration::from_millis(10 * step)).is_some())
            .collect();
        assert_eq!((reported[0], reported[1], reported[2]), (1, 26, 51));
        assert_eq!(reported.last(), Some(&1000));
        assert_eq!(reported.len(), 41);
    }

    #[test]
    fn rates_are_of_the_recent_past_and_leave_evaluations_out() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new(100, 0.0, start);
        for second in 1..=50 {
            meter.count(2.0, 4, 10, at(second));
        }
        // Twice as fast for longer than the window.
        let mut report = None;
        for second in 51..=65 {
            report = meter.count(2.0, 4, 20, at(second));
        }
        let report = report.unwrap();
        assert!((report.tokens_per_second - 20.0).abs() < 1e-6);
        assert!((report.eta_seconds - 35.0).abs() < 1e-6);
        assert!((report.loss - 0.5).abs() < 1e-12);
        meter.restart(at(500));
        let report = meter.count(2.0, 4, 20, at(501)).unwrap();
        assert!((report.tokens_per_second - 20.0).abs() < 1e-6);
    }
}
