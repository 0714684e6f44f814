//! Texts -> ids, over the `tokenizers` crate.
//!
//! [`Tokenizer::load`] reads a Hugging Face directory, [`Tokenizer::train_wordpiece`] makes one from texts,
//! [`Tokenizer::save`] writes what `AutoTokenizer.from_pretrained` loads.

mod bert;
mod encode;
mod load;
mod merges;
mod save;
mod train;

use std::collections::HashSet;

use serde_json::{Map, Value};

pub use encode::{Encoded, Input};
pub use save::FILES;

use super::DataError;
use crate::event::Notice;

/// Ids of the tokens with a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialIds {
    pub pad: u32,
    pub unk: u32,
    pub cls: u32,
    pub sep: u32,
    pub mask: u32,
}

/// Splits texts into tokens of a vocabulary.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json`, kept so that a loaded tokenizer is saved as what it was.
    config: Map<String, Value>,
    special: SpecialIds,
    special_set: HashSet<u32>,
    /// What loading or training had to override or could not do.
    notices: Vec<Notice>,
}

impl Tokenizer {
    pub fn special(&self) -> SpecialIds {
        self.special
    }

    /// Whether an id is one of the special tokens, added ones included: never masked, never part of a word.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_set.contains(&id)
    }

    /// Rows an embedding matrix needs: the largest id + 1.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// What was overridden while loading, or fell short while training.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}

/// An error of the `tokenizers` crate, as ours.
fn broken(what: &str, error: impl std::fmt::Display) -> DataError {
    DataError::new("ftp::data::tokenizer", format!("{what}: {error}"), "use a tokenizer.json that `transformers` loads")
}
