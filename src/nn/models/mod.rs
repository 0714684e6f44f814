//! Architectures of the BERT family, one file each, and models made of them.
//!
//! An architecture is written in sites: names of modules in the checkpoint. From these follow its parameters ([`layout`]),
//! what it computes ([`super::pass::Pass`]) and what files hold. A new one is a file and a line in `architecture.rs`.

pub mod activation;
mod architecture;
mod before;
mod bert;
mod distilbert;
mod encoder;
mod error;
mod head;
pub mod layout;
mod load;
mod masked_lm;
mod model;
mod roberta;
mod settings;
mod sites;
mod top;

pub use architecture::described;
pub use error::ModelError;
pub use head::{Head, drop_head, is_task_head};
pub use load::LoadReport;
pub use model::Model;
pub use top::{keep_layers, layers};
