//! Chains and what stands in them: pairs of the grammar -> tree.

use pest::iterators::Pair;

use super::ast::{Chain, Condition, Each, Either, If, Link, Member, Models, ValueKind, Values, Variable};
use super::grammar::Rule;
use super::parser::{Builder, parts};

impl Builder {
    pub(super) fn chain(&mut self, pair: Pair<Rule>) -> Chain {
        let span = self.span(&pair);
        Chain { links: parts(pair).map(|link| self.link(link)).collect(), span }
    }

    fn link(&mut self, pair: Pair<Rule>) -> Link {
        match pair.as_rule() {
            Rule::each => Link::Each(self.each(pair)),
            Rule::choice => Link::If(Box::new(self.choice(pair))),
            Rule::models => {
                let span = self.span(&pair);
                let members = parts(pair).map(|member| {
                    let span = self.span(&member);
                    Member { calls: self.calls(member), span }
                });
                Link::Models(Models { members: members.collect(), span })
            }
            _ => Link::Call(self.call(pair)),
        }
    }

    /// The calls of a rule that holds a few, or a single call.
    fn calls(&mut self, pair: Pair<Rule>) -> Vec<super::ast::Call> {
        match pair.as_rule() {
            Rule::call => vec![self.call(pair)],
            _ => parts(pair).map(|call| self.call(call)).collect(),
        }
    }

    fn each(&mut self, pair: Pair<Rule>) -> Each {
        let span = self.span(&pair);
        let (mut variables, mut body) = (vec![], vec![]);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::variable => variables.push(self.variable(part)),
                _ => body = self.calls(part),
            }
        }
        Each { variables, body, span }
    }

    fn variable(&mut self, pair: Pair<Rule>) -> Variable {
        let mut parts_of = parts(pair);
        let mut next = || parts_of.next().expect("a variable has a name and values");
        let name = self.name(&next());
        let values = next();
        let values = match values.as_rule() {
            Rule::range => {
                let mut limits = parts(values);
                let mut next = || limits.next().expect("a range has two ends");
                Values::Range(self.value(next()), self.value(next()))
            }
            _ => Values::List(self.value(values)),
        };
        Variable { name, values }
    }

    fn choice(&mut self, pair: Pair<Rule>) -> If {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let condition = self.condition(parts.next().expect("a choice begins with its condition"));
        let then = self.calls(parts.next().expect("something follows `then`"));
        let otherwise = parts.next().map(|calls| self.calls(calls)).unwrap_or_default();
        If { condition, then, otherwise, span }
    }

    fn condition(&mut self, pair: Pair<Rule>) -> Condition {
        let span = self.span(&pair);
        let not = pair.clone().into_inner().next().is_some_and(|first| first.as_rule() == Rule::kw_not);
        let mut parts = parts(pair).filter(|part| part.as_rule() != Rule::kw_not);
        let left = self.value(parts.next().expect("a condition has a name"));
        let comparison = parts.next().map(|sign| {
            let sign = self.name(&sign);
            (sign, self.value(parts.next().expect("something is compared with")))
        });
        Condition { not, left, comparison, span }
    }

    pub(super) fn either(&mut self, pair: Pair<Rule>) -> ValueKind {
        let mut parts = parts(pair);
        let mut next = || parts.next().expect("a choice has a condition and two values");
        let condition = self.condition(next());
        ValueKind::If(Box::new(Either { condition, then: self.value(next()), otherwise: self.value(next()) }))
    }
}
