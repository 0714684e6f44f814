//! `delta(..)`: a delta that `peft` or `adapters` saved: what its configuration says, and that all it says can be done here.
//!
//! A setting that would change what is computed and has no place here is an error, also one nobody knew when this was
//! written: only what is empty, and what is known to matter in training or to a program only, is passed over.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use super::error::problem;
use super::{digest, model};
use crate::event::Notice;
use crate::lang::signature::Library;
use crate::lang::world::{SourceError, SourceFacts, SourceFile};

pub const CONFIG: &str = "adapter_config.json";
/// Of `peft`.
pub const PEFT_WEIGHTS: &str = "adapter_model.safetensors";
/// Of `adapters`.
pub const ADAPTERS_WEIGHTS: &str = "adapter.safetensors";
pub const HEAD_CONFIG: &str = "head_config.json";
pub const HEAD_WEIGHTS: &str = "model_head.safetensors";
/// Beside a delta of `peft`, which has no place for them: the labels with their ids. `ftp` writes it. A `config.json` would do, but
/// `transformers` takes a directory that has one for a whole model.
pub const LABELS: &str = "label_map.json";
pub const MODEL_CONFIG: &str = "config.json";

/// What a configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    pub library: Library,
    pub method: Method,
    /// The model it was made for, as its maker named it.
    pub base: Option<String>,
    /// What its tensors are named after, of `adapters`.
    pub name: String,
    /// What will not be used, to be shown.
    pub notices: Vec<Notice>,
}

/// A delta by its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    Lora {
        rank: i64,
        alpha: f64,
        dropout: f64,
        use_rslora: bool,
        use_dora: bool,
    },
    Ia3,
    /// Prompt tuning and P-tuning, whose encoder's output is what is saved.
    Prompt {
        tokens: i64,
        encoder: bool,
    },
    Prefix {
        tokens: i64,
        projection: bool,
    },
    Bottleneck {
        attention: bool,
        output: bool,
        norm_before: bool,
        activation: &'static str,
        invertible: bool,
    },
}

/// Finds and digests the files of a saved delta. `path` is how the directory is shown.
///
/// # Errors
/// All that is missing, damaged, or can't be done here.
pub fn describe(root: &Path, path: &str) -> Result<SourceFacts, Vec<SourceError>> {
    let saved = read(root, path)?;
    let mut files = vec![];
    for name in files_of(root, saved.library) {
        let file = root.join(&name);
        if name.ends_with(".safetensors") {
            model::check_safetensors(&file).map_err(|why| vec![missing(format!("{path}/{name} {why}"))])?;
        }
        let (digest, bytes) = digest::file(&file)
            .and_then(|digest| Ok((digest, file.metadata()?.len())))
            .map_err(|error| vec![missing(format!("{path}/{name}: {error}"))])?;
        let shown = format!("{}/{name}", path.trim_end_matches('/'));
        files.push(SourceFile { split: None, path: file, shown, digest, bytes, rows: 0 });
    }
    let (architecture, notices) = (Some(saved.library.name().to_owned()), saved.notices);
    Ok(SourceFacts { files, task: None, columns: IndexMap::new(), architecture, notices })
}

/// The files that decide what a saved delta is, as far as they are there.
fn files_of(root: &Path, library: Library) -> Vec<String> {
    let names: &[&str] = match library {
        Library::Peft => &[CONFIG, PEFT_WEIGHTS, LABELS, MODEL_CONFIG],
        Library::Adapters => &[CONFIG, ADAPTERS_WEIGHTS, HEAD_CONFIG, HEAD_WEIGHTS],
    };
    names.iter().filter(|name| root.join(name).is_file()).map(|name| (*name).to_owned()).collect()
}

