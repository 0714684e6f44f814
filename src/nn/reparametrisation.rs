//! Parameters that are computed anew in every pass: theta = f(what is stored, parameters of a delta's own).

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::pass::Pass;

/// What a parameter is in a pass. A delta's own parameters are read from the pass: so they get gradients, and regularizers that
/// compute with other values of them work. So does the stored parameter, where it trains.
pub trait Reparametrisation: Debug + Send + Sync {
    /// A parameter, by its name, made of what is stored under that name: flat, in the parameter's order. stored
    /// `[elements]` -> `[elements]`.
    fn of(&self, pass: &Pass, name: &str, stored: Tensor<1>) -> Tensor<1>;
}

/// By parameter.
pub type Reparametrisations = IndexMap<String, Arc<dyn Reparametrisation>>;
