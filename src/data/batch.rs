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

    /// The same sequences with so many virtual tokens before each. They have the id of the token that follows them, and
    /// belong to the first text.
    pub fn lengthened(&self, rows: usize) -> Self {
        let before = |at: u32| std::iter::repeat_n(at, rows);
        let (mut ids, mut segments) = (Vec::new(), Vec::new());
        for pair in self.offsets.windows(2) {
            let own = pair[0] as usize..pair[1] as usize;
            ids.extend(before(self.ids.get(own.start).copied().unwrap_or_default()));
            segments.extend(before(0));
            ids.extend_from_slice(&self.ids[own.clone()]);
            segments.extend_from_slice(&self.segments[own]);
        }
        Self { ids: ids.into(), segments: segments.into(), offsets: lengthened(&self.offsets, rows) }
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

/// Where sequences begin and end when each has so many rows more in front. offsets `[B + 1]` -> `[B + 1]`.
pub fn lengthened(offsets: &[u32], rows: usize) -> Arc<[u32]> {
    offsets.iter().zip(0..).map(|(bound, sequence)| bound + rows as u32 * sequence).collect()
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

    /// The same tokens where each sequence of a batch has so many rows more in front. A sequence's first token is then the
    /// first of these: a head that reads it reads a virtual token, as `peft` has it. offsets `[B + 1]` of the batch.
    pub fn lengthened(&self, offsets: &[u32], rows: usize) -> Self {
        let moved = self.offsets.windows(2).zip(offsets).zip(0..).flat_map(|((pair, first), sequence)| {
            let own = self.rows[pair[0] as usize..pair[1] as usize].iter();
            let before = rows as u32 * sequence;
            own.map(move |row| if row == first { row + before } else { row + before + rows as u32 })
        });
        Self { rows: moved.collect(), offsets: self.offsets.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_sequences() {
        let sequences =
            [3, 1, 4].map(|length| Encoding { ids: vec![7; length], segments: vec![1; length], words: vec![] });
        let batch = Batch::pack(&sequences);
        assert_eq!(batch.first_tokens(), Tokens { rows: [0, 3, 4].into(), offsets: [0, 1, 2, 3].into() });
        assert_eq!(batch.tokens_at([1, 2, 7].into()).offsets, [0, 2, 2, 3].into());
        assert_eq!(batch.tokens_at([].into()).offsets, [0, 0, 0, 0].into());
        let long = batch.lengthened(2);
        assert_eq!((long.tokens(), &*long.offsets), (8 + 6, &[0, 5, 8, 14][..]));
        assert_eq!(long.segments[..6], [0, 0, 1, 1, 1, 0]);
        let wanted = batch.tokens_at([0, 2, 3, 7].into());
        assert_eq!(*wanted.lengthened(&batch.offsets, 2).rows, [0, 4, 5, 13]);
    }
}
