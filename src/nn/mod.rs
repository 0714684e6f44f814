pub mod models;
pub mod ops;
pub mod parameters;
pub mod pass;
