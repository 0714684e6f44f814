//! A call's arguments against its method's signature: names, types, defaults.

use indexmap::IndexMap;

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir;
use super::scope::{Callable, Flow, Meaning};
use super::signature::{Default, Formal, Interface, Kind, ParameterType, Signature};
use super::suggest;
use super::value::Value;
use crate::syntax::{Span, ast};

/// What a parameter got.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    Value(Value),
    /// An artifact and the name to show for it.
    Input(Flow, String),
    /// A delta method by name; `None` while it may be any.
    Delta(Option<&'static str>),
    /// Deltas with their arguments, to be trained together.
    Stack(Vec<ir::Delta>),
    /// A recipe or a stage and its name.
    Recipe(Callable, String),
    /// Reported already.
    Error,
}

/// A call's arguments, defaults filled in.
#[derive(std::default::Default)]
pub(super) struct Arguments {
    pub parameters: IndexMap<String, ir::Parameter>,
    pub flows: IndexMap<String, Flow>,
    /// Methods and recipes given to a recipe.
    pub names: IndexMap<String, Meaning>,
    /// For `peft`: the deltas it attaches.
    pub deltas: Vec<ir::Delta>,
    /// For `peft`: it attaches a saved delta, or may.
    pub saved: bool,
    /// What the call names itself, for its label.
    pub shown: Vec<String>,
    /// An argument is wrong or missing.
    pub failed: bool,
    /// Missing arguments are reported.
    strict: bool,
}

/// Arguments sorted by the parameter they are for.
pub(super) struct Assigned<'s> {
    pub by_parameter: IndexMap<&'s str, &'s ast::Argument>,
    /// Named arguments that are no parameter of the method: for `peft`, its delta method's.
    pub others: Vec<&'s ast::Argument>,
    pub failed: bool,
}

/// What a call of `peft` attaches.
enum Delta {
    Known(&'static str),
    Stack(Vec<ir::Delta>),
    /// Any: a recipe's parameter while the recipe itself is checked.
    Any,
    /// One that was saved with its values.
    Saved,
}

/// Whether a parameter holds a plain value.
fn takes_value(ty: &ParameterType) -> bool {
    !matches!(ty, ParameterType::Artifact(_))
}

impl Checker<'_> {
    /// Checks the arguments of a call. `at` is the name called; `strict`: missing arguments are reported.
    pub(super) fn arguments(
        &mut self,
        signature: &Interface,
        given: &[ast::Argument],
        at: Span,
        strict: bool,
    ) -> Arguments {
        let takes_delta = signature.parameters.iter().any(|parameter| parameter.ty == ParameterType::Delta);
        let assigned = self.assign(signature, given);
        let mut arguments = Arguments { failed: assigned.failed, strict, ..Arguments::default() };
        if !takes_delta {
            arguments.failed |= self.unknown_parameters(signature, &assigned.others);
        }
        let mut delta = None;
        self.fill(signature, &assigned, at, &mut arguments, &mut delta);
        if takes_delta {
            match delta {
                Some(Delta::Known(name)) => match self.registry.get(name) {
                    Some(method) => {
                        let mut own = Assigned { by_parameter: IndexMap::new(), others: vec![], failed: false };
                        for argument in &assigned.others {
                            self.assign_named(method, argument, &mut own);
                        }
                        arguments.deltas = vec![self.delta(method, own, at, &mut arguments.failed)];
                    }
                    None => arguments.failed = true,
                },
                Some(Delta::Stack(deltas)) => {
                    arguments.failed |= self.outside_stack(assigned.others.iter().copied());
                    arguments.deltas = deltas;
                }
                Some(Delta::Any) => arguments.failed |= self.of_any_delta(assigned.others.iter().copied()),
                Some(Delta::Saved) => {
                    arguments.failed |= self.of_saved_delta(&assigned.others);
                    arguments.saved = true;
                }
                // What is not understood may have been meant as one that was saved, after which more may follow.
                None => (arguments.failed, arguments.saved) = (true, true),
            }
        }
        arguments
    }

