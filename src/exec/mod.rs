//! Which stage runs when: look-ups, leases, stage processes, cancellation.
//!
//! From outside: [`status`] says what a run would do, [`run`] does it, and [`stage::run_child`] is the other end: what
//! `ftp stage SPEC` calls in the process that `run` starts for every stage.

mod child;
mod failure;
mod memory;
mod report;
mod run;
mod slots;
pub mod stage;
mod status;
mod sweep;
mod together;
mod worker;

pub use report::{FailedStage, RunReport, StageResult};
pub use run::{ExecError, Options, run};
pub use slots::Machine;
pub use status::{Status, status};
