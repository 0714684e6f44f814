//! The command line.

use std::process::ExitCode;

/// Runs the command the process arguments name.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
