//! The types a `param` and a recipe's parameter may have, as written.

use super::diagnostic::Diagnostic;
use super::signature::{Artifact, ParameterType};
use super::suggest;
use crate::syntax::ast;

const VALUES: &[(&str, ParameterType)] = &[
    ("int", ParameterType::Int { min: i64::MIN, max: i64::MAX }),
    ("float", ParameterType::Float { min: f64::NEG_INFINITY, max: f64::INFINITY, above: false }),
    ("string", ParameterType::String),
    ("bool", ParameterType::Bool),
    ("ratio", ParameterType::Ratio),
    ("duration", ParameterType::Duration),
    ("size", ParameterType::Size),
    ("epochs", ParameterType::Epochs),
    ("steps", ParameterType::Steps),
    ("strings", ParameterType::Strings),
    ("secret", ParameterType::Secret),
];

const ARTIFACTS: &[(&str, Artifact)] =
    &[("model", Artifact::Model), ("text", Artifact::Text), ("labelled", Artifact::Labelled)];

/// The names of the types there are: of a `param` or, with `recipe`, of a recipe's parameter.
pub fn type_names(recipe: bool) -> Vec<&'static str> {
    let mut all = names(VALUES);
    if recipe {
        all.extend(names(ARTIFACTS));
        all.extend(["delta", "recipe"]);
    }
    all
}

/// A type as written. `recipe`: it is that of a recipe's parameter, which may also be an artifact, a method or a recipe.
pub(super) fn of(written: &ast::Type, recipe: bool) -> Result<ParameterType, Box<Diagnostic>> {
    let name = written.name.text.as_str();
    let artifact = |name: &str| ARTIFACTS.iter().find(|(known, _)| *known == name).map(|(_, artifact)| *artifact);
    if let Some(takes) = written.takes.as_ref().filter(|_| recipe && name == "recipe") {
        let mut artifacts = vec![];
        for taken in takes {
            match artifact(&taken.text) {
                Some(artifact) => artifacts.push(artifact),
                None => return Err(unknown(&taken.text, taken.span, &names(ARTIFACTS))),
            }
        }
        return Ok(ParameterType::Recipe(artifacts));
    }
    if written.takes.is_some() && type_names(recipe).contains(&name) {
        let error =
            Diagnostic::error("ftp::param::no_limits", written.span, format!("`{name}` takes nothing in parentheses"));
        return Err(Box::new(error.label("only `recipe(..)` does").help(format!("write `{name}`"))));
    }
    let ty = match name {
        "delta" if recipe => Some(ParameterType::DeltaName),
        "recipe" if recipe => Some(ParameterType::Recipe(vec![])),
        _ if recipe && artifact(name).is_some() => artifact(name).map(ParameterType::Artifact),
        _ => VALUES.iter().find(|(known, _)| *known == name).map(|(_, ty)| ty.clone()),
    };
    let Some(ty) = ty else {
        return Err(unknown(name, written.name.span, &type_names(recipe)));
    };
    match &written.limits {
        None => Ok(ty),
        Some(limits) => within(ty, limits, written),
    }
}

/// The type that was probably meant by one that there is not.
pub(super) fn guess(written: &ast::Type, recipe: bool) -> Option<ParameterType> {
    let meant = |name: &ast::Name, known: &[&str]| {
        let near = suggest::nearest(&name.text, known.iter().copied())?;
        Some(ast::Name { text: near.to_owned(), ..name.clone() })
    };
    let name = meant(&written.name, &type_names(recipe))?;
    let takes = match &written.takes {
        Some(takes) => Some(takes.iter().map(|taken| meant(taken, &names(ARTIFACTS))).collect::<Option<_>>()?),
        None => None,
    };
    of(&ast::Type { name, takes, ..written.clone() }, recipe).ok()
}

fn unknown(name: &str, at: crate::syntax::Span, known: &[&str]) -> Box<Diagnostic> {
    let mut error =
        Diagnostic::error("ftp::param::unknown_type", at, format!("there is no type `{name}`")).label("not a type");
    suggest::offer(&mut error, name, known, "the types are");
    Box::new(error)
}

/// `int in 1..20`, `float in 0.0..1.0`.
fn within(
    ty: ParameterType,
    limits: &(ast::Value, ast::Value),
    written: &ast::Type,
) -> Result<ParameterType, Box<Diagnostic>> {
    let number = |value: &ast::Value| match value.kind {
        ast::ValueKind::Int { value, .. } => Some(value as f64),
        ast::ValueKind::Float { value, .. } => Some(value),
        _ => None,
    };
    let whole = |value: &ast::Value| match value.kind {
        ast::ValueKind::Int { value, .. } => Some(value),
        _ => None,
    };
    let span = limits.0.span.to(limits.1.span);
    let (Some(least), Some(most)) = (number(&limits.0), number(&limits.1)) else { return Ok(ty) };
    let error = |message: &str, help: &str| {
        Err(Box::new(Diagnostic::error("ftp::param::no_limits", span, message).label("these limits").help(help)))
    };
    if least > most {
        return error("the first limit is above the second", "write the smaller number first");
    }
    match (ty, whole(&limits.0), whole(&limits.1)) {
        (ParameterType::Int { .. }, Some(min), Some(max)) => Ok(ParameterType::Int { min, max }),
        (ParameterType::Int { .. }, ..) => error("the limits of an `int` are whole numbers", "write `int in 1..20`"),
        (ParameterType::Float { .. }, ..) => Ok(ParameterType::Float { min: least, max: most, above: false }),
        _ => error(
            &format!("`{}` has no limits of its own", written.name.text),
            "write the type alone; `int` and `float` can have limits",
        ),
    }
}

fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}
