//! A tokenizer from texts.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tokenizers::NormalizedString;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::bert::{self, Normalisation, SPECIAL};
use super::{Tokenizer, broken, merges};
use crate::data::DataError;
use crate::event::Notice;

impl Tokenizer {
    /// Learns a BERT WordPiece vocabulary of at most `vocab_size` tokens. `[PAD] [UNK] [CLS] [SEP] [MASK]` are 0..4.
    ///
    /// The same texts give the same bytes, whatever the number of threads and whatever the order of the texts.
    ///
    /// # Errors
    /// `ftp::data::vocab_size` when the texts' characters alone need more room than `vocab_size`.
    pub fn train_wordpiece<S: AsRef<str> + Sync>(
        texts: &[S],
        vocab_size: usize,
        lowercase: bool,
        min_frequency: u64,
    ) -> Result<Self, DataError> {
        let normalisation = Normalisation::new(lowercase);
        let words = count_words(texts, normalisation)?;
        let learned = merges::learn(&words, vocab_size.saturating_sub(SPECIAL.len()), min_frequency);
        // A word may look like a special token only if it came from one: brackets are split off before.
        let vocabulary: Vec<String> = SPECIAL.iter().map(|token| token.to_string()).chain(learned).collect();
        let size = vocabulary.len();
        if size > vocab_size {
            return Err(DataError::new(
                "ftp::data::vocab_size",
                format!("the characters of the texts alone make {size} tokens; `vocab_size` is {vocab_size}"),
                format!("raise `vocab_size`, to a good deal more than {size}"),
            ));
        }
        let mut tokenizer = bert::tokenizer(&vocabulary.join("\n"), normalisation, bert::config(normalisation))?;
        if size < vocab_size {
            tokenizer.notices.push(Notice::new(
                "ftp::data::small_vocabulary",
                format!(
                    "the vocabulary has {size} tokens, not {vocab_size}: no other pair of pieces occurs {min_frequency} times"
                ),
            ));
        }
        Ok(tokenizer)
    }
}

/// How often each word occurs, after BERT's normalisation and splitting. Sums, so the order of texts is no matter.
fn count_words<S: AsRef<str> + Sync>(
    texts: &[S],
    normalisation: Normalisation,
) -> Result<BTreeMap<String, u64>, DataError> {
    let normalizer = normalisation.normalizer();
    let count = |mut words: BTreeMap<String, u64>, text: &S| -> tokenizers::Result<_> {
        let mut normalized = NormalizedString::from(text.as_ref());
        normalizer.normalize(&mut normalized)?;
        let mut split = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut split)?;
        for (word, ..) in split.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            match words.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(words.insert(word.to_string(), 1)),
            }
        }
        Ok(words)
    };
    texts
        .par_iter()
        .try_fold(BTreeMap::new, count)
        .try_reduce(BTreeMap::new, |mut all, some| {
            for (word, count) in some {
                *all.entry(word).or_default() += count;
            }
            Ok(all)
        })
        .map_err(|error| broken("the texts can't be split into words", error))
}
