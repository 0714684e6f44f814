//! One argument's value: names looked up, checked against the parameter's type.

use super::arguments::Slot;
use super::check::Checker;
use super::diagnostic::{Diagnostic, Fix};
use super::fit::{self, Misfit};
use super::literal::{Literal, UNITS};
use super::scope::{Declaration, Meaning};
use super::signature::{Artifact, Default, Formal, Interface, Kind, ParameterType};
use super::suggest;
use super::value::Value;
use crate::syntax::{Span, ast};

const WRONG_TYPE: &str = "ftp::value::wrong_type";

impl<'a> Checker<'a> {
    /// What an argument gives to a parameter.
    pub(super) fn slot(&mut self, signature: &Interface, parameter: &Formal, value: &ast::Value) -> Slot {
        match (&parameter.ty, &value.kind) {
            (_, ast::ValueKind::Broken) => Slot::Error,
            (_, ast::ValueKind::Call(called)) => {
                self.nested(called, value.span);
                Slot::Error
            }
            (ParameterType::Artifact(wanted), ast::ValueKind::Word(name)) => {
                self.artifact(signature, parameter, *wanted, name, value.span)
            }
            (ParameterType::Delta, ast::ValueKind::Word(name)) if self.names_saved_delta(name, value.span) => {
                self.artifact(signature, parameter, Artifact::Delta, name, value.span)
            }
            (ParameterType::Delta | ParameterType::DeltaName, ast::ValueKind::Word(name)) => {
                self.delta_name(parameter.name, name, value.span)
            }
            (ParameterType::Delta | ParameterType::DeltaName, ast::ValueKind::Stack(deltas)) => {
                self.stack(parameter.name, deltas)
            }
            (ParameterType::Recipe(takes), ast::ValueKind::Word(name)) => {
                match self.recipe_slot(parameter, takes, name, value.span) {
                    Some(callable) => Slot::Recipe(callable, name.clone()),
                    None => Slot::Error,
                }
            }
            (
                ParameterType::Artifact(_) | ParameterType::Delta | ParameterType::DeltaName | ParameterType::Recipe(_),
                ast::ValueKind::If(either),
            ) => self.either_slot(signature, parameter, either),
            (
                ParameterType::Artifact(_) | ParameterType::Delta | ParameterType::DeltaName | ParameterType::Recipe(_),
                _,
            ) => {
                let literal = self.literal(value);
                if literal != Literal::Error {
                    self.not_a_name(parameter, &literal, value.span);
                }
                Slot::Error
            }
            (ParameterType::Choice(choices), ast::ValueKind::Word(name)) if choices.contains(&name.as_str()) => {
                Slot::Value(Value::Name(name.clone()))
            }
            (ParameterType::Choice(choices), ast::ValueKind::Word(name)) if !self.names_a_value(name) => {
                let misfit = fit::choice(name, choices).err();
                if let Some(misfit) = misfit {
                    self.misfit(parameter, misfit, value);
                }
                Slot::Error
            }
            (ty, _) => {
                let unquoted = self.unquoted(ty, value);
                let literal = if unquoted { Literal::Error } else { self.literal(value) };
                if literal == Literal::Error {
                    return Slot::Error;
                }
                match fit::fit(&literal, ty, parameter.default == Default::Value(Value::None)) {
                    Ok(value) => Slot::Value(value),
                    Err(mut misfit) => {
                        if let Some(sibling) = sibling(signature, ty, &literal) {
                            misfit.help = Some(sibling);
                        }
                        self.misfit(parameter, misfit, value);
                        Slot::Error
                    }
                }
            }
        }
    }

    /// One of two things by their names.
    fn either_slot(&mut self, signature: &Interface, parameter: &Formal, either: &ast::Either) -> Slot {
        let first = self.condition(&either.condition).unwrap_or(true);
        let (taken, left) = if first { (&either.then, &either.otherwise) } else { (&either.otherwise, &either.then) };
        self.imagined += 1;
        self.slot(signature, parameter, left);
        self.imagined -= 1;
        self.slot(signature, parameter, taken)
    }

    /// Whether a bare word stands where a string is expected and means nothing else.
    fn unquoted(&mut self, ty: &ParameterType, value: &ast::Value) -> bool {
        let ast::ValueKind::Word(word) = &value.kind else { return false };
        if *ty != ParameterType::String || self.names_a_value(word) {
            return false;
        }
        let names = self.value_names();
        let help = match suggest::nearest(word, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? A string stands between double quotes: `\"{word}\"`"),
            None => format!("a string stands between double quotes: `\"{word}\"`"),
        };
        self.report(
            Diagnostic::error("ftp::name::unknown", value.span, format!("nothing is named `{word}`"))
                .label("expected a string or the name of one")
                .help(help),
        );
        true
    }

