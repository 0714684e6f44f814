//! Masked language modelling: restore tokens from both sides of them.

use std::sync::Arc;

use super::error::TrainError;
use super::masking::{Masked, Masking};
use super::objective::{Loss, Objective, Rows};
use crate::data::batch::Batch;
use crate::event::Notice;
use crate::lang::world::Task;
use crate::nn::models::Model;
use crate::nn::ops;
use crate::nn::pass::Pass;
use crate::random::Key;

/// Cross-entropy of the chosen tokens. Logits exist only where there is a target: `[targets, vocab_size]` instead of
/// one row a token.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedLm {
    pub masking: Masking,
}

impl Objective for MaskedLm {
    fn check(&self, rows: Rows) -> Result<Vec<Notice>, TrainError> {
        let unmaskable = rows.encodings.iter().filter(|row| !Masking::can_mask(row)).count();
        match unmaskable {
            0 => Ok(Vec::new()),
            _ if unmaskable == rows.len() => Err(TrainError::NothingToMask),
            _ => {
                let of = rows.len();
                let message =
                    format!("{unmaskable} of {of} rows have special tokens only; nothing is learnt from them");
                Ok(vec![Notice::new("ftp::train::unmaskable", message)])
            }
        }
    }

    fn loss(&self, model: &Model, pass: &Pass, rows: Rows, chosen: &[usize], draws: Key) -> Option<Loss> {
        let masked: Vec<Masked> =
            chosen.iter().map(|&row| self.masking.mask(&rows.encodings[row], draws.at(row as u64))).collect();
        let batch = Batch::pack(masked.iter().map(|row| &row.encoding));
        let positions: Arc<[u32]> = masked
            .iter()
            .zip(batch.offsets.iter())
            .flat_map(|(row, &start)| row.positions.iter().map(move |position| start + position))
            .collect();
        if positions.is_empty() {
            return None;
        }
        let targets: Arc<[i32]> = masked.iter().flat_map(|row| row.targets.iter().copied()).collect();
        let count = targets.len() as u64;

        let hidden = model.encode_at(pass, &batch, &batch.tokens_at(positions)); // [targets, hidden_size]
        let logits = model.mlm_logits(pass, hidden); // [targets, vocab_size]
        Some(Loss { sum: ops::cross_entropy(logits.clone(), targets), targets: count, logits })
    }

    fn task(&self) -> Option<&Task> {
        None
    }
}
