//! Readers, data sets, tokenisation, batches.
//!
//! From outside: [`FileWorld`] answers what the checker asks about files; [`read_labelled`] and [`read_text`] give
//! stages the rows that answer was about; [`tokenizer`] turns texts into [`batch::Encoding`]s, [`block`] cuts documents
//! for language modelling, [`order`] says which rows make which step.

pub mod batch;
pub mod block;
pub mod digest;
pub mod error;
pub mod order;
pub mod set;

#[cfg(feature = "train")]
pub mod tokenizer;

mod columns;
mod fault;
mod labelled;
pub mod memo;
pub mod model;
mod options;
mod paths;
pub mod pinned;
mod read;
pub mod saved;
mod task;
mod text;
mod world;

pub use error::DataError;
pub use labelled::read_labelled;
pub use text::read_text;
pub use world::FileWorld;
