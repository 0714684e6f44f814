//! Tokenizers of Hugging Face directories.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::bert::{self, Normalisation};
use super::{SpecialIds, Tokenizer, broken};
use crate::data::DataError;
use crate::event::Notice;

/// Names special tokens go by where no file says which they are: BERT's, then RoBERTa's.
const KNOWN: [(&str, [&str; 2]); 5] = [
    ("pad_token", ["[PAD]", "<pad>"]),
    ("unk_token", ["[UNK]", "<unk>"]),
    ("cls_token", ["[CLS]", "<s>"]),
    ("sep_token", ["[SEP]", "</s>"]),
    ("mask_token", ["[MASK]", "<mask>"]),
];

impl Tokenizer {
    /// Loads the tokenizer of a model directory: `tokenizer.json`, or a BERT tokenizer built from `vocab.txt`.
    ///
    /// # Errors
    /// `ftp::data::tokenizer` when there is neither, or they can't be read; `ftp::data::special_tokens` when one of
    /// `[PAD] [UNK] [CLS] [SEP] [MASK]` has no counterpart.
    pub fn load(directory: &Path) -> Result<Self, DataError> {
        let shown = directory.display();
        let mut config = object(&directory.join("tokenizer_config.json"))?;
        let main = directory.join("tokenizer.json");
        if main.is_file() {
            let bytes = std::fs::read(&main).map_err(|error| broken(&main.display().to_string(), error))?;
            for (name, token) in object(&directory.join("special_tokens_map.json"))? {
                config.entry(name).or_insert(token);
            }
            return Self::from_bytes(&bytes, config);
        }
        let vocabulary = std::fs::read_to_string(directory.join("vocab.txt"))
            .map_err(|_| broken(&shown.to_string(), "there is neither tokenizer.json nor vocab.txt"))?;
        let flag = |name: &str| config.get(name).and_then(Value::as_bool);
        let normalisation = Normalisation {
            lowercase: flag("do_lower_case").unwrap_or(true),
            strip_accents: flag("strip_accents"),
            chinese_characters: flag("tokenize_chinese_chars").unwrap_or(true),
        };
        for (name, value) in bert::config(normalisation) {
            config.insert(name, value);
        }
        bert::tokenizer(&vocabulary, normalisation, config)
    }

    /// Loads the bytes of a `tokenizer.json` with the entries of its `tokenizer_config.json`. Truncation and padding
    /// the file asks for are overridden, and said to be: batches are packed, and stages set their own lengths.
    pub fn from_bytes(bytes: &[u8], config: Map<String, Value>) -> Result<Self, DataError> {
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| broken("tokenizer.json can't be read", error))?;
        let mut notices = Vec::new();
        if let Some(truncation) = inner.get_truncation() {
            let message = format!(
                "tokenizer.json asks to cut texts to {} tokens: overridden by `max_length`",
                truncation.max_length
            );
            notices.push(Notice::new("ftp::data::tokenizer_truncation", message));
        }
        if inner.get_padding().is_some() {
            let message = "tokenizer.json asks to pad texts: overridden, nothing is padded";
            notices.push(Notice::new("ftp::data::tokenizer_padding", message));
        }
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| broken("tokenizer.json can't be read", error))?;
        let special = special_ids(&inner, &config)?;
        let mut special_set: HashSet<u32> =
            inner.get_added_tokens_decoder().iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        special_set.extend([special.pad, special.unk, special.cls, special.sep, special.mask]);
        Ok(Self { inner, config, special, special_set, notices })
    }
}

fn special_ids(inner: &tokenizers::Tokenizer, config: &Map<String, Value>) -> Result<SpecialIds, DataError> {
    let id = |(role, names): (&str, [&str; 2])| {
        // A token is its content, or an object with it.
        let named = config.get(role).and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        named.into_iter().chain(names).find_map(|name| inner.token_to_id(name)).ok_or_else(|| {
            DataError::new(
                "ftp::data::special_tokens",
                format!("the tokenizer has no `{role}`"),
                "use an encoder's tokenizer (BERT, RoBERTa), or name its tokens in tokenizer_config.json",
            )
        })
    };
    let [pad, unk, cls, sep, mask] = KNOWN.map(id);
    Ok(SpecialIds { pad: pad?, unk: unk?, cls: cls?, sep: sep?, mask: mask? })
}

/// A JSON object; empty where there is no such file.
fn object(path: &Path) -> Result<Map<String, Value>, DataError> {
    let shown = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(&shown, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(broken(&shown, error)),
    }
}
