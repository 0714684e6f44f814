//! Arguments that are right alone but not together, or not with the data they are given.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::{Delta, Node};
use super::literal::number;
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
            errors.extend(node.deltas.iter().filter_map(|delta| no_steps_left(delta, node.span)));
            let data = node.inputs.values().map(|input| &self.program.nodes[*input]);
            errors.extend(data.filter_map(|data| metric_of_another_task(node, "metric", data)));
            errors.extend(self.not_compared(node));
            let chosen = node.inputs.values().next().filter(|_| node.parameters.contains_key("best"));
            let learnt = chosen.and_then(|model| self.learnt(*model));
            errors.extend(learnt.and_then(|data| metric_of_another_task(node, "best", data)));
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

impl Checker<'_> {
    /// A choice among models that report nothing to choose by.
    fn not_compared(&self, node: &Node) -> Option<Diagnostic> {
        node.parameters.get("best")?;
        let models = node.inputs.iter().filter(|(slot, _)| slot.starts_with("models."));
        let silent = models.map(|(_, model)| &self.program.nodes[*model]).find(|model| {
            // What a recipe gets as a parameter is judged where the recipe is used.
            let known = self.registry.get(&model.method);
            !model.method.is_empty() && !known.is_some_and(|signature| signature.reports)
        })?;
        Some(
            Diagnostic::error(
                "ftp::expect::not_compared",
                node.span,
                format!("`{}` compares models by a metric, but `{}` reports none", node.label, silent.label),
            )
            .label("nothing to compare")
            .related(silent.span, "reports no metrics")
            .help("end each of the models with a stage that learns from labels: `-> finetune(target)`"),
        )
    }
}

/// Both lengths of a training said in one place. A stage's own argument takes the place of a `set`'s.
fn steps_and_epochs(node: &Node) -> Option<Diagnostic> {
    let said = |name: &str| {
        let parameter = node.parameters.get(name)?;
        parameter.span.filter(|_| parameter.value != Value::None)
    };
    let (steps, epochs) = (said("steps")?, said("epochs")?);
    let own = |span: Span| node.span.contains(span);
    (own(steps) == own(epochs)).then(|| {
        Diagnostic::error("ftp::value::steps_and_epochs", steps, "a training has `steps` or `epochs`, not both")
            .label("the number of steps")
            .related(epochs, "the number of epochs")
            .help("leave one of them out")
    })
}

/// Warm-ups of a delta's schedule that together take more steps than there are.
fn no_steps_left(delta: &Delta, stage: Span) -> Option<Diagnostic> {
    let [first, last] = ["initial_warmup", "final_warmup"].map(|name| delta.parameters.get(name));
    let (first, last) = (first?, last?);
    let sum = first.value.as_float()? + last.value.as_float()?;
    if sum <= 1.0 {
        return None;
    }
    let message = format!("`initial_warmup` and `final_warmup` together are {} % of the steps", number(100.0 * sum));
    let error = Diagnostic::error("ftp::value::no_steps_left", last.span.or(first.span).unwrap_or(stage), message)
        .label("more than there are")
        .help("leave steps between them, in which weights are pruned: the defaults are 10 % and 20 %");
    Some(match (first.span, last.span) {
        (Some(first), Some(_)) => error.related(first, "the other one"),
        _ => error,
    })
}

/// `metric = pearson` for a classification.
fn metric_of_another_task(node: &Node, parameter: &str, data: &Node) -> Option<Diagnostic> {
    let parameter = node.parameters.get(parameter)?;
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
