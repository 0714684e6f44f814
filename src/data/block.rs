//! Documents -> blocks for language modelling.

use super::batch::Encoding;

/// Documents cut into blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// In the order of the documents.
    pub encodings: Vec<Encoding>,
    /// Documents longer than a block.
    pub split: usize,
    /// Documents without a single token, of which nothing is here.
    pub empty: usize,
}

/// Cuts each document into blocks `[CLS] .. [SEP]` of at most `max_length` tokens.
///
/// A block never spans two documents and nothing is padded. A long document is cut into as few blocks as hold it, of
/// lengths that differ by one at most: cut greedily, it would often end in a block of a few tokens without context.
/// No token is lost. Blocks start counting words from 0.
///
/// `documents` are without special tokens; `max_length` counts them and must be at least 3.
pub fn blocks(documents: &[Encoding], max_length: usize, cls: u32, sep: u32) -> Blocks {
    let room = max_length.saturating_sub(2).max(1);
    let mut blocks = Blocks::default();
    for document in documents {
        let count = document.len().div_ceil(room);
        blocks.empty += usize::from(count == 0);
        blocks.split += usize::from(count > 1);
        let edge = |index: usize| index * document.len() / count;
        blocks.encodings.extend((0..count).map(|index| block(document, edge(index)..edge(index + 1), cls, sep)));
    }
    blocks
}

fn block(document: &Encoding, range: std::ops::Range<usize>, cls: u32, sep: u32) -> Encoding {
    let words = &document.words[range.clone()];
    let first = words.iter().copied().find(|word| *word != u32::MAX).unwrap_or(0);
    let renumbered = words.iter().map(|word| if *word == u32::MAX { u32::MAX } else { word - first });
    let around = |edge: [u32; 2], inside: Vec<u32>| [&edge[..1], inside.as_slice(), &edge[1..]].concat();
    Encoding {
        ids: around([cls, sep], document.ids[range.clone()].to_vec()),
        segments: vec![0; range.len() + 2],
        words: around([u32::MAX; 2], renumbered.collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(tokens: usize) -> Encoding {
        let ids: Vec<u32> = (10..10 + tokens as u32).collect();
        Encoding { segments: vec![0; tokens], words: (0..tokens as u32).map(|token| token / 2).collect(), ids }
    }

    proptest! {
        #[test]
        fn blocks_hold_every_token_once_in_order(tokens in proptest::collection::vec(0usize..300, 0..8), max in 3usize..64) {
            let documents: Vec<Encoding> = tokens.iter().map(|tokens| document(*tokens)).collect();
            let cut = blocks(&documents, max, 1, 2);
            prop_assert!(cut.encodings.iter().all(|block| (3..=max).contains(&block.len())));
            prop_assert!(cut.encodings.iter().all(|block| block.ids[0] == 1 && block.ids.last() == Some(&2)));
            prop_assert!(cut.encodings.iter().all(|block| block.words.len() == block.len() && block.words[1] == 0));
            let inside: Vec<u32> = cut.encodings.iter().flat_map(|block| block.ids[1..block.len() - 1].to_vec()).collect();
            prop_assert_eq!(inside, documents.iter().flat_map(|document| document.ids.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_long_document_leaves_no_tiny_tail() {
        let cut = blocks(&[document(127), document(5), document(0)], 128, 1, 2);
        assert_eq!(cut.encodings.iter().map(Encoding::len).collect::<Vec<_>>(), [65, 66, 7]);
        assert_eq!((cut.split, cut.empty), (1, 1));
    }
}