    /// Reports arguments for a delta method of which nothing is known; whether there are any.
    pub(super) fn of_any_delta<'s>(&mut self, others: impl IntoIterator<Item = &'s ast::Argument>) -> bool {
        let mut some = false;
        for argument in others {
            some = true;
            self.report(
                Diagnostic::error(
                    "ftp::recipe::other_arguments",
                    argument.span,
                    "the delta method may be any here, and so may its parameters",
                )
                .label("not every delta method has it")
                .help("leave it out, or name the delta method itself: `peft(lora, rank = 8)`"),
            );
        }
        some
    }

    /// Reports arguments for a saved delta, which has its own; whether there are any.
    fn of_saved_delta(&mut self, others: &[&ast::Argument]) -> bool {
        for argument in others {
            self.report(
                Diagnostic::error(
                    "ftp::arguments::saved_delta",
                    argument.span,
                    "a saved delta is attached as it was made, and takes no arguments",
                )
                .label("decided when it was made")
                .help("leave it out, or attach a new delta: `peft(lora, rank = 8)`"),
            );
        }
        !others.is_empty()
    }

    /// A delta method with the arguments that are meant for it.
    pub(super) fn delta(&mut self, method: &Signature, assigned: Assigned, at: Span, failed: &mut bool) -> ir::Delta {
        *failed |= assigned.failed | self.unknown_parameters(method, &assigned.others);
        let mut arguments = Arguments { strict: true, ..Arguments::default() };
        self.fill(method, &assigned, at, &mut arguments, &mut None);
        *failed |= arguments.failed;
        ir::Delta { method: method.name.to_owned(), version: method.version, parameters: arguments.parameters }
    }

    /// Gives every parameter of the signature its value: the call's, the file's `set`, or the method's own default.
    fn fill(
        &mut self,
        signature: &Interface,
        assigned: &Assigned,
        at: Span,
        arguments: &mut Arguments,
        delta: &mut Option<Delta>,
    ) {
        let (mut missing, mut chosen) = (vec![], vec![]);
        let file = self.file();
        if let Some(defaults) = self.defaults[file].get_mut(signature.name) {
            defaults.used = true;
        }
        for parameter in &signature.parameters {
            let given = assigned.by_parameter.get(parameter.name);
            let (slot, span) = match given {
                Some(argument) => (self.slot(signature, parameter, &argument.value), Some(argument.value.span)),
                None => {
                    let varied = self.varied(signature, parameter);
                    let set = || self.set_default(signature.name, parameter.name);
                    match (varied.or_else(set), &parameter.default) {
                        (Some((slot, span)), _) => (slot, Some(span)),
                        (None, Default::Value(_)) if !takes_value(&parameter.ty) => continue,
                        (None, Default::Value(value)) => (Slot::Value(value.clone()), None),
                        // A recipe's own default is read where the recipe is.
                        (None, Default::Written) => continue,
                        (None, Default::Required) => {
                            missing.push(parameter);
                            continue;
                        }
                    }
                }
            };
            if !matches!(slot, Slot::Error | Slot::Value(Value::None)) {
                chosen.extend(span.map(|span| (parameter, span)));
            }
            match slot {
                Slot::Value(value) => {
                    let class = parameter.class;
                    arguments.parameters.insert(parameter.name.to_owned(), ir::Parameter { value, class, span });
                }
                Slot::Input(flow, name) => {
                    if given.is_some() {
                        arguments.shown.push(name);
                    }
                    if parameter.ty == ParameterType::Delta {
                        *delta = Some(Delta::Saved);
                    }
                    arguments.flows.insert(parameter.name.to_owned(), flow);
                }
                Slot::Delta(method) => {
                    if given.is_some() {
                        arguments.shown.extend(method.map(str::to_owned));
                    }
                    arguments.names.insert(parameter.name.to_owned(), Meaning::Delta(method));
                    *delta = Some(method.map_or(Delta::Any, Delta::Known));
                }
                Slot::Stack(deltas) => {
                    if given.is_some() {
                        arguments.shown.push(super::stack::shown(&deltas));
                    }
                    arguments.names.insert(parameter.name.to_owned(), Meaning::Stack(deltas.clone()));
                    *delta = Some(Delta::Stack(deltas));
                }
                Slot::Recipe(callable, name) => {
                    arguments.shown.push(name);
                    arguments.names.insert(parameter.name.to_owned(), Meaning::Recipe(callable));
                }
                Slot::Error => arguments.failed = true,
            }
        }
        arguments.failed |= !missing.is_empty();
        let broken = self.defaults[file].get(signature.name).is_some_and(|defaults| defaults.broken);
        // A misplaced or misspelt argument may be the one that seems to be missing.
        if arguments.strict && !missing.is_empty() && !broken && !assigned.failed && assigned.others.is_empty() {
            self.missing(signature, &missing, at);
        }
        // So may one that makes others act.
        if !assigned.failed && assigned.others.is_empty() {
            arguments.failed |= self.idle(&chosen, arguments);
        }
    }

    /// Reports what is given and acts only beside something that is not; whether there is any.
    fn idle(&mut self, chosen: &[(&Formal, Span)], arguments: &Arguments) -> bool {
        let mut some = false;
        for (parameter, span) in chosen {
            let Some(beside) = parameter.beside else { continue };
            // Where it is not there, it was reported.
            let Some(other) = arguments.parameters.get(beside.parameter) else { continue };
            if beside.acts(&other.value) {
                continue;
            }
            some = true;
            let (name, owner) = (parameter.name, beside.parameter);
            let (only, choose) = match beside.values {
                [] => ("where it is given".to_owned(), format!("give `{owner}` too")),
                values => {
                    let values = suggest::either(values);
                    (format!("where that is {values}"), format!("choose one of these as `{owner}`"))
                }
            };
            let mut error = Diagnostic::error(
                "ftp::arguments::idle",
                *span,
                format!("`{name}` has no effect here: it belongs to `{owner}`, and acts only {only}"),
            )
            .label("nothing reads it")
            .help(format!("leave `{name}` out, or {choose}"));
            if let Some(at) = other.span {
                error = error.related(at, format!("`{owner}` is {}", other.value));
            }
            self.report(error);
        }
        some
    }

    fn missing(&mut self, signature: &Interface, missing: &[&Formal], at: Span) {
        let method = signature.name;
        let names: Vec<&str> = missing.iter().map(|parameter| parameter.name).collect();
        let needs = missing.iter().map(|parameter| match parameter.ty {
            ParameterType::Artifact(artifact) => format!("{} as its `{}`", artifact.phrase(), parameter.name),
            ParameterType::Delta => "the name of a delta method".to_owned(),
            ParameterType::DeltaName | ParameterType::Recipe(_) => {
                format!("its `{}`, {}", parameter.name, super::fit::phrase(&parameter.ty))
            }
            _ => format!("its `{}`, {}", parameter.name, super::fit::phrase(&parameter.ty)),
        });
        let needs = needs.collect::<Vec<_>>().join(" and ");
        let examples = missing.iter().map(|parameter| {
            let value = self.example(parameter);
            if parameter.positional { value } else { format!("{} = {value}", parameter.name) }
        });
        let example = examples.collect::<Vec<_>>().join(", ");
        let help = match missing {
            [one] if matches!(one.ty, ParameterType::Artifact(_)) && self.registry.get(method).is_some() => format!(
                "write `{method}({example})`, or once for the whole file `set {method}({} = {})`",
                one.name,
                self.example(one)
            ),
            _ => format!("write `{method}({example})`"),
        };
        self.report(
            Diagnostic::error("ftp::arguments::missing", at, format!("`{method}` needs {needs}"))
                .label(format!("without {}", suggest::quoted(&names)))
                .help(help),
        );
    }

    /// What could be written for a parameter: a name of this file where one fits.
    fn example(&self, parameter: &Formal) -> String {
        match parameter.ty {
            ParameterType::Artifact(artifact) => {
                self.declared(artifact).first().map_or(parameter.name, |name| *name).to_owned()
            }
            ParameterType::Delta | ParameterType::DeltaName => {
                self.registry.of_kind(Kind::Delta).next().map_or(parameter.name, |delta| delta.name).to_owned()
            }
            ParameterType::String => "\"..\"".to_owned(),
            _ => "..".to_owned(),
        }
    }

    /// Which parameter each argument is for.
    pub(super) fn assign<'s>(&mut self, signature: &'s Interface, given: &'s [ast::Argument]) -> Assigned<'s> {
        let mut assigned = Assigned { by_parameter: IndexMap::new(), others: vec![], failed: false };
        let positional: Vec<&Formal> = signature.parameters.iter().filter(|parameter| parameter.positional).collect();
        let mut position = 0;
        let mut first_named: Option<Span> = None;
        for argument in given {
            if argument.name.is_some() {
                first_named.get_or_insert(argument.span);
                self.assign_named(signature, argument, &mut assigned);
                continue;
            }
            let Some(parameter) = positional.get(position) else {
                assigned.failed = true;
                self.too_many(signature, positional.len(), argument);
                continue;
            };
            position += 1;
            if let Some(named) = first_named {
                assigned.failed = true;
                self.report(
                    Diagnostic::error(
                        "ftp::arguments::positional_after_named",
                        argument.span,
                        "an argument without a name stands after one with a name",
                    )
                    .label("has no name")
                    .related(named, "the first with a name")
                    .help(format!("move it to the front, or write `{} = ..`", parameter.name)),
                );
            }
            self.put(parameter, argument, &mut assigned);
        }
        assigned
    }

    fn assign_named<'s>(&mut self, signature: &'s Interface, argument: &'s ast::Argument, assigned: &mut Assigned<'s>) {
        let name = argument.name.as_ref().map_or("", |name| name.text.as_str());
        match signature.parameter(name) {
            Some(parameter) => self.put(parameter, argument, assigned),
            None => assigned.others.push(argument),
        }
    }

    fn put<'s>(&mut self, parameter: &'s Formal, argument: &'s ast::Argument, assigned: &mut Assigned<'s>) {
        let name = parameter.name;
        if let Some(first) = assigned.by_parameter.get(name) {
            self.report(
                Diagnostic::error("ftp::arguments::duplicate", argument.span, format!("`{name}` is given twice"))
                    .label("given again")
                    .related(first.span, "first given here")
                    .help("remove one of the two"),
            );
            assigned.failed = true;
            return;
        }
        assigned.by_parameter.insert(name, argument);
    }

    fn too_many(&mut self, signature: &Interface, takes: usize, argument: &ast::Argument) {
        let method = signature.name;
        let (message, help) = match takes {
            0 => (
                format!("`{method}` takes no argument without a name"),
                "write its name before it: `name = value`".to_owned(),
            ),
            1 => {
                let first =
                    signature.parameters.iter().find(|parameter| parameter.positional).map_or("", |first| first.name);
                (
                    format!("`{method}` takes one argument without a name, `{first}`"),
                    "write further ones as `name = value`".to_owned(),
                )
            }
            n => (
                format!("`{method}` takes {n} arguments without names"),
                "write further ones as `name = value`".to_owned(),
            ),
        };
        self.report(
            Diagnostic::error("ftp::arguments::too_many", argument.span, message).label("one too many").help(help),
        );
    }

    /// Reports named arguments that no parameter has the name of; whether there are any.
    pub(super) fn unknown_parameters(&mut self, signature: &Interface, arguments: &[&ast::Argument]) -> bool {
        let names: Vec<&str> = signature.parameters.iter().map(|parameter| parameter.name).collect();
        for argument in arguments {
            let Some(name) = &argument.name else { continue };
            let method = signature.name;
            let mut error = Diagnostic::error(
                "ftp::name::unknown_parameter",
                name.span,
                format!("`{method}` has no parameter `{}`", name.text),
            )
            .label("no such parameter");
            suggest::fix(&mut error, &name.text, names.iter().copied());
            error.help = match suggest::nearest(&name.text, names.iter().copied()) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None if names.is_empty() => Some("remove it; there are no parameters".into()),
                None if names.len() > 6 && self.registry.get(method).is_some() => {
                    Some(format!("`ftp methods {method}` lists all {} parameters", names.len()))
                }
                None => Some(format!("there are {}", suggest::quoted(&names))),
            };
            self.report(error);
        }
        !arguments.is_empty()
    }
}
