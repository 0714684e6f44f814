//! Hugging Face directories in and out: `config.json`, weights in safetensors, tokenizer files.
//!
//! [`Directory`] opens one, [`write_model`] makes one, [`fetch`] gets one from the hub; [`safetensors`] reads and writes single files of tensors.

pub mod directory;
pub mod error;
#[cfg(feature = "remote")]
pub mod fetch;
pub mod names;
#[cfg(feature = "train")]
pub mod safetensors;
pub mod tensors;

#[cfg(feature = "train")]
pub use directory::write_model;
pub use directory::{Directory, TOKENIZER_FILES, read_json, write_config};
pub use error::HubError;
#[cfg(feature = "train")]
pub use safetensors::{read_safetensors, write_safetensors};
