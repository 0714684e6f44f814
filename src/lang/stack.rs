//! `stack(lora(rank = 4), bitfit)`: several deltas that one stage trains together.

use super::arguments::Slot;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir;
use super::signature::{Artifact, Kind};
use crate::syntax::{Span, ast};

impl Checker<'_> {
    /// The deltas of a stack, in the order in which they act: that of the registry, whatever order they are written in.
    /// `parameter` is what they are given to.
    pub(super) fn stack(&mut self, parameter: &str, calls: &[ast::Call]) -> Slot {
        let (mut found, mut any, mut failed) = (vec![], false, false);
        for call in calls {
            let given = call.arguments.as_deref().unwrap_or(&[]);
            match self.delta_name(parameter, &call.name.text, call.name.span) {
                Slot::Delta(Some(name)) => {
                    let Some(method) = self.registry.get(name) else { continue };
                    let assigned = self.assign(method, given);
                    found.push((self.delta(method, assigned, call.name.span, &mut failed), call.span));
                }
                Slot::Stack(deltas) => {
                    failed |= self.outside_stack(given);
                    found.extend(deltas.into_iter().map(|delta| (delta, call.span)));
                }
                Slot::Delta(None) => {
                    failed |= self.of_any_delta(given);
                    any = true;
                }
                _ => failed = true,
            }
        }
        failed |= self.do_not_stack(&found, any);
        if failed {
            return Slot::Error;
        }
        if any {
            return Slot::Delta(None);
        }
        let place = |delta: &ir::Delta| self.registry.of_kind(Kind::Delta).position(|one| one.name == delta.method);
        found.sort_by_key(|(delta, _)| place(delta));
        Slot::Stack(found.into_iter().map(|(delta, _)| delta).collect())
    }

    /// Reports deltas that can't be trained together; whether there are any.
    fn do_not_stack(&mut self, found: &[(ir::Delta, Span)], any: bool) -> bool {
        let alone = found.iter().find(|(delta, _)| {
            self.registry.get(&delta.method).is_some_and(|method| !method.input.contains(&Artifact::Parametrised))
        });
        if let Some((delta, at)) = alone.filter(|_| any || found.len() > 1) {
            let method = &delta.method;
            self.report(
                Diagnostic::error(
                    "ftp::order::not_stackable",
                    *at,
                    format!("`{method}` decides about the whole model, so no other delta can be trained with it"),
                )
                .label("stands alone")
                .help(format!("write `peft({method}, ..)`, and train the others in a stage of their own")),
            );
            return true;
        }
        let twice = found.iter().enumerate().find_map(|(at, (delta, span))| {
            let first = found[..at].iter().find(|(other, _)| other.method == delta.method)?;
            Some((delta.method.clone(), *span, first.1))
        });
        if let Some((method, again, first)) = twice {
            self.report(
                Diagnostic::error(
                    "ftp::order::not_stackable",
                    again,
                    format!("`{method}` is in this stack twice, and both would act in the same places"),
                )
                .label("here again")
                .related(first, "in the stack already")
                .help("leave one of them out, or train one after the other: `-> peft(..) -> finetune(target)` twice"),
            );
            return true;
        }
        false
    }

    /// Reports arguments that belong to one of a stack's deltas, but stand behind it; whether there are any.
    pub(super) fn outside_stack<'s>(&mut self, given: impl IntoIterator<Item = &'s ast::Argument>) -> bool {
        let mut some = false;
        for argument in given {
            some = true;
            self.report(
                Diagnostic::error(
                    "ftp::arguments::outside_stack",
                    argument.span,
                    "this argument stands outside the stack, whose deltas have their own",
                )
                .label("whose is it?")
                .help("write it behind the name of the delta it is for: `stack(lora(rank = 8), bitfit)`"),
            );
        }
        some
    }
}

/// As reports name it: `stack(bitfit, lora)`, or the one delta it is.
pub(super) fn shown(deltas: &[ir::Delta]) -> String {
    let names: Vec<&str> = deltas.iter().map(|delta| delta.method.as_str()).collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        names => format!("stack({})", names.join(", ")),
    }
}
