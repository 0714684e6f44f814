pub mod batch;
pub mod set;
