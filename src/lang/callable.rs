//! Recipes and stages as values: which of them fit a parameter that takes one, and what is known of one that may be any.

use super::chain::Before;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::fit;
use super::recipe::Made;
use super::scope::{Callable, Flow, Meaning};
use super::signature::{Artifact, Default, Formal, Interface, Kind, ParameterType};
use crate::syntax::{Span, ast};

impl<'a> Checker<'a> {
    /// A call of a recipe's parameter while the recipe itself is checked.
    pub(super) fn any_call(&mut self, takes: &[Artifact], call: &'a ast::Call, before: Before) -> Option<Flow> {
        let interface = Interface {
            name: &call.name.text,
            kind: Kind::Stage,
            version: 0,
            summary: "",
            docs: "",
            input: &[Artifact::Model, Artifact::Parametrised, Artifact::Loaded],
            output: Artifact::Model,
            parameters: vec![],
            reports: true,
            saved_as: None,
        };
        let given = call.arguments.as_deref().unwrap_or(&[]);
        let named = given.iter().find(|argument| argument.name.is_some());
        if given.len() != takes.len() || named.is_some() {
            let name = &call.name.text;
            let wanted: Vec<&str> = takes.iter().map(|artifact| artifact.phrase()).collect();
            let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(" and ") };
            self.report(
                Diagnostic::error(
                    "ftp::recipe::other_arguments",
                    named.map_or(call.span, |argument| argument.span),
                    format!("`{name}` may be any recipe that takes {wanted}, and nothing else can be given to it"),
                )
                .label("what it takes beside that is not known")
                .help("leave other arguments to the recipe that is given"),
            );
            return None;
        }
        for (argument, artifact) in given.iter().zip(takes) {
            let formal = Formal::required("argument", ParameterType::Artifact(*artifact), "");
            self.slot(&interface, &formal, &argument.value);
        }
        self.order(&interface, call, before);
        let node = self.imagine(Artifact::Model, call.span);
        Some(Flow::new(Artifact::Model, node, vec![node], call.span))
    }

    fn makes_no_model(&mut self, formal: &Formal, name: &str, made: Artifact, at: Span) {
        self.report(
            Diagnostic::error(
                "ftp::recipe::does_not_fit",
                at,
                format!("`{}` expects {}; `{name}` makes {}", formal.name, fit::phrase(&formal.ty), made.phrase()),
            )
            .label(format!("makes {}", made.phrase()))
            .help("give one that makes a model"),
        );
    }

    /// A recipe or a stage by its name, for a parameter that takes one.
    pub(super) fn recipe_slot(
        &mut self,
        formal: &Formal,
        wanted: &[Artifact],
        name: &str,
        at: Span,
    ) -> Option<Callable> {
        let meaning = match self.is_named(name) {
            true => self.resolve(name, at)?,
            false => match self.method_meaning(name) {
                Some(meaning) => meaning,
                None => {
                    self.unknown_recipe(name, at);
                    return None;
                }
            },
        };
        let (fits, callable) = match meaning {
            Meaning::Recipe(Callable::Recipe(number)) => {
                let made = self.define(number);
                if let Made::Artifact(made) = made
                    && made != Artifact::Model
                {
                    self.makes_no_model(formal, name, made, at);
                    return None;
                }
                (made == Made::Error || self.recipes[number].takes(wanted), Callable::Recipe(number))
            }
            Meaning::Recipe(Callable::Stage(stage)) => {
                let signature = self.registry.get(&stage)?;
                let model = signature.input.contains(&Artifact::Model) && signature.output == Artifact::Model;
                (model && takes(signature, wanted), Callable::Stage(stage))
            }
            Meaning::Recipe(Callable::Any(given)) => (given == wanted, Callable::Any(given)),
            other if other.is_error() => return None,
            other => {
                self.report(
                    Diagnostic::error(
                        "ftp::value::wrong_type",
                        at,
                        format!(
                            "`{}` expects {}, but `{name}` is {}",
                            formal.name,
                            fit::phrase(&formal.ty),
                            other.phrase()
                        ),
                    )
                    .label("neither a recipe nor a stage")
                    .help("give the name of one, such as `finetune`"),
                );
                return None;
            }
        };
        if !fits {
            self.report(
                Diagnostic::error(
                    "ftp::recipe::does_not_fit",
                    at,
                    format!("`{}` expects {}; `{name}` takes something else", formal.name, fit::phrase(&formal.ty)),
                )
                .label("takes something else")
                .help("give one that takes a model and just that, and has defaults for the rest"),
            );
            return None;
        }
        Some(callable)
    }

    fn unknown_recipe(&mut self, name: &str, at: Span) {
        let stages = self.registry.of_kind(Kind::Stage).map(|stage| stage.name);
        let known: Vec<&str> = self.recipe_names().into_iter().chain(stages).collect();
        let mut error = Diagnostic::error("ftp::name::unknown", at, format!("there is no recipe or stage `{name}`"))
            .label("expected a recipe or a stage");
        super::suggest::offer(&mut error, name, &known, "there are");
        self.report(error);
    }

    /// What the name of a method means where a recipe or a delta may be given.
    pub(super) fn method_meaning(&self, name: &str) -> Option<Meaning> {
        let signature = self.registry.get(name)?;
        match signature.kind {
            Kind::Delta => Some(Meaning::Delta(Some(signature.name))),
            Kind::Stage => Some(Meaning::Recipe(Callable::Stage(signature.name.to_owned()))),
            Kind::Source => None,
        }
    }
}

/// Whether it can be called with just these, by their places.
pub(super) fn takes(interface: &Interface, wanted: &[Artifact]) -> bool {
    let mut positional = interface.parameters.iter().filter(|formal| formal.positional);
    let by_place = wanted
        .iter()
        .all(|artifact| positional.next().is_some_and(|formal| formal.ty == ParameterType::Artifact(*artifact)));
    let needed = interface.parameters.iter().filter(|formal| formal.default == Default::Required).count();
    let given = interface.parameters.iter().filter(|formal| formal.positional).take(wanted.len());
    by_place && needed == given.filter(|formal| formal.default == Default::Required).count()
}
