//! Cyclic cosine annealing: the learning rate falls to 0 and begins again, several times in one training; the weights at the
//! end of each cycle are snapshots that answer together (Huang et al. 2017, arXiv:1704.00109).

use super::{At, Beginning, Begun, Entry, Technique};
use crate::train::error::TrainError;
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["cycles", "snapshot"], begin };

/// `1/2 (1 + cos(pi d / c))` after `d` of the `c` steps of a cycle (equation 2). The paper has cycles of `ceil(T / M)` steps, of
/// which the last may be short or missing; here there are `M` whose lengths differ by at most one.
struct Cycles {
    /// Steps done at the begin of each cycle, and at the end of the last.
    bounds: Vec<u64>,
    /// The last step, where training ends with one of the cycles.
    end: Option<u64>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let Some(bounds) = bounds(beginning)? else { return Ok(None) };
    let end = match beginning.read.count("snapshot")? {
        None => None,
        Some(number) => match bounds.get(number as usize) {
            Some(end) if number > 0 => Some(*end),
            _ => return Err(wrong("snapshot", number.to_string(), "one of the cycles, from 1")),
        },
    };
    Ok(Some(Box::new(Cycles { bounds, end })))
}

/// Steps done at the begin of each cycle, and at the end of the last, where a training has cycles.
pub(super) fn bounds(beginning: &Beginning) -> Result<Option<Vec<u64>>, TrainError> {
    let (Some(cycles), steps) = (beginning.read.count("cycles")?, beginning.steps) else { return Ok(None) };
    if cycles == 0 || cycles > steps {
        return Err(wrong("cycles", cycles.to_string(), "at least 1 and at most the number of steps"));
    }
    Ok(Some((0..=cycles).map(|cycle| (u128::from(cycle) * u128::from(steps) / u128::from(cycles)) as u64).collect()))
}

impl Technique for Cycles {
    fn factor(&self, at: At, _: &dyn Fn(u64) -> f64) -> Option<f64> {
        let done = at.step - 1;
        let cycle = self.bounds.windows(2).find(|cycle| done < cycle[1])?;
        let share = (done - cycle[0]) as f64 / (cycle[1] - cycle[0]) as f64;
        Some(0.5 * (1.0 + (std::f64::consts::PI * share).cos()))
    }

    fn end(&self) -> Option<u64> {
        self.end
    }
}
