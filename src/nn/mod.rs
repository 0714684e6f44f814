pub mod models;
pub mod parameters;
pub mod pass;
pub mod ops;
