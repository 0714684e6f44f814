//! Training: what is minimised, how the weights move, and how well the result does.
//!
//! [`fit`] is the loop, [`evaluate`] and [`predict`] the passes without gradients. An [`Objective`] turns rows into a
//! summed loss; [`Settings`] are the parameters all training methods share. Everything is a pure function of the rows,
//! the weights and the seed: on the CPU two runs give the same bits whatever the number of threads.

pub mod checkpoint;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
pub mod error;
pub mod evaluation;
pub mod looping;
pub mod masked_lm;
pub mod masking;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod prediction;
mod progress;
pub mod reader;
mod resume;
pub mod schedule;
mod selection;
pub mod sequence;
pub mod settings;
pub mod stability;
pub mod states;
pub mod step;
mod turns;

pub use device::{cuda_devices, device, open};
pub use error::TrainError;
pub use evaluation::{Evaluation, Scores, evaluate};
pub use looping::{EpochRecord, Fitted, Surroundings, fit};
pub use masked_lm::MaskedLm;
pub use metrics::{Baseline, baseline, confusion};
pub use objective::{Objective, Rows};
pub use prediction::{Prediction, predict};
pub use sequence::SequenceTask;
pub use settings::Settings;
pub use states::States;
pub use turns::Turns;
