//! What deltas put before every sequence: virtual tokens, which have states of their own, and keys and values without.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::ModelError;
use super::model::Model;
use crate::data::batch::Batch;

/// A text shorter than this would not be one.
const SHORTEST: usize = 8;

/// How much there is before each sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// Virtual tokens.
    pub tokens: usize,
    /// Positions that no token has.
    positions: usize,
}

impl Before {
    /// The batch with the virtual tokens there are.
    pub fn lengthened(self, batch: &Batch) -> Cow<'_, Batch> {
        if self.tokens == 0 { Cow::Borrowed(batch) } else { Cow::Owned(batch.lengthened(self.tokens)) }
    }

    /// Rows of the position embeddings, behind those that no token has.
    pub fn moved(self, positions: Vec<u32>) -> Arc<[u32]> {
        positions.into_iter().map(|position| position + self.positions as u32).collect()
    }

    /// Positions of both kinds.
    pub fn taken(self) -> usize {
        self.tokens + self.positions
    }
}

impl Model {
    /// Makes room before each sequence for virtual tokens of a delta
    /// ([`SiteDelta::tokens`](crate::nn::delta::SiteDelta::tokens)).
    ///
    /// # Errors
    /// When too few positions would be left for texts.
    pub fn add_tokens(&mut self, tokens: usize) -> Result<(), ModelError> {
        self.has_positions(tokens)?;
        self.before.tokens += tokens;
        Ok(())
    }

    /// Lets the positions of each sequence begin after this many: those of keys that no token has, where `transformers`
    /// begins to count behind a cache.
    ///
    /// # Errors
    /// When too few positions would be left for texts.
    pub fn skip_positions(&mut self, count: usize) -> Result<(), ModelError> {
        self.has_positions(count)?;
        self.before.positions += count;
        Ok(())
    }

    fn has_positions(&self, wanted: usize) -> Result<(), ModelError> {
        let left = self.max_tokens();
        if wanted + SHORTEST > left { Err(ModelError::NoPositions { wanted, left }) } else { Ok(()) }
    }

    /// Virtual tokens before each sequence.
    pub fn virtual_tokens(&self) -> usize {
        self.before.tokens
    }
}
