//! Arguments that are right alone but not together, or not with the data they are given.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::Node;
use super::metric;
use super::signature::Artifact;
use super::suggest;
use super::value::Value;
use super::world::Task;
use crate::syntax::Span;

impl Checker<'_> {
    pub(super) fn together(&mut self) {
        let mut errors: Vec<Diagnostic> = Vec::new();
        for node in &self.program.nodes {
            errors.extend(steps_and_epochs(node));
            let data = node.inputs.values().map(|input| &self.program.nodes[*input]);
            errors.extend(data.filter_map(|data| metric_of_another_task(node, data)));
        }
        // A `set` reaches many stages, and is wrong once.
        let mut seen: Vec<Option<Span>> = Vec::new();
        for error in errors {
            if !seen.contains(&error.span) {
                seen.push(error.span);
                self.report(error);
            }
        }
    }
}

/// Both lengths of a training said in one place. A stage's own argument takes the place of a `set`'s.
fn steps_and_epochs(node: &Node) -> Option<Diagnostic> {
    let said = |name: &str| {
        let parameter = node.parameters.get(name)?;
        parameter.span.filter(|_| parameter.value != Value::None)
    };
    let (steps, epochs) = (said("steps")?, said("epochs")?);
    let own = |span: Span| node.span.start <= span.start && span.end <= node.span.end;
    (own(steps) == own(epochs)).then(|| {
        Diagnostic::error("ftp::value::steps_and_epochs", steps, "a training has `steps` or `epochs`, not both")
            .label("the number of steps")
            .related(epochs, "the number of epochs")
            .help("leave one of them out")
    })
}

/// `metric = pearson` for a classification.
fn metric_of_another_task(node: &Node, data: &Node) -> Option<Diagnostic> {
    let parameter = node.parameters.get("metric")?;
    let (Value::Name(name), Some(span)) = (&parameter.value, parameter.span) else { return None };
    let task = data.source.as_ref().filter(|_| data.output == Artifact::Labelled)?.task.as_ref()?;
    if name == "loss" || metric::of(task).contains(&name.as_str()) {
        return None;
    }
    let what = if matches!(task, Task::Regression) { "a regression" } else { "a classification" };
    let mut error = Diagnostic::error("ftp::value::metric_of_other_task", span, format!("{what} has no `{name}`"))
        .label("a metric of another task")
        .related(data.span, format!("this is {what}"));
    suggest::offer(&mut error, name, metric::of(task), "its metrics are");
    Some(error)
}
