//! What is different between two plans: stages that are in one only, and what makes the others another stage.

use super::Plan;
use super::key::Keyed;
use super::reason::{self, Change};
use crate::lang::ir::Program;
use crate::syntax::Source;

/// A checked file and its plan.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub source: &'a Source,
    pub program: &'a Program,
    pub plan: &'a Plan,
}

/// A stage of either plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// In both, with one key.
    Same {
        label: String,
    },
    /// The same method in the same place, but not the same result.
    Changed {
        label: String,
        was: String,
        changes: Vec<Change>,
    },
    New {
        label: String,
    },
    Gone {
        label: String,
    },
}

/// Compares plan `new` with plan `old`: the stages of `new` in its order, then those that are gone.
pub fn between(old: Side, new: Side) -> Vec<Difference> {
    let (old_keys, new_keys) = (keys(old), keys(new));
    let mut pairs = Pairs { of_new: vec![None; new_keys.len()], open: (0..old_keys.len()).collect() };
    pairs.make(|stage, open| open.iter().position(|other| old_keys[*other].key == new_keys[stage].key));
    // What is left is the same stage when it is called the same; else the one of its method with the fewest differences.
    let same_method =
        |stage: usize, other: usize| old_keys[other].pre_image.get("method") == new_keys[stage].pre_image.get("method");
    pairs.make(|stage, open| {
        let label = &new.plan.stages[stage].label;
        open.iter().position(|other| old.plan.stages[*other].label == *label && same_method(stage, *other))
    });
    pairs.make(|stage, open| {
        let image = &new_keys[stage].pre_image;
        let candidates = open.iter().enumerate().filter(|(_, other)| same_method(stage, **other));
        let nearest = candidates.min_by_key(|(_, other)| image.differences(&old_keys[**other].pre_image).len());
        nearest.map(|(at, _)| at)
    });
    let mut differences: Vec<Difference> = (0..new_keys.len())
        .map(|stage| {
            let label = new.plan.stages[stage].label.clone();
            match pairs.of_new[stage] {
                None => Difference::New { label },
                Some(other) if old_keys[other].key == new_keys[stage].key => Difference::Same { label },
                Some(other) => {
                    let was = old.plan.stages[other].label.clone();
                    let image = &new_keys[stage].pre_image;
                    let changes =
                        reason::changes(new.plan, new.program, new.source, stage, image, &old_keys[other].pre_image);
                    Difference::Changed { label, was, changes }
                }
            }
        })
        .collect();
    differences
        .extend(pairs.open.iter().map(|other| Difference::Gone { label: old.plan.stages[*other].label.clone() }));
    differences
}

/// Which stage of the old plan each of the new one is.
struct Pairs {
    of_new: Vec<Option<usize>>,
    /// Old stages without a partner.
    open: Vec<usize>,
}

impl Pairs {
    /// Gives partners to new stages without one; `choose` gives the place of one among the open ones.
    fn make(&mut self, choose: impl Fn(usize, &[usize]) -> Option<usize>) {
        for stage in 0..self.of_new.len() {
            if self.of_new[stage].is_none()
                && let Some(at) = choose(stage, &self.open)
            {
                self.of_new[stage] = Some(self.open.remove(at));
            }
        }
    }
}

/// Each stage's key if every stage before it gave its own key as its output: equal for equal sub-graphs.
fn keys(side: Side) -> Vec<Keyed> {
    let mut keys: Vec<Keyed> = vec![];
    for stage in 0..side.plan.stages.len() {
        keys.push(side.plan.key(side.program, stage, &|before| keys[before].key.clone()));
    }
    keys
}
