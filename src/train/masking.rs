//! Which tokens a masked language model has to restore (Devlin et al. 2019, arXiv:1810.04805, section 3.1 and
//! appendix A.1).

use crate::data::batch::Encoding;
use crate::random::Key;

/// `Encoding::words` of a special token.
const SPECIAL: u32 = u32::MAX;

/// How tokens are chosen and what takes their place.
///
/// Each token that is not special is chosen with `probability`, by itself, as in `transformers`. A row where the dice
/// choose none has one drawn evenly, so that no row is read for nothing; this only matters for rows of a few tokens.
/// Of the chosen tokens 80 % become the mask token, 10 % a token drawn evenly from the vocabulary, 10 % stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Masking {
    /// In (0, 1]; 0.15 is usual.
    pub probability: f64,
    /// Choose words instead of tokens: all pieces of a chosen word are targets, each replaced by its own draw.
    pub whole_words: bool,
    pub mask_token: u32,
    pub vocab_size: u32,
}

/// A row with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The row as the model reads it.
    pub encoding: Encoding,
    /// Where the chosen tokens are, ascending.
    pub positions: Vec<u32>,
    /// What they were.
    pub targets: Vec<i32>,
}

impl Masking {
    /// Masks a row. `draws` is the row's own stream, another one each epoch.
    pub fn mask(&self, row: &Encoding, draws: Key) -> Masked {
        let mut masked = Masked { encoding: row.clone(), positions: Vec::new(), targets: Vec::new() };
        let units = self.units(row);
        let mut chosen: Vec<_> = units
            .iter()
            .filter(|unit| fraction(draws.bits(u64::from(unit.start))[0]) < self.probability)
            .cloned()
            .collect();
        if chosen.is_empty() && !units.is_empty() {
            chosen.push(units[draws.at(0).below(0, units.len() as u32) as usize].clone());
        }
        for position in chosen.into_iter().flatten() {
            let id = &mut masked.encoding.ids[position as usize];
            masked.positions.push(position);
            masked.targets.push(*id as i32);
            let [_, fate, other, _] = draws.bits(u64::from(position));
            *id = match fraction(fate) {
                fate if fate < 0.8 => self.mask_token,
                fate if fate < 0.9 => ((u64::from(other) * u64::from(self.vocab_size)) >> 32) as u32,
                _ => *id,
            };
        }
        masked
    }

    /// Whether a row has a token that can be chosen.
    pub fn can_mask(row: &Encoding) -> bool {
        row.words.iter().any(|&word| word != SPECIAL)
    }

    /// What is chosen together: ranges of positions, one a token or one a word.
    fn units(&self, row: &Encoding) -> Vec<std::ops::Range<u32>> {
        let mut units: Vec<std::ops::Range<u32>> = Vec::new();
        let mut previous = SPECIAL;
        for (position, &word) in row.words.iter().enumerate() {
            let position = position as u32;
            match units.last_mut() {
                Some(unit) if self.whole_words && word != SPECIAL && word == previous => unit.end += 1,
                _ if word != SPECIAL => units.push(position..position + 1),
                _ => {}
            }
            previous = word;
        }
        units
    }
}

/// In [0, 1), 32 bits.
fn fraction(bits: u32) -> f64 {
    f64::from(bits) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIAL_ID: u32 = 2;
    const MASK: u32 = 4;
    const VOCAB: u32 = 1000;

    fn masking(whole_words: bool) -> Masking {
        Masking { probability: 0.15, whole_words, mask_token: MASK, vocab_size: VOCAB }
    }

    /// A row of words of 1, 2, 3, 1, 2, 3 ... tokens, framed and cut by special tokens. No id is the mask's.
    fn row(words: u32) -> Encoding {
        let mut row = Encoding::default();
        let mut push = |id, word| {
            row.ids.push(id);
            row.segments.push(0);
            row.words.push(word);
        };
        push(SPECIAL_ID, SPECIAL);
        for word in 0..words {
            for piece in 0..=word % 3 {
                push(10 + (word * 7 + piece) % (VOCAB - 10), word);
            }
            if word == words / 2 {
                push(SPECIAL_ID, SPECIAL);
            }
        }
        push(SPECIAL_ID, SPECIAL);
        row
    }

    #[test]
    fn over_a_hundred_thousand_tokens_the_shares_are_15_and_80_10_10_and_no_special_token_is_chosen() {
        for whole_words in [false, true] {
            let row = row(60); // 120 tokens and 3 special ones
            let (mut tokens, mut chosen, mut masks, mut same) = (0, 0, 0, 0);
            // Words are chosen, not tokens, so the same precision takes more of them.
            for index in 0..if whole_words { 5000 } else { 1000 } {
                let masked = masking(whole_words).mask(&row, Key::new(1, "mask").at(0).at(index));
                tokens += 120;
                chosen += masked.positions.len();
                for (&position, &target) in masked.positions.iter().zip(&masked.targets) {
                    let position = position as usize;
                    assert_ne!(row.words[position], SPECIAL);
                    assert_eq!(row.ids[position], target as u32);
                    masks += usize::from(masked.encoding.ids[position] == MASK);
                    same += usize::from(masked.encoding.ids[position] == target as u32);
                }
                let changed = row.ids.iter().zip(&masked.encoding.ids).enumerate().filter(|(_, (a, b))| a != b);
                assert!(changed.into_iter().all(|(position, _)| masked.positions.contains(&(position as u32))));
            }
            let share = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
            assert!((share(chosen, tokens) - 15.0).abs() < 0.3, "{}", share(chosen, tokens));
            assert!((share(masks, chosen) - 80.0).abs() < 1.0, "{}", share(masks, chosen));
            assert!((share(same, chosen) - 10.0).abs() < 1.0, "{}", share(same, chosen));
        }
    }

    #[test]
    fn the_same_stream_gives_the_same_masks_and_another_epoch_others() {
        let row = row(60);
        let of = |seed, epoch| masking(false).mask(&row, Key::new(seed, "mask").at(epoch).at(3));
        assert_eq!(of(1, 0), of(1, 0));
        assert_ne!(of(1, 0).positions, of(1, 1).positions);
        assert_ne!(of(1, 0).positions, of(2, 0).positions);
    }

    #[test]
    fn the_pieces_of_a_word_are_chosen_together() {
        let row = row(60);
        for index in 0..200 {
            let masked = masking(true).mask(&row, Key::new(7, "mask").at(index));
            for word in 0..60 {
                let pieces: Vec<u32> = (0..row.len() as u32).filter(|&at| row.words[at as usize] == word).collect();
                let hit = pieces.iter().filter(|piece| masked.positions.contains(piece)).count();
                assert!(hit == 0 || hit == pieces.len(), "word {word}: {hit} of {} pieces", pieces.len());
            }
        }
    }

    #[test]
    fn a_row_with_one_token_always_has_a_target_and_one_without_none() {
        for index in 0..100 {
            let draws = Key::new(0, "mask").at(index);
            assert_eq!(masking(false).mask(&row(1), draws).positions, [1]);
            let framed = Encoding { ids: vec![2, 2], segments: vec![0, 0], words: vec![SPECIAL; 2] };
            let masked = masking(false).mask(&framed, draws);
            assert_eq!((masked.encoding, masked.positions), (framed, vec![]));
        }
    }
}
