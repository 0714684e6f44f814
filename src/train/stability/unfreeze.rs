//! Gradual unfreezing: at first the head trains alone, then one more layer from the top every epoch (Howard & Ruder 2018,
//! ULMFiT, section 3.3).

use indexmap::IndexMap;

use super::depth::depths;
use super::{At, Beginning, Begun, Entry, Technique};
use crate::event::Notice;
use crate::nn::models::Model;
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["unfreeze_every"], begin };

struct Unfreeze {
    /// Epochs between two groups.
    every: f64,
    /// Of what trains: how many groups lie above it.
    above: IndexMap<String, usize>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let Some(every) = beginning.read.number("unfreeze_every")? else { return Ok(None) };
    if !(every > 0.0 && every.is_finite()) {
        return Err(wrong("unfreeze_every", every.to_string(), "above 0"));
    }
    let (model, top) = (beginning.model, beginning.model.layers() + 1);
    let depths = depths(model).into_iter().filter(|(name, _)| model.parameters[name].trainable);
    let above: IndexMap<String, usize> = depths.map(|(name, depth)| (name, top - depth)).collect();
    let groups = above.values().max().map_or(0, |last| last + 1);
    // The group of `n` above it begins to train after `n every` epochs.
    let reached =
        above.values().filter(|above| **above as f64 * every < beginning.epochs).max().map_or(0, |last| last + 1);
    if reached < groups {
        let (epochs, never) = (beginning.epochs, groups - reached);
        let message = format!(
            "unfreeze_every = {every} epochs reaches {reached} of {groups} groups in {epochs} epochs: the {never} lowest never train"
        );
        beginning.notices.push(Notice::new("ftp::train::never_unfrozen", message));
    }
    Ok(Some(Box::new(Unfreeze { every, above })))
}

impl Technique for Unfreeze {
    fn before(&mut self, model: &mut Model, at: At) {
        // The small share keeps an epoch of three steps whole: 1/3 + 1/3 + 1/3 may be a little less than 1.
        let reached = ((at.epochs + 1e-9) / self.every).floor() as usize;
        for (name, above) in &self.above {
            model.parameters[name].trainable = *above <= reached;
        }
    }

    fn finish(&mut self, model: &mut Model) {
        self.above.keys().for_each(|name| model.parameters[name].trainable = true);
    }
}
