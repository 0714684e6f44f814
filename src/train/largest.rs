//! The largest of many numbers, exactly as many as asked for.

/// Which numbers are among the `keep` largest; of equal ones the earlier are. Numbers are asked for in the order they came in.
pub struct Largest {
    /// The smallest that is kept; none where all are.
    threshold: Option<f32>,
    /// How many more of those equal to the threshold are kept.
    equal: usize,
    none: bool,
}

impl Largest {
    pub fn of(numbers: impl Iterator<Item = f32>, keep: usize) -> Self {
        let mut numbers: Vec<f32> = numbers.collect();
        if keep == 0 || keep >= numbers.len() {
            return Self { threshold: None, equal: 0, none: keep == 0 };
        }
        let (above, threshold, _) = numbers.select_nth_unstable_by(keep - 1, |one, other| other.total_cmp(one));
        let equal = keep - above.iter().filter(|number| number.total_cmp(threshold).is_gt()).count();
        Self { threshold: Some(*threshold), equal, none: false }
    }

    /// Whether the next number is one of them.
    pub fn keeps(&mut self, number: f32) -> bool {
        let Some(threshold) = self.threshold else { return !self.none };
        match number.total_cmp(&threshold) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => {
                let keeps = self.equal > 0;
                self.equal -= usize::from(keeps);
                keeps
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_as_many_are_kept_and_none_is_smaller_than_one_that_is_not(
            numbers in prop::collection::vec((-3i8..4).prop_map(f32::from), 0..40),
            keep in 0usize..45,
        ) {
            let mut largest = Largest::of(numbers.iter().copied(), keep);
            let (kept, left): (Vec<f32>, Vec<f32>) = numbers.iter().partition(|number| largest.keeps(**number));
            prop_assert_eq!(kept.len(), keep.min(numbers.len()));
            prop_assert!(kept.iter().all(|kept| left.iter().all(|left| kept >= left)));
        }
    }
}
