//! `each`: the same stages for every value of a few variables. All values are known before anything runs.

use super::arguments::Slot;
use super::chain::Before;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::literal::Literal;
use super::recipe::MOST_NODES;
use super::scope::{Flow, Local, Meaning, Member};
use super::signature::{Artifact, Formal, Interface, ParameterType};
use crate::syntax::{Span, ast};

/// Most models that one `each` may make.
const MOST: usize = 10_000;

impl<'a> Checker<'a> {
    pub(super) fn each(&mut self, each: &'a ast::Each, before: Before) -> Option<Flow> {
        let mut failed = false;
        let mut values: Vec<Vec<(String, Meaning)>> = vec![];
        for variable in &each.variables {
            self.declarable(&variable.name);
            let name = variable.name.text.as_str();
            let known = self.frame.locals.get(name).map(|local| local.declared);
            if let Some(known) = known {
                self.twice(&variable.name, known);
                failed = true;
            }
            let found = self.values(variable);
            if found.as_ref().is_some_and(Vec::is_empty) {
                self.report(
                    Diagnostic::error(
                        "ftp::each::empty",
                        variable.name.span,
                        format!("there is no value for `{name}`"),
                    )
                    .label("makes no model at all")
                    .help("give at least one value"),
                );
            }
            failed |= found.as_ref().is_none_or(Vec::is_empty);
            values.push(found.unwrap_or_default());
            // Further variables of the same name are found, too.
            let local = Local { meaning: Meaning::Error, declared: variable.name.span, varies: true, uses: 0 };
            self.frame.locals.entry(name).or_insert(local);
        }
        let flow = match failed {
            true => None,
            false => self.combinations(each, &values, before),
        };
        for variable in &each.variables {
            if let Some(local) = self.frame.locals.get(variable.name.text.as_str())
                && local.varies
            {
                self.frame.locals.shift_remove(variable.name.text.as_str());
            }
        }
        flow
    }

    fn combinations(&mut self, each: &'a ast::Each, values: &[Vec<(String, Meaning)>], before: Before) -> Option<Flow> {
        let count = values.iter().try_fold(1usize, |count, values| count.checked_mul(values.len()));
        let count = count.filter(|count| *count <= MOST);
        let Some(count) = count else {
            let first = each.variables.first().map_or(each.span, |variable| variable.name.span);
            self.report(
                Diagnostic::error("ftp::each::too_many", first, format!("this makes more than {MOST} models"))
                    .label("too many combinations")
                    .help("give fewer values"),
            );
            return None;
        };
        let mut members = vec![];
        let mut failed = false;
        for number in 0..count {
            if self.program.nodes.len() > MOST_NODES {
                self.too_large(each.span);
                return None;
            }
            // The last variable changes fastest.
            let mut rest = number;
            let mut parts = vec![];
            for (variable, values) in each.variables.iter().zip(values).rev() {
                let (shown, meaning) = &values[rest % values.len()];
                rest /= values.len();
                let name = variable.name.text.as_str();
                if let Some(local) = self.frame.locals.get_mut(name) {
                    local.meaning = meaning.clone();
                }
                parts.push(format!("{name} = {shown}"));
            }
            parts.reverse();
            let errors = self.diagnostics.len();
            let flow = self.calls(&each.body, before, None, false);
            failed |= flow.as_ref().is_none_or(|flow| flow.artifact.is_none());
            match flow {
                Some(flow) if flow.artifact == Some(Artifact::Model) => {
                    members.push(Member { name: parts.join(", "), node: flow.node, stages: flow.stages });
                }
                Some(flow) if flow.artifact.is_some() => {
                    self.not_each(each, &flow);
                    failed = true;
                }
                _ => {}
            }
            // What is wrong with one value is said for that one.
            if self.diagnostics.len() > errors {
                failed = true;
                break;
            }
        }
        self.unused_variables(each, failed);
        if failed {
            return None;
        }
        Flow::of_members(members, each.span)
    }

    fn not_each(&mut self, each: &ast::Each, flow: &Flow) {
        let phrase = flow.artifact.map_or("something else", Artifact::phrase);
        self.report(
            Diagnostic::error(
                "ftp::each::not_a_model",
                each.span,
                format!("each of these must be a model, but this is {phrase}"),
            )
            .label(phrase)
            .help(
                "put the stages that follow into the parentheses, too: `each(..) (peft(bitfit) -> finetune(target))`",
            ),
        );
    }

    fn unused_variables(&mut self, each: &ast::Each, failed: bool) {
        for variable in &each.variables {
            let name = variable.name.text.as_str();
            let unused = self.frame.locals.get(name).is_some_and(|local| local.uses == 0);
            if unused && !failed {
                self.report(
                    Diagnostic::error(
                        "ftp::each::unused",
                        variable.name.span,
                        format!("nothing here depends on `{name}`"),
                    )
                    .label("all would be the same")
                    .help(format!(
                        "use it: `finetune(target, {name} = {name})`, or name it like the parameter it gives values to"
                    )),
                );
            }
        }
    }

