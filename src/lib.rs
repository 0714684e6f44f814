//! `ftp`: a declarative pipeline engine for fine-tuning language models.
//!
//! A folder is a layer; a layer uses only those listed before it (`tests/layers.rs` keeps that honest).
//! `docs/architecture.md` is the map.

pub mod event;
#[cfg(feature = "remote")]
pub mod net;
pub mod random;
pub mod syntax;

pub mod lang;

pub mod plan;

pub mod store;

pub mod hub;

pub mod modules;

pub mod archive;

#[cfg(feature = "remote")]
pub mod remote;

pub mod data;

#[cfg(feature = "train")]
pub mod nn;

#[cfg(feature = "train")]
pub mod train;

pub mod methods;

pub mod exec;

pub mod report;

pub mod lsp;

pub mod cli;
