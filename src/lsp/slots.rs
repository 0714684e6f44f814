//! What a call takes, and what fits there.

use super::context::Call;
use super::document::Document;
use super::hover::parameter_page;
use crate::lang::index::{self, Symbol};
use crate::lang::signature::{Artifact, Default, Parameter, ParameterType};
use crate::lang::value::Value;
use crate::methods;

/// A parameter of a method or of a recipe.
pub(super) struct Slot<'a> {
    pub name: &'a str,
    pub ty: &'a ParameterType,
    /// It may be given by its place.
    pub positional: bool,
    /// It may be `none`.
    pub optional: bool,
    pub docs: String,
}

impl<'a> Slot<'a> {
    fn of_parameter(parameter: &'a Parameter) -> Self {
        Self {
            name: parameter.name,
            ty: &parameter.ty,
            positional: parameter.positional,
            optional: parameter.default == Default::Value(Value::None),
            docs: parameter_page(parameter),
        }
    }

    fn of_recipe(symbol: &'a Symbol) -> Option<Self> {
        let ty = symbol.ty.as_ref()?;
        let docs = symbol.docs.clone().unwrap_or_default();
        Some(Self { name: &symbol.name.text, ty, positional: index::by_place(ty), optional: false, docs })
    }
}

/// The parameters of a call: of its method and, of `peft`, of the delta method given; or of a recipe.
pub(super) fn of_call<'a>(document: &'a Document, call: &Call) -> Vec<Slot<'a>> {
    let registry = methods::registry();
    if let Some(method) = registry.get(call.method) {
        let takes_delta = method.parameters.iter().any(|parameter| parameter.ty == ParameterType::Delta);
        let delta = call.first.filter(|_| takes_delta).and_then(|name| registry.get(name));
        let all = method.parameters.iter().chain(delta.into_iter().flat_map(|delta| &delta.parameters));
        return all.map(Slot::of_parameter).collect();
    }
    let Some((index, recipe)) = document.index.find(call.method) else { return vec![] };
    let mut slots: Vec<Slot> = index.parameters(recipe).filter_map(Slot::of_recipe).collect();
    // Behind an arrow, the first model stands left of it.
    if call.piped
        && let Some(model) = slots.iter().position(|slot| *slot.ty == ParameterType::Artifact(Artifact::Model))
    {
        slots.remove(model);
    }
    slots
}

/// Whether a local name of this type may be given where a thing of type `wanted` is; one of no type may be anything.
pub(super) fn may_be(wanted: &str, local: Option<&str>) -> bool {
    local.is_none_or(|local| local == wanted)
}

/// Whether a plain value of this type, by the name `param` has for it, may be given to a parameter.
pub(super) fn fits(ty: &ParameterType, value: &str) -> bool {
    let fitting: &[&str] = match ty {
        ParameterType::Bool => &["bool"],
        ParameterType::Int { .. } => &["int"],
        ParameterType::Float { .. } => &["int", "float", "ratio"],
        ParameterType::Ratio => &["float", "ratio"],
        ParameterType::String => &["string"],
        ParameterType::Strings => &["strings"],
        ParameterType::Secret => &["secret"],
        ParameterType::Epochs => &["int", "float", "epochs"],
        ParameterType::Steps => &["int", "steps"],
        ParameterType::StepsOrRatio => &["float", "ratio", "steps"],
        ParameterType::Duration => &["duration"],
        ParameterType::Size => &["size"],
        ParameterType::Choice(_)
        | ParameterType::Artifact(_)
        | ParameterType::Delta
        | ParameterType::DeltaName
        | ParameterType::Recipe(_) => &[],
    };
    fitting.contains(&value)
}
