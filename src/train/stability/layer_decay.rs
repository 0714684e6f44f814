//! Layer-wise learning-rate decay: lower layers, which hold what is general, learn more slowly (Howard & Ruder 2018,
//! discriminative fine-tuning; Zhang et al. 2021, arXiv:2006.05987).

use indexmap::IndexMap;

use super::depth::depths;
use super::{Beginning, Begun, Entry, Technique};
use crate::train::reader::wrong;

pub(super) const ENTRY: Entry = Entry { parameters: &["layer_decay"], begin };

/// Layer `l` of `L` has the rate `learning_rate decay^(L - l)`, the embeddings that of a layer 0, heads the whole.
struct LayerDecay {
    factors: IndexMap<String, f64>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let Some(decay) = beginning.read.number("layer_decay")? else { return Ok(None) };
    if !(decay > 0.0 && decay <= 1.0) {
        return Err(wrong("layer_decay", decay.to_string(), "above 0 and at most 1"));
    }
    let layers = beginning.model.layers();
    let factor = |depth: usize| decay.powi(i32::try_from(layers.saturating_sub(depth)).unwrap_or(i32::MAX));
    let factors = depths(beginning.model).into_iter().map(|(name, depth)| (name, factor(depth))).collect();
    Ok(Some(Box::new(LayerDecay { factors })))
}

impl Technique for LayerDecay {
    fn rate(&self, parameter: &str) -> f64 {
        self.factors.get(parameter).copied().unwrap_or(1.0)
    }
}
