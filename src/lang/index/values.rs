//! Values and the names in them.

use super::super::signature::{Kind, ParameterType};
use super::Target;
use super::build::Builder;
use super::calls::{Callee, Slot};
use crate::syntax::ast;

impl<'a> Builder<'a> {
    /// A value for a parameter, if it is known which.
    pub(super) fn value(&mut self, value: &'a ast::Value, slot: Option<&Slot>) {
        match &value.kind {
            ast::ValueKind::Word(name) => match name.split_once('.') {
                Some((module, member)) => {
                    self.path(module, member, value.span);
                }
                None => {
                    let target = self.word(name, slot);
                    self.mention(value.span, target);
                }
            },
            ast::ValueKind::List(items) => items.iter().for_each(|item| self.value(item, None)),
            ast::ValueKind::Call(name) => {
                let method = self.registry.get(&name.text);
                self.mention(name.span, method.map_or(Target::Unknown, |method| Target::Method(method.name)));
            }
            ast::ValueKind::Int { unit: Some(unit), .. } | ast::ValueKind::Float { unit: Some(unit), .. } => {
                self.mention(unit.span, Target::Unit);
            }
            ast::ValueKind::Template(parts) => {
                for part in parts {
                    if let ast::Part::Name(name) = part {
                        let target = self.symbol(&name.text);
                        self.mention(name.span, target);
                    }
                }
            }
            ast::ValueKind::If(either) => {
                self.condition(&either.condition);
                self.value(&either.then, slot);
                self.value(&either.otherwise, slot);
            }
            ast::ValueKind::Stack(deltas) => {
                for delta in deltas {
                    let name = delta.name.text.as_str();
                    let method = self.registry.get(name).filter(|method| method.kind == Kind::Delta);
                    let target = method.map_or_else(|| self.symbol(name), |method| Target::Method(method.name));
                    self.mention(delta.name.span, target);
                    let given = delta.arguments.as_deref().unwrap_or(&[]);
                    self.arguments(method.map(Callee::Method).as_ref(), given);
                }
            }
            ast::ValueKind::Int { .. }
            | ast::ValueKind::Float { .. }
            | ast::ValueKind::String(_)
            | ast::ValueKind::Secret(_)
            | ast::ValueKind::Broken => {}
        }
    }

    pub(super) fn condition(&mut self, condition: &'a ast::Condition) {
        self.value(&condition.left, None);
        if let Some((_, right)) = &condition.comparison {
            self.value(right, None);
        }
    }

    /// The values of a variable; their type, when they are plain.
    pub(super) fn values(&mut self, values: &'a ast::Values) -> Option<&'static str> {
        match values {
            ast::Values::Range(first, last) => {
                self.value(first, None);
                self.value(last, None);
                Some("int")
            }
            ast::Values::List(list) => {
                self.value(list, None);
                match &list.kind {
                    ast::ValueKind::List(items) => items.first().and_then(value_type),
                    _ => None,
                }
            }
        }
    }

    fn word(&self, name: &str, slot: Option<&Slot>) -> Target {
        let method = self.registry.get(name);
        match slot.map(|slot| (&slot.ty, &slot.target)) {
            Some((ParameterType::Delta | ParameterType::DeltaName, _)) => match method {
                Some(method) if method.kind == Kind::Delta => Target::Method(method.name),
                Some(_) => Target::Unknown,
                None => self.symbol(name),
            },
            Some((ParameterType::Artifact(_), _)) => self.symbol(name),
            Some((ParameterType::Choice(choices), Target::Parameter { method, parameter }))
                if choices.contains(&name) =>
            {
                Target::Choice { method, parameter }
            }
            _ if literal_type(name).is_some() => Target::Literal,
            _ => match (self.symbol(name), method) {
                // A list may hold methods, and a recipe may be given one.
                (Target::Unknown, Some(method)) if method.kind != Kind::Source => Target::Method(method.name),
                (target, _) => target,
            },
        }
    }
}

/// The type of a word that stands for itself.
pub(super) fn literal_type(name: &str) -> Option<&'static str> {
    match name {
        "true" | "false" => Some("bool"),
        "none" => Some("none"),
        _ => None,
    }
}

/// The type of a value as written, by the name a `param` would have for it.
pub(super) fn value_type(value: &ast::Value) -> Option<&'static str> {
    let unit = |unit: &Option<ast::Name>, plain| match unit.as_ref().map(|unit| unit.text.as_str()) {
        None => Some(plain),
        Some("%") => Some("ratio"),
        Some("epoch" | "epochs") => Some("epochs"),
        Some("step" | "steps") => Some("steps"),
        Some("s" | "min" | "h") => Some("duration"),
        Some("B" | "kB" | "MB" | "GB" | "MiB" | "GiB") => Some("size"),
        Some(_) => None,
    };
    match &value.kind {
        ast::ValueKind::Int { unit: of, .. } => unit(of, "int"),
        ast::ValueKind::Float { unit: of, .. } => unit(of, "float"),
        ast::ValueKind::String(_) | ast::ValueKind::Template(_) => Some("string"),
        ast::ValueKind::Secret(_) => Some("secret"),
        ast::ValueKind::List(items) => match items.first().and_then(value_type) {
            Some("string") => Some("strings"),
            _ => Some("list"),
        },
        ast::ValueKind::Word(name) => literal_type(name),
        ast::ValueKind::If(either) => value_type(&either.then),
        ast::ValueKind::Stack(_) => Some("delta"),
        ast::ValueKind::Call(_) | ast::ValueKind::Broken => None,
    }
}
