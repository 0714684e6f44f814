//! `set`: the file's own defaults for a method.

use indexmap::IndexMap;

use super::arguments::Slot;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::scope::Frame;
use super::signature::Parameter;
use super::suggest;
use crate::syntax::{Span, ast};

/// What the `set` statements of a file say about one method.
#[derive(Default)]
pub(super) struct Defaults<'a> {
    pub given: IndexMap<&'a str, Given<'a>>,
    /// The statements, to warn of those that no call uses.
    pub spans: Vec<Span>,
    pub used: bool,
    /// One of the statements has a syntax error: what it would have set is unknown.
    pub broken: bool,
}

/// One argument of a `set`, evaluated when first needed.
pub(super) struct Given<'a> {
    pub argument: &'a ast::Argument,
    pub parameter: Parameter,
    pub slot: Option<Slot>,
    /// Being evaluated: meeting it again is a cycle.
    pub working: bool,
}

impl<'a> Checker<'a> {
    /// Reads the file's `set` statements.
    pub(super) fn defaults(&mut self, file: &'a ast::File) {
        for statement in &file.statements {
            let ast::Statement::Set(set) = statement else { continue };
            let Some(signature) = self.registry.get(&set.method.text) else {
                let methods: Vec<&str> = self.registry.iter().map(|signature| signature.name).collect();
                let name = &set.method.text;
                let mut error = Diagnostic::error(
                    "ftp::name::unknown_method",
                    set.method.span,
                    format!("there is no method `{name}` to set defaults of"),
                )
                .label("no such method");
                suggest::offer(&mut error, name, &methods, "the methods are");
                self.report(error);
                // What it would have set is not missing where the method that was meant is used.
                if let Some(near) = suggest::nearest(name, methods) {
                    let number = self.file();
                    self.defaults[number].entry(near).or_default().broken = true;
                }
                continue;
            };
            let assigned = self.assign(signature, &set.arguments);
            let failed = assigned.failed | self.unknown_parameters(signature, &assigned.others);
            let mut repeated = vec![];
            let number = self.file();
            let defaults = self.defaults[number].entry(signature.name).or_default();
            defaults.spans.push(set.span);
            defaults.broken |= failed;
            for (name, argument) in assigned.by_parameter {
                let Some(parameter) = signature.parameter(name) else { continue };
                match defaults.given.get(name) {
                    Some(first) => repeated.push((name, first.argument.span, argument.span)),
                    None => {
                        defaults
                            .given
                            .insert(name, Given { argument, parameter: parameter.clone(), slot: None, working: false });
                    }
                }
            }
            for (name, first, second) in repeated {
                self.report(
                    Diagnostic::error(
                        "ftp::arguments::duplicate",
                        second,
                        format!("`{}` is set twice for `{}`", name, signature.name),
                    )
                    .label("set again")
                    .related(first, "first set here")
                    .help("remove one of the two"),
                );
            }
        }
    }

    /// What the file's `set` says about a parameter of a method, and where.
    pub(super) fn set_default(&mut self, method: &str, parameter: &str) -> Option<(Slot, Span)> {
        let file = self.file();
        let given = self.defaults[file].get_mut(method)?.given.get_mut(parameter)?;
        let (argument, parameter) = (given.argument, given.parameter.clone());
        let span = argument.value.span;
        if let Some(slot) = &given.slot {
            return Some((slot.clone(), span));
        }
        if given.working {
            self.report(
                Diagnostic::error(
                    "ftp::name::cycle",
                    span,
                    format!("this default of `{method}` is made with `{method}` itself"),
                )
                .label("needs itself")
                .help("give it as an argument where it is needed, instead of by `set`"),
            );
            return Some((Slot::Error, span));
        }
        given.working = true;
        // It is read where it stands, whichever recipe needs it first.
        let outside = std::mem::replace(&mut self.frame, Frame { file, ..Frame::default() });
        let imagined = std::mem::replace(&mut self.imagined, 0);
        let signature = self.registry.get(method)?;
        let slot = self.slot(signature, &parameter, &argument.value);
        self.imagined = imagined;
        self.frame = outside;
        let given = self.defaults[file].get_mut(method)?.given.get_mut(parameter.name)?;
        given.slot = Some(slot.clone());
        Some((slot, span))
    }

    /// Checks what no call has asked for, and warns of `set` statements that change nothing.
    pub(super) fn remaining_defaults(&mut self) {
        let file = self.file();
        let all = self.defaults[file]
            .iter()
            .flat_map(|(method, defaults)| defaults.given.keys().map(|name| (*method, *name)));
        for (method, parameter) in all.collect::<Vec<_>>() {
            self.set_default(method, parameter);
        }
        let unused = self.defaults[file].iter().filter(|(_, defaults)| !defaults.used);
        let warnings = unused.flat_map(|(method, defaults)| {
            defaults.spans.iter().map(move |span| {
                Diagnostic::warning(
                    "ftp::set::unused",
                    *span,
                    format!("nothing in this file uses `{method}`, so these defaults change nothing"),
                )
                .label("never used")
                .help("remove it")
            })
        });
        let warnings: Vec<_> = warnings.collect();
        self.diagnostics.extend(warnings);
    }
}
