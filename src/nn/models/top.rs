//! Models without their top layers.

use serde_json::{Value, json};

use super::architecture::architecture;
use super::error::ModelError;
use super::head::Head;
use crate::hub::tensors::Tensors;

/// Spellings of the number of layers in `config.json`.
const LAYERS: [&str; 2] = ["num_hidden_layers", "n_layers"];

/// How many layers a configuration has.
///
/// # Errors
/// An architecture or setting that is not supported.
pub fn layers(config: &Value) -> Result<usize, ModelError> {
    Ok(architecture(config)?.layout(&Head::MaskedLm).layers())
}

/// Takes out the tensors of all layers from number `keep` on, with whatever deltas have at their modules, and lets the
/// configuration say so. The embeddings, the lower layers, the pooler and the head stay as they are.
///
/// # Errors
/// As [`layers`].
pub fn keep_layers(config: &mut Value, tensors: &mut Tensors, keep: usize) -> Result<(), ModelError> {
    let layout = architecture(config)?.layout(&Head::MaskedLm);
    // A layer's modules lie below its path: `bert.encoder.layer.11.`.
    let path = |name: &str, layer: usize| {
        let number = format!(".{layer}.");
        name.find(&number).map(|at| name[..at + number.len()].to_owned())
    };
    let above = layout.slots.iter().filter_map(|slot| path(&slot.name, slot.layer.filter(|layer| *layer >= keep)?));
    let mut above: Vec<String> = above.collect();
    above.dedup();
    tensors.retain(|name, _| !above.iter().any(|path| name.contains(path.as_str())));
    let mut spelled = LAYERS.iter().filter(|key| config.get(**key).is_some_and(|value| !value.is_null())).peekable();
    let keys: Vec<&str> = match spelled.peek() {
        None => vec![LAYERS[0]],
        Some(_) => spelled.copied().collect(),
    };
    keys.into_iter().for_each(|key| config[key] = json!(keep));
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::model::Model;
    use super::*;
    use crate::lang::world::Task;

    fn head() -> Head {
        Head::Sequence(Task::Classification { labels: vec!["no".into(), "yes".into()] })
    }

    fn config(model_type: &str, key: Option<&str>) -> Value {
        let mut config = json!({
            "model_type": model_type, "vocab_size": 30, "hidden_size": 8, "num_attention_heads": 2,
            "intermediate_size": 12, "hidden_dim": 12, "max_position_embeddings": 16,
        });
        if let Some(key) = key {
            config[key] = json!(12);
        }
        config
    }

    #[test]
    fn what_stays_is_what_a_configuration_with_fewer_layers_asks_for_in_every_architecture() {
        for (model_type, key, left) in [
            ("bert", Some("num_hidden_layers"), "num_hidden_layers"),
            ("bert", None, "num_hidden_layers"),
            ("roberta", Some("num_hidden_layers"), "num_hidden_layers"),
            ("distilbert", Some("n_layers"), "n_layers"),
            ("distilbert", Some("num_hidden_layers"), "num_hidden_layers"),
        ] {
            let mut config = config(model_type, key);
            let whole = Model::new(&config, &Tensors::new(), &head(), 3, &Device::flex()).unwrap().0.tensors();
            let mut tensors = whole.clone();
            // Beside a module of the layer 11, and of the layer 1, whose number begins like it.
            let prefix =
                whole.keys().find(|name| name.contains("layer.11.")).unwrap().split("layer.11.").next().unwrap();
            for layer in [1, 11] {
                let name = format!("adapters.0.{prefix}layer.{layer}.output.adapter_down.weight");
                tensors.insert(name, whole.values().next().unwrap().clone());
            }
            assert_eq!(layers(&config), Ok(12));
            keep_layers(&mut config, &mut tensors, 2).unwrap();
            assert_eq!((layers(&config), &config[left]), (Ok(2), &json!(2)));
            tensors.shift_remove(&format!("adapters.0.{prefix}layer.1.output.adapter_down.weight")).expect("it stays");
            let (model, report) = Model::new(&config, &tensors, &head(), 4, &Device::flex()).unwrap();
            assert_eq!((report.missing, report.unused), (vec![], vec![]), "{model_type}");
            for (name, tensor) in model.tensors() {
                assert_eq!(tensor, whole[&name], "{name}");
            }
        }
    }
}
