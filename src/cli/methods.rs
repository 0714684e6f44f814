//! `ftp methods`: the list, a manual page, or all of them as Markdown (which is docs/methods.md).

use clap::Args;

use super::Exit;
use crate::lang::signature::{Class, Default, Kind, Parameter, ParameterType, Registry, Signature};
use crate::methods;

#[derive(Args)]
pub(super) struct Methods {
    /// The method to show
    name: Option<String>,
    /// Print the manual of all methods as Markdown
    #[arg(long, conflicts_with = "name")]
    markdown: bool,
}

impl Methods {
    pub fn run(self) -> Exit {
        let registry = methods::registry();
        if self.markdown {
            print!("{}", manual(registry));
            return Exit::Ok;
        }
        let Some(name) = self.name else {
            print!("{}", list(registry));
            return Exit::Ok;
        };
        let Some(signature) = registry.get(&name) else {
            let names: Vec<&str> = registry.iter().map(|signature| signature.name).collect();
            eprintln!("error: there is no method `{name}`; the methods are {}", names.join(", "));
            return Exit::Usage;
        };
        print!("{}", shown(signature));
        Exit::Ok
    }
}

/// A page for the terminal: code without its fences, parameters below each other.
pub(super) fn shown(signature: &Signature) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for line in introduction(signature).lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            text += &format!("    {line}\n");
        } else {
            text += &wrapped(line.trim_start_matches("# "), "");
        }
    }
    if !signature.parameters.is_empty() {
        text += "\nParameters\n";
    }
    for parameter in &signature.parameters {
        let default = match &parameter.default {
            Default::Required => "required".to_owned(),
            Default::Value(value) => format!("default {value}"),
            Default::Written => "has a default".to_owned(),
        };
        let ty = type_text(&parameter.ty).replace('`', "");
        text += &format!("\n{}", wrapped(&format!("{}: {ty} ({default})", parameter.name), "  "));
        text += &wrapped(&format!("{}{}", parameter.doc, class_text(parameter)), "      ");
    }
    text
}

/// A paragraph in lines of at most [`WIDTH`] columns.
fn wrapped(paragraph: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut line = indent.to_owned();
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.trim() != "" {
            text += &format!("{}\n", line.trim_end());
            line = indent.to_owned();
        }
        line += &format!("{word} ");
    }
    text + line.trim_end() + "\n"
}

const WIDTH: usize = 100;

const SECTIONS: [(Kind, &str); 3] =
    [(Kind::Source, "Sources"), (Kind::Stage, "Stages"), (Kind::Delta, "Delta methods, for `peft(..)`")];

fn list(registry: &Registry) -> String {
    let width = registry.iter().map(|signature| signature.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (kind, title) in SECTIONS {
        text += &format!("{title}\n");
        for signature in registry.of_kind(kind) {
            text += &format!("  {:width$}  {}\n", signature.name, signature.summary);
        }
    }
    text
}

/// The whole manual, generated from the signatures.
pub(crate) fn manual(registry: &Registry) -> String {
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

fn page(signature: &Signature) -> String {
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
fn introduction(signature: &Signature) -> String {
    let inputs: Vec<&str> = signature.input.iter().map(|artifact| artifact.phrase()).collect();
    let flow = match (signature.kind, inputs.is_empty()) {
        (Kind::Source, _) => format!("Declares {}.", signature.output.phrase()),
        (Kind::Delta, _) => "Given to `peft(..)`.".to_owned(),
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
    let (ty, class) = (type_text(&parameter.ty), class_text(parameter));
    format!("| `{}` | {ty} | {default} | {}{class} |\n", parameter.name, parameter.doc)
}

fn class_text(parameter: &Parameter) -> &'static str {
    match parameter.class {
        Class::Semantic => "",
        Class::Numeric => " Changes rounding only.",
        Class::Operational => " Not part of the key.",
    }
}

/// A parameter's type in the words of the manual.
fn type_text(ty: &ParameterType) -> String {
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
        ParameterType::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        ParameterType::Strings => "list of strings".into(),
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
