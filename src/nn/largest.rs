//! The largest of many numbers, exactly as many as asked for.

use std::cmp::Ordering;

/// Which numbers are among the `keep` largest; of equal ones the earlier are. Numbers are asked for in the order they came in.
pub struct Largest<N> {
    /// The smallest that is kept; none where all are.
    threshold: Option<N>,
    /// How many more of those equal to the threshold are kept.
    equal: usize,
    none: bool,
}

impl<N: Ord + Copy> Largest<N> {
    pub fn of(numbers: impl Iterator<Item = N>, keep: usize) -> Self {
        let mut numbers: Vec<N> = numbers.collect();
        if keep == 0 || keep >= numbers.len() {
            return Self { threshold: None, equal: 0, none: keep == 0 };
        }
        let (above, &mut threshold, _) = numbers.select_nth_unstable_by(keep - 1, |one, other| other.cmp(one));
        let equal = keep - above.iter().filter(|number| **number > threshold).count();
        Self { threshold: Some(threshold), equal, none: false }
    }

    /// Whether the next number is one of them.
    pub fn keeps(&mut self, number: N) -> bool {
        let Some(threshold) = self.threshold else { return !self.none };
        match number.cmp(&threshold) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => {
                let keeps = self.equal > 0;
                self.equal -= usize::from(keeps);
                keeps
            }
        }
    }
}

/// Which of many numbers are the `keep` largest by `order`, of equal ones by `then`, which knows their places, and of those equal
/// in both the earlier: as [`Largest`], in a fraction of the time.
pub fn mask(numbers: &[f32], order: impl Fn(f32) -> u32, then: impl Fn(usize) -> u32, keep: usize) -> Vec<bool> {
    if keep == 0 || keep >= numbers.len() {
        return vec![keep > 0; numbers.len()];
    }
    // The upper halves alone decide, but for the few numbers that share that of the last one kept.
    let upper = |number: &f32| (order(*number) >> 16) as usize;
    let mut counts = vec![0_usize; 1 << 16];
    numbers.iter().for_each(|number| counts[upper(number)] += 1);
    let (mut last, mut left) = (counts.len() - 1, keep);
    while counts[last] < left {
        left -= counts[last];
        last -= 1;
    }
    let mut mask: Vec<bool> = numbers.iter().map(|number| upper(number) > last).collect();
    let rest = numbers.iter().enumerate().filter(|(_, number)| upper(number) == last);
    let rest: Vec<(u64, usize)> =
        rest.map(|(at, number)| ((u64::from(order(*number)) << 32) | u64::from(then(at)), at)).collect();
    let mut largest = Largest::of(rest.iter().map(|(key, _)| *key), left);
    for (key, at) in rest {
        mask[at] = largest.keeps(key);
    }
    mask
}

/// A number's place in the order of `f32::total_cmp`, as an integer.
pub fn rank(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_as_many_are_kept_and_none_is_smaller_than_one_that_is_not(
            numbers in prop::collection::vec(-3i8..4, 0..40),
            keep in 0usize..45,
        ) {
            let mut largest = Largest::of(numbers.iter().copied(), keep);
            let (kept, left): (Vec<i8>, Vec<i8>) = numbers.iter().partition(|number| largest.keeps(**number));
            prop_assert_eq!(kept.len(), keep.min(numbers.len()));
            prop_assert!(kept.iter().all(|kept| left.iter().all(|left| kept >= left)));
        }

        #[test]
        fn masks_are_those_of_all_keys_compared(
            numbers in prop::collection::vec((-400i16..400).prop_map(|number| f32::from(number) / 256.0), 0..300),
            keep in 0usize..310,
        ) {
            let then = |at: usize| numbers[at].to_bits() % 3;
            let key = |at: usize| (rank(numbers[at]), then(at));
            let mut largest = Largest::of((0..numbers.len()).map(key), keep);
            let expected: Vec<bool> = (0..numbers.len()).map(|at| largest.keeps(key(at))).collect();
            prop_assert_eq!(mask(&numbers, rank, then, keep), expected);
        }

        #[test]
        fn ranks_are_in_the_order_of_their_numbers(one: f32, other: f32) {
            prop_assert_eq!(rank(one).cmp(&rank(other)), one.total_cmp(&other));
        }
    }
}
