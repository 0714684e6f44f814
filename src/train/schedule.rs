//! How the learning rate goes over the steps: the numbers of `transformers`' `get_*_schedule_with_warmup`.

use super::error::TrainError;

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Falls in a straight line to 0.
    Linear,
    /// Falls along half a cosine to 0.
    Cosine,
    /// Stays.
    Constant,
    /// Slanted triangular rates (Howard & Ruder 2018, ULMFiT, equation 3): a straight line up from 1/32 to 1 over the
    /// warm-up, and a straight line down again to 1/32 at the end.
    Slanted,
}

/// How much smaller than the highest the lowest rate of a slanted triangle is: `ratio` of the paper.
const SLANTED_RATIO: f64 = 32.0;

impl Schedule {
    /// The names `schedule = ..` takes.
    pub const NAMES: &[&str] = &["linear", "cosine", "constant", "slanted"];

    pub fn from_name(name: &str) -> Result<Self, TrainError> {
        match name {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "constant" => Ok(Self::Constant),
            "slanted" => Ok(Self::Slanted),
            _ => Err(TrainError::Setting {
                name: "schedule",
                found: format!("`{name}`"),
                expected: "linear, cosine, constant or slanted",
            }),
        }
    }

    /// The learning rate's factor after `done` updates, for runs of `total` updates of which the first `warmup` rise
    /// from 0. The first update (`done = 0`) of a run with warm-up has the factor 0, as in `transformers`.
    pub fn factor(self, done: u64, warmup: u64, total: u64) -> f64 {
        if self == Self::Slanted {
            let rise = done as f64 / warmup.max(1) as f64;
            let fall = 1.0 - (done as f64 - warmup as f64) / total.saturating_sub(warmup).max(1) as f64;
            let share = if done < warmup { rise } else { fall.max(0.0) };
            return (1.0 + share * (SLANTED_RATIO - 1.0)) / SLANTED_RATIO;
        }
        if done < warmup {
            return done as f64 / warmup as f64;
        }
        let length = total.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Linear => (total as f64 - done as f64).max(0.0) / length,
            Self::Cosine => {
                let progress = (done - warmup) as f64 / length;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
            Self::Constant | Self::Slanted => 1.0,
        }
    }
}

/// How long the learning rate rises before the schedule proper begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// A fraction of all steps, rounded up to a whole step.
    Ratio(f64),
    Steps(u64),
}

impl Warmup {
    pub fn steps(self, total: u64) -> u64 {
        match self {
            // The subtraction keeps 7 % of 100 steps at 7: 0.07 * 100.0 is 7.000000000000001.
            Self::Ratio(ratio) => (ratio * total as f64 - 1e-9).ceil().max(0.0) as u64,
            Self::Steps(steps) => steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warmup_ratio_is_rounded_up_to_whole_steps() {
        assert_eq!(Warmup::Ratio(0.07).steps(100), 7);
        assert_eq!(Warmup::Ratio(0.06).steps(101), 7);
        assert_eq!(Warmup::Ratio(0.0).steps(100), 0);
        assert_eq!(Warmup::Steps(500).steps(100), 500);
    }

    /// The paper's formula, with cut_frac 0.1 of 1,000 steps and ratio 32.
    #[test]
    fn slanted_triangular_rates_are_those_of_the_paper() {
        let (total, cut) = (1000.0, 100.0);
        for t in 0..=1000u64 {
            let at = t as f64;
            let p = if at < cut { at / cut } else { 1.0 - (at - cut) / (cut * (1.0 / 0.1 - 1.0)) };
            let expected = (1.0 + p * (32.0 - 1.0)) / 32.0;
            let found = Schedule::Slanted.factor(t, cut as u64, total as u64);
            assert!((found - expected).abs() < 1e-12, "{t}: {found} {expected}");
        }
        assert_eq!(Schedule::Slanted.factor(0, 100, 1000), 1.0 / 32.0);
        assert_eq!(Schedule::Slanted.factor(100, 100, 1000), 1.0);
        assert_eq!(Schedule::Slanted.factor(1000, 100, 1000), 1.0 / 32.0);
        assert_eq!(Schedule::Slanted.factor(0, 0, 1000), 1.0);
    }

    #[test]
    fn no_schedule_goes_below_zero_when_steps_go_on_past_the_end() {
        for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::Constant, Schedule::Slanted] {
            assert!((95..200).all(|done| schedule.factor(done, 10, 100) >= 0.0));
        }
    }
}
