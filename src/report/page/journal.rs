//! What a stage said while it ran, as far as curves are drawn of it.

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

impl Journal {
    /// What there is to draw in what a stage said.
    pub fn of(said: impl IntoIterator<Item = Event>) -> Self {
        let mut journal = Self::default();
        for event in said {
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
