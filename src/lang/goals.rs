//! `expect` and `publish`: what a file wants of its pipelines.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::{Expectation, Fold, Form, Measure, Node, NodeId, Publication, PublishedBase, Relation};
use super::literal::{Literal, number};
use super::metric;
use super::scope::Declaration;
use super::signature::{Artifact, Library, ParameterType};
use super::suggest;
use super::value::Value;
use crate::syntax::{Span, ast};

impl<'a> Checker<'a> {
    pub(super) fn goals(&mut self, file: &'a ast::File) {
        let mut published: Vec<(String, Span)> = vec![];
        for statement in &file.statements {
            match statement {
                ast::Statement::Expect(expect) => self.expect(expect),
                ast::Statement::Publish(publish) => self.publish(publish, &mut published),
                _ => {}
            }
        }
        self.adapters(file);
    }

    /// The indices of a pipeline, several for one that makes several models; reports names that are none. `None` also for
    /// pipelines with an error.
    fn goal_pipeline(&mut self, name: &ast::Name) -> Option<Vec<usize>> {
        let text = name.text.as_str();
        let declared = self.scope().get(text).map(|entry| (entry.declaration, entry.name.span));
        match declared {
            Some((Declaration::Pipeline(_), _)) if !self.failed_pipelines.contains(text) => {
                let all = self.program.pipelines.iter().enumerate();
                let found = all.filter(|(_, pipeline)| pipeline.declared == text).map(|(index, _)| index);
                return Some(found.collect()).filter(|found: &Vec<usize>| !found.is_empty());
            }
            Some((Declaration::Pipeline(_) | Declaration::Broken, _)) => return None,
            Some((_, declared)) => {
                self.mark_used(text);
                self.report(
                    Diagnostic::error("ftp::name::not_a_pipeline", name.span, format!("`{text}` is not a pipeline"))
                        .label("expected a pipeline")
                        .related(declared, "declared here")
                        .help(format!("declare one: `pipeline my_{text} = {text} -> ..`")),
                );
            }
            None => {
                let pipelines =
                    self.scope().iter().filter(|(_, entry)| matches!(entry.declaration, Declaration::Pipeline(_)));
                let pipelines: Vec<&str> = pipelines.map(|(name, _)| *name).collect();
                let mut error = Diagnostic::error(
                    "ftp::name::unknown_pipeline",
                    name.span,
                    format!("there is no pipeline `{text}`"),
                )
                .label("expected a pipeline");
                suggest::fix(&mut error, text, pipelines.iter().copied());
                error.help = suggest::help(text, &pipelines, "the pipelines are")
                    .or_else(|| Some(format!("declare it: `pipeline {text} = base -> finetune(target)`")));
                self.report(error);
            }
        }
        None
    }

    fn expect(&mut self, expect: &'a ast::Expect) {
        let measure = self.measure(&expect.measure);
        let minus = expect.minus.as_ref().map(|minus| self.measure(minus));
        let bound = self.bound(expect);
        let relation = match expect.relation.text.as_str() {
            ">=" => Relation::AtLeast,
            "<=" => Relation::AtMost,
            ">" => Relation::Above,
            _ => Relation::Below,
        };
        let minus = match minus {
            None => None,
            Some(Some(minus)) => Some(minus),
            Some(None) => return,
        };
        if let (Some(measure), Some(bound)) = (measure, bound) {
            self.program.expectations.push(Expectation { measure, minus, relation, bound, span: expect.span });
        }
    }

