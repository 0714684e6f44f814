//! Learning subwords from word counts: byte-pair merges (Sennrich et al. 2016, arXiv 1508.07909) over characters, with
//! WordPiece's `##` in front of what continues a word.
//!
//! Our own, because the trainer of the `tokenizers` crate iterates hash maps: between two runs on the same texts its
//! ids differ, and ties between equally frequent pairs fall differently. Here ties go to the smaller pair of ids, and
//! ids follow from the characters' order, so the same counts give the same vocabulary on every machine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

/// Characters beyond this many, the rarest, are left out: they become `[UNK]`.
const LARGEST_ALPHABET: usize = 1000;

type Pair = (u32, u32);

/// The tokens learned from `words` (with how often each occurs), most basic first, until there are `size` or no pair
/// occurs `min_frequency` times. All characters are in it even when they alone are more than `size`.
pub(super) fn learn(words: &BTreeMap<String, u64>, size: usize, min_frequency: u64) -> Vec<String> {
    let alphabet = alphabet(words);
    let mut vocabulary = Vocabulary::default();
    for character in &alphabet {
        vocabulary.id(character.to_string());
    }
    let inside: BTreeSet<char> = words.keys().flat_map(|word| word.chars().skip(1)).collect();
    for character in inside.intersection(&alphabet) {
        vocabulary.id(format!("##{character}"));
    }
    let mut corpus = Corpus::new(words, &alphabet, &mut vocabulary);
    while vocabulary.tokens.len() < size {
        let Some((count, pair)) = corpus.most_frequent() else { break };
        if count < min_frequency.max(1) {
            break;
        }
        let joined = vocabulary.joined(pair);
        let id = vocabulary.id(joined);
        corpus.merge(pair, id);
    }
    vocabulary.tokens
}

/// The most frequent characters; of equally frequent ones the smaller.
fn alphabet(words: &BTreeMap<String, u64>) -> BTreeSet<char> {
    let mut counts = BTreeMap::<char, u64>::new();
    for (word, count) in words {
        for character in word.chars() {
            *counts.entry(character).or_default() += count;
        }
    }
    let mut ranked: Vec<(char, u64)> = counts.into_iter().collect();
    ranked.sort_by_key(|(character, count)| (Reverse(*count), *character));
    ranked.into_iter().take(LARGEST_ALPHABET).map(|(character, _)| character).collect()
}

#[derive(Default)]
struct Vocabulary {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    fn id(&mut self, token: String) -> u32 {
        *self.ids.entry(token.clone()).or_insert_with(|| {
            self.tokens.push(token);
            self.tokens.len() as u32 - 1
        })
    }

    fn joined(&self, (left, right): Pair) -> String {
        let (left, right) = (&self.tokens[left as usize], &self.tokens[right as usize]);
        format!("{left}{}", right.strip_prefix("##").unwrap_or(right))
    }
}

struct Corpus {
    /// Each word as ids, with its count.
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// Words that may hold a pair: all that do, and some that no longer do.
    places: HashMap<Pair, HashSet<usize>>,
    /// The largest entry whose count is still true is the most frequent pair.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Corpus {
    fn new(words: &BTreeMap<String, u64>, alphabet: &BTreeSet<char>, vocabulary: &mut Vocabulary) -> Self {
        let mut corpus =
            Self { words: Vec::new(), counts: HashMap::new(), places: HashMap::new(), queue: BinaryHeap::new() };
        for (index, (word, count)) in words.iter().enumerate() {
            let mut ids = Vec::new();
            for (at, character) in word.chars().enumerate().filter(|(_, character)| alphabet.contains(character)) {
                ids.push(vocabulary.id(if at == 0 { character.to_string() } else { format!("##{character}") }));
            }
            for pair in pairs(&ids) {
                *corpus.counts.entry(pair).or_default() += count;
                corpus.places.entry(pair).or_default().insert(index);
            }
            corpus.words.push((ids, *count));
        }
        corpus.queue = corpus.counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
        corpus
    }

