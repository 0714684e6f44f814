//! The plan as a drawing: which shapes and arrows there are, and as SVG.

mod layers;
mod svg;

pub use svg::{escaped, file, inline};

use crate::lang::ir::Program;
use crate::lang::signature::Kind;
use crate::plan::{Plan, StageInput};

/// A box of the drawing.
pub struct Shape {
    pub id: String,
    pub label: String,
    /// `source`, `stage` or `pipeline`.
    pub kind: &'static str,
    /// What became of it, another class of the box; may be empty.
    pub state: &'static str,
}

/// Sources that are used, stages (equal ones once), and the pipelines that end in them.
pub fn shapes(program: &Program, plan: &Plan) -> (Vec<Shape>, Vec<(String, String)>) {
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
        shapes.push(Shape { id: format!("source{node}"), label: source.label.clone(), kind: "source", state: "" });
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        shapes.push(Shape { id: format!("stage{index}"), label: stage.label.clone(), kind: "stage", state: "" });
    }
    for (index, pipeline) in program.pipelines.iter().enumerate() {
        shapes.push(Shape {
            id: format!("pipeline{index}"),
            label: pipeline.name.clone(),
            kind: "pipeline",
            state: "",
        });
        if let Some(stage) = plan.stage_of(pipeline.output) {
            arrows.push((format!("stage{stage}"), format!("pipeline{index}")));
        }
    }
    (shapes, arrows)
}
