//! `ftp graph`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, FileArguments, project, svg};
use crate::lang::ir::Program;
use crate::lang::signature::Kind;
use crate::plan::{Plan, StageInput};

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

/// A box of the drawing.
pub(super) struct Shape {
    pub id: String,
    pub label: String,
    /// `source`, `stage` or `pipeline`.
    pub kind: &'static str,
}

impl Graph {
    pub fn run(self) -> Exit {
        let project = match project::open(&self.file, self.format == Format::Json) {
            Ok(project) => project,
            Err(exit) => return exit,
        };
        let plan = Plan::new(&project.program, "cpu");
        let (shapes, arrows) = draw(&project.program, &plan);
        print!(
            "{}",
            match self.format {
                Format::Dot => dot(&shapes, &arrows),
                Format::Mermaid => mermaid(&shapes, &arrows),
                Format::Svg => svg::draw(&project.source.name, &shapes, &arrows),
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

/// Sources that are used, stages (equal ones once), and the pipelines that end in them.
fn draw(program: &Program, plan: &Plan) -> (Vec<Shape>, Vec<(String, String)>) {
    let (mut shapes, mut arrows) = (vec![], vec![]);
    let mut used: Vec<usize> = vec![];
    for (index, stage) in plan.stages.iter().enumerate() {
        for input in stage.inputs.values() {
            let from = match input {
                StageInput::Source(node) => {
                    if !used.contains(node) {
                        used.push(*node);
                    }
                    format!("source{node}")
                }
                StageInput::Stage(stage) => format!("stage{stage}"),
            };
            arrows.push((from, format!("stage{index}")));
        }
    }
    for node in used {
        let source = &program.nodes[node];
        debug_assert_eq!(source.kind, Kind::Source);
        shapes.push(Shape { id: format!("source{node}"), label: source.label.clone(), kind: "source" });
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        shapes.push(Shape { id: format!("stage{index}"), label: stage.label.clone(), kind: "stage" });
    }
    for (index, pipeline) in program.pipelines.iter().enumerate() {
        shapes.push(Shape { id: format!("pipeline{index}"), label: pipeline.name.clone(), kind: "pipeline" });
        if let Some(stage) = plan.stage_of(pipeline.output) {
            arrows.push((format!("stage{stage}"), format!("pipeline{index}")));
        }
    }
    (shapes, arrows)
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
