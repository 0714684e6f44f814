//! `ftp methods`: the list, a manual page, or all of them as Markdown (which is docs/methods.md).

use clap::Args;

use super::Exit;
use crate::lang::signature::{Default, Registry, Signature};
use crate::methods;
use crate::report::manual::{SECTIONS, introduction, manual, notes, type_text};

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
        text += &wrapped(&format!("{}{}", parameter.doc, notes(parameter)), "      ");
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
