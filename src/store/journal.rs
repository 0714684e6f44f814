//! What a stage said while it ran, kept with its result: the loss, the rate and the evaluations of every training.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Manifest, Store, StoreError};
use crate::event::Event;

/// The file of an attempt that becomes the journal of its result.
pub const JOURNAL: &str = "journal.jsonl";

/// The most reports of progress a journal has; of a longer training every second is left out, and again when need be.
const MOST: usize = 1000;

/// One thing that a stage said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Since the stage's process began.
    pub seconds: f64,
    #[serde(flatten)]
    pub event: Event,
}

/// What a running stage has said so far.
#[derive(Debug)]
pub struct Journal {
    begun: Instant,
    entries: Vec<JournalEntry>,
    progress: usize,
    /// Of so many reports of progress one is kept.
    stride: usize,
    since: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Self { begun: Instant::now(), entries: vec![], progress: 0, stride: 1, since: 0 }
    }
}

impl Journal {
    /// Keeps what is worth it: progress, evaluations and notices.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Progress { step, steps, .. } => {
                self.since += 1;
                // The last step is where a curve ends.
                if self.since < self.stride && step != steps {
                    return;
                }
                self.since = 0;
                self.progress += 1;
            }
            Event::Evaluated { .. } | Event::Notice { .. } => {}
            _ => return,
        }
        self.entries.push(JournalEntry { seconds: self.begun.elapsed().as_secs_f64(), event: event.clone() });
        if self.progress > MOST {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let mut number = 0;
        self.entries.retain(|entry| {
            let progress = matches!(entry.event, Event::Progress { .. });
            number += usize::from(progress);
            !progress || number % 2 == 1
        });
        self.progress = self.progress.div_ceil(2);
        self.stride *= 2;
    }

    /// Writes a line for each entry. A journal that can't be written is no reason for a stage to fail: then there is none.
    pub fn write(&self, attempt: &Path) {
        let write = || {
            let mut text = Vec::new();
            for entry in &self.entries {
                serde_json::to_writer(&mut text, entry)?;
                text.push(b'\n');
            }
            fs::File::create(attempt.join(JOURNAL))?.write_all(&text)
        };
        if write().is_err() {
            let _ = fs::remove_file(attempt.join(JOURNAL));
        }
    }
}

impl Store {
    /// What the stage said that made a result; nothing where that is not known.
    ///
    /// # Errors
    /// When the journal is there and can't be read, or is not what was written.
    pub fn journal(&self, manifest: &Manifest) -> Result<Vec<JournalEntry>, StoreError> {
        let Some(file) = &manifest.record.journal else { return Ok(vec![]) };
        let path = match self.verified(&manifest.label, JOURNAL, file) {
            Ok(path) => path,
            Err(StoreError::Missing { .. }) => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
        let lines = text.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Notice;

    fn step(step: u64, steps: u64) -> Event {
        Event::Progress {
            stage: "finetune".into(),
            epoch: 0.0,
            epochs: 1.0,
            step,
            steps,
            loss: 1.0 / step as f64,
            learning_rate: 1e-3,
            tokens_per_second: 100.0,
            eta_seconds: 1.0,
        }
    }

    #[test]
    fn a_long_training_is_thinned_evenly_and_keeps_its_evaluations_and_its_end() {
        let mut journal = Journal::default();
        for number in 1..=9_999 {
            journal.note(&step(number, 9_999));
            journal.note(&Event::Activity { stage: "finetune".into(), doing: "nothing of note".into() });
            if number % 1000 == 0 {
                journal.note(&Event::Notice { stage: "finetune".into(), notice: Notice::new("a::b::c", "cut") });
            }
        }
        let steps: Vec<u64> = journal
            .entries
            .iter()
            .filter_map(|entry| if let Event::Progress { step, .. } = entry.event { Some(step) } else { None })
            .collect();
        assert!(steps.len() > MOST / 2 && steps.len() <= MOST + 1, "{}", steps.len());
        assert_eq!((steps[0], steps[steps.len() - 1]), (1, 9_999));
        let gaps: Vec<u64> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let widest = *gaps.iter().max().expect("some");
        assert!(gaps[..gaps.len() - 1].iter().all(|gap| *gap * 2 >= widest), "{gaps:?}");
        assert_eq!(journal.entries.len() - steps.len(), 9, "notices stay");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::default();
        journal.note(&step(1, 2));
        journal.note(&step(2, 2));
        journal.write(directory.path());
        let text = fs::read_to_string(directory.path().join(JOURNAL)).expect("written");
        let read: Vec<JournalEntry> =
            text.lines().map(|line| serde_json::from_str(line).expect("an entry a line")).collect();
        assert_eq!(read, journal.entries);
    }
}
