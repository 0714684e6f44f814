//! What a model is asked for on top of its encoder, and how `config.json` says so.

use serde_json::{Map, Value, json};

use crate::hub::tensors::Tensors;
use crate::lang::world::Task;

/// What a model is asked for on top of its encoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Masked-language-model logits.
    MaskedLm,
    /// One logit a label, or one score for a regression.
    Sequence(Task),
}

impl Head {
    /// The head a `config.json` was saved with, by its `architectures`; `None` for a base model or a head this program does
    /// not have. Labels come in the order of their ids; without `id2label` they are `LABEL_0`, `LABEL_1` ... as in
    /// `transformers`, `num_labels` or two of them.
    pub fn from_config(config: &Value) -> Option<Self> {
        let class = config.get("architectures")?.get(0)?.as_str()?;
        if class.ends_with("ForMaskedLM") {
            return Some(Self::MaskedLm);
        }
        if !class.ends_with("ForSequenceClassification") {
            return None;
        }
        let text = |value: &Value| value.as_str().map(String::from);
        let labels: Vec<String> = match config.get("id2label").and_then(Value::as_object) {
            Some(map) => (0..map.len()).map(|id| map.get(&id.to_string()).and_then(text)).collect::<Option<_>>()?,
            None => {
                let count = config.get("num_labels").and_then(Value::as_u64).unwrap_or(2);
                (0..count).map(|id| format!("LABEL_{id}")).collect()
            }
        };
        match config.get("problem_type").and_then(Value::as_str) {
            Some("regression") if labels.len() == 1 => Some(Self::Sequence(Task::Regression)),
            None if labels.len() == 1 => Some(Self::Sequence(Task::Regression)),
            None | Some("single_label_classification") => Some(Self::Sequence(Task::Classification { labels })),
            Some(_) => None,
        }
    }

    /// Columns of a sequence head's logits; 0 for masked language models.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::MaskedLm => 0,
            Self::Sequence(Task::Classification { labels }) => labels.len(),
            Self::Sequence(Task::Regression) => 1,
        }
    }

    /// Says in a `config.json` that the model has this head and float32 weights. Other keys stay as they are.
    pub(super) fn describe(&self, class: &str, config: &mut Map<String, Value>) {
        // `num_labels` would contradict `id2label`, which transformers writes instead.
        for key in ["num_labels", "id2label", "label2id", "problem_type"] {
            config.shift_remove(key);
        }
        let suffix = match self {
            Self::MaskedLm => "MaskedLM",
            Self::Sequence(_) => "SequenceClassification",
        };
        config.insert("architectures".into(), json!([format!("{class}For{suffix}")]));
        let dtype = if config.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        config.insert(dtype.into(), json!("float32"));
        let Self::Sequence(task) = self else { return };
        let (labels, problem_type) = match task {
            Task::Classification { labels } => (labels.clone(), "single_label_classification"),
            Task::Regression => (vec!["LABEL_0".to_string()], "regression"),
        };
        let ids = labels.iter().enumerate();
        let id2label: Map<_, _> = ids.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = ids.map(|(id, label)| (label.clone(), json!(id))).collect();
        config.insert("id2label".into(), id2label.into());
        config.insert("label2id".into(), label2id.into());
        config.insert("problem_type".into(), json!(problem_type));
    }
}

/// Modules of task heads; those of language models, which belong to pre-training, are not among them.
const TASK_HEADS: [&str; 5] = ["classifier.", "pre_classifier.", "qa_outputs.", "score.", "logits_proj."];

/// Whether a tensor belongs to a task head.
pub fn is_task_head(name: &str) -> bool {
    TASK_HEADS.iter().any(|module| name.starts_with(module))
}

/// Takes the tensors of task heads (classification, spans) out, so that the next task starts with a new head. Returns
/// their names.
pub fn drop_head(tensors: &mut Tensors) -> Vec<String> {
    let dropped: Vec<String> = tensors.keys().filter(|name| is_task_head(name)).cloned().collect();
    tensors.retain(|name, _| !is_task_head(name));
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tensors::HostTensor;

    #[test]
    fn a_head_described_in_a_config_is_read_back_and_other_keys_stay() {
        let labels = vec!["negative".to_string(), "neutral".into(), "positive".into()];
        for head in [
            Head::MaskedLm,
            Head::Sequence(Task::Classification { labels }),
            Head::Sequence(Task::Regression),
            Head::Sequence(Task::Classification { labels: vec!["only".into()] }),
        ] {
            let mut config = json!({"zeta": [1], "num_labels": 7, "torch_dtype": "float16"});
            head.describe("Bert", config.as_object_mut().unwrap());
            assert_eq!(Head::from_config(&config), Some(head));
            assert_eq!(config["zeta"], json!([1]));
            assert_eq!(config["torch_dtype"], "float32");
            assert!(config.get("num_labels").is_none());
        }
    }

    #[test]
    fn labels_without_names_are_numbered_as_in_transformers() {
        let read = |mut config: Value| {
            config["architectures"] = json!(["BertForSequenceClassification"]);
            Head::from_config(&config)
        };
        let numbered = |count| Task::Classification { labels: (0..count).map(|id| format!("LABEL_{id}")).collect() };
        assert_eq!(read(json!({})), Some(Head::Sequence(numbered(2))));
        assert_eq!(read(json!({"num_labels": 3})), Some(Head::Sequence(numbered(3))));
        assert_eq!(read(json!({"num_labels": 1})), Some(Head::Sequence(Task::Regression)));
        assert_eq!(read(json!({"problem_type": "multi_label_classification"})), None);
        assert_eq!(Head::from_config(&json!({"architectures": ["BertModel"]})), None);
    }

    #[test]
    fn only_task_heads_are_dropped() {
        let tensor = HostTensor { shape: vec![1], data: vec![0.0] };
        let names = ["bert.pooler.dense.bias", "classifier.bias", "cls.predictions.bias", "classifier.dense.weight"];
        let mut tensors: Tensors = names.iter().map(|name| (name.to_string(), tensor.clone())).collect();
        assert_eq!(drop_head(&mut tensors), ["classifier.bias", "classifier.dense.weight"]);
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["bert.pooler.dense.bias", "cls.predictions.bias"]);
    }
}
