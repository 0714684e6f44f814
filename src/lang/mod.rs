//! Names, types, checks: syntax tree -> typed program.
//!
//! From outside: [`check`] (text in, [`Program`](ir::Program) or all its errors out), the program's types in [`ir`],
//! what methods declare about themselves in [`signature`], what each name of a text stands for in [`index`], values in
//! [`value`], and what the language asks about the outside world in [`world`]. Nothing here reads a file: data sets and models are described through
//! [`World`](world::World), so an editor or a test can answer in its stead.

mod arguments;
mod callable;
mod chain;
mod check;
mod choice;
mod defaults;
mod diagnostic;
mod each;
pub mod explain;
mod fit;
mod goals;
pub mod index;
pub mod ir;
mod literal;
pub mod metric;
mod module;
mod names;
mod order;
mod params;
mod publication;
mod race;
mod recipe;
mod scope;
pub mod signature;
mod slot;
mod stack;
pub mod stdlib;
mod suggest;
mod together;
mod types;
pub mod value;
pub mod world;

pub use check::{Checked, check, is_reserved, visit_modules};
pub use diagnostic::{Diagnostic, Diagnostics, Fix, Severity};
pub use module::request as module_request;
pub use types::type_names;
