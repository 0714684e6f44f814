//! Packed batches: flat tokens and sequence boundaries, never padding.

use std::sync::Arc;

/// One tokenised example: special tokens included, already cut to the length limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second.
    pub segments: Vec<u32>,
    /// Index of the word a token belongs to; `u32::MAX` for special tokens. Words of the second text go on counting.
    pub words: Vec<u32>,
}

impl Encoding {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A packed batch. `T` tokens of `B` sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `[T]` token ids.
    pub ids: Arc<[u32]>,
    /// `[T]` segment (token type) ids.
    pub segments: Arc<[u32]>,
    /// `[B + 1]`: sequence `b` is tokens `offsets[b]..offsets[b + 1]`. Starts with 0, ends with `T`.
    pub offsets: Arc<[u32]>,
}

impl Batch {
    /// Lays sequences end to end.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = &'a Encoding>) -> Self {
        let (mut ids, mut segments, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
        for sequence in sequences {
            ids.extend_from_slice(&sequence.ids);
            segments.extend_from_slice(&sequence.segments);
            offsets.push(ids.len() as u32);
        }
        Self { ids: ids.into(), segments: segments.into(), offsets: offsets.into() }
    }

    /// `T`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// `B`.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// `[T]` position of each token in its sequence, from 0.
    pub fn positions(&self) -> Vec<u32> {
        self.offsets.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect()
    }

    /// Each sequence's first token.
    pub fn first_tokens(&self) -> Tokens {
        Tokens::first(&self.offsets)
    }

    /// The tokens at some rows, which must rise.
    pub fn tokens_at(&self, rows: Arc<[u32]>) -> Tokens {
        debug_assert!(rows.is_sorted(), "tokens are taken in the batch's order");
        let offsets = self.offsets.iter().map(|&bound| rows.partition_point(|&row| row < bound) as u32).collect();
        Tokens { rows, offsets }
    }
}

/// Some tokens of a packed batch, in its order. `N` of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// `[N]` rows of the batch.
    pub rows: Arc<[u32]>,
    /// `[B + 1]`: those of sequence `b` are `offsets[b]..offsets[b + 1]`.
    pub offsets: Arc<[u32]>,
}

impl Tokens {
    /// The first of each sequence. offsets `[B + 1]`, as a batch has them.
    pub fn first(offsets: &[u32]) -> Self {
        let count = offsets.len() - 1;
        Self { rows: offsets[..count].into(), offsets: (0..=count as u32).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_sequences() {
        let sequences = [3, 1, 4].map(|length| Encoding { ids: vec![7; length], ..Encoding::default() });
        let batch = Batch::pack(&sequences);
        assert_eq!(batch.first_tokens(), Tokens { rows: [0, 3, 4].into(), offsets: [0, 1, 2, 3].into() });
        assert_eq!(batch.tokens_at([1, 2, 7].into()).offsets, [0, 2, 2, 3].into());
        assert_eq!(batch.tokens_at([].into()).offsets, [0, 0, 0, 0].into());
    }
}
