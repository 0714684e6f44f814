//! Chains: which node follows which, and whether it may.

use indexmap::IndexMap;

use super::arguments::Arguments;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::Node;
use super::scope::{Declaration, Flow, Meaning, Member};
use super::signature::{Artifact, Default, Formal, Kind, ParameterType, Signature};
use super::suggest;
use super::world::{SourceFacts, SourceRequest};
use crate::syntax::ast;

/// What stands left of a call: nothing at the beginning of a chain, else what the chain has come to, if that is known.
pub(super) type Before<'f> = Option<Option<&'f Flow>>;

impl<'a> Checker<'a> {
    /// Walks a chain from left to right. `bound` is the `let` it belongs to, which names a lone source. `None` after an
    /// error that leaves nothing to go on with.
    pub(super) fn chain_flow(&mut self, chain: &'a ast::Chain, bound: Option<&str>) -> Option<Flow> {
        let alone = chain.links.len() == 1;
        let mut flow: Option<Flow> = None;
        for (at, link) in chain.links.iter().enumerate() {
            let before = (at > 0).then_some(flow.as_ref());
            let next = match link {
                ast::Link::Call(call) => self.calls(std::slice::from_ref(call), before, bound.filter(|_| alone), alone),
                ast::Link::Each(each) => self.each(each, before),
                ast::Link::If(choice) => self.choice(choice, before, alone),
                ast::Link::Models(models) => match before {
                    None => self.models(models),
                    Some(_) => {
                        self.models_in_chain(models);
                        None
                    }
                },
            };
            flow = next.or_else(|| flow.map(|flow| Flow { artifact: None, ..flow }));
        }
        flow
    }

    /// Calls one after the other, as they stand in a chain.
    pub(super) fn calls(
        &mut self,
        calls: &'a [ast::Call],
        before: Before,
        bound: Option<&str>,
        alone: bool,
    ) -> Option<Flow> {
        let mut flow: Option<Flow> = before.flatten().cloned();
        for (at, call) in calls.iter().enumerate() {
            let next = match before {
                None if at == 0 => self.beginning(call, bound, alone),
                _ => self.step(call, flow.as_ref()),
            };
            flow = next.or_else(|| flow.map(|flow| Flow { artifact: None, ..flow }));
        }
        flow
    }

    fn models_in_chain(&mut self, models: &ast::Models) {
        self.report(
            Diagnostic::error("ftp::order::not_a_stage", models.span, "a list of models can only begin a chain")
                .label("only a stage may follow an arrow")
                .help("begin a chain with it: `[small, large] -> ensemble`"),
        );
    }

    /// What begins a chain: a name, a source, or a stage that needs no model.
    fn beginning(&mut self, call: &'a ast::Call, bound: Option<&str>, alone: bool) -> Option<Flow> {
        let name = call.name.text.as_str();
        let method = self.registry.get(name);
        let is_named = self.is_named(name) && (call.arguments.is_none() || method.is_none());
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
        let meaning = match self.resolve(name, call.name.span)? {
            Meaning::Recipe(callable) => return self.called(callable, call, None),
            meaning if meaning.is_error() => {
                self.arguments_of_unknown(call);
                return None;
            }
            meaning => meaning,
        };
        if call.arguments.is_some() {
            self.not_a_method(call);
            return None;
        }
        match meaning {
            Meaning::Flow(flow) => Some(Flow { span: call.name.span, ..flow }),
            Meaning::List(items) => self.list_of_models(items, call),
            meaning => {
                self.report(
                    Diagnostic::error(
                        "ftp::types::not_a_model",
                        call.name.span,
                        format!("a chain begins with a model, but `{name}` is {}", meaning.phrase()),
                    )
                    .label(if matches!(meaning, Meaning::Value(_)) { "a plain value" } else { "not a model" })
                    .help(format!("declare a model, `let base = hf({name})`, and begin with `base`")),
                );
                None
            }
        }
    }

    fn not_a_method(&mut self, call: &ast::Call) {
        let name = &call.name.text;
        self.report(
            Diagnostic::error(
                "ftp::name::not_a_method",
                call.name.span,
                format!("`{name}` is no method, so it takes no arguments"),
            )
            .label("declared in this file")
            .help(format!("write `{name}` alone")),
        );
    }

