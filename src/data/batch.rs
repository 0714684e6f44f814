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

    /// `[B]` index of each sequence's first token.
    pub fn first_tokens(&self) -> Arc<[u32]> {
        self.offsets[..self.sequences()].into()
    }
}
