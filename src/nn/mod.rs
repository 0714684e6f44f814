//! Models of tensors: operations, parameters by name, forward passes, architectures.
//!
//! An architecture ([`models`]) calls its maps, norms and embeddings through a [`pass::Pass`], by name; the pass looks
//! their [`parameters`] up, decides which are differentiated, and computes with [`ops`].

pub mod delta;
pub mod gradient;
pub mod hard_concrete;
pub mod largest;
pub mod models;
pub mod ops;
pub mod parameters;
pub mod pass;
pub mod projection;
pub mod pruning;
pub mod reparametrisation;