    /// A measure whose pipeline and metric there are; reports why not.
    fn measure(&mut self, measure: &ast::Measure) -> Option<Measure> {
        let pipelines = self.goal_pipeline(&measure.pipeline);
        let fold = match &measure.fold {
            None => None,
            Some(name) => Some(self.fold(name)?),
        };
        let pipelines = pipelines?;
        if !self.metric(measure, pipelines[0]) {
            return None;
        }
        let several = pipelines.len() > 1 || self.program.pipelines[pipelines[0]].name != measure.pipeline.text;
        let (name, metric) = (&measure.pipeline.text, &measure.metric.text);
        if several && fold.is_none() {
            self.report(
                Diagnostic::error(
                    "ftp::expect::several",
                    measure.span,
                    format!("`{name}` makes {} models, each with its own `{metric}`", pipelines.len()),
                )
                .label("which one?")
                .help(format!("say how they become one number: `mean({name}.{metric})`, or `min`, `max`, `std`")),
            );
            return None;
        }
        let shown = match fold {
            Some(fold) => format!("{}({name}.{metric})", fold.name()),
            None => format!("{name}.{metric}"),
        };
        Some(Measure { pipelines, fold, metric: metric.clone(), shown })
    }

    fn fold(&mut self, name: &ast::Name) -> Option<Fold> {
        let found = Fold::ALL.into_iter().find(|fold| fold.name() == name.text);
        if found.is_none() {
            let known = Fold::ALL.map(Fold::name);
            let mut error = Diagnostic::error(
                "ftp::expect::unknown_fold",
                name.span,
                format!("there is no `{}` of several values", name.text),
            )
            .label("not known");
            suggest::offer(&mut error, &name.text, &known, "there are");
            self.report(error);
        }
        found
    }

    /// Whether the pipeline's last stage reports the metric; reports why not.
    fn metric(&mut self, measure: &ast::Measure, pipeline: usize) -> bool {
        let pipeline = &self.program.pipelines[pipeline];
        let stage = &self.program.nodes[pipeline.output];
        let reports = self.registry.get(&stage.method).is_some_and(|signature| signature.reports);
        if !reports {
            let error = Diagnostic::error(
                "ftp::expect::no_metrics",
                measure.pipeline.span.to(measure.metric.span),
                format!("`{}` ends with `{}`, which reports no metrics", pipeline.name, stage.label),
            )
            .label("there is nothing to compare")
            .related(stage.span, "the last stage")
            .help("end the pipeline with a stage that learns from labels: `-> finetune(target)`");
            self.report(error);
            return false;
        }
        let data = self.learnt(pipeline.output);
        let Some((data, task)) = data.and_then(|data| Some((data, data.source.as_ref()?.task.as_ref()?))) else {
            return true;
        };
        let metrics = metric::of(task);
        let name = measure.metric.text.as_str();
        if metrics.contains(&name) {
            return true;
        }
        let what = if matches!(task, super::world::Task::Regression) { "a regression" } else { "a classification" };
        let mut error = Diagnostic::error(
            "ftp::expect::unknown_metric",
            measure.metric.span,
            format!("`{}` reports no metric `{name}`", stage.label),
        )
        .label("not a metric of its task")
        .related(data.span, format!("this is {what}"));
        suggest::offer(&mut error, name, metrics, "its metrics are");
        self.report(error);
        false
    }

    /// The set that a model was trained on last.
    pub(super) fn learnt(&self, node: NodeId) -> Option<&Node> {
        let node = &self.program.nodes[node];
        let inputs = || node.inputs.values().map(|input| (*input, &self.program.nodes[*input]));
        let own = inputs().find(|(_, input)| input.output == Artifact::Labelled);
        match own {
            Some((_, data)) => Some(data),
            None => inputs().find_map(|(input, _)| self.learnt(input)),
        }
    }