/// Reads what the configuration of a saved delta says.
///
/// # Errors
/// As [`describe`].
pub fn read(root: &Path, path: &str) -> Result<Saved, Vec<SourceError>> {
    if !root.is_dir() {
        return Err(vec![missing(format!("{path} is not a directory"))]);
    }
    let config = json(&root.join(CONFIG), path, CONFIG).map_err(|error| vec![error])?;
    let saved = match (config.get("peft_type"), config.get("config")) {
        (Some(kind), _) => peft(&config, kind.as_str().unwrap_or_default(), path),
        (None, Some(_)) => adapters(&config, path),
        (None, None) => Err(vec![missing(format!("{path}/{CONFIG} is neither of `peft` nor of `adapters`"))]),
    }?;
    let (weights, pickled) = match saved.library {
        Library::Peft => (PEFT_WEIGHTS, "adapter_model.bin"),
        Library::Adapters => (ADAPTERS_WEIGHTS, "pytorch_adapter.bin"),
    };
    if root.join(weights).is_file() {
        return Ok(saved);
    }
    let mut error = missing(format!("{path}/{weights} is missing"));
    if root.join(pickled).is_file() {
        error.message = format!("{path} has its weights as {pickled}; ftp reads safetensors only");
        error.help = Some(match saved.library {
            Library::Peft => "load it with `peft` and save it again: `save_pretrained` writes safetensors".into(),
            Library::Adapters => {
                "load it with `adapters` and save it again: `model.save_adapter(.., use_safetensors=True)`".into()
            }
        });
    }
    Err(vec![error])
}

/// A JSON file of the directory, where it is there.
pub fn optional_json(root: &Path, name: &str) -> Result<Option<Value>, SourceError> {
    let file: PathBuf = root.join(name);
    if file.is_file() { json(&file, &root.display().to_string(), name).map(Some) } else { Ok(None) }
}

fn json(file: &Path, path: &str, name: &str) -> Result<Value, SourceError> {
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(format!("{path}/{name} is missing")),
        _ => missing(format!("{path}/{name}: {error}")),
    })?;
    serde_json::from_str(&text).map_err(|error| missing(format!("{path}/{name} is not JSON: {error}")))
}

fn missing(message: String) -> SourceError {
    problem(
        "ftp::data::missing_delta",
        Some("path"),
        message,
        "no saved delta there",
        "name a directory that `save_pretrained` of peft, `save_adapter` of adapters or `publish .. as adapter` wrote",
    )
}

/// What a configuration holds, and what of it was looked at.
struct Settings<'a> {
    config: &'a Value,
    path: &'a str,
    problems: Vec<SourceError>,
    /// Keys that were asked for.
    asked: Vec<String>,
}

impl<'a> Settings<'a> {
    fn new(config: &'a Value, path: &'a str) -> Self {
        Self { config, path, problems: vec![], asked: vec![] }
    }

    /// A setting; none where it is `null`.
    fn get(&mut self, key: &str) -> Option<&'a Value> {
        self.asked.push(key.to_owned());
        self.config.get(key).filter(|value| !value.is_null())
    }

    fn unsupported(&mut self, what: String, help: &str) {
        let message = format!("{}/{CONFIG}: {what}", self.path.trim_end_matches('/'));
        self.problems.push(problem("ftp::data::unsupported_delta", Some("path"), message, "can't be used", help));
    }

    fn int(&mut self, key: &str, default: i64) -> i64 {
        let Some(value) = self.get(key) else { return default };
        value.as_i64().filter(|number| *number > 0).unwrap_or_else(|| {
            self.unsupported(format!("`{key}` is {value}, not a number above 0"), "save the delta again");
            default
        })
    }

    fn float(&mut self, key: &str, default: f64, allowed: std::ops::Range<f64>) -> f64 {
        let Some(value) = self.get(key) else { return default };
        value.as_f64().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
            let what = format!("`{key}` is {value}, not a number from {} to below {}", allowed.start, allowed.end);
            self.unsupported(what, "save the delta again with a value that means something");
            default
        })
    }

    fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.get(key) else { return false };
        value.as_bool().unwrap_or_else(|| {
            self.unsupported(format!("`{key}` is {value}, neither true nor false"), "save the delta again");
            false
        })
    }

    fn is(&mut self, key: &str, allowed: &[Value], why: &str, help: &str) {
        if let Some(value) = self.get(key).filter(|value| !allowed.contains(value)) {
            self.unsupported(format!("`{key}` is {value}: {why}"), help);
        }
    }

    /// All keys that nobody asked for must be empty, or be known to change nothing that is computed.
    fn others_are_empty(&mut self, harmless: &[&str]) {
        let Some(all) = self.config.as_object() else { return };
        let empty = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Bool(true) => false,
        };
        let strange: Vec<(&String, &Value)> = all
            .iter()
            .filter(|(key, value)| !empty(value) && !self.asked.contains(key) && !harmless.contains(&key.as_str()))
            .collect();
        for (key, value) in strange {
            self.unsupported(
                format!("`{key}` is {value}, which ftp does not know how to compute"),
                "merge it with `merge_and_unload()` in Python and use the whole model: `hf(\"..\")`",
            );
        }
    }
}

