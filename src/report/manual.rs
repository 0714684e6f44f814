//! The manual of methods as Markdown, from their signatures: `docs/methods.md`, `ftp methods`, and what editors show.

use crate::lang::signature::{Beside, Class, Default, Kind, Parameter, ParameterType, Registry, Signature};

/// What the methods are listed under.
pub const SECTIONS: [(Kind, &str); 3] =
    [(Kind::Source, "Sources"), (Kind::Stage, "Stages"), (Kind::Delta, "Delta methods, for `peft(..)`")];

/// The whole manual, generated from the signatures.
pub fn manual(registry: &Registry) -> String {
    let mut text = String::from(
        "# Methods\n\nGenerated from the methods' signatures by `ftp methods --markdown`; do not edit. `ftp methods NAME` shows one page.\n",
    );
    for (kind, title) in SECTIONS {
        text += &format!("\n## {title}\n");
        for signature in registry.of_kind(kind) {
            text += &format!("\n{}", page(signature).replacen("# ", "### ", 1));
        }
    }
    text
}

/// The page of one method, with a table of its parameters.
pub fn page(signature: &Signature) -> String {
    let mut text = introduction(signature);
    if !signature.parameters.is_empty() {
        text += "\n| parameter | type | default | |\n| --- | --- | --- | --- |\n";
        for parameter in &signature.parameters {
            text += &row(parameter);
        }
    }
    text
}

/// A page up to its parameters.
pub fn introduction(signature: &Signature) -> String {
    let inputs: Vec<&str> = signature.input.iter().map(|artifact| artifact.phrase()).collect();
    let flow = match (signature.kind, inputs.is_empty()) {
        (Kind::Source, _) => format!("Declares {}.", signature.output.phrase()),
        (Kind::Delta, true) => "Given to `peft(..)`, alone.".to_owned(),
        (Kind::Delta, false) => "Given to `peft(..)`, alone or in a `stack(..)`.".to_owned(),
        (Kind::Stage, true) => format!("Begins a chain; makes {}.", signature.output.phrase()),
        (Kind::Stage, false) => format!("Takes {}; makes {}.", inputs.join(" or "), signature.output.phrase()),
    };
    format!(
        "# `{}`\n\n{}. {flow} Version {}.\n\n{}\n",
        signature.name,
        capitalised(signature.summary),
        signature.version,
        signature.docs
    )
}

fn row(parameter: &Parameter) -> String {
    let default = match &parameter.default {
        Default::Required => "required".to_owned(),
        Default::Value(value) => format!("`{value}`"),
        Default::Written => "has one".to_owned(),
    };
    let (ty, notes) = (type_text(&parameter.ty), notes(parameter));
    format!("| `{}` | {ty} | {default} | {}{notes} |\n", parameter.name, parameter.doc)
}

/// What a parameter has to do with others and with the key, where that is not the usual.
pub fn notes(parameter: &Parameter) -> String {
    let class = match parameter.class {
        Class::Semantic => "",
        Class::Numeric => " Changes rounding only.",
        Class::Operational => " Not part of the key.",
    };
    let beside = match parameter.beside {
        None => String::new(),
        Some(Beside { parameter, values: [] }) => format!(" Only beside `{parameter}`."),
        Some(Beside { parameter, values }) => format!(" Only beside `{parameter} = {}`.", values.join("`, `")),
    };
    beside + class
}

/// A parameter's type in the words of the manual.
pub fn type_text(ty: &ParameterType) -> String {
    match ty {
        ParameterType::Bool => "true or false".into(),
        ParameterType::Int { min, max } if *max >= 1_000_000_000 => format!("integer >= {min}"),
        ParameterType::Int { min, max } => format!("integer, {min} to {max}"),
        ParameterType::Float { min, max, above: true } => format!("number, above {min}, at most {max}"),
        ParameterType::Float { min, max, above: false } => format!("number, {min} to {max}"),
        ParameterType::Ratio => "share, `0.1` or `10 %`".into(),
        ParameterType::String => "string".into(),
        ParameterType::Epochs => "epochs, `3` or `3 epochs`".into(),
        ParameterType::Steps => "steps, `500` or `500 steps`".into(),
        ParameterType::StepsOrRatio => "share or steps, `10 %` or `100 steps`".into(),
        ParameterType::Duration => "time, `30 min`".into(),
        ParameterType::Size => "size, `8 GB`".into(),
        ParameterType::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        ParameterType::Strings => "list of strings".into(),
        ParameterType::Secret => "secret, `secret(\"HF_TOKEN\")`".into(),
        ParameterType::Artifact(artifact) => artifact.phrase().into(),
        ParameterType::Delta | ParameterType::DeltaName => "a delta method".into(),
        ParameterType::Recipe(_) => "a recipe or a stage".into(),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manual_in_docs_is_the_one_the_signatures_give() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/methods.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == super::manual(crate::methods::registry()),
            "docs/methods.md is out of date: cargo run -- methods --markdown > docs/methods.md"
        );
    }
}
