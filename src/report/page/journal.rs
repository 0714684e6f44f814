//! What a stage said while it ran, as far as curves are drawn of it.

use serde::Deserialize;

use crate::event::Event;

/// The curves of a stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journal {
    /// Step and loss.
    pub loss: Vec<(f64, f64)>,
    /// In the order they ended.
    pub evaluations: Vec<Evaluation>,
}

/// An evaluation of the model as it was after an epoch; 0 for one that has nothing to do with training.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    pub split: String,
    pub epoch: f64,
    pub loss: f64,
    pub metrics: Vec<(String, f64)>,
    pub confusion: Option<Vec<Vec<u64>>>,
}

#[derive(Deserialize)]
struct Moment {
    event: Event,
}

impl Journal {
    /// Reads lines of JSON; what is no event that is known here is passed over.
    pub fn parse(text: &str) -> Self {
        let mut journal = Self::default();
        for Moment { event } in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match event {
                Event::Progress { step, loss, .. } if loss.is_finite() => journal.loss.push((step as f64, loss)),
                Event::Evaluated { split, epoch, loss, metrics, confusion, .. } => {
                    journal.evaluations.push(Evaluation { split, epoch, loss, metrics, confusion });
                }
                _ => {}
            }
        }
        journal
    }

    /// The last confusion matrix of the split that counts: test where there is one.
    pub fn confusion(&self) -> Option<(&str, &Vec<Vec<u64>>)> {
        ["test", "dev"].into_iter().find_map(|split| {
            let found = self.evaluations.iter().rev().find(|one| one.split == split && one.confusion.is_some())?;
            Some((split, found.confusion.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_gives_what_it_has_and_a_torn_line_spoils_only_itself() {
        let text = "{\"seconds\":1.0,\"event\":{\"event\":\"evaluated\",\"stage\":\"a\",\"split\":\"test\",\"epoch\":2.0,\"loss\":0.5,\
                    \"metrics\":[[\"accuracy\",0.75]],\"confusion\":[[3,1],[0,4]]}}\n{\"seconds\":2.0,\"event\":{\"eve\n\
                    {\"seconds\":0.1,\"event\":{\"event\":\"progress\",\"stage\":\"a\",\"epoch\":0.1,\"epochs\":2.0,\"step\":7,\"steps\":9,\
                    \"loss\":1.5,\"learning_rate\":0.1,\"tokens_per_second\":1.0,\"eta_seconds\":1.0}}\n{\"seconds\":3,\"event\":{\"event\":\"later\"}}\n";
        let journal = Journal::parse(text);
        assert_eq!(journal.loss, [(7.0, 1.5)]);
        assert_eq!(journal.evaluations.len(), 1);
        assert_eq!(journal.confusion(), Some(("test", &vec![vec![3, 1], vec![0, 4]])));
    }
}
