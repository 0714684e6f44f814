//! In what two results differ, down to what the stages before them were made from.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Manifest, Store};
use crate::lang::world::Digest;

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differing {
    /// The stage whose key it is part of, as the newer result calls it.
    pub stage: String,
    /// Path of the leaf: `parameters.learning_rate`.
    pub leaf: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Store {
    /// Every leaf of the keys of two results, and of all results they were made from, that differs; what was made first comes
    /// first. An input that is another stage's result is followed, not listed, as long as both sides are still known.
    pub fn differences(&self, old: &Manifest, new: &Manifest) -> Vec<Differing> {
        let mut seen = BTreeSet::new();
        let mut found = vec![];
        self.follow(old, new, &mut seen, &mut found);
        found
    }

    fn follow(
        &self,
        old: &Manifest,
        new: &Manifest,
        seen: &mut BTreeSet<(Digest, Digest)>,
        found: &mut Vec<Differing>,
    ) {
        if !seen.insert((old.key.clone(), new.key.clone())) {
            return;
        }
        let mut own = vec![];
        for leaf in new.pre_image.differences(&old.pre_image) {
            let (before, after) = (old.pre_image.get(leaf), new.pre_image.get(leaf));
            let is_result = leaf.starts_with("inputs.") && leaf.ends_with(".output");
            let results = before.zip(after).filter(|_| is_result).and_then(|(before, after)| {
                let read = |output: &str| self.read_output(&output.to_owned()).ok();
                read(before).zip(read(after))
            });
            match results {
                Some((before, after)) => self.follow(&before, &after, seen, found),
                None => own.push(Differing {
                    stage: new.label.clone(),
                    leaf: leaf.to_owned(),
                    old: before.map(str::to_owned),
                    new: after.map(str::to_owned),
                }),
            }
        }
        found.extend(own);
    }
}
