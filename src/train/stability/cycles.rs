//! Cyclic cosine annealing: the learning rate falls to 0 and begins again, several times in one training (Huang et al. 2017,
//! arXiv:1704.00109, equation 2).

use super::{At, Beginning, Begun, Entry, Technique};
use crate::train::error::TrainError;
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["cycles"], begin };

/// `1/2 (1 + cos(pi mod(t - 1, length) / length))` in step `t`.
struct Cycles {
    /// Steps of a cycle; the last one may be shorter.
    length: u64,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let technique = length(beginning)?.map(|length| Box::new(Cycles { length }) as Box<dyn Technique>);
    Ok(technique)
}

/// Steps of a cycle, where a training has cycles.
pub(super) fn length(beginning: &Beginning) -> Result<Option<u64>, TrainError> {
    let Some(cycles) = beginning.read.count("cycles")? else { return Ok(None) };
    if cycles == 0 || cycles > beginning.steps {
        return Err(wrong("cycles", cycles.to_string(), "at least 1 and at most the number of steps"));
    }
    Ok(Some(beginning.steps.div_ceil(cycles)))
}

impl Technique for Cycles {
    fn factor(&self, at: At, _: &dyn Fn(u64) -> f64) -> Option<f64> {
        let done = (at.step - 1) % self.length;
        Some(0.5 * (1.0 + (std::f64::consts::PI * done as f64 / self.length as f64).cos()))
    }
}
