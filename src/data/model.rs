//! `hf(..)`: a Hugging Face model directory: what must be there before anything is planned on it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::digest;
use super::error::problem;
use crate::event::Notice;
use crate::lang::world::{SourceError, SourceFacts, SourceFile};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Checks a model directory and digests what decides what the model is. `path` is how it is shown.
///
/// # Errors
/// All that is missing, damaged or of no use in it.
pub fn describe(root: &Path, path: &str) -> Result<SourceFacts, Vec<SourceError>> {
    if !root.is_dir() {
        return Err(vec![problem(
            "ftp::data::missing_model",
            Some("path"),
            format!("{path} is not a directory"),
            "no model there",
            "name a directory that holds a model, or a model of the Hugging Face hub with its revision: `hf(\"NAME\", revision = \"main\")`",
        )]);
    }
    let (mut errors, mut notices) = (Vec::new(), Vec::new());
    let mut names = vec!["config.json".to_string()];
    let architecture = architecture(root, path).map_err(|error| errors.push(error)).ok();
    match weights(root, path) {
        Ok(weights) => names.extend(weights),
        Err(error) => errors.push(error),
    }
    match tokenizer(root, path, &mut notices) {
        Ok(tokenizer) => names.extend(tokenizer),
        Err(error) => errors.push(error),
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut files = Vec::new();
    for name in names {
        let file = root.join(&name);
        let (digest, bytes) = digest::file(&file)
            .and_then(|digest| Ok((digest, file.metadata()?.len())))
            .map_err(|error| vec![missing(path, &name, &error.to_string())])?;
        let shown = format!("{}/{name}", path.trim_end_matches('/'));
        files.push(SourceFile { split: None, path: file, shown, digest, bytes, rows: 0 });
    }
    Ok(SourceFacts { files, task: None, columns: IndexMap::new(), architecture, notices })
}

fn missing(path: &str, name: &str, why: &str) -> SourceError {
    problem(
        "ftp::data::model_file",
        Some("path"),
        format!("{path}/{name}: {why}"),
        "not a whole model",
        "fetch the whole directory, as `transformers` saves it",
    )
}

fn json(root: &Path, path: &str, name: &str) -> Result<Value, SourceError> {
    let text = std::fs::read_to_string(root.join(name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(path, name, "is missing"),
        _ => missing(path, name, &error.to_string()),
    })?;
    serde_json::from_str(&text).map_err(|error| missing(path, name, &format!("is not JSON: {error}")))
}

fn architecture(root: &Path, path: &str) -> Result<String, SourceError> {
    match json(root, path, "config.json")?.get("model_type") {
        Some(Value::String(architecture)) => Ok(architecture.clone()),
        _ => Err(missing(path, "config.json", "names no `model_type`")),
    }
}

/// The weight files: one, or an index and its shards.
fn weights(root: &Path, path: &str) -> Result<Vec<String>, SourceError> {
    let names = if root.join(WEIGHTS).is_file() {
        vec![WEIGHTS.to_string()]
    } else if root.join(INDEX).is_file() {
        let index = json(root, path, INDEX)?;
        let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
            return Err(missing(path, INDEX, "has no `weight_map`"));
        };
        let mut shards: Vec<String> = map.values().filter_map(Value::as_str).map(str::to_string).collect();
        shards.sort();
        shards.dedup();
        std::iter::once(INDEX.to_string()).chain(shards).collect()
    } else {
        let others = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"];
        let mut error = missing(path, WEIGHTS, "is missing");
        if let Some(other) = others.into_iter().find(|other| root.join(other).exists()) {
            error.message = format!("{path} has its weights as {other}; ftp reads safetensors only");
            error.help =
                Some("load it with `transformers` and save it again: `save_pretrained` writes safetensors".into());
        }
        return Err(error);
    };
    for name in names.iter().filter(|name| name.ends_with(".safetensors")) {
        check_safetensors(&root.join(name)).map_err(|why| missing(path, name, &why))?;
    }
    Ok(names)
}

/// A safetensors file is 8 bytes of header length, a JSON header, and exactly the bytes the header names.
pub(super) fn check_safetensors(file: &Path) -> Result<(), String> {
    let mut reader = File::open(file).map_err(|_| "is missing".to_string())?;
    let size = reader.metadata().map_err(|error| error.to_string())?.len();
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(|_| "is too short for a safetensors file".to_string())?;
    if &length == b"version " {
        return Err("is a Git LFS pointer, not the weights: run `git lfs pull` there".into());
    }
    let length = u64::from_le_bytes(length);
    if length > size.saturating_sub(8) {
        return Err("is cut short, or not a safetensors file".into());
    }
    let mut header = vec![0; length as usize];
    reader.read_exact(&mut header).map_err(|error| error.to_string())?;
    let header: Value = serde_json::from_slice(&header).map_err(|error| format!("has a broken header: {error}"))?;
    let ends = header.as_object().into_iter().flatten().filter(|(name, _)| *name != "__metadata__");
    let data = ends.filter_map(|(_, tensor)| tensor.get("data_offsets")?.get(1)?.as_u64()).max().unwrap_or(0);
    if 8 + length + data == size {
        Ok(())
    } else {
        Err("is cut short: the tensors its header names are not all there".into())
    }
}

/// The files that decide how texts become ids.
fn tokenizer(root: &Path, path: &str, notices: &mut Vec<Notice>) -> Result<Vec<String>, SourceError> {
    let present = |name: &&str| root.join(name).is_file();
    let main = if present(&"tokenizer.json") {
        "tokenizer.json"
    } else if present(&"vocab.txt") {
        notices.push(Notice::new(
            "ftp::data::tokenizer_built",
            format!("{path} has no tokenizer.json: a BERT WordPiece tokenizer is built from its vocab.txt"),
        ));
        "vocab.txt"
    } else {
        return Err(missing(path, "tokenizer.json", "is missing"));
    };
    let companions = ["tokenizer_config.json", "special_tokens_map.json"].into_iter().filter(present);
    Ok(std::iter::once(main).chain(companions).map(str::to_string).collect())
}
