//! A training that ends before its schedule does: to be compared with others, and to be gone on with or not (Dodge et al.
//! 2020, arXiv:2002.06305, section 6).

use super::{Beginning, Begun, Entry, Technique};
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["until"], begin };

struct Until {
    /// The last step.
    end: u64,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let Some(share) = beginning.read.number("until")? else { return Ok(None) };
    if !(0.0..1.0).contains(&share) || share == 0.0 {
        return Err(wrong("until", share.to_string(), "a share of the steps between 0 and 1"));
    }
    // At least one step, and a share that is a whole number of steps is that number.
    let end = (share * beginning.steps as f64 - 1e-9).ceil().max(1.0) as u64;
    Ok(Some(Box::new(Until { end })))
}

impl Technique for Until {
    fn end(&self) -> Option<u64> {
        Some(self.end)
    }
}
