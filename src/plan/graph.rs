//! The DAG of stages: what is left of a program when sources are folded into the stages that use them, equal
//! sub-graphs are one, and what no pipeline needs is gone.

use std::collections::HashMap;

use indexmap::IndexMap;
use petgraph::graph::{DiGraph, NodeIndex};

use super::key::{self, Keyed};
use crate::lang::ir::{Node, NodeId, Program, UNTIL};
use crate::lang::signature::Kind;
use crate::lang::value::Value;
use crate::lang::world::Digest;

/// Everything a run of a program may have to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In topological order: a stage's inputs come before it.
    pub stages: Vec<Stage>,
    /// The same stages as a graph: a node's weight is its index into `stages`, an edge's weight the slot it fills.
    pub graph: DiGraph<usize, String>,
    /// `cpu` or `cuda:0`: where the stages run.
    pub device: String,
    stage_of: HashMap<NodeId, usize>,
}

/// One stage of the plan.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Unique in the plan, for people: `finetune(target)`, or `finetune(target) in small` where there are several.
    pub label: String,
    /// The nodes of the program that are this stage, in the file's order; never empty. Where equal stages differ in
    /// operational parameters, those of the first count.
    pub nodes: Vec<NodeId>,
    /// By slot, in the order of the method's signature.
    pub inputs: IndexMap<String, StageInput>,
    /// It runs only if this race keeps it.
    pub contest: Option<Contest>,
}

/// A stage's place in a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// The race, a stage of the plan.
    pub race: usize,
    /// Which of its models, from 0.
    pub number: usize,
}

/// What fills a slot of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageInput {
    /// A source of the program.
    Source(NodeId),
    /// Another stage of the plan, by index.
    Stage(usize),
}

impl Plan {
    /// The stages that the program's pipelines need. `device` is `cpu` or `cuda:N`.
    pub fn new(program: &Program, device: &str) -> Self {
        let needed = needed(program);
        let mut plan =
            Self { stages: Vec::new(), graph: DiGraph::new(), device: device.to_owned(), stage_of: HashMap::new() };
        let mut known: HashMap<Digest, usize> = HashMap::new();
        for (id, node) in program.nodes.iter().enumerate() {
            if !needed[id] || node.kind != Kind::Stage {
                continue;
            }
            let inputs = plan.inputs(program, node);
            // Stages are told apart by what their keys would be if every input stage's output were its index.
            let mut identity = key::alone(program, node, &inputs, device, &|stage| format!("stage {stage}"));
            let contest =
                node.contest.map(|contest| Contest { race: plan.stage_of[&contest.race], number: contest.number });
            // What runs only if it is kept is another stage than what runs anyway, though their results are one.
            if let Some(Contest { race, number }) = contest {
                identity += &format!(" {number} of stage {race}");
            }
            let index = *known.entry(identity).or_insert(plan.stages.len());
            if index == plan.stages.len() {
                plan.push(Stage { label: node.label.clone(), nodes: vec![id], inputs, contest });
            } else {
                plan.stages[index].nodes.push(id);
            }
            plan.stage_of.insert(id, index);
        }
        plan.label_uniquely(program);
        plan
    }

    /// The stage that a node of the program became; `None` for sources and for what no pipeline needs.
    pub fn stage_of(&self, node: NodeId) -> Option<usize> {
        self.stage_of.get(&node).copied()
    }

