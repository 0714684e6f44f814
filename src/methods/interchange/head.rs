//! The classifier that comes with a saved delta, and the names of its labels.

use std::path::Path;

use serde_json::Value as Json;

use super::{StageFailure, misfit};
use crate::event::Notice;
use crate::hub::tensors::Tensors;
use crate::lang::world::Task;
use crate::nn::models::layout::{Layout, Part, Slot};
use crate::nn::models::{Head, Model};

/// The parameters of a model with a head for so many labels.
pub(super) fn layout(config: &Json, labels: usize) -> Result<Layout, StageFailure> {
    let labels = (0..labels.max(1)).map(|label| label.to_string()).collect();
    Ok(Model::layout_of(config, &Head::Sequence(Task::Classification { labels }))?)
}

pub(super) fn is_head(slot: &Slot) -> bool {
    matches!(slot.part, Part::Head | Part::Pooler)
}

/// A configuration that names labels, of a map from them to their ids; none where that is empty.
pub(super) fn named_by(label2id: &Json) -> Option<Json> {
    let ids = label2id.as_object().filter(|map| !map.is_empty())?.iter();
    let id2label: serde_json::Map<String, Json> =
        ids.map(|(label, id)| (id.to_string(), label.clone().into())).collect();
    Some(serde_json::json!({ "architectures": ["ForSequenceClassification"], "id2label": id2label }))
}

/// Checks that tensors are a whole head of the model, and says what it answers. `named` are configurations that may name
/// the labels, the best first.
pub(super) fn task(
    root: &Path,
    tensors: &Tensors,
    config: &Json,
    named: &[&Json],
    notices: &mut Vec<Notice>,
) -> Result<Option<Task>, StageFailure> {
    let known = layout(config, 1)?;
    if let Some(name) = tensors.keys().find(|name| !known.slots.iter().any(|slot| is_head(slot) && slot.name == **name))
    {
        return Err(misfit(root, format!("it holds `{name}`, which has no place there")));
    }
    let per_label = known.slots.iter().filter(|slot| slot.per_label);
    let Some(count) = per_label.filter_map(|slot| tensors.get(&slot.name)?.shape.first().copied()).next() else {
        return Ok(None);
    };
    for slot in layout(config, count)?.slots.iter().filter(|slot| is_head(slot)) {
        match tensors.get(&slot.name) {
            Some(tensor) if tensor.shape != slot.shape => {
                let (found, wanted) = (&tensor.shape, &slot.shape);
                return Err(misfit(root, format!("`{}` has the shape {found:?}, not {wanted:?}", slot.name)));
            }
            None if slot.part == Part::Head => return Err(misfit(root, format!("its head lacks `{}`", slot.name))),
            _ => {}
        }
    }
    let fits = |config: &&Json| match Head::from_config(config) {
        Some(Head::Sequence(Task::Classification { labels })) if labels.len() == count => {
            Some(Task::Classification { labels })
        }
        Some(Head::Sequence(Task::Regression)) if count == 1 => Some(Task::Regression),
        _ => None,
    };
    let several = named.iter().find(|config| config["problem_type"] == "multi_label_classification");
    if several.is_some() {
        return Err(misfit(root, "it gives a text several labels at once, which ftp has no head for"));
    }
    if let Some(task) = named.iter().find_map(fits) {
        return Ok(Some(task));
    }
    if count == 1 {
        return Ok(Some(Task::Regression));
    }
    let labels: Vec<String> = (0..count).map(|label| format!("LABEL_{label}")).collect();
    let message = format!("{} does not name its {count} labels: they are {}", root.display(), labels.join(", "));
    notices.push(Notice::new("ftp::model::labels_numbered", message));
    Ok(Some(Task::Classification { labels }))
}
