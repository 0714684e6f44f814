//! Chains: which node follows which, and whether it may.

use indexmap::IndexMap;

use super::arguments::Arguments;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::Node;
use super::scope::{Declaration, Flow, Meaning};
use super::signature::{Artifact, Kind, ParameterType, Signature};
use super::suggest;
use super::world::{SourceFacts, SourceRequest};
use crate::syntax::ast;

impl<'a> Checker<'a> {
    /// Walks a chain from left to right. `bound` is the `let` it belongs to, which names a lone source. `None` after an
    /// error that leaves nothing to go on with.
    pub(super) fn chain_flow(&mut self, chain: &'a ast::Chain, bound: Option<&str>) -> Option<Flow> {
        let (first, stages) = chain.calls.split_first()?;
        let alone = stages.is_empty();
        let mut flow = self.beginning(first, bound.filter(|_| alone), alone);
        for call in stages {
            let next = self.step(call, flow.as_ref());
            flow = next.or_else(|| flow.map(|flow| Flow { artifact: None, ..flow }));
        }
        flow
    }

    /// What begins a chain: a name, a source, or a stage that needs no model.
    fn beginning(&mut self, call: &'a ast::Call, bound: Option<&str>, alone: bool) -> Option<Flow> {
        let name = call.name.text.as_str();
        let method = self.registry.get(name);
        let is_named = self.scope.contains_key(name) && (call.arguments.is_none() || method.is_none());
        if is_named {
            return self.named(call);
        }
        match method {
            Some(signature) if signature.kind == Kind::Source => self.source(signature, call, bound),
            Some(signature) if signature.kind == Kind::Stage => self.stage(signature, call, None),
            Some(_) => {
                self.delta_in_chain(call);
                None
            }
            None => {
                self.unknown_beginning(call, alone);
                None
            }
        }
    }

    /// A declared name at the beginning of a chain.
    fn named(&mut self, call: &'a ast::Call) -> Option<Flow> {
        let name = call.name.text.as_str();
        let meaning = self.resolve(name, call.name.span);
        if call.arguments.is_some() {
            self.report(
                Diagnostic::error(
                    "ftp::name::not_a_method",
                    call.name.span,
                    format!("`{name}` is no method, so it takes no arguments"),
                )
                .label("declared in this file")
                .help(format!("write `{name}` alone")),
            );
            return None;
        }
        match meaning? {
            Meaning::Flow(flow) => Some(Flow { span: call.name.span, ..flow }),
            Meaning::Error => None,
            Meaning::Value(super::literal::Literal::Error) => None,
            Meaning::Value(literal) => {
                self.report(
                    Diagnostic::error(
                        "ftp::types::not_a_model",
                        call.name.span,
                        format!("a chain begins with a model, but `{name}` is {}", literal.phrase()),
                    )
                    .label("a plain value")
                    .help(format!("declare a model, `let base = hf({name})`, and begin with `base`")),
                );
                None
            }
        }
    }

    /// A call right of an arrow.
    fn step(&mut self, call: &'a ast::Call, before: Option<&Flow>) -> Option<Flow> {
        let name = call.name.text.as_str();
        match self.registry.get(name) {
            Some(signature) if signature.kind == Kind::Stage => self.stage(signature, call, Some(before)),
            Some(method) if method.kind == Kind::Delta => {
                self.delta_in_chain(call);
                None
            }
            Some(signature) if call.arguments.is_some() || !self.scope.contains_key(name) => {
                self.report(
                    Diagnostic::error(
                        "ftp::order::source_in_chain",
                        call.name.span,
                        format!("`{name}` declares {}; it can't stand inside a chain", signature.output.phrase()),
                    )
                    .label("not a stage")
                    .help(format!(
                        "declare it with `let data = {name}(..)` and give it to a stage: `-> {}`",
                        self.stage_for(signature.output, "data")
                    )),
                );
                None
            }
            _ if self.scope.contains_key(name) => {
                self.name_in_chain(call);
                None
            }
            _ => {
                let stages: Vec<&str> = self.registry.of_kind(Kind::Stage).map(|stage| stage.name).collect();
                let mut error = Diagnostic::error(
                    "ftp::name::unknown_stage",
                    call.name.span,
                    format!("there is no stage `{name}`"),
                )
                .label("expected a stage");
                suggest::offer(&mut error, name, &stages, "the stages are");
                self.report(error);
                self.arguments_of_unknown(call);
                None
            }
        }
    }