/// Keys of `peft` that say where something was, or how training began.
const PEFT_HARMLESS: [&str; 16] = [
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "peft_version",
    "peft_type",
    "task_type",
    // Which modules have the delta is told by its tensors.
    "target_modules",
    "exclude_modules",
    "feedforward_modules",
    "layers_to_transform",
    "layers_pattern",
    "init_ia3_weights",
    "megatron_core",
    "qalora_group_size",
    "modules_to_save",
];

/// Of prompts and prefixes: the model's sizes, and the encoder that is not saved.
const PROMPT_HARMLESS: [&str; 11] = [
    "num_attention_heads",
    "num_layers",
    "token_dim",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "tokenizer_name_or_path",
    "tokenizer_kwargs",
    "encoder_hidden_size",
    "encoder_num_layers",
    "encoder_dropout",
    "encoder_reparameterization_type",
];

fn peft(config: &Value, kind: &str, path: &str) -> Result<Saved, Vec<SourceError>> {
    let mut settings = Settings::new(config, path);
    let mut notices = vec![];
    let mut harmless = PEFT_HARMLESS.to_vec();
    let tasks = [Value::from("SEQ_CLS"), "FEATURE_EXTRACTION".into()];
    settings.is(
        "task_type",
        &tasks,
        "ftp has heads for classification and regression of texts",
        "use a delta of such a task",
    );
    heads(&mut settings);
    let method = match kind {
        "LORA" => {
            settings.is("bias", &["none".into()], "biases would have to train too", "make it with `bias=\"none\"`");
            for key in ["rank_pattern", "alpha_pattern"] {
                if settings.get(key).and_then(Value::as_object).is_some_and(|pattern| !pattern.is_empty()) {
                    settings.unsupported(
                        format!("`{key}` gives modules ranks or scales of their own"),
                        "make it with one `r` and one `lora_alpha` for all modules",
                    );
                }
            }
            let starts = [Value::Bool(true), Value::Bool(false), "gaussian".into(), "orthogonal".into(), "eva".into()];
            let why = "such a start changes the base model itself";
            settings.is(
                "init_lora_weights",
                &starts,
                why,
                "convert it to plain LoRA when saving, as the documentation of `peft` shows",
            );
            Method::Lora {
                rank: settings.int("r", 8),
                alpha: settings.float("lora_alpha", 8.0, 0.0..1e6),
                dropout: settings.float("lora_dropout", 0.0, 0.0..1.0),
                use_rslora: settings.flag("use_rslora"),
                use_dora: settings.flag("use_dora"),
            }
        }
        "IA3" => Method::Ia3,
        "PROMPT_TUNING" | "P_TUNING" | "PREFIX_TUNING" => {
            let tokens = settings.int("num_virtual_tokens", 0);
            if tokens == 0 {
                settings.unsupported("`num_virtual_tokens` is missing".into(), "save the delta again");
            }
            settings.is(
                "num_transformer_submodules",
                &[1.into()],
                "only encoders are supported",
                "use a delta of an encoder",
            );
            harmless.extend(PROMPT_HARMLESS);
            let (encoder, projection) = (kind == "P_TUNING", settings.flag("prefix_projection"));
            if encoder || projection {
                let message = format!(
                    "{path} holds what an encoder made of the virtual tokens, not the encoder: training goes on with these values themselves"
                );
                notices.push(Notice::new("ftp::data::encoder_not_saved", message));
            }
            match kind {
                "PREFIX_TUNING" => Method::Prefix { tokens, projection },
                _ => Method::Prompt { tokens, encoder },
            }
        }
        other => {
            settings.unsupported(
                format!("the method is {other}"),
                "of peft, ftp reads LoRA (also rank-stabilised, and DoRA), IA3, prompt tuning, P-tuning and prefix tuning",
            );
            return Err(settings.problems);
        }
    };
    settings.others_are_empty(&harmless);
    let base = config.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
    done(settings, Saved { library: Library::Peft, method, base, name: String::new(), notices })
}

