//! What a stage says while it runs, kept beside its result for curves: lines of JSON, `{"seconds": .., "event": {..}}`.

use std::cell::RefCell;
use std::time::Instant;

use serde_json::json;

use crate::event::Event;

/// Of progress, at most about so many lines are kept: every second one goes when there are more.
const MOST: usize = 2000;

/// Written to by the stage's one thread that says things.
#[derive(Debug)]
pub(super) struct Journal {
    clock: Instant,
    kept: RefCell<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// With the number of the progress it is, if it is one.
    lines: Vec<(Option<u64>, String)>,
    progress: usize,
    seen: u64,
    /// Of progress, every such one is kept.
    every: u64,
}

impl Journal {
    pub fn new() -> Self {
        let kept = Kept { lines: vec![], progress: 0, seen: 0, every: 1 };
        Self { clock: Instant::now(), kept: RefCell::new(kept) }
    }

    /// Writes down an evaluation, and progress as often as there is room for.
    pub fn note(&self, event: &Event) {
        let mut kept = self.kept.borrow_mut();
        let number = match event {
            Event::Evaluated { .. } => None,
            Event::Progress { .. } => {
                kept.seen += 1;
                Some(kept.seen - 1)
            }
            _ => return,
        };
        if number.is_some_and(|number| !number.is_multiple_of(kept.every)) {
            return;
        }
        let line = json!({ "seconds": self.clock.elapsed().as_secs_f64(), "event": event }).to_string();
        kept.lines.push((number, line));
        kept.progress += usize::from(number.is_some());
        if kept.progress > MOST {
            kept.every *= 2;
            let every = kept.every;
            kept.lines.retain(|(number, _)| number.is_none_or(|number| number.is_multiple_of(every)));
            kept.progress = kept.lines.iter().filter(|(number, _)| number.is_some()).count();
        }
    }

    /// All of it; empty when nothing was said.
    pub fn bytes(&self) -> Vec<u8> {
        let kept = self.kept.borrow();
        kept.lines.iter().flat_map(|(_, line)| [line.as_bytes(), b"\n"]).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_training_the_journal_keeps_evenly_spread_progress_and_every_evaluation() {
        let journal = Journal::new();
        for step in 0..50_000 {
            journal.note(&Event::Progress {
                stage: "a".into(),
                epoch: 0.0,
                epochs: 1.0,
                step,
                steps: 50_000,
                loss: 1.0,
                learning_rate: 1.0,
                tokens_per_second: 1.0,
                eta_seconds: 1.0,
            });
            if step % 1000 == 0 {
                let (stage, split) = ("a".to_owned(), "dev".to_owned());
                journal.note(&Event::Evaluated {
                    stage,
                    split,
                    epoch: 0.0,
                    loss: 1.0,
                    metrics: vec![],
                    confusion: None,
                });
            }
        }
        let text = String::from_utf8(journal.bytes()).expect("UTF-8");
        let events: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event"].clone())
            .collect();
        assert_eq!(events.iter().filter(|event| event["event"] == "evaluated").count(), 50);
        let steps: Vec<u64> = events.iter().filter_map(|event| event["step"].as_u64()).collect();
        assert!((MOST / 2..=MOST).contains(&steps.len()), "{}", steps.len());
        assert!(steps.windows(2).all(|pair| pair[1] - pair[0] == 32), "{steps:?}");
    }
}