    fn bound(&mut self, expect: &ast::Expect) -> Option<f64> {
        let literal = self.literal(&expect.bound);
        let metric = expect.measure.metric.text.as_str();
        let value = match literal {
            Literal::Error => return None,
            Literal::Int(value) => value as f64,
            Literal::Float(value) | Literal::Percent(value) => value,
            other => {
                let mut error = Diagnostic::error(
                    "ftp::value::wrong_type",
                    expect.bound.span,
                    format!("a metric is compared with a number, found {}", other.phrase()),
                )
                .label("expected a number");
                error.help = Some(format!("write `{metric} {} 0.8`", expect.relation.text));
                self.report(error);
                return None;
            }
        };
        if value.abs() > 1.0 && (metric::CLASSIFICATION.contains(&metric) || matches!(metric, "pearson" | "spearman")) {
            let help = match (1.0..=100.0).contains(&value) {
                true => format!("write `{} %` or `{}`", number(value), number(value / 100.0)),
                false => "write a number up to 1".to_owned(),
            };
            self.report(
                Diagnostic::error(
                    "ftp::value::out_of_range",
                    expect.bound.span,
                    format!("`{metric}` is never beyond 1, found {}", number(value)),
                )
                .label("out of range")
                .help(help),
            );
            return None;
        }
        Some(value)
    }

    /// The one model that a pipeline makes; reports that there are several, or none that could be written.
    fn one_model(&mut self, publish: &ast::Publish, pipelines: &[usize]) -> Option<usize> {
        let name = &publish.pipeline.text;
        let first = &self.program.pipelines[pipelines[0]];
        let ensemble = self.program.nodes[first.output].output == Artifact::Ensemble;
        if first.name == *name && !ensemble {
            return Some(pipelines[0]);
        }
        let (message, help) = match ensemble {
            true => (
                format!("`{name}` is an ensemble, which is no single model"),
                "publish one model: `-> average` in place of `-> ensemble`",
            ),
            false => (
                format!("`{name}` makes {} models, and one is published", pipelines.len()),
                "make one of them: `-> select`, or `-> average`",
            ),
        };
        self.report(
            Diagnostic::error("ftp::publish::not_one_model", publish.pipeline.span, message)
                .label("not one model")
                .help(help),
        );
        None
    }

    fn publish(&mut self, publish: &'a ast::Publish, published: &mut Vec<(String, Span)>) {
        let pipeline = self.goal_pipeline(&publish.pipeline);
        let pipeline = pipeline.and_then(|found| self.one_model(publish, &found));
        let literal = self.literal(&publish.directory);
        if literal == Literal::Error {
            return;
        }
        let at = publish.directory.span;
        let directory = match super::fit::fit(&literal, &ParameterType::String, false) {
            Ok(Value::String(directory)) if !directory.trim().is_empty() => directory,
            Ok(_) => {
                self.report(
                    Diagnostic::error("ftp::publish::empty", at, "the directory has no name")
                        .label("empty")
                        .help(format!("write a directory, such as `\"out/{}\"`", publish.pipeline.text)),
                );
                return;
            }
            Err(misfit) => {
                let mut error =
                    Diagnostic::error(misfit.code, at, format!("`publish` {}", misfit.message)).label(misfit.label);
                error.help = Some(format!("write a directory, such as `\"out/{}\"`", publish.pipeline.text));
                self.report(error);
                return;
            }
        };
        let plain = plain(&directory);
        if let Some((_, first)) = published.iter().find(|(other, _)| *other == plain) {
            self.report(
                Diagnostic::error(
                    "ftp::publish::same_directory",
                    at,
                    format!("two pipelines are published to {directory:?}"),
                )
                .label("the same directory again")
                .related(*first, "taken here")
                .help(format!("choose another directory, such as `\"out/{}\"`", publish.pipeline.text)),
            );
            return;
        }
        published.push((plain, at));
        if let Some(pipeline) = pipeline
            && self.form(publish)
        {
            // Of an adapter, what it lies over is looked for when all publications are known.
            let form = match &publish.form {
                None => Form::Model,
                Some(_) => Form::Adapter { library: Library::Peft, base: PublishedBase::Source(0) },
            };
            self.program.publications.push(Publication { pipeline, directory, form, span: publish.span });
        }
    }
}

/// A path without `.` and doubled or trailing slashes, to compare.
fn plain(directory: &str) -> String {
    let parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let root = if directory.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}
