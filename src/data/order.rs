//! Which rows make which optimizer step: a pure function of seed and epoch, so a resumed run goes on where it was.

use crate::random::Key;

/// The batches of one epoch: a permutation of `0..rows` cut into `batch_size`; the last may be shorter.
///
/// `batch_size` 0 counts as 1.
pub fn epoch(rows: usize, batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let order = Key::new(seed, "shuffle").at(epoch).permutation(rows);
    order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
}

/// What one pass through a model may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub rows: usize,
    /// One row alone may have more.
    pub tokens: usize,
}

/// The passes of one step. Rows that fit one pass stay in their order; others are cut with rows of similar length
/// together, the shortest first, so that the passes are of like size.
pub fn passes(step: &[usize], length: impl Fn(usize) -> usize, budget: Budget) -> Vec<Vec<usize>> {
    let fits = |count: usize, tokens: usize| count <= budget.rows.max(1) && (count <= 1 || tokens <= budget.tokens);
    if fits(step.len(), step.iter().map(|&row| length(row)).sum()) {
        return vec![step.to_vec()];
    }
    let mut sorted = step.to_vec();
    sorted.sort_by_key(|&row| length(row));
    let (mut passes, mut tokens): (Vec<Vec<usize>>, usize) = (vec![vec![]], 0);
    for row in sorted {
        let last = passes.len() - 1;
        if fits(passes[last].len() + 1, tokens + length(row)) {
            tokens += length(row);
            passes[last].push(row);
        } else {
            tokens = length(row);
            passes.push(vec![row]);
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_epoch_holds_every_row_once(rows in 0usize..500, batch_size in 1usize..40, seed: u64, at in 0u64..100) {
            let batches = epoch(rows, batch_size, seed, at);
            prop_assert!(batches.iter().rev().skip(1).all(|batch| batch.len() == batch_size));
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..rows));
        }

        #[test]
        fn the_passes_of_a_step_hold_every_row_once_and_stay_within_the_budget(
            lengths in prop::collection::vec(1usize..60, 1..80), rows in 1usize..20, tokens in 1usize..300,
        ) {
            let step: Vec<usize> = (0..lengths.len()).rev().collect();
            let passes = passes(&step, |row| lengths[row], Budget { rows, tokens });
            for pass in &passes {
                let sum: usize = pass.iter().map(|row| lengths[*row]).sum();
                prop_assert!(!pass.is_empty() && pass.len() <= rows && (sum <= tokens || pass.len() == 1));
            }
            let mut all = passes.concat();
            if passes.len() == 1 {
                prop_assert_eq!(&all, &step);
            } else {
                prop_assert!(all.is_sorted_by_key(|row| lengths[*row]));
            }
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..lengths.len()));
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_alone() {
        assert_eq!(epoch(100, 8, 1, 2), epoch(100, 8, 1, 2));
        assert_ne!(epoch(100, 8, 1, 2), epoch(100, 8, 1, 3));
        assert_ne!(epoch(100, 8, 1, 2), epoch(100, 8, 2, 2));
        assert_eq!(epoch(100, 8, 1, 2).concat(), epoch(100, 32, 1, 2).concat());
    }
}
