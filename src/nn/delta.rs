//! What delta methods do inside a model: theta = theta_pretrained + delta, site by site.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::pass::Pass;

/// What a delta does at a site of a model. Its parameters are among the model's; it calls them through the pass, by names
/// below the site's.
pub trait SiteDelta: Debug + Send + Sync {
    /// The output of a linear map with the delta. x `[T, in]`, `y = x W^T + b` `[T, out]` -> `[T, out]`.
    fn linear(&self, pass: &Pass, site: &str, x: Tensor<2>, y: Tensor<2>) -> Tensor<2>;
}

/// By site.
pub type Deltas = IndexMap<String, Arc<dyn SiteDelta>>;