    /// The node of the program whose parameters the stage has.
    pub fn node<'a>(&self, program: &'a Program, stage: usize) -> &'a Node {
        &program.nodes[self.stages[stage].nodes[0]]
    }

    /// The stages a stage takes results from, and the race that decides whether it runs.
    pub fn stages_before(&self, stage: usize) -> impl Iterator<Item = usize> {
        let Stage { inputs, contest, .. } = &self.stages[stage];
        let inputs = inputs.values().filter_map(|input| match input {
            StageInput::Stage(index) => Some(*index),
            StageInput::Source(_) => None,
        });
        inputs.chain(contest.map(|contest| contest.race))
    }

    /// The key of a stage's result, given the output digests of the stages before it.
    pub fn key(&self, program: &Program, stage: usize, output_of: &dyn Fn(usize) -> Digest) -> Keyed {
        self.key_with(program, stage, &self.stages[stage].inputs, output_of)
    }

    /// The same, where only some of the stage's inputs are left.
    pub fn key_with(
        &self,
        program: &Program,
        stage: usize,
        inputs: &IndexMap<String, StageInput>,
        output_of: &dyn Fn(usize) -> Digest,
    ) -> Keyed {
        key::of(program, self.node(program, stage), inputs, &self.device, output_of)
    }

    /// The key alone of [`Plan::key_with`]: what it is made of need be known only of what is not in the store.
    pub fn bare_key_with(
        &self,
        program: &Program,
        stage: usize,
        inputs: &IndexMap<String, StageInput>,
        output_of: &dyn Fn(usize) -> Digest,
    ) -> Digest {
        key::alone(program, self.node(program, stage), inputs, &self.device, output_of)
    }

    /// The key of the training that a stage is the beginning of, if it ends early by its parameter `until`.
    pub fn key_of_whole(&self, program: &Program, stage: usize, output_of: &dyn Fn(usize) -> Digest) -> Option<Digest> {
        let node = self.node(program, stage);
        node.parameters.get(UNTIL).filter(|until| until.value != Value::None)?;
        let mut whole = node.clone();
        whole.parameters[UNTIL].value = Value::None;
        Some(key::alone(program, &whole, &self.stages[stage].inputs, &self.device, output_of))
    }

    /// How long a stage may take, in seconds, where the file says so: its operational parameter `time_limit`.
    pub fn time_limit(&self, program: &Program, stage: usize) -> Option<f64> {
        match self.node(program, stage).parameters.get("time_limit")?.value {
            Value::Seconds(seconds) => Some(seconds),
            _ => None,
        }
    }

    fn inputs(&self, program: &Program, node: &Node) -> IndexMap<String, StageInput> {
        let input = |id: &NodeId| match program.nodes[*id].kind {
            Kind::Stage => StageInput::Stage(self.stage_of[id]),
            Kind::Source | Kind::Delta => StageInput::Source(*id),
        };
        node.inputs.iter().map(|(slot, id)| (slot.clone(), input(id))).collect()
    }

    fn push(&mut self, stage: Stage) {
        let index = self.graph.add_node(self.stages.len());
        for (slot, input) in &stage.inputs {
            if let StageInput::Stage(before) = input {
                self.graph.add_edge(NodeIndex::new(*before), index, slot.clone());
            }
        }
        if let Some(contest) = stage.contest {
            self.graph.add_edge(NodeIndex::new(contest.race), index, "contest".to_owned());
        }
        self.stages.push(stage);
    }

    /// Stages of one label are told apart by the first pipeline that uses them, and where that is not enough by a number.
    fn label_uniquely(&mut self, program: &Program) {
        let mut pipeline_of: HashMap<usize, &str> = HashMap::new();
        for pipeline in &program.pipelines {
            for id in pipeline.stages.iter().chain([&pipeline.output]) {
                if let Some(stage) = self.stage_of(*id) {
                    pipeline_of.entry(stage).or_insert(&pipeline.name);
                }
            }
        }
        let times = self.count_labels();
        for (index, stage) in self.stages.iter_mut().enumerate() {
            if times[&stage.label] > 1
                && let Some(pipeline) = pipeline_of.get(&index)
            {
                stage.label = format!("{} in {pipeline}", stage.label);
            }
        }
        let times = self.count_labels();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for stage in &mut self.stages {
            if times[&stage.label] > 1 {
                let number = seen.entry(stage.label.clone()).or_insert(0);
                *number += 1;
                stage.label = format!("{} #{number}", stage.label);
            }
        }
    }

    fn count_labels(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for stage in &self.stages {
            *times.entry(stage.label.clone()).or_insert(0) += 1;
        }
        times
    }
}

/// Which nodes a pipeline's output depends on.
fn needed(program: &Program) -> Vec<bool> {
    let mut needed = vec![false; program.nodes.len()];
    let mut open: Vec<NodeId> = program.pipelines.iter().map(|pipeline| pipeline.output).collect();
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut needed[id], true) {
            open.extend(program.nodes[id].inputs.values());
            open.extend(program.nodes[id].contest.map(|contest| contest.race));
        }
    }
    needed
}