    fn most_frequent(&mut self) -> Option<(u64, Pair)> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now == count && now > 0 {
                return Some((count, pair));
            }
            // Grown counts were queued when they grew; a shrunk one is queued here, when it first matters.
            if now > 0 && now < count {
                self.queue.push((now, Reverse(pair)));
            }
        }
        None
    }

    fn merge(&mut self, pair: Pair, id: u32) {
        let mut grown = BTreeSet::new();
        for index in self.places.remove(&pair).unwrap_or_default() {
            let (ids, count) = &mut self.words[index];
            for old in pairs(ids) {
                if let Some(total) = self.counts.get_mut(&old) {
                    *total -= *count;
                }
            }
            let mut merged = Vec::with_capacity(ids.len());
            let mut at = 0;
            while at < ids.len() {
                let here = ids[at..].starts_with(&[pair.0, pair.1]);
                merged.push(if here { id } else { ids[at] });
                at += if here { 2 } else { 1 };
            }
            *ids = merged;
            for new in pairs(ids) {
                *self.counts.entry(new).or_default() += *count;
                if new.0 == id || new.1 == id {
                    self.places.entry(new).or_default().insert(index);
                    grown.insert(new);
                }
            }
        }
        self.counts.remove(&pair);
        self.queue.extend(grown.into_iter().filter_map(|pair| Some((*self.counts.get(&pair)?, Reverse(pair)))));
    }
}

fn pairs(ids: &[u32]) -> impl Iterator<Item = Pair> {
    ids.windows(2).map(|pair| (pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(words: &[(&str, u64)]) -> BTreeMap<String, u64> {
        words.iter().map(|(word, count)| (word.to_string(), *count)).collect()
    }

    /// The example of Sennrich et al. 2016, section 3.2, algorithm 1 (without its end-of-word mark): `es`, `est` and
    /// `lo`, `low` come first.
    #[test]
    fn the_published_example_gives_the_published_merges() {
        let words = counts(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]);
        let base = learn(&words, 0, 1);
        let learned = learn(&words, base.len() + 4, 1);
        let new: Vec<&str> = learned[base.len()..].iter().map(String::as_str).collect();
        assert_eq!(new, ["##es", "##est", "lo", "low"]);
    }

    /// Counts every pair again before every merge.
    fn learn_slowly(words: &BTreeMap<String, u64>, size: usize, min_frequency: u64) -> Vec<String> {
        let mut tokens = learn(words, 0, 1);
        let find = |tokens: &Vec<String>, token: &str| tokens.iter().position(|other| other == token).unwrap() as u32;
        let mut corpus: Vec<(Vec<u32>, u64)> = words
            .iter()
            .map(|(word, count)| {
                let piece = |(at, character): (usize, char)| {
                    if at == 0 { character.to_string() } else { format!("##{character}") }
                };
                (word.chars().enumerate().map(|each| find(&tokens, &piece(each))).collect(), *count)
            })
            .collect();
        while tokens.len() < size {
            let mut totals = BTreeMap::<Pair, u64>::new();
            for (ids, count) in &corpus {
                pairs(ids).for_each(|pair| *totals.entry(pair).or_default() += count);
            }
            let Some((pair, count)) = totals.into_iter().max_by_key(|(pair, count)| (*count, Reverse(*pair))) else {
                break;
            };
            if count < min_frequency {
                break;
            }
            let joined = format!("{}{}", tokens[pair.0 as usize], tokens[pair.1 as usize].trim_start_matches("##"));
            if !tokens.contains(&joined) {
                tokens.push(joined.clone());
            }
            let id = find(&tokens, &joined);
            for (ids, _) in &mut corpus {
                let mut at = 0;
                while at + 1 < ids.len() {
                    if (ids[at], ids[at + 1]) == pair {
                        ids.splice(at..at + 2, [id]);
                    }
                    at += 1;
                }
            }
        }
        tokens
    }

    proptest! {
        #[test]
        fn counting_as_it_goes_equals_counting_again(
            words in proptest::collection::btree_map("[abc]{1,7}", 1u64..6, 1..20), extra in 0usize..20, least in 1u64..3,
        ) {
            let size = learn(&words, 0, 1).len() + extra;
            prop_assert_eq!(learn(&words, size, least), learn_slowly(&words, size, least));
        }
    }
}
