//! A model directory as `save_pretrained` of transformers writes it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use super::error::HubError;
#[cfg(feature = "train")]
use super::tensors::Tensors;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Files of a tokenizer, all of which travel with a model. `tokenizer.json` alone is enough to tokenise.
pub const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
];

/// An opened model directory. Weights are read when asked for.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    config: Value,
}

impl Directory {
    /// Opens a directory and reads its `config.json`.
    ///
    /// # Errors
    /// A missing directory or `config.json`; text that is not JSON.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, HubError> {
        let path = path.into();
        let config = read_json(&path.join(CONFIG))?;
        Ok(Self { path, config })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`, keys in file order, unknown ones included.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `model_type` of the configuration: `bert`, `roberta` ...
    pub fn model_type(&self) -> Option<&str> {
        self.config.get("model_type")?.as_str()
    }

    /// The safetensors files, in reading order: one, or the shards of an index.
    ///
    /// # Errors
    /// None there, only pickled ones, or an index that is damaged.
    pub fn weight_files(&self) -> Result<Vec<PathBuf>, HubError> {
        let single = self.path.join(WEIGHTS);
        if single.is_file() {
            return Ok(vec![single]);
        }
        if self.path.join(INDEX).is_file() {
            return Ok(self.shards()?.into_keys().map(|shard| self.path.join(shard)).collect());
        }
        for found in ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"] {
            if self.path.join(found).is_file() {
                return Err(HubError::PickledWeights { directory: self.path.clone(), found: found.into() });
            }
        }
        Err(HubError::MissingFile { path: single })
    }

    /// Paths of the tokenizer's files that are there.
    pub fn tokenizer_files(&self) -> Vec<PathBuf> {
        TOKENIZER_FILES.iter().map(|name| self.path.join(name)).filter(|path| path.is_file()).collect()
    }

    /// All files the model consists of: configuration, weights (and their index), tokenizer.
    ///
    /// # Errors
    /// As [`Directory::weight_files`].
    pub fn files(&self) -> Result<Vec<PathBuf>, HubError> {
        let mut files = vec![self.path.join(CONFIG)];
        let weights = self.weight_files()?;
        let index = self.path.join(INDEX);
        if weights.iter().all(|file| file.file_name() != Some(WEIGHTS.as_ref())) {
            files.push(index);
        }
        files.extend(weights);
        files.extend(self.tokenizer_files());
        Ok(files)
    }

    /// All weights in host memory under the names of the `transformers` task model ([`super::names`]).
    ///
    /// # Errors
    /// As [`Directory::weight_files`] and [`super::read_safetensors`]; a shard that lacks a tensor of its index.
    #[cfg(feature = "train")]
    pub fn tensors(&self) -> Result<Tensors, HubError> {
        let model_type = self.model_type().unwrap_or_default();
        let mut tensors = Tensors::new();
        let single = self.path.join(WEIGHTS);
        if single.is_file() {
            tensors = super::read_safetensors(&single)?;
        } else {
            self.weight_files()?;
            for (shard, names) in self.shards()? {
                let mut held = super::read_safetensors(&self.path.join(&shard))?;
                for name in names {
                    match held.swap_remove(&name) {
                        Some(tensor) => {
                            tensors.insert(name, tensor);
                        }
                        None if super::names::is_buffer(&name) => {}
                        None => return Err(HubError::IncompleteShards { index: self.path.join(INDEX), name, shard }),
                    }
                }
            }
        }
        let normalised = tensors.into_iter().filter(|(name, _)| !super::names::is_buffer(name));
        Ok(normalised.map(|(name, tensor)| (super::names::task_model_name(model_type, &name), tensor)).collect())
    }

    /// Names of the tensors each shard holds, by the shard's file name, both in the order of the index.
    fn shards(&self) -> Result<IndexMap<String, Vec<String>>, HubError> {
        let path = self.path.join(INDEX);
        let index = read_json(&path)?;
        let bad = |reason: String| HubError::BadIndex { path: path.clone(), reason };
        let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| bad("no `weight_map`".into()))?;
        let mut shards: IndexMap<String, Vec<String>> = IndexMap::new();
        for (name, shard) in map {
            let shard = shard.as_str().ok_or_else(|| bad(format!("the file of `{name}` is not a string")))?;
            // A name with directories in it could read any file of the machine.
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(bad(format!("`{shard}` is not the name of a file in this directory")));
            }
            shards.entry(shard.to_string()).or_default().push(name.clone());
        }
        Ok(shards)
    }
}

/// Writes `config.json` and `model.safetensors` into a directory, which is made if need be.
///
/// # Errors
/// A directory that can't be written; a shape that does not fit its data.
#[cfg(feature = "train")]
pub fn write_model(directory: &Path, config: &Value, tensors: &Tensors) -> Result<(), HubError> {
    fs::create_dir_all(directory).map_err(|reason| HubError::writing(directory, reason))?;
    super::write_safetensors(&directory.join(WEIGHTS), tensors)?;
    write_config(directory, config)
}

/// Writes `config.json` as `transformers` does: two spaces of indentation and a newline at the end; keys stay in order.
///
/// # Errors
/// A directory that can't be written.
pub fn write_config(directory: &Path, config: &Value) -> Result<(), HubError> {
    let text = format!("{config:#}\n");
    replace(&directory.join(CONFIG), |path| File::create(path)?.write_all(text.as_bytes()))
}

/// Writes a file under a temporary name beside it and renames it into place, so that it is there whole or not at all.
pub(super) fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), HubError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let renamed = write(&temporary)
        .and_then(|()| share(&temporary))
        .and_then(|()| File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    renamed.map_err(|reason| {
        let _ = fs::remove_file(&temporary);
        HubError::writing(path, reason)
    })
}

/// The safetensors crate makes files only their owner may read; others who use the same directory must be able to.
fn share(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    let _ = path;
    Ok(())
}

/// A JSON file, keys in its order.
///
/// # Errors
/// A file that is missing or is not JSON.
pub fn read_json(path: &Path) -> Result<Value, HubError> {
    let text = fs::read_to_string(path).map_err(|reason| HubError::reading(path, reason))?;
    serde_json::from_str(&text).map_err(|reason| HubError::BadJson { path: path.into(), reason: reason.to_string() })
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;
    use crate::hub::tensors::HostTensor;
    use crate::hub::write_safetensors;

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let path = directory.path().to_path_buf();
        (directory, path)
    }

    fn tensor(value: f32) -> HostTensor {
        HostTensor { shape: vec![1], data: vec![value] }
    }

    #[test]
    fn a_directory_with_only_pickled_weights_says_how_to_convert_them() {
        let (_guard, path) = directory(&[("config.json", r#"{"model_type": "bert"}"#), ("pytorch_model.bin", "")]);
        let error = Directory::open(&path).unwrap().tensors().unwrap_err();
        assert!(matches!(error, HubError::PickledWeights { .. }));
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("save_pretrained"), "{help}");
    }

    #[test]
    fn a_directory_without_config_or_weights_names_the_file_that_is_missing() {
        let (_guard, path) = directory(&[]);
        assert!(matches!(Directory::open(&path), Err(HubError::MissingFile { path }) if path.ends_with("config.json")));
        fs::write(path.join("config.json"), "{}").unwrap();
        let error = Directory::open(&path).unwrap().weight_files().unwrap_err();
        assert!(matches!(error, HubError::MissingFile { path } if path.ends_with("model.safetensors")));
    }

    #[test]
    fn shards_are_read_together_and_a_tensor_they_lack_is_an_error() {
        let index = r#"{"metadata": {}, "weight_map": {"encoder.layer.0.b": "2.safetensors", "classifier.bias": "1.safetensors"}}"#;
        let (_guard, path) = directory(&[("config.json", r#"{"model_type": "bert"}"#), (INDEX, index)]);
        write_safetensors(&path.join("1.safetensors"), &Tensors::from([("classifier.bias".into(), tensor(1.0))]))
            .unwrap();
        write_safetensors(&path.join("2.safetensors"), &Tensors::from([("encoder.layer.0.b".into(), tensor(2.0))]))
            .unwrap();
        let opened = Directory::open(&path).unwrap();
        let expected = [("bert.encoder.layer.0.b".to_string(), tensor(2.0)), ("classifier.bias".into(), tensor(1.0))];
        assert_eq!(opened.tensors().unwrap(), Tensors::from(expected));
        assert_eq!(opened.files().unwrap().len(), 4);

        write_safetensors(&path.join("2.safetensors"), &Tensors::new()).unwrap();
        assert!(
            matches!(opened.tensors(), Err(HubError::IncompleteShards { name, .. }) if name == "encoder.layer.0.b")
        );
    }

    #[test]
    fn an_index_can_not_reach_outside_its_directory() {
        let index = r#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        let (_guard, path) = directory(&[("config.json", "{}"), (INDEX, index)]);
        assert!(matches!(Directory::open(&path).unwrap().tensors(), Err(HubError::BadIndex { .. })));
    }

    #[test]
    fn config_keys_keep_their_order_and_unknown_ones_survive() {
        let text = "{\n  \"zeta\": 1e-12,\n  \"model_type\": \"bert\",\n  \"alpha\": {\n    \"b\": [1],\n    \"a\": null\n  }\n}\n";
        let (_guard, path) = directory(&[("config.json", text)]);
        let opened = Directory::open(&path).unwrap();
        write_model(&path.join("out"), opened.config(), &Tensors::new()).unwrap();
        assert_eq!(fs::read_to_string(path.join("out/config.json")).unwrap().replace("[\n      1\n    ]", "[1]"), text);
    }
}
