//! Many texts at once.

use rayon::prelude::*;
use tokenizers::{EncodeInput, PostProcessor, TruncationDirection, TruncationParams, TruncationStrategy};

use super::{Tokenizer, broken};
use crate::data::DataError;
use crate::data::batch::Encoding;
use crate::data::set::Example;
use crate::event::Notice;

/// More `[UNK]` than this share of the tokens is worth a notice.
const MOST_UNKNOWN: f64 = 0.02;

/// A text, or a pair of texts.
pub type Input<'a> = (&'a str, Option<&'a str>);

impl<'a> From<&'a Example> for Input<'a> {
    fn from(example: &'a Example) -> Self {
        (&example.text, example.pair.as_deref())
    }
}

/// Texts as ids.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// In the order of the texts.
    pub encodings: Vec<Encoding>,
    /// Texts that were longer than the limit and cut.
    pub truncated: usize,
    /// `[UNK]` tokens.
    pub unknown: usize,
    /// All tokens but the special ones added around the texts.
    pub tokens: usize,
}

impl Encoded {
    /// What to tell about texts of `what` ("train of target") cut to `max_length`.
    pub fn notices(&self, what: &str, max_length: usize) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.truncated > 0 {
            notices.push(Notice::new(
                "ftp::data::truncated",
                format!(
                    "{} of {} texts of {what} are longer than {max_length} tokens and were cut",
                    crate::data::fault::count(self.truncated),
                    crate::data::fault::count(self.encodings.len())
                ),
            ));
        }
        let share = self.unknown as f64 / self.tokens.max(1) as f64;
        if share > MOST_UNKNOWN {
            notices.push(Notice::new(
                "ftp::data::unknown_tokens",
                format!(
                    "{:.1} % of the tokens of {what} are unknown to the tokenizer: is it meant for these texts?",
                    share * 100.0
                ),
            ));
        }
        notices
    }
}

impl Tokenizer {
    /// Encodes texts or pairs with special tokens, each cut to `max_length` tokens in all; of a pair, the longer text
    /// is cut first (`longest_first` of `transformers`).
    ///
    /// # Errors
    /// `ftp::data::max_length` when there is no room for a token of each text beside the special ones.
    pub fn encode_all(&self, inputs: &[Input], max_length: usize) -> Result<Encoded, DataError> {
        let is_pair = inputs.iter().any(|(_, pair)| pair.is_some());
        let special = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(is_pair));
        let least = special + if is_pair { 2 } else { 1 };
        if max_length < least {
            return Err(DataError::new(
                "ftp::data::max_length",
                format!("{max_length} tokens hold no text beside the {special} special ones"),
                format!("raise `max_length` to {least} at least"),
            ));
        }
        let mut cutting = self.inner.clone();
        cutting
            .with_truncation(Some(TruncationParams {
                direction: TruncationDirection::Right,
                max_length,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            }))
            .map_err(|error| broken("texts can't be cut", error))?;
        self.encode(&cutting, inputs, true)
    }

    /// Encodes documents whole and without special tokens, for [`blocks`](crate::data::block::blocks).
    pub fn encode_documents<S: AsRef<str> + Sync>(&self, documents: &[S]) -> Result<Encoded, DataError> {
        let inputs: Vec<Input> = documents.iter().map(|text| (text.as_ref(), None)).collect();
        self.encode(&self.inner, &inputs, false)
    }

    fn encode(&self, inner: &tokenizers::Tokenizer, inputs: &[Input], special: bool) -> Result<Encoded, DataError> {
        let one = |&(text, pair): &Input| {
            let input = match pair {
                Some(pair) => EncodeInput::Dual(text.into(), pair.into()),
                None => EncodeInput::Single(text.into()),
            };
            // Not `encode_fast`: it leaves out the words.
            inner.encode(input, special).map(|encoding| self.own(&encoding))
        };
        let rows: Result<Vec<(Encoding, bool)>, _> = inputs.par_iter().map(one).collect();
        let rows = rows.map_err(|error| broken("a text can't be encoded", error))?;
        let mut encoded = Encoded::default();
        for (encoding, truncated) in rows {
            encoded.truncated += usize::from(truncated);
            encoded.unknown += encoding.ids.iter().filter(|id| **id == self.special.unk).count();
            encoded.tokens += encoding.words.iter().filter(|word| **word != u32::MAX).count();
            encoded.encodings.push(encoding);
        }
        Ok(encoded)
    }

    /// Our encoding of theirs, and whether something was cut off.
    fn own(&self, theirs: &tokenizers::Encoding) -> (Encoding, bool) {
        // Their words start from 0 in the second text again; ours go on counting.
        let (mut words, mut next, mut sequence) = (Vec::with_capacity(theirs.len()), 0, None);
        let mut first = 0;
        for (at, word) in theirs.get_word_ids().iter().enumerate() {
            words.push(match word {
                Some(word) => {
                    let here = theirs.token_to_sequence(at);
                    if here != sequence {
                        (sequence, first) = (here, next);
                    }
                    next = next.max(first + word + 1);
                    first + word
                }
                None => u32::MAX,
            });
        }
        let encoding = Encoding { ids: theirs.get_ids().to_vec(), segments: theirs.get_type_ids().to_vec(), words };
        (encoding, !theirs.get_overflowing().is_empty())
    }
}
