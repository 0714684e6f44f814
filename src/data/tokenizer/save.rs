//! Tokenizers as `transformers` loads them.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Tokenizer, broken};
use crate::data::DataError;

/// The files [`Tokenizer::save`] writes.
pub const FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

const ROLES: [&str; 5] = ["cls_token", "mask_token", "pad_token", "sep_token", "unk_token"];

impl Tokenizer {
    /// `tokenizer.json`, without truncation or padding. The same tokenizer gives the same bytes.
    pub fn to_json(&self) -> Result<String, DataError> {
        self.inner.to_string(true).map_err(|error| broken("the tokenizer can't be written", error))
    }

    /// Writes [`FILES`] into a directory, for `AutoTokenizer.from_pretrained`.
    pub fn save(&self, directory: &Path) -> Result<(), DataError> {
        let mut config = self.config.clone();
        let special = self.special;
        let mut map = Map::new();
        for (role, id) in ROLES.into_iter().zip([special.cls, special.mask, special.pad, special.sep, special.unk]) {
            let token = Value::from(self.token(id).unwrap_or_default());
            map.insert(role.into(), token.clone());
            config.entry(role).or_insert(token);
        }
        let pretty = |value: &Map<String, Value>| {
            serde_json::to_string_pretty(value).map_err(|error| broken("the tokenizer can't be written", error))
        };
        for (name, text) in FILES.into_iter().zip([self.to_json()?, pretty(&config)?, pretty(&map)?]) {
            let path = directory.join(name);
            std::fs::write(&path, text + "\n").map_err(|error| {
                DataError::new(
                    "ftp::data::write",
                    format!("{} can't be written: {error}", path.display()),
                    "check the space and the permissions there",
                )
            })?;
        }
        Ok(())
    }
}
