//! `race`: each training of a list runs for a while, and only those that do best run to their end.
//!
//! A race becomes the beginnings of all trainings, the stage that compares them, and the whole trainings, each of which is
//! in a [`Contest`]: whether it runs is known when the comparison has. What follows takes those that were kept.

use indexmap::IndexMap;

use super::arguments::Arguments;
use super::chain::label;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::{Contest, Node, Parameter, UNTIL};
use super::scope::{Flow, Member};
use super::signature::{Artifact, Kind, Signature};
use super::value::Value;
use crate::syntax::ast;

impl Checker<'_> {
    /// A stage that takes a list of trainings and leaves fewer.
    pub(super) fn race(
        &mut self,
        signature: &Signature,
        call: &ast::Call,
        before: Option<&Flow>,
        arguments: Arguments,
    ) -> Option<Flow> {
        let flow = before.filter(|flow| flow.artifact == Some(Artifact::Models))?;
        if arguments.failed || !self.raceable(flow, call) {
            return None;
        }
        let keep = arguments.parameters.get("keep").and_then(|keep| keep.value.as_int()).unwrap_or(1);
        // In a recipe that is only checked, one model stands for all, and values are not known.
        if self.imagined == 0 && keep as usize >= flow.members.len() {
            self.nothing_to_stop(call, &arguments, keep, flow.members.len());
            return None;
        }
        let at = arguments.parameters.get("at").map(|at| at.value.clone()).unwrap_or(Value::None);
        let share = at.as_float().unwrap_or_default();
        if self.imagined == 0 && !(share > 0.0 && share < 1.0) {
            self.never_on_the_way(call, &arguments);
            return None;
        }
        let mut inputs = IndexMap::new();
        for (number, member) in flow.members.iter().enumerate() {
            let mut heat = self.program.nodes[member.node].clone();
            heat.label = format!("{} until {} %", heat.label, share * 100.0);
            if let Some(until) = heat.parameters.get_mut(UNTIL) {
                *until = Parameter { value: at.clone(), span: Some(call.span), ..until.clone() };
            }
            inputs.insert(format!("models.{number}"), self.add_node(heat));
        }
        let race = self.add_node(Node {
            kind: Kind::Stage,
            method: signature.name.to_owned(),
            version: signature.version,
            label: label(signature.name, &arguments.shown),
            parameters: arguments.parameters,
            inputs,
            deltas: vec![],
            contest: None,
            output: signature.output,
            source: None,
            span: call.span,
        });
        let members = flow.members.iter().enumerate().map(|(number, member)| {
            let whole = Node { contest: Some(Contest { race, number }), ..self.program.nodes[member.node].clone() };
            let node = self.add_node(whole);
            let mut stages: Vec<_> = member.stages.iter().copied().filter(|stage| *stage != member.node).collect();
            stages.extend([race, node]);
            Member { name: member.name.clone(), node, stages }
        });
        Flow::of_members(members.collect(), call.span)
    }

    /// Whether every model of the list is one whose training can be begun and gone on with; says which is not.
    fn raceable(&mut self, flow: &Flow, call: &ast::Call) -> bool {
        let found = flow.members.iter().find_map(|member| {
            let node = &self.program.nodes[member.node];
            let until = node.parameters.get(UNTIL).map(|until| until.value != Value::None);
            let why = match until {
                _ if node.method.is_empty() => return None,
                Some(false) if node.contest.is_none() => return None,
                Some(false) => "has been in a race before",
                Some(true) => "ends early already",
                None => "can't be begun and gone on with",
            };
            Some((format!("`{}` {why}, so it can't be in a race", node.label), node.span))
        });
        let Some((message, span)) = found else { return true };
        self.report(
            Diagnostic::error("ftp::race::not_a_training", call.name.span, message)
                .label("compares trainings that have begun")
                .related(span, "not such a training")
                .help("put it right after whole trainings: `each(seed in 1..5) finetune(target) -> race(keep = 2)`"),
        );
        false
    }

    fn never_on_the_way(&mut self, call: &ast::Call, arguments: &Arguments) {
        let at = arguments.parameters.get("at").and_then(|at| at.span).unwrap_or(call.span);
        self.report(
            Diagnostic::error(
                "ftp::value::out_of_range",
                at,
                "trainings are compared on the way: `at` is above 0 % and below 100 %",
            )
            .label("not on the way")
            .help("20 to 30 % tells enough (Dodge et al. 2020): `at = 25 %`"),
        );
    }

    fn nothing_to_stop(&mut self, call: &ast::Call, arguments: &Arguments, keep: i64, count: usize) {
        let at = arguments.parameters.get("keep").and_then(|keep| keep.span).unwrap_or(call.span);
        self.report(
            Diagnostic::error(
                "ftp::race::nothing_to_stop",
                at,
                format!("the race is to keep {keep} of {count} models"),
            )
            .label("nothing would be stopped")
            .help(match count {
                1 => "race several: `each(seed in 1..5) finetune(target) -> race(keep = 2)`".to_owned(),
                _ => format!("keep fewer, at most {}, or leave out the race", count - 1),
            }),
        );
    }
}