    fn names_a_value(&self, name: &str) -> bool {
        matches!(name, "true" | "false" | "none") || self.is_named(name)
    }

    /// Params and lets that hold plain values.
    fn value_names(&self) -> Vec<String> {
        let values = self.scope().iter().filter(|(_, entry)| match entry.declaration {
            Declaration::Param => true,
            Declaration::Let(binding) => matches!(binding.bound, ast::Binding::Value(_)),
            _ => false,
        });
        let locals = self.frame.locals.iter().filter(|(_, local)| matches!(local.meaning, Meaning::Value(_)));
        locals.map(|(name, _)| *name).chain(values.map(|(name, _)| *name)).map(str::to_owned).collect()
    }

    /// Reports a value that does not fit its parameter; for a named value, also where it comes from.
    fn misfit(&mut self, parameter: &Formal, misfit: Misfit, value: &ast::Value) {
        let mut error = Diagnostic::error(
            misfit.code,
            misfit.span.unwrap_or(value.span),
            format!("`{}` {}", parameter.name, misfit.message),
        )
        .label(misfit.label);
        error.help = misfit.help;
        if let (ParameterType::Choice(choices), ast::ValueKind::Word(name)) = (&parameter.ty, &value.kind)
            && !self.names_a_value(name)
        {
            suggest::fix(&mut error, name, choices.iter().copied());
        }
        if let ast::ValueKind::Word(name) = &value.kind
            && let Some(declared) = self.declared_at(name)
        {
            error = error.related(declared, format!("`{name}` is declared here"));
        }
        self.report(error);
    }

    /// An artifact by its name.
    fn artifact(&mut self, signature: &Interface, parameter: &Formal, wanted: Artifact, name: &str, at: Span) -> Slot {
        let Some(meaning) = self.resolve(name, at) else {
            self.unknown_artifact(wanted, name, at);
            return Slot::Error;
        };
        let found = match meaning {
            meaning if meaning.is_error() => return Slot::Error,
            Meaning::Flow(flow) if flow.artifact == Some(wanted) => {
                // A recipe's parameter goes by the name of what it was given.
                let node = &self.program.nodes[flow.node];
                let local = self.frame.locals.contains_key(name);
                let shown = if local && node.kind == Kind::Source { node.label.clone() } else { name.to_owned() };
                return Slot::Input(flow, shown);
            }
            meaning => meaning.phrase(),
        };
        let (method, slot) = (signature.name, parameter.name);
        let declared = self.declared_at(name);
        let mut error = Diagnostic::error(
            "ftp::types::wrong_artifact",
            at,
            format!("`{method}` needs {} as its `{slot}`, but `{name}` is {found}", wanted.phrase()),
        )
        .label(format!("is {found}"))
        .help(self.instead(wanted));
        if let Some(declared) = declared {
            error = error.related(declared, "declared here");
        }
        self.report(error);
        Slot::Error
    }

    /// What to give where another artifact is needed: the file's own, when it has one.
    fn instead(&self, wanted: Artifact) -> String {
        let fitting = self.declared(wanted);
        if let Some(first) = fitting.first() {
            return format!("give {}, such as `{first}`", wanted.phrase());
        }
        let source = self.registry.of_kind(Kind::Source).find(|signature| signature.output == wanted);
        match source {
            Some(source) => format!("declare {}: `let name = {}(\"..\")`", wanted.phrase(), source.name),
            None => format!("give {}", wanted.phrase()),
        }
    }