    /// A declared name right of an arrow, where only stages may stand.
    fn name_in_chain(&mut self, call: &'a ast::Call) {
        let name = call.name.text.as_str();
        let artifact = match self.resolve(name, call.name.span) {
            Some(Meaning::Flow(flow)) => flow.artifact,
            Some(Meaning::Value(literal)) if literal != super::literal::Literal::Error => None,
            _ => return,
        };
        let (what, help) = match artifact {
            Some(artifact @ (Artifact::Text | Artifact::Labelled)) => {
                (artifact.phrase(), format!("give it to a stage: `-> {}`", self.stage_for(artifact, name)))
            }
            Some(artifact) => (artifact.phrase(), format!("begin the chain with it: `{name} -> ..`")),
            None => ("a plain value", "give it to a stage as an argument".to_owned()),
        };
        self.report(
            Diagnostic::error("ftp::order::not_a_stage", call.name.span, format!("`{name}` is {what}, not a stage"))
                .label("only a stage may follow an arrow")
                .help(help),
        );
    }

    /// A call of a stage that takes such data, as an example; the last one listed is the most common.
    fn stage_for(&self, artifact: Artifact, name: &str) -> String {
        let takes = |stage: &&Signature| {
            !stage.input.is_empty()
                && stage.parameters.iter().any(|parameter| parameter.ty == ParameterType::Artifact(artifact))
        };
        let stage = self.registry.of_kind(Kind::Stage).filter(takes).last();
        format!("{}({name})", stage.map_or("finetune", |stage| stage.name))
    }

    fn delta_in_chain(&mut self, call: &ast::Call) {
        let name = &call.name.text;
        self.report(
            Diagnostic::error(
                "ftp::order::delta_in_chain",
                call.name.span,
                format!("`{name}` is a delta method, not a stage"),
            )
            .label("attached by `peft`")
            .help(format!("write `peft({name})`")),
        );
    }

    fn unknown_beginning(&mut self, call: &'a ast::Call, alone: bool) {
        let name = call.name.text.as_str();
        let sources = self.registry.of_kind(Kind::Source).map(|signature| signature.name);
        let stages = self.registry.of_kind(Kind::Stage).map(|signature| signature.name);
        let declared = self.scope.iter().filter(|(_, entry)| !matches!(entry.declaration, Declaration::Param));
        let declared = declared.map(|(name, _)| *name);
        let (code, what, candidates): (_, _, Vec<&str>) = match (&call.arguments, alone) {
            (Some(_), true) => ("ftp::name::unknown_source", "source or stage", sources.chain(stages).collect()),
            (Some(_), false) => ("ftp::name::unknown_stage", "stage", stages.chain(sources).collect()),
            (None, _) => ("ftp::name::unknown", "", declared.chain(stages).collect()),
        };
        let message = match what {
            "" => format!("nothing is named `{name}`"),
            what => format!("there is no {what} `{name}`"),
        };
        let mut error = Diagnostic::error(code, call.name.span, message);
        error.label = if what.is_empty() {
            "expected a model or a stage to begin with".into()
        } else {
            format!("expected a {what}")
        };
        suggest::fix(&mut error, name, candidates.iter().copied());
        error.help = match (suggest::nearest(name, candidates.iter().copied()), &call.arguments) {
            (Some(near), _) => Some(format!("did you mean `{near}`?")),
            (None, None) => Some(format!("declare it: `let {name} = hf(\"..\")`")),
            (None, Some(_)) => suggest::help(name, &candidates, "there are"),
        };
        self.report(error);
        self.arguments_of_unknown(call);
    }

    /// The arguments of an unknown method can't be checked, but what they name is used.
    fn arguments_of_unknown(&mut self, call: &ast::Call) {
        for argument in call.arguments.iter().flatten() {
            if let ast::ValueKind::Word(name) = &argument.value.kind
                && let Some(entry) = self.scope.get_mut(name.as_str())
            {
                entry.used = true;
            }
        }
    }

