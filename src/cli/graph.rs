//! `ftp graph`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, FileArguments, project};
use crate::plan::Plan;
use crate::report::drawing::{self, Shape};

#[derive(Args)]
pub(super) struct Graph {
    #[command(flatten)]
    file: FileArguments,
    /// How to write the graph
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Graphviz: ftp graph FILE | dot -Tsvg > graph.svg
    Dot,
    /// Mermaid, as Markdown renders it
    Mermaid,
    /// A drawing any browser shows: ftp graph FILE --format svg > graph.svg
    Svg,
    Json,
}

impl Graph {
    pub fn run(self) -> Exit {
        let project = match project::open(&self.file, self.format == Format::Json) {
            Ok(project) => project,
            Err(exit) => return exit,
        };
        let plan = Plan::new(&project.program, "cpu");
        let (shapes, arrows) = drawing::shapes(&project.program, &plan);
        print!(
            "{}",
            match self.format {
                Format::Dot => dot(&shapes, &arrows),
                Format::Mermaid => mermaid(&shapes, &arrows),
                Format::Svg => drawing::file(&project.source.name, &shapes, &arrows),
                Format::Json => {
                    let nodes: Vec<_> =
                        shapes.iter().map(|s| json!({ "id": s.id, "label": s.label, "kind": s.kind })).collect();
                    let edges: Vec<_> = arrows.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
                    format!("{:#}\n", json!({ "nodes": nodes, "edges": edges }))
                }
            }
        );
        Exit::Ok
    }
}

fn dot(shapes: &[Shape], arrows: &[(String, String)]) -> String {
    let mut text = String::from("digraph ftp {\n  rankdir=LR;\n  node [shape=box];\n");
    for shape in shapes {
        let style = match shape.kind {
            "source" => ", shape=cylinder",
            "pipeline" => ", shape=plain",
            _ => "",
        };
        text += &format!("  {} [label={:?}{style}];\n", shape.id, shape.label);
    }
    for (from, to) in arrows {
        text += &format!("  {from} -> {to};\n");
    }
    text + "}\n"
}

fn mermaid(shapes: &[Shape], arrows: &[(String, String)]) -> String {
    let mut text = String::from("flowchart LR\n");
    for shape in shapes {
        let label = shape.label.replace('"', "#quot;");
        let (open, close) = match shape.kind {
            "source" => ("[(", ")]"),
            "pipeline" => ("([", "])"),
            _ => ("[", "]"),
        };
        text += &format!("  {}{open}\"{label}\"{close}\n", shape.id);
    }
    for (from, to) in arrows {
        text += &format!("  {from} --> {to}\n");
    }
    text
}
