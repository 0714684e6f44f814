//! The metrics a labelled task reports, by the name `expect` and tables use. The first is the one that picks the best
//! checkpoint unless the file says otherwise.

use super::world::Task;

/// Names as in scikit-learn and GLUE.
pub const CLASSIFICATION: &[&str] = &["accuracy", "macro_f1", "micro_f1", "matthews"];
pub const REGRESSION: &[&str] = &["pearson", "spearman", "mean_squared_error"];

/// The metrics of a task.
pub fn of(task: &Task) -> &'static [&'static str] {
    match task {
        Task::Classification { .. } => CLASSIFICATION,
        Task::Regression => REGRESSION,
    }
}

/// Whether more is better.
pub fn rises(metric: &str) -> bool {
    metric != "mean_squared_error" && metric != "loss"
}
