//! `if`: conditions, and which of two values or chains they choose. What is not chosen is checked all the same, but its
//! files need not be there.

use super::chain::Before;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::literal::Literal;
use super::scope::Flow;
use super::signature::ParameterType;
use crate::syntax::ast;

impl<'a> Checker<'a> {
    /// Whether a condition holds; `None` where it is not known or wrong.
    pub(super) fn condition(&mut self, condition: &ast::Condition) -> Option<bool> {
        let left = self.literal(&condition.left);
        let holds = match &condition.comparison {
            None => match left {
                Literal::Bool(value) => Some(value),
                Literal::Of(ParameterType::Bool) | Literal::Error => None,
                other => {
                    self.report(
                        Diagnostic::error(
                            "ftp::value::not_a_condition",
                            condition.left.span,
                            format!("a condition is `true` or `false`, but this is {}", other.phrase()),
                        )
                        .label("neither true nor false")
                        .help("compare it with something: `layers > 4`"),
                    );
                    None
                }
            },
            Some((sign, right)) => {
                let value = self.literal(right);
                self.compare(&left, sign, &value, condition)
            }
        };
        holds.map(|holds| holds != condition.not)
    }

    fn compare(
        &mut self,
        left: &Literal,
        sign: &ast::Name,
        right: &Literal,
        condition: &ast::Condition,
    ) -> Option<bool> {
        if matches!(left, Literal::Error | Literal::Of(_)) || matches!(right, Literal::Error | Literal::Of(_)) {
            return None;
        }
        if let (Some((left, unit)), Some((right, other))) = (number(left), number(right))
            && unit.compares(other)
        {
            return Some(match sign.text.as_str() {
                "==" => left == right,
                "!=" => left != right,
                ">=" => left >= right,
                "<=" => left <= right,
                ">" => left > right,
                _ => left < right,
            });
        }
        let same_kind = std::mem::discriminant(left) == std::mem::discriminant(right);
        match sign.text.as_str() {
            "==" if same_kind => Some(left == right),
            "!=" if same_kind => Some(left != right),
            _ => {
                let message = match same_kind {
                    true => format!("`{}` compares numbers, found {}", sign.text, left.phrase()),
                    false => format!("{} and {} can't be compared", left.phrase(), right.phrase()),
                };
                self.report(
                    Diagnostic::error("ftp::value::not_a_condition", condition.span, message)
                        .label("never holds")
                        .help("compare two numbers, or two values of a kind with `==` or `!=`"),
                );
                None
            }
        }
    }

    /// `if quick then 1 else 3` as a plain value.
    pub(super) fn either(&mut self, either: &ast::Either) -> Literal {
        let holds = self.condition(&either.condition);
        let (then, otherwise) = (self.literal(&either.then), self.literal(&either.otherwise));
        match holds {
            Some(true) => then,
            Some(false) => otherwise,
            // While a recipe is checked: what both could be.
            None if then == Literal::Error => Literal::Error,
            None => then,
        }
    }

    /// `"data/${task}.txt"`.
    pub(super) fn template(&mut self, parts: &[ast::Part]) -> Literal {
        let mut text = String::new();
        let mut known = true;
        for part in parts {
            let name = match part {
                ast::Part::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                ast::Part::Name(name) => name,
            };
            match self.word(&name.text, name.span) {
                Literal::Error => return Literal::Error,
                Literal::String(value) => text.push_str(&value),
                Literal::Int(value) => text.push_str(&value.to_string()),
                Literal::Float(value) => text.push_str(&super::literal::number(value)),
                Literal::Bool(value) => text.push_str(&value.to_string()),
                Literal::Of(ParameterType::Secret) | Literal::Secret(_) => {
                    self.report(
                        Diagnostic::error(
                            "ftp::value::secret_in_string",
                            name.span,
                            format!("`{}` can't stand in a string: it is a secret", name.text),
                        )
                        .label("would be readable there")
                        .help("give it to a parameter that takes a secret"),
                    );
                    return Literal::Error;
                }
                Literal::Of(ParameterType::Strings) | Literal::List(_) | Literal::None => {
                    self.report(
                        Diagnostic::error(
                            "ftp::value::wrong_type",
                            name.span,
                            format!("`{}` can't stand in a string: it is no single value", name.text),
                        )
                        .label("not a string or a number")
                        .help("put a string or a number into it"),
                    );
                    return Literal::Error;
                }
                Literal::Of(_) => known = false,
                other => text.push_str(other.phrase().trim_matches('`')),
            }
        }
        if known { Literal::String(text) } else { Literal::Of(ParameterType::String) }
    }

    /// `if domain_first then adapt(domain)` in a chain.
    pub(super) fn choice(&mut self, choice: &'a ast::If, before: Before, alone: bool) -> Option<Flow> {
        let holds = self.condition(&choice.condition);
        let then = self.branch(&choice.then, before, alone, holds != Some(false));
        let otherwise = match (choice.otherwise.is_empty(), before) {
            (false, _) => self.branch(&choice.otherwise, before, alone, holds != Some(true)),
            (true, Some(flow)) => flow.cloned(),
            (true, None) => {
                self.report(
                    Diagnostic::error(
                        "ftp::order::no_else",
                        choice.span,
                        "a chain can't begin with what may not be there",
                    )
                    .label("without `else`")
                    .help("say what it begins with otherwise: `else base`"),
                );
                return None;
            }
        };
        match holds {
            Some(true) => then,
            Some(false) => otherwise,
            None => {
                let (then, otherwise) = (then?, otherwise?);
                let artifact = then.artifact.filter(|artifact| otherwise.artifact == Some(*artifact));
                Some(Flow { artifact, ..then })
            }
        }
    }

    fn branch(&mut self, calls: &'a [ast::Call], before: Before, alone: bool, taken: bool) -> Option<Flow> {
        let imagined = usize::from(!taken);
        self.imagined += imagined;
        let flow = self.calls(calls, before, None, alone);
        self.imagined -= imagined;
        flow
    }
}

/// What a number is one of.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    None,
    Epochs,
    Steps,
    Seconds,
    Bytes,
}

impl Unit {
    /// Epochs and steps may be written without their unit, as in arguments.
    fn compares(self, other: Self) -> bool {
        let counted = |unit| matches!(unit, Unit::None | Unit::Epochs | Unit::Steps);
        self == other || (self == Unit::None && counted(other)) || (other == Unit::None && counted(self))
    }
}

fn number(literal: &Literal) -> Option<(f64, Unit)> {
    Some(match literal {
        Literal::Int(value) => (*value as f64, Unit::None),
        Literal::Float(value) | Literal::Percent(value) => (*value, Unit::None),
        Literal::Epochs(value) => (*value, Unit::Epochs),
        Literal::Steps(value) => (*value, Unit::Steps),
        Literal::Seconds(value) => (*value, Unit::Seconds),
        Literal::Bytes(value) => (*value, Unit::Bytes),
        _ => return None,
    })
}
