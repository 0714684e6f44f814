//! Stages that may not stand where they do: what to say of each.

use super::chain::Before;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::scope::Flow;
use super::signature::{Artifact, Interface, Kind, ParameterType};
use crate::syntax::ast;

impl Checker<'_> {
    /// Reports a stage that may not stand where it does.
    pub(super) fn order(&mut self, signature: &Interface, call: &ast::Call, before: Before) {
        let name = signature.name;
        let shown = shown(call);
        let error = match before {
            None if signature.input.is_empty() => return,
            None => {
                let beginner = self.registry.of_kind(Kind::Stage).find(|stage| stage.input.is_empty());
                let beginner = beginner.map_or(String::new(), |stage| format!(", or begin with `{}`", stage.name));
                Diagnostic::error(
                    "ftp::order::needs_model",
                    call.name.span,
                    format!("`{name}` needs a model, but begins the chain"),
                )
                .label("no model before it")
                .help(format!("put a model before it: `base -> {shown}`{beginner}"))
            }
            Some(Some(flow)) if signature.input.is_empty() => {
                let left = flow.artifact.map_or("something", Artifact::phrase);
                Diagnostic::error(
                    "ftp::order::begins_chain",
                    call.name.span,
                    format!("`{name}` makes a new model, so it can only begin a chain"),
                )
                .label("begins a chain")
                .related(flow.span, format!("{left}, which `{name}` would throw away"))
                .help(format!("move `{name}` to the beginning, or remove it"))
            }
            Some(flow) => {
                let Some((flow, artifact)) = flow.and_then(|flow| flow.artifact.map(|artifact| (flow, artifact)))
                else {
                    return;
                };
                if signature.input.contains(&artifact) {
                    return;
                }
                self.misplaced(signature, call, flow, artifact)
            }
        };
        self.report(error);
    }

    /// A stage that can't take what stands left of its arrow.
    fn misplaced(&self, signature: &Interface, call: &ast::Call, flow: &Flow, artifact: Artifact) -> Diagnostic {
        let name = signature.name;
        match artifact {
            Artifact::Models => Diagnostic::error(
                "ftp::types::wrong_input",
                call.name.span,
                format!("`{name}` takes one model, but this is a list"),
            )
            .label("takes one model")
            .related(flow.span, "several models")
            .help(format!("make one of them, `-> select`, or do it for each: `each(..) (.. -> {name}(..))`")),
            Artifact::Ensemble => Diagnostic::error(
                "ftp::types::wrong_input",
                call.name.span,
                format!("`{name}` takes one model, but this is an ensemble"),
            )
            .label("takes one model")
            .related(flow.span, "models that answer together")
            .help("end the pipeline with the ensemble, or make one model of the list: `-> average`"),
            _ if signature.input == [Artifact::Models] => Diagnostic::error(
                "ftp::types::wrong_input",
                call.name.span,
                format!("`{name}` takes a list of models, but this is {}", artifact.phrase()),
            )
            .label("takes several models")
            .related(flow.span, artifact.phrase())
            .help(format!("make several: `each(seed in 1..5) finetune(target) -> {name}`")),
            Artifact::Parametrised | Artifact::Loaded if signature.input == [Artifact::Model] => Diagnostic::error(
                "ftp::order::already_parametrised",
                call.name.span,
                format!("`{name}` follows a model that has a delta attached already"),
            )
            .label("attaches a second one")
            .related(flow.span, "attached here, not trained yet")
            .help(match artifact {
                Artifact::Loaded => "use the saved one as it is before the next is attached: `-> evaluate -> peft(..)`",
                _ => "train both together, `peft(stack(lora, bitfit))`, or the first before the second: `-> finetune(target)`",
            }),
            Artifact::Parametrised | Artifact::Loaded => Diagnostic::error(
                "ftp::order::delta_not_trained",
                call.name.span,
                format!("`{name}` follows a model whose delta nothing has trained"),
            )
            .label("takes a trained model")
            .related(flow.span, "attached here, not trained yet")
            .help("put a training stage between them: `-> finetune(target)`"),
            Artifact::Text | Artifact::Labelled | Artifact::Delta => {
                let takes =
                    signature.parameters.iter().any(|parameter| parameter.ty == ParameterType::Artifact(artifact));
                let own = match takes && call.arguments.as_ref().is_none_or(Vec::is_empty) {
                    true => {
                        format!("put a model before the arrow and the data into the parentheses: `base -> {name}(..)`")
                    }
                    false => "begin the chain with a model: `let base = hf(\"..\")`".to_owned(),
                };
                Diagnostic::error(
                    "ftp::types::not_a_model",
                    flow.span,
                    format!("`{name}` needs a model before its arrow, but this is {}", artifact.phrase()),
                )
                .label(artifact.phrase())
                .related(call.name.span, "needs a model")
                .help(own)
            }
            Artifact::Model => {
                Diagnostic::error("ftp::types::wrong_input", call.name.span, format!("`{name}` can't follow a model"))
                    .label("takes something else")
                    .related(flow.span, "a model")
                    .help(format!("`ftp methods {name}` says what it takes"))
            }
        }
    }
}

/// A call as an example: its arguments only hinted at.
fn shown(call: &ast::Call) -> String {
    let name = &call.name.text;
    if call.arguments.as_ref().is_some_and(|arguments| !arguments.is_empty()) {
        format!("{name}(..)")
    } else {
        name.clone()
    }
}
