//! Differences of whole parameters: theta = theta_pretrained + difference, computed anew in every pass.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::pass::Pass;

/// What is added to a parameter that does not train itself. It is computed from parameters of the delta's own, which the
/// implementation reads from the pass: so they get gradients, and regularizers that compute with other values of them work.
pub trait Difference: Debug + Send + Sync {
    /// The difference of a parameter, by its name: flat, in the parameter's order. -> `[elements]`.
    fn of(&self, pass: &Pass, name: &str) -> Tensor<1>;
}

/// By parameter.
pub type Differences = IndexMap<String, Arc<dyn Difference>>;
