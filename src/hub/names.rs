//! Tensor names as `transformers` task models have them today, whatever wrote the file.

/// Modules a base model's file starts its names with when it carries no prefix.
const BASE_MODULES: [&str; 4] = ["embeddings.", "encoder.", "transformer.", "pooler."];

/// The prefix of the base model inside its task models: `bert` in `bert.encoder.layer.0...`.
pub fn base_prefix(model_type: &str) -> Option<&'static str> {
    match model_type {
        "bert" => Some("bert"),
        "roberta" => Some("roberta"),
        "distilbert" => Some("distilbert"),
        _ => None,
    }
}

/// The name of a tensor in the task model: base-model files get the prefix, TensorFlow-era `LayerNorm.gamma` and `.beta`
/// become `weight` and `bias`. Names of an unknown `model_type` only have their LayerNorms renamed.
pub fn task_model_name(model_type: &str, name: &str) -> String {
    let prefix = base_prefix(model_type).filter(|_| BASE_MODULES.iter().any(|module| name.starts_with(module)));
    let mut name = match prefix {
        Some(prefix) => format!("{prefix}.{name}"),
        None => name.to_string(),
    };
    for (old, new) in [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")] {
        if name.ends_with(old) {
            let stem = name.len() - old.len() + "LayerNorm.".len();
            name.replace_range(stem.., new);
        }
    }
    name
}

/// Whether a tensor is a buffer: computed, not learned, and present only in files of older versions.
pub fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("position_ids" | "token_type_ids"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_model_names_get_the_prefix_of_their_task_models() {
        let name = "encoder.layer.3.output.dense.bias";
        assert_eq!(task_model_name("bert", name), format!("bert.{name}"));
        assert_eq!(
            task_model_name("distilbert", "transformer.layer.0.ffn.lin1.weight"),
            "distilbert.transformer.layer.0.ffn.lin1.weight"
        );
        assert_eq!(task_model_name("roberta", "lm_head.dense.weight"), "lm_head.dense.weight");
        assert_eq!(task_model_name("bert", "bert.pooler.dense.weight"), "bert.pooler.dense.weight");
    }

    #[test]
    fn tensorflow_layer_norms_are_renamed() {
        assert_eq!(task_model_name("bert", "embeddings.LayerNorm.gamma"), "bert.embeddings.LayerNorm.weight");
        assert_eq!(
            task_model_name("bert", "cls.predictions.transform.LayerNorm.beta"),
            "cls.predictions.transform.LayerNorm.bias"
        );
    }

    #[test]
    fn position_ids_are_buffers_and_position_embeddings_are_not() {
        assert!(is_buffer("bert.embeddings.position_ids"));
        assert!(!is_buffer("bert.embeddings.position_embeddings.weight"));
    }
}