    fn unknown_artifact(&mut self, wanted: Artifact, name: &str, at: Span) {
        let fitting = self.declared(wanted);
        let mut error = Diagnostic::error("ftp::name::unknown", at, format!("nothing is named `{name}`"))
            .label(format!("expected the name of {}", wanted.phrase()));
        suggest::fix(&mut error, name, fitting.iter().copied());
        error.help = Some(match suggest::nearest(name, fitting.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let source = self.registry.of_kind(Kind::Source).find(|signature| signature.output == wanted);
                match source {
                    Some(source) => format!("declare it: `let {name} = {}(\"..\")`", source.name),
                    None => "declare it with `let`".into(),
                }
            }
        });
        self.report(error);
    }

    /// The names of `let`s that plainly hold such an artifact.
    pub(super) fn declared(&self, wanted: Artifact) -> Vec<&'a str> {
        let names = self.scope().iter().filter(|(_, entry)| {
            let Declaration::Let(binding) = entry.declaration else { return false };
            let ast::Binding::Chain(chain) = &binding.bound else { return false };
            let last = chain.calls().last().and_then(|call| self.registry.get(&call.name.text));
            last.is_some_and(|signature| signature.output == wanted)
        });
        let fits = |local: &super::scope::Local| match &local.meaning {
            Meaning::Flow(flow) => flow.artifact == Some(wanted),
            _ => false,
        };
        let locals = self.frame.locals.iter().filter(|(_, local)| fits(local)).map(|(name, _)| *name);
        locals.chain(names.map(|(name, _)| *name)).collect()
    }

    /// Whether a name means a delta that was saved, rather than a method.
    fn names_saved_delta(&mut self, name: &str, at: Span) -> bool {
        let declared = self.is_named(name) && self.registry.get(name).is_none();
        declared
            && matches!(self.resolve(name, at), Some(Meaning::Flow(flow)) if flow.artifact == Some(Artifact::Delta))
    }

    /// A delta method by its name.
    pub(super) fn delta_name(&mut self, parameter: &str, name: &str, at: Span) -> Slot {
        // A recipe's parameter may have the name of a source or a stage.
        let method = self.registry.get(name).filter(|signature| signature.kind == Kind::Delta);
        if method.is_none() && self.is_named(name) {
            return match self.resolve(name, at) {
                Some(Meaning::Delta(method)) => Slot::Delta(method),
                Some(Meaning::Stack(deltas)) => Slot::Stack(deltas),
                Some(meaning) if !meaning.is_error() => {
                    let found = meaning.phrase();
                    self.report(
                        Diagnostic::error(
                            WRONG_TYPE,
                            at,
                            format!("`{parameter}` expects the name of a delta method, but `{name}` is {found}"),
                        )
                        .label("not a delta method")
                        .help("write the name of one, such as `lora`"),
                    );
                    Slot::Error
                }
                _ => Slot::Error,
            };
        }
        match method {
            Some(signature) => Slot::Delta(Some(signature.name)),
            None => {
                let deltas = self.registry.of_kind(Kind::Delta).map(|delta| delta.name);
                let named: Vec<&str> = deltas.chain(self.delta_names()).collect();
                let mut error =
                    Diagnostic::error("ftp::name::unknown_delta", at, format!("there is no delta method `{name}`"))
                        .label("expected a delta method");
                suggest::offer(&mut error, name, &named, "the delta methods are");
                self.report(error);
                Slot::Error
            }
        }
    }

    /// The names that stand for deltas: stacks that have one, a recipe's parameters, variables.
    fn delta_names(&self) -> Vec<&'a str> {
        let stacks = self.scope().iter().filter(|(_, entry)| match entry.declaration {
            Declaration::Let(ast::Let { bound: ast::Binding::Value(value), .. }) => {
                matches!(value.kind, ast::ValueKind::Stack(_))
            }
            _ => false,
        });
        let fits = |local: &super::scope::Local| matches!(local.meaning, Meaning::Delta(_) | Meaning::Stack(_));
        let locals = self.frame.locals.iter().filter(|(_, local)| fits(local)).map(|(name, _)| *name);
        locals.chain(stacks.map(|(name, _)| *name)).collect()
    }

    fn not_a_name(&mut self, parameter: &Formal, literal: &Literal, at: Span) {
        let expected = fit::phrase(&parameter.ty);
        let help = match parameter.ty {
            ParameterType::Artifact(wanted) => self.instead(wanted),
            _ => match literal {
                Literal::String(text) if parameter.ty == ParameterType::Delta && text.contains(['/', '.']) => {
                    format!("declare the saved delta first, `let saved = delta({text:?})`, and write `saved` here")
                }
                Literal::String(text) => format!("write the name without quotes: `{text}`"),
                _ => "write the name of one, without quotes".into(),
            },
        };
        self.report(
            Diagnostic::error(
                WRONG_TYPE,
                at,
                format!("`{}` expects {expected}, found {}", parameter.name, literal.phrase()),
            )
            .label(format!("expected {expected}"))
            .help(help),
        );
    }

    /// Reports a call where only a value may stand.
    fn nested(&mut self, called: &ast::Name, at: Span) {
        let name = &called.text;
        let data = self.registry.get(name).is_some_and(|signature| signature.kind == Kind::Source);
        let help = match data {
            true => format!("give it a name first, `let data = {name}(..)`, and write `data` here"),
            false => "write a value, or a name declared with `let`".into(),
        };
        self.report(
            Diagnostic::error("ftp::value::nested_call", at, format!("`{name}(..)` can't stand inside an argument"))
                .label("a call")
                .help(help),
        );
    }

    /// A value as written; names of params and of plain `let`s become what they hold. Errors are reported here.
    pub(super) fn literal(&mut self, value: &ast::Value) -> Literal {
        match &value.kind {
            ast::ValueKind::Int { value, unit: None } => Literal::Int(*value),
            ast::ValueKind::Float { value, unit: None } => Literal::Float(*value),
            ast::ValueKind::Int { value, unit: Some(unit) } => self.measured(*value as f64, unit),
            ast::ValueKind::Float { value, unit: Some(unit) } => self.measured(*value, unit),
            ast::ValueKind::String(text) => Literal::String(text.clone()),
            ast::ValueKind::Template(parts) => self.template(parts),
            ast::ValueKind::If(either) => self.either(either),
            ast::ValueKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| (self.literal(item), item.span)).collect();
                if items.iter().any(|(item, _)| *item == Literal::Error) {
                    Literal::Error
                } else {
                    Literal::List(items)
                }
            }
            ast::ValueKind::Word(name) => self.word(name, value.span),
            ast::ValueKind::Call(called) => {
                self.nested(called, value.span);
                Literal::Error
            }
            ast::ValueKind::Stack(_) => {
                self.report(
                    Diagnostic::error(WRONG_TYPE, value.span, "expected a plain value, but this is a stack of deltas")
                        .label("expected a plain value")
                        .help("a stack can be given to `peft(..)`, and to a recipe that takes a `delta`"),
                );
                Literal::Error
            }
            ast::ValueKind::Secret(variable) => Literal::Secret(variable.clone()),
            ast::ValueKind::Broken => Literal::Error,
        }
    }

    fn measured(&mut self, number: f64, unit: &ast::Name) -> Literal {
        Literal::with_unit(number, &unit.text).unwrap_or_else(|| {
            let spelt = match unit.text.to_lowercase().as_str() {
                "m" | "minute" | "minutes" | "mins" => Some("min"),
                "hour" | "hours" | "hrs" | "hr" => Some("h"),
                "sec" | "secs" | "second" | "seconds" => Some("s"),
                "percent" | "pct" => Some("%"),
                other => suggest::nearest(other, UNITS.iter().copied()),
            };
            let mut error =
                Diagnostic::error("ftp::value::unknown_unit", unit.span, format!("there is no unit `{}`", unit.text))
                    .label("not a unit");
            match spelt {
                // A known spelling of a unit stands for just one.
                Some(text) if suggest::nearest(&unit.text, UNITS.iter().copied()) != Some(text) => {
                    error.fix = Some(Fix { span: unit.span, text: text.to_owned() });
                }
                _ => suggest::fix(&mut error, &unit.text, UNITS.iter().copied()),
            }
            error.help = Some(match spelt {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the units are {}", suggest::quoted(UNITS)),
            });
            self.report(error);
            Literal::Error
        })
    }

    /// What a name holds, where a plain value is expected.
    pub(super) fn word(&mut self, name: &str, at: Span) -> Literal {
        match name {
            "true" => return Literal::Bool(true),
            "false" => return Literal::Bool(false),
            "none" => return Literal::None,
            _ => {}
        }
        match self.resolve(name, at) {
            Some(Meaning::Value(literal)) => literal,
            Some(meaning) if meaning.is_error() => Literal::Error,
            Some(meaning) => {
                let declared = self.declared_at(name).unwrap_or(at);
                self.report(
                    Diagnostic::error(
                        WRONG_TYPE,
                        at,
                        format!("expected a plain value, but `{name}` is {}", meaning.phrase()),
                    )
                    .label("expected a plain value")
                    .related(declared, "declared here")
                    .help("write a number, a string or the name of a param"),
                );
                Literal::Error
            }
            None => {
                let names = self.value_names();
                let deltas = self.registry.of_kind(Kind::Delta).map(|delta| delta.name);
                let names: Vec<&str> = names.iter().map(String::as_str).chain(deltas).collect();
                let mut error = Diagnostic::error("ftp::name::unknown", at, format!("nothing is named `{name}`"))
                    .label("expected a value or the name of one");
                suggest::fix(&mut error, name, names.iter().copied().chain(["true", "false", "none"]));
                error.help =
                    Some(match suggest::nearest(name, names.iter().copied().chain(["true", "false", "none"])) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("declare it with `let {name} = ..`, or write the value itself"),
                    });
                self.report(error);
                Literal::Error
            }
        }
    }
}

/// For epochs given as steps, or the other way round: the parameter that takes them.
fn sibling(signature: &Interface, ty: &ParameterType, literal: &Literal) -> Option<String> {
    let (wanted, value) = match (ty, literal) {
        (ParameterType::Epochs, Literal::Steps(value)) => (ParameterType::Steps, value),
        (ParameterType::Steps, Literal::Epochs(value)) => (ParameterType::Epochs, value),
        _ => return None,
    };
    let parameter = signature.parameters.iter().find(|parameter| parameter.ty == wanted)?;
    Some(format!("write `{} = {value}`", parameter.name))
}