/// Heads that `peft` keeps whole: a classifier, and what it stands on.
fn heads(settings: &mut Settings) {
    const HEADS: [&str; 4] = ["classifier", "score", "pre_classifier", "pooler"];
    let saved = settings.config.get("modules_to_save").and_then(Value::as_array).into_iter().flatten();
    let others: Vec<String> = saved
        .filter_map(Value::as_str)
        .filter(|module| !HEADS.contains(&module.rsplit('.').next().unwrap_or(module)))
        .map(str::to_owned)
        .collect();
    for module in others {
        settings.unsupported(
            format!("`modules_to_save` names `{module}`, which is no classification head"),
            "make it without: only the head, and the pooler below it, is kept whole",
        );
    }
}

fn adapters(whole: &Value, path: &str) -> Result<Saved, Vec<SourceError>> {
    let config = &whole["config"];
    let mut settings = Settings::new(config, path);
    if let Some(architecture) = settings.get("architecture").and_then(Value::as_str) {
        settings.unsupported(
            format!("the architecture is {architecture}"),
            "of adapters, ftp reads bottlenecks: `seq_bn`, `double_seq_bn`, each also with `_inv`; of peft also LoRA, IA3 and prompts",
        );
    } else if !config.is_object() {
        settings.unsupported("`config` holds no settings".into(), "save the adapter again with its configuration");
    }
    let help = "make it with the configuration `seq_bn` or `double_seq_bn`";
    let plain = "ftp's adapters have no such part";
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    for key in [
        "ln_before",
        "ln_after",
        "is_parallel",
        "use_gating",
        "cross_adapter",
        "phm_layer",
        "adapter_residual_before_ln",
    ] {
        settings.is(key, std::slice::from_ref(&no), plain, help);
    }
    settings.is("original_ln_after", std::slice::from_ref(&yes), plain, help);
    settings.is("residual_before_ln", std::slice::from_ref(&yes), plain, help);
    settings.is("scaling", &[1.0.into(), 1.into()], plain, help);
    settings.is("leave_out", &[Value::Array(vec![])], "ftp's adapters are in every layer", help);
    settings.is("dropout", &[0.0.into(), 0.into()], "ftp's adapters have no dropout of their own", help);
    settings.is("stochastic_depth", &[0.0.into(), 0.into()], plain, help);
    settings.is("inv_adapter", &["nice".into()], "only NICE is supported", "make it with `inv_adapter=\"nice\"`");
    if settings.get("reduction_factor").is_some_and(Value::is_object) {
        settings
            .unsupported("`reduction_factor` differs between layers".into(), "make it with one factor for all layers");
    }
    let activation = match settings.get("non_linearity").and_then(Value::as_str).map(str::to_lowercase).as_deref() {
        Some("relu") => "relu",
        Some("gelu") => "gelu",
        Some("swish" | "silu") => "swish",
        other => {
            let found = other.unwrap_or("missing").to_owned();
            settings.unsupported(format!("`non_linearity` is {found}"), "make it with `relu`, `gelu` or `swish`");
            "relu"
        }
    };
    // Told by the tensors, how training began, and what only `phm_layer` uses.
    let harmless = [
        "inv_adapter_reduction_factor",
        "init_weights",
        "init_weights_seed",
        "phm_dim",
        "phm_rank",
        "phm_c_init",
        "phm_init_range",
        "phm_bias",
        "learn_phm",
        "factorized_phm_W",
        "factorized_phm_rule",
        "shared_phm_rule",
        "shared_W_phm",
        "hypercomplex_nonlinearity",
    ];
    let method = Method::Bottleneck {
        attention: settings.flag("mh_adapter"),
        output: settings.flag("output_adapter"),
        norm_before: settings.flag("original_ln_before"),
        activation,
        invertible: settings.get("inv_adapter").is_some(),
    };
    settings.others_are_empty(&harmless);
    if let Method::Bottleneck { attention, output, norm_before, invertible, .. } = method {
        let places = (attention, output, norm_before);
        // One after the feed-forward that sees the normed sum, or two that see the block's own output.
        let known = matches!(places, (false, true, true) | (true, true, false));
        // An invertible adapter may come without any of these.
        let none = (attention, output) == (false, false) && invertible;
        if !known && !none {
            settings.unsupported(
                "its adapters sit at other places than those of `seq_bn` and `double_seq_bn`".into(),
                help,
            );
        }
    }
    let text = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
    let (base, name) = (text("model_name"), text("name").unwrap_or_default());
    done(settings, Saved { library: Library::Adapters, method, base, name, notices: vec![] })
}

fn done(settings: Settings, saved: Saved) -> Result<Saved, Vec<SourceError>> {
    if settings.problems.is_empty() { Ok(saved) } else { Err(settings.problems) }
}
