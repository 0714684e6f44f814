//! `expect` and `publish`: what a file wants of its pipelines.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::{Expectation, Publication, Relation};
use super::literal::{Literal, number};
use super::metric;
use super::scope::Declaration;
use super::signature::{Artifact, ParameterType};
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
    }

    /// The index of a pipeline; reports names that are none. `None` also for pipelines with an error.
    fn goal_pipeline(&mut self, name: &ast::Name) -> Option<usize> {
        let text = name.text.as_str();
        let declared = self.scope.get(text).map(|entry| (entry.declaration, entry.name.span));
        match declared {
            Some((Declaration::Pipeline(_), _)) if !self.failed_pipelines.contains(text) => {
                return self.program.pipelines.iter().position(|pipeline| pipeline.name == text);
            }
            Some((Declaration::Pipeline(_) | Declaration::Broken, _)) => return None,
            Some((_, declared)) => {
                if let Some(entry) = self.scope.get_mut(text) {
                    entry.used = true;
                }
                self.report(
                    Diagnostic::error("ftp::name::not_a_pipeline", name.span, format!("`{text}` is not a pipeline"))
                        .label("expected a pipeline")
                        .related(declared, "declared here")
                        .help(format!("declare one: `pipeline my_{text} = {text} -> ..`")),
                );
            }
            None => {
                let pipelines =
                    self.scope.iter().filter(|(_, entry)| matches!(entry.declaration, Declaration::Pipeline(_)));
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
        let pipeline = self.goal_pipeline(&expect.pipeline);
        let known = pipeline.is_none_or(|pipeline| self.metric(expect, pipeline));
        let bound = self.bound(expect);
        let relation = match expect.relation.text.as_str() {
            ">=" => Relation::AtLeast,
            "<=" => Relation::AtMost,
            ">" => Relation::Above,
            _ => Relation::Below,
        };
        if let (Some(pipeline), true, Some(bound)) = (pipeline, known, bound) {
            let metric = expect.metric.text.clone();
            self.program.expectations.push(Expectation { pipeline, metric, relation, bound, span: expect.span });
        }
    }

    /// Whether the pipeline's last stage reports the metric; reports why not.
    fn metric(&mut self, expect: &ast::Expect, pipeline: usize) -> bool {
        let pipeline = &self.program.pipelines[pipeline];
        let stage = &self.program.nodes[pipeline.output];
        let reports = self.registry.get(&stage.method).is_some_and(|signature| signature.reports);
        if !reports {
            let error = Diagnostic::error(
                "ftp::expect::no_metrics",
                expect.pipeline.span.to(expect.metric.span),
                format!("`{}` ends with `{}`, which reports no metrics", pipeline.name, stage.label),
            )
            .label("there is nothing to compare")
            .related(stage.span, "the last stage")
            .help("end the pipeline with a stage that learns from labels: `-> finetune(target)`");
            self.report(error);
            return false;
        }
        let data =
            stage.inputs.values().map(|node| &self.program.nodes[*node]).find(|node| node.output == Artifact::Labelled);
        let Some(task) = data.and_then(|data| data.source.as_ref()?.task.as_ref()) else { return true };
        let metrics = metric::of(task);
        let name = expect.metric.text.as_str();
        if metrics.contains(&name) {
            return true;
        }
        let mut error = Diagnostic::error(
            "ftp::expect::unknown_metric",
            expect.metric.span,
            format!("`{}` reports no metric `{name}`", stage.label),
        )
        .label("not a metric of its task");
        if let Some(data) = data {
            let what = if matches!(task, super::world::Task::Regression) { "a regression" } else { "a classification" };
            error = error.related(data.span, format!("this is {what}"));
        }
        suggest::offer(&mut error, name, metrics, "its metrics are");
        self.report(error);
        false
    }

    fn bound(&mut self, expect: &ast::Expect) -> Option<f64> {
        let literal = self.literal(&expect.bound);
        let metric = expect.metric.text.as_str();
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

    fn publish(&mut self, publish: &'a ast::Publish, published: &mut Vec<(String, Span)>) {
        let pipeline = self.goal_pipeline(&publish.pipeline);
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
        if let Some(pipeline) = pipeline {
            self.program.publications.push(Publication { pipeline, directory, span: publish.span });
        }
    }
}

/// A path without `.` and doubled or trailing slashes, to compare.
fn plain(directory: &str) -> String {
    let parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let root = if directory.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}
