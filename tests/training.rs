//! Training on models small enough for a test, against numbers of PyTorch, `transformers`, scikit-learn and SciPy
//! (`tests/training/*.py` make the files they are read from) and against properties that must hold.
#![cfg(feature = "train")]

#[path = "training/accumulation.rs"]
mod accumulation;
#[path = "training/averaging.rs"]
mod averaging;
#[path = "training/checkpoints.rs"]
mod checkpoints;
#[path = "training/determinism.rs"]
mod determinism;
#[path = "training/ensembling.rs"]
mod ensembling;
#[path = "training/fixed_layers.rs"]
mod fixed_layers;
#[path = "training/learning.rs"]
mod learning;
#[path = "training/numbers.rs"]
mod numbers;
#[path = "training/optimizer.rs"]
mod optimizer;
#[path = "training/pruning.rs"]
mod pruning;
#[path = "training/regularizers.rs"]
mod regularizers;
#[path = "training/selection.rs"]
mod selection;
#[path = "training/stability.rs"]
mod stability;
#[path = "training/tiny.rs"]
mod tiny;
#[path = "training/trajectory.rs"]
mod trajectory;