    /// The values of a variable, each with how it is shown.
    fn values(&mut self, variable: &ast::Variable) -> Option<Vec<(String, Meaning)>> {
        let list = match &variable.values {
            ast::Values::Range(first, last) => return self.range(first, last),
            ast::Values::List(list) => list,
        };
        match self.meaning(list) {
            meaning if meaning.is_error() => None,
            Meaning::List(items) => Some(items),
            Meaning::Value(Literal::List(items)) => {
                let shown = |item: &Literal| match item {
                    Literal::String(text) => text.clone(),
                    other => other.phrase().trim_start_matches("the number ").trim_matches('`').to_owned(),
                };
                Some(items.into_iter().map(|(item, _)| (shown(&item), Meaning::Value(item))).collect())
            }
            Meaning::Value(Literal::Of(ParameterType::Strings)) => {
                Some(vec![(String::new(), Meaning::Value(Literal::Of(ParameterType::String)))])
            }
            Meaning::Flow(flow) if flow.artifact == Some(Artifact::Models) => {
                let members = flow.members.into_iter().map(|member| {
                    let model = Flow::new(Artifact::Model, member.node, member.stages, list.span);
                    (member.name, Meaning::Flow(model))
                });
                Some(members.collect())
            }
            other => {
                self.report(
                    Diagnostic::error(
                        "ftp::value::wrong_type",
                        list.span,
                        format!("`{}` takes its values from a list, found {}", variable.name.text, other.phrase()),
                    )
                    .label("not a list")
                    .help("write a list, `[1e-5, 5e-5]`, or a range, `1..5`"),
                );
                None
            }
        }
    }

    fn range(&mut self, first: &ast::Value, last: &ast::Value) -> Option<Vec<(String, Meaning)>> {
        let (from, to) = (self.literal(first), self.literal(last));
        let whole = |literal: &Literal| matches!(literal, Literal::Int(_) | Literal::Of(ParameterType::Int { .. }));
        for (literal, at) in [(&from, first.span), (&to, last.span)] {
            if *literal == Literal::Error {
                return None;
            }
            if !whole(literal) {
                self.report(
                    Diagnostic::error(
                        "ftp::value::wrong_type",
                        at,
                        format!("a range goes from one whole number to another, found {}", literal.phrase()),
                    )
                    .label("expected a whole number")
                    .help("write `1..5`, or a list: `[0.1, 0.2]`"),
                );
                return None;
            }
        }
        let (Literal::Int(from), Literal::Int(to)) = (&from, &to) else {
            let any = Literal::Of(ParameterType::Int { min: i64::MIN, max: i64::MAX });
            return Some(vec![(String::new(), Meaning::Value(any))]);
        };
        let most = from.saturating_add(MOST as i64);
        Some((*from..=(*to).min(most)).map(|value| (value.to_string(), Meaning::Value(Literal::Int(value)))).collect())
    }

    /// A variable gives its value to the parameter of its name, unless a call says otherwise.
    pub(super) fn varied(&mut self, interface: &Interface, formal: &Formal) -> Option<(Slot, Span)> {
        let local = self.frame.locals.get(formal.name).filter(|local| local.varies)?;
        let span = local.declared;
        let value = ast::Value { kind: ast::ValueKind::Word(formal.name.to_owned()), span };
        Some((self.slot(interface, formal, &value), span))
    }

    /// `[small, base -> finetune(target)]` at the beginning of a chain.
    pub(super) fn models(&mut self, models: &'a ast::Models) -> Option<Flow> {
        let mut members = vec![];
        let mut failed = false;
        for member in &models.members {
            let Some(flow) = self.calls(&member.calls, None, None, true) else {
                failed = true;
                continue;
            };
            let name = match member.calls.as_slice() {
                [ast::Call { name, arguments: None, .. }] => name.text.clone(),
                _ => (members.len() + 1).to_string(),
            };
            match flow.artifact {
                Some(Artifact::Model) => members.push(Member { name, node: flow.node, stages: flow.stages }),
                Some(Artifact::Models) => members.extend(flow.members),
                Some(other) => {
                    failed = true;
                    self.report(
                        Diagnostic::error(
                            "ftp::types::not_a_model",
                            member.span,
                            format!("a list in a chain is one of models, but this is {}", other.phrase()),
                        )
                        .label(other.phrase())
                        .help("put models into it: `[small, large] -> ensemble`"),
                    );
                }
                None => failed = true,
            }
        }
        if failed {
            return None;
        }
        Flow::of_members(members, models.span)
    }
}
