//! Which rows make which optimizer step: a pure function of seed and epoch, so a resumed run goes on where it was.

use crate::random::Key;

/// The batches of one epoch: a permutation of `0..rows` cut into `batch_size`; the last may be shorter.
///
/// `batch_size` 0 counts as 1.
pub fn epoch(rows: usize, batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let order = Key::new(seed, "shuffle").at(epoch).permutation(rows);
    order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
}

/// The passes of one step, each of at most `micro_batch_size` rows, in order.
pub fn micro_batches(rows: &[usize], micro_batch_size: usize) -> impl Iterator<Item = &[usize]> {
    rows.chunks(micro_batch_size.max(1))
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
        fn the_passes_of_a_step_are_its_rows_in_order(rows in 0usize..100, micro in 1usize..20) {
            let step: Vec<usize> = (0..rows).rev().collect();
            let passes: Vec<&[usize]> = micro_batches(&step, micro).collect();
            prop_assert!(passes.iter().all(|pass| (1..=micro).contains(&pass.len())));
            prop_assert_eq!(passes.concat(), step);
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
