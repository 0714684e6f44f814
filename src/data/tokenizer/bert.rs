//! BERT's tokenizer around a vocabulary: normaliser, splitting at spaces and punctuation, WordPiece, `[CLS] .. [SEP]`.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;

use super::{SpecialIds, Tokenizer, broken};
use crate::data::DataError;

/// In the order of their ids in a trained vocabulary.
pub(super) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// What BERT does to a text before it is split, as `tokenizer_config.json` words it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalisation {
    pub lowercase: bool,
    /// As `lowercase` when `None`.
    pub strip_accents: Option<bool>,
    pub chinese_characters: bool,
}

impl Normalisation {
    pub fn new(lowercase: bool) -> Self {
        Self { lowercase, strip_accents: None, chinese_characters: true }
    }

    pub fn normalizer(self) -> BertNormalizer {
        BertNormalizer::new(true, self.chinese_characters, self.strip_accents, self.lowercase)
    }
}

/// A tokenizer over `vocabulary`, a token a line in the order of their ids; those of [`SPECIAL`] must be among them.
pub(super) fn tokenizer(
    vocabulary: &str,
    normalisation: Normalisation,
    config: Map<String, Value>,
) -> Result<Tokenizer, DataError> {
    let vocab = WordPiece::read_bytes(vocabulary.as_bytes());
    let model = WordPiece::builder()
        .vocab(vocab.map_err(|error| broken("the vocabulary can't be used", error))?)
        .unk_token(SPECIAL[1].into())
        .continuing_subword_prefix("##".into())
        .build()
        .map_err(|error| broken("the vocabulary can't be used", error))?;
    let mut inner = tokenizers::Tokenizer::new(model);
    let mut ids = [0; 5];
    for (id, token) in ids.iter_mut().zip(SPECIAL) {
        *id = inner
            .token_to_id(token)
            .ok_or_else(|| broken("the vocabulary can't be used", format!("it has no {token}")))?;
    }
    let [pad, unk, cls, sep, mask] = ids;
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")
        .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))
        .map_err(|error| broken("the template can't be built", error))?
        .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
        .build()
        .map_err(|error| broken("the template can't be built", error))?;
    inner
        .with_normalizer(Some(normalisation.normalizer()))
        .map_err(|error| broken("the normaliser can't be set", error))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template))
        .with_decoder(Some(WordPieceDecoder::new("##".into(), true)));
    inner
        .add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)))
        .map_err(|error| broken("the special tokens can't be added", error))?;
    Ok(Tokenizer {
        inner,
        config,
        special: SpecialIds { pad, unk, cls, sep, mask },
        special_set: HashSet::from(ids),
        notices: Vec::new(),
    })
}

/// The `tokenizer_config.json` of a BERT tokenizer made here.
pub(super) fn config(normalisation: Normalisation) -> Map<String, Value> {
    let config = json!({
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": normalisation.lowercase,
        "strip_accents": normalisation.strip_accents,
        "tokenize_chinese_chars": normalisation.chinese_characters,
        "pad_token": SPECIAL[0],
        "unk_token": SPECIAL[1],
        "cls_token": SPECIAL[2],
        "sep_token": SPECIAL[3],
        "mask_token": SPECIAL[4],
    });
    match config {
        Value::Object(config) => config,
        _ => Map::new(),
    }
}
