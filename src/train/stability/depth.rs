//! How deep in a model a parameter lies.

use indexmap::IndexMap;

use crate::nn::models::Model;
use crate::nn::models::layout::{Part, Slot};

/// The depth of every parameter: 0 for embeddings, `1 ..= L` for the layers from the lowest, `L + 1` for poolers and heads.
/// What a delta added has the depth of the module it was added to.
pub(super) fn depths(model: &Model) -> IndexMap<String, usize> {
    let (slots, top) = (&model.layout().slots, model.layers() + 1);
    let own = |slot: &Slot| match (slot.layer, slot.part) {
        (Some(layer), _) => layer + 1,
        (None, Part::Encoder) => 0,
        (None, _) => top,
    };
    let depth = |slot: &Slot| match slot.part {
        Part::Delta if slot.layer.is_none() => host(slots, &slot.name).map_or(top, own),
        _ => own(slot),
    };
    slots.iter().map(|slot| (slot.name.clone(), depth(slot))).collect()
}

/// A parameter of the model's own that shares the longest path of modules with the delta's of this name.
fn host<'a>(slots: &'a [Slot], name: &str) -> Option<&'a Slot> {
    let shared =
        |slot: &Slot| name.split('.').zip(slot.name.split('.')).take_while(|(one, other)| one == other).count();
    let hosts = slots.iter().filter(|slot| slot.part != Part::Delta).map(|slot| (shared(slot), slot));
    hosts.filter(|(shared, _)| *shared > 1).max_by_key(|(shared, _)| *shared).map(|(_, slot)| slot)
}
