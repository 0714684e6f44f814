//! Labelled sets in memory.

use indexmap::IndexMap;

use crate::lang::world::Task;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    pub target: Target,
}

/// What a model should say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Index into the task's labels.
    Class(u32),
    Score(f32),
}

/// A labelled set, whole.
#[derive(Debug, Clone)]
pub struct LabelledSet {
    pub task: Task,
    /// `train`, `dev`, `test`, in that order; dev and test may be missing.
    pub splits: IndexMap<String, Vec<Example>>,
}
