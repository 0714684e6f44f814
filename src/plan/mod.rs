//! Typed program -> DAG of stages, the key of each stage's result, and why a stage must run.
//!
//! From outside: [`Plan`], the keys and their pre-images in [`key`], explanations in [`reason`], and in [`spec`] what a
//! stage process is told. Nothing here reads a file.

pub mod diff;
mod graph;
pub mod key;
pub mod race;
pub mod reason;
pub mod reproduce;
pub mod spec;

pub use graph::{Contest, Plan, Stage, StageInput};
pub use key::{Keyed, PreImage};
pub use reason::Reason;