    fn list_of_models(&mut self, items: Vec<(String, Meaning)>, call: &ast::Call) -> Option<Flow> {
        let mut members = vec![];
        for (name, item) in items {
            match item {
                Meaning::Flow(flow) if flow.artifact == Some(Artifact::Model) => {
                    members.push(Member { name, node: flow.node, stages: flow.stages });
                }
                Meaning::Flow(flow) if flow.artifact == Some(Artifact::Models) => members.extend(flow.members),
                other => {
                    self.report(
                        Diagnostic::error(
                            "ftp::types::not_a_model",
                            call.name.span,
                            format!("a list in a chain is one of models, but `{name}` in it is {}", other.phrase()),
                        )
                        .label("not a list of models")
                        .help(
                            "put models into it, or give the list to `each`: `each(task in tasks) intermediate(task)`",
                        ),
                    );
                    return None;
                }
            }
        }
        Flow::of_members(members, call.name.span)
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
            Some(signature) if call.arguments.is_some() || !self.is_named(name) => {
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
            _ if self.is_named(name) => match self.resolve(name, call.name.span) {
                Some(Meaning::Recipe(callable)) => self.called(callable, call, Some(before)),
                Some(meaning) => {
                    self.name_in_chain(call, &meaning);
                    self.arguments_of_unknown(call);
                    None
                }
                None => None,
            },
            _ => {
                let stages = self.registry.of_kind(Kind::Stage).map(|stage| stage.name);
                let stages: Vec<&str> = stages.chain(self.recipe_names()).collect();
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

    /// The recipes that this file declares, and parameters that hold one.
    pub(super) fn recipe_names(&self) -> Vec<&'a str> {
        let recipes = self.scope().iter().filter(|(_, entry)| matches!(entry.declaration, Declaration::Recipe(_)));
        let locals = self.frame.locals.iter().filter(|(_, local)| matches!(local.meaning, Meaning::Recipe(_)));
        recipes.map(|(name, _)| *name).chain(locals.map(|(name, _)| *name)).collect()
    }

    /// A declared name right of an arrow, where only stages and recipes may stand.
    fn name_in_chain(&mut self, call: &ast::Call, meaning: &Meaning) {
        let name = call.name.text.as_str();
        if meaning.is_error() {
            return;
        }
        let (what, help) = match meaning {
            Meaning::Flow(Flow { artifact: Some(artifact @ (Artifact::Text | Artifact::Labelled)), .. }) => {
                (artifact.phrase().to_owned(), format!("give it to a stage: `-> {}`", self.stage_for(*artifact, name)))
            }
            Meaning::Flow(Flow { artifact: Some(Artifact::Delta), .. }) => {
                (Artifact::Delta.phrase().to_owned(), format!("attach it: `-> peft({name})`"))
            }
            Meaning::Flow(Flow { artifact: Some(artifact), .. }) => {
                (artifact.phrase().to_owned(), format!("begin the chain with it: `{name} -> ..`"))
            }
            Meaning::Delta(_) | Meaning::Stack(_) => (meaning.phrase(), format!("write `peft({name})`")),
            Meaning::Value(_) => ("a plain value".to_owned(), "give it to a stage as an argument".to_owned()),
            other => (other.phrase(), "give it to a stage as an argument".to_owned()),
        };
        self.report(
            Diagnostic::error("ftp::order::not_a_stage", call.name.span, format!("`{name}` is {what}, not a stage"))
                .label("only a stage may follow an arrow")
                .help(help),
        );
    }

    /// A call of a stage that takes such data, as an example; the last one listed is the most common.
    fn stage_for(&self, artifact: Artifact, name: &str) -> String {
        let needs = |stage: &Signature, class: fn(&Default) -> bool| {
            let fits =
                |parameter: &Formal| parameter.ty == ParameterType::Artifact(artifact) && class(&parameter.default);
            !stage.input.is_empty() && stage.parameters.iter().any(fits)
        };
        let stages: Vec<&Signature> = self.registry.of_kind(Kind::Stage).collect();
        // One that can't do without it, rather than one that may have it besides.
        let required = stages.iter().rfind(|stage| needs(stage, |default| *default == Default::Required));
        let stage = required.or_else(|| stages.iter().rfind(|stage| needs(stage, |_| true)));
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
        let declared = self.scope().iter().filter(|(_, entry)| !matches!(entry.declaration, Declaration::Param));
        let models = self.frame.locals.iter().filter(|(_, local)| matches!(local.meaning, Meaning::Flow(_)));
        let declared = models.map(|(name, _)| *name).chain(declared.map(|(name, _)| *name));
        let recipes = self.recipe_names();
        let (code, what, candidates): (_, _, Vec<&str>) = match (&call.arguments, alone) {
            (Some(_), true) => {
                ("ftp::name::unknown_source", "source or stage", sources.chain(stages).chain(recipes).collect())
            }
            (Some(_), false) => ("ftp::name::unknown_stage", "stage", stages.chain(sources).chain(recipes).collect()),
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
    pub(super) fn arguments_of_unknown(&mut self, call: &ast::Call) {
        for argument in call.arguments.iter().flatten() {
            if let ast::ValueKind::Word(name) = &argument.value.kind {
                self.mark_used(name);
            }
        }
    }

    /// A stage. `before` is what stands left of the arrow: `None` at the beginning of a chain, `Some(None)` after an
    /// error.
    pub(super) fn stage(&mut self, signature: &Signature, call: &ast::Call, before: Before) -> Option<Flow> {
        // After an error of order, what follows is judged as if the stage were in its place.
        self.order(signature, call, before);
        // Data before the arrow was probably meant to be an argument; one error is enough then.
        let is_data =
            |flow: &Flow| matches!(flow.artifact, Some(Artifact::Text | Artifact::Labelled | Artifact::Delta));
        let strict = !before.flatten().is_some_and(is_data);
        let given = call.arguments.as_deref().unwrap_or(&[]);
        let arguments = self.arguments(signature, given, call.name.span, strict);
        let before = before.flatten();
        if signature.output == Artifact::Models {
            return self.race(signature, call, before, arguments);
        }
        let mut inputs = IndexMap::new();
        if let Some(flow) = before {
            match flow.artifact {
                Some(Artifact::Models) if signature.input.contains(&Artifact::Models) => {
                    inputs.extend(
                        flow.members.iter().enumerate().map(|(at, member)| (format!("models.{at}"), member.node)),
                    );
                }
                _ => {
                    inputs.insert("model".to_owned(), flow.node);
                }
            }
        }
        inputs.extend(arguments.flows.into_iter().map(|(slot, flow)| (slot, flow.node)));
        self.inherit(signature, &mut inputs);
        let output = if arguments.saved { Artifact::Loaded } else { signature.output };
        let node = self.add_node(Node {
            kind: Kind::Stage,
            method: signature.name.to_owned(),
            version: signature.version,
            label: label(signature.name, &arguments.shown),
            parameters: arguments.parameters,
            inputs,
            deltas: arguments.deltas,
            contest: None,
            output,
            source: None,
            span: call.span,
        });
        let mut stages = before.map(|flow| flow.stages.clone()).unwrap_or_default();
        stages.push(node);
        Some(Flow::new(output, node, stages, call.span))
    }

    /// A set that may be left out is the one that all models before have learnt last.
    fn inherit(&self, signature: &Signature, inputs: &mut IndexMap<String, usize>) {
        for formal in &signature.parameters {
            let ParameterType::Artifact(wanted) = formal.ty else { continue };
            if formal.default == super::signature::Default::Required || inputs.contains_key(formal.name) {
                continue;
            }
            let last = |node: &usize| {
                let inputs = self.program.nodes[*node].inputs.values();
                inputs.copied().find(|input| self.program.nodes[*input].output == wanted)
            };
            let sets: Vec<Option<usize>> = inputs.values().map(last).collect();
            if let Some(Some(first)) = sets.first()
                && sets.iter().all(|set| *set == Some(*first))
            {
                inputs.insert(formal.name.to_owned(), *first);
            }
        }
    }

    /// A source: asks the world what is there.
    fn source(&mut self, signature: &'a Signature, call: &'a ast::Call, bound: Option<&str>) -> Option<Flow> {
        let given = call.arguments.as_deref().unwrap_or(&[]);
        let arguments = self.arguments(signature, given, call.name.span, true);
        // What is not going to be read need not be there.
        let wanted = !arguments.failed && self.imagined == 0;
        let facts = if wanted { self.describe(signature, call, &arguments) } else { None };
        let node = self.add_node(Node {
            kind: Kind::Source,
            method: signature.name.to_owned(),
            version: signature.version,
            label: bound.unwrap_or(signature.name).to_owned(),
            parameters: arguments.parameters,
            inputs: IndexMap::new(),
            deltas: vec![],
            contest: None,
            output: signature.output,
            source: facts,
            span: call.span,
        });
        Some(Flow::new(signature.output, node, vec![], call.span))
    }

    fn describe(&mut self, signature: &Signature, call: &ast::Call, arguments: &Arguments) -> Option<SourceFacts> {
        let values = arguments.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value.clone()));
        let Some(directory) = self.directories[self.file()].clone() else {
            self.report(
                Diagnostic::error(
                    "ftp::module::no_files",
                    call.span,
                    "a module of the standard library has no files of its own",
                )
                .label("relative to nothing")
                .help("take the data as a parameter"),
            );
            return None;
        };
        let request = SourceRequest { method: signature.name.to_owned(), parameters: values.collect(), directory };
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
pub(super) fn label(method: &str, shown: &[String]) -> String {
    if shown.is_empty() { method.to_owned() } else { format!("{method}({})", shown.join(", ")) }
}