    /// A stage. `before` is what stands left of the arrow: `None` at the beginning of a chain, `Some(None)` after an
    /// error.
    fn stage(&mut self, signature: &'a Signature, call: &'a ast::Call, before: Option<Option<&Flow>>) -> Option<Flow> {
        // After an error of order, what follows is judged as if the stage were in its place.
        self.order(signature, call, before);
        // Data before the arrow was probably meant to be an argument; one error is enough then.
        let is_data = |flow: &Flow| matches!(flow.artifact, Some(Artifact::Text | Artifact::Labelled));
        let strict = !before.flatten().is_some_and(is_data);
        let given = call.arguments.as_deref().unwrap_or(&[]);
        let arguments = self.arguments(signature, given, call.name.span, strict);
        let before = before.flatten();
        let mut inputs = IndexMap::new();
        if let Some(flow) = before {
            inputs.insert("model".to_owned(), flow.node);
        }
        inputs.extend(arguments.inputs);
        let node = self.add_node(Node {
            kind: Kind::Stage,
            method: signature.name.to_owned(),
            version: signature.version,
            label: label(signature.name, &arguments.shown),
            parameters: arguments.parameters,
            inputs,
            delta: arguments.delta,
            output: signature.output,
            source: None,
            span: call.span,
        });
        let mut stages = before.map(|flow| flow.stages.clone()).unwrap_or_default();
        stages.push(node);
        Some(Flow { artifact: Some(signature.output), node, stages, span: call.span })
    }

    /// Reports a stage that may not stand where it does.
    fn order(&mut self, signature: &Signature, call: &ast::Call, before: Option<Option<&Flow>>) {
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
    fn misplaced(&self, signature: &Signature, call: &ast::Call, flow: &Flow, artifact: Artifact) -> Diagnostic {
        let name = signature.name;
        match artifact {
            Artifact::Parametrised => Diagnostic::error(
                "ftp::order::already_parametrised",
                call.name.span,
                format!("`{name}` follows a model that has a delta attached already"),
            )
            .label("attaches a second one")
            .related(flow.span, "attached here, not trained yet")
            .help("remove one of the two, or train the first before the second: `-> finetune(target)`"),
            Artifact::Text | Artifact::Labelled => {
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

    /// A source: asks the world what is there.
    fn source(&mut self, signature: &'a Signature, call: &'a ast::Call, bound: Option<&str>) -> Option<Flow> {
        let given = call.arguments.as_deref().unwrap_or(&[]);
        let arguments = self.arguments(signature, given, call.name.span, true);
        let facts = if arguments.failed { None } else { self.describe(signature, call, &arguments) };
        let node = self.add_node(Node {
            kind: Kind::Source,
            method: signature.name.to_owned(),
            version: signature.version,
            label: bound.unwrap_or(signature.name).to_owned(),
            parameters: arguments.parameters,
            inputs: arguments.inputs,
            delta: None,
            output: signature.output,
            source: facts,
            span: call.span,
        });
        Some(Flow { artifact: Some(signature.output), node, stages: vec![], span: call.span })
    }

    fn describe(&mut self, signature: &Signature, call: &ast::Call, arguments: &Arguments) -> Option<SourceFacts> {
        let values = arguments.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value.clone()));
        let request = SourceRequest { method: signature.name.to_owned(), parameters: values.collect() };
        let errors = match self.world.describe(&request) {
            Ok(facts) => return Some(facts),
            Err(errors) => errors,
        };
        for error in errors {
            let argument = error.parameter.and_then(|name| arguments.parameters.get(name)?.span);
            let mut diagnostic =
                Diagnostic::error(error.code, argument.unwrap_or(call.span), error.message).label(error.label);
            diagnostic.help = error.help;
            self.report(diagnostic);
        }
        None
    }
}

/// `finetune(target)`.
fn label(method: &str, shown: &[String]) -> String {
    if shown.is_empty() { method.to_owned() } else { format!("{method}({})", shown.join(", ")) }
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
