//! The two steps of diff pruning (Guo et al. 2021, arXiv:2012.07463): differences under gates whose expected number costs, then
//! the largest of them, alone.

use burn::tensor::Tensor;

use super::{At, Beginning, Begun, Entry, Technique};
use crate::event::Notice;
use crate::hub::tensors::HostTensor;
use crate::nn::gradient::{Gradient, Gradients};
use crate::nn::hard_concrete::{FAR, HardConcrete};
use crate::nn::largest::Largest;
use crate::nn::models::Model;
use crate::nn::ops::{self, Kept};
use crate::nn::parameters::Weight;
use crate::train::checkpoint::{Saved, Snapshot};
use crate::train::reader::wrong;

/// What the delta has for a parameter of the model, by what follows its name: differences and their gates' locations, `[elements]`,
/// and the location of the gate they share, `[1]`.
pub const DIFFERENCE: &str = ".diff";
pub const GATE: &str = ".diff_gate";
pub const GROUP_GATE: &str = ".diff_group_gate";

const TARGET: &str = "diff_pruning.target";
const WEIGHT: &str = "diff_pruning.l0_weight";
const PRUNE_AT: &str = "diff_pruning.prune_at";
const RATE: &str = "diff_pruning.gate_learning_rate";
const STRUCTURED: &str = "diff_pruning.structured";
const BETA: &str = "diff_pruning.beta";
const GAMMA: &str = "diff_pruning.gamma";
const ZETA: &str = "diff_pruning.zeta";

/// The delta's own parameters.
pub(super) const ENTRY: Entry =
    Entry { parameters: &[TARGET, WEIGHT, PRUNE_AT, RATE, STRUCTURED, BETA, GAMMA, ZETA], begin };

struct DiffPruning {
    gates: HardConcrete,
    structured: bool,
    /// Share of the differences that are left in the end.
    target: f64,
    /// Of the expected number of open gates in the loss.
    weight: f64,
    /// Learning rate of the gates relative to the others'.
    rate: f64,
    /// Parameters with differences, and the step after which these are pruned.
    names: Vec<String>,
    step: u64,
    /// Once pruned: how many differences were left.
    kept: Option<usize>,
}

fn begin(beginning: &mut Beginning) -> Begun {
    let read = beginning.read;
    let Some(target) = read.number(TARGET)? else { return Ok(None) };
    let share = read.number(PRUNE_AT)?.unwrap_or(0.5);
    if !(share > 0.0 && share <= 1.0) {
        return Err(wrong("prune_at", share.to_string(), "above 0 % and at most 100 %: differences start at 0"));
    }
    if read.name("average")?.is_some() && read.number("average_from")?.unwrap_or(0.75) < share {
        return Err(wrong("average_from", "before `prune_at`".into(), "at or after it: what is pruned has no mean"));
    }
    let number = |name, default| Ok(read.number(name)?.map_or(default, |number: f64| number as f32));
    let own = beginning.model.parameters.keys().filter_map(|name| name.strip_suffix(DIFFERENCE));
    Ok(Some(Box::new(DiffPruning {
        gates: HardConcrete { beta: number(BETA, 1.0)?, gamma: number(GAMMA, -1.5)?, zeta: number(ZETA, 1.5)? },
        structured: read.switch(STRUCTURED)?.unwrap_or(true),
        target,
        weight: read.at_least_0(WEIGHT)?.unwrap_or(1.25e-7),
        rate: read.at_least_0(RATE)?.unwrap_or(0.1) / beginning.learning_rate.max(f64::MIN_POSITIVE),
        names: own.map(str::to_owned).collect(),
        step: ((share * beginning.steps as f64 + 1e-9) as u64).max(1),
        kept: None,
    })))
}

impl DiffPruning {
    /// Leaves the largest differences, with their gates open for good, and shuts the others'.
    fn prune(&mut self, model: &mut Model) {
        let read = |model: &Model, name: &str, suffix: &str| {
            model.parameters.get(&format!("{name}{suffix}")).map(|parameter| parameter.weight.to_host().data)
        };
        let gated = |name: &String| {
            let [differences, locations] =
                [DIFFERENCE, GATE].map(|suffix| read(model, name, suffix).unwrap_or_default());
            let group = read(model, name, GROUP_GATE).map_or(1.0, |locations| self.gates.gate(locations[0]));
            let both = differences.iter().zip(locations);
            both.map(|(difference, location)| difference * self.gates.gate(location) * group).collect()
        };
        let mut all: Vec<Vec<f32>> = self.names.iter().map(gated).collect();
        let keep = Kept::count(self.target, all.iter().map(Vec::len).sum());
        let mut largest = Largest::of(all.iter().flatten().map(|value| value.abs().to_bits()), keep);
        let mut kept = 0;
        for (name, values) in self.names.iter().zip(&mut all) {
            let gates = values.iter_mut().map(|value| {
                let keeps = largest.keeps(value.abs().to_bits()) && *value != 0.0;
                *value = if keeps { *value } else { 0.0 };
                kept += usize::from(keeps);
                if keeps { FAR } else { -FAR }
            });
            let gates = gates.collect();
            for (suffix, data) in [(DIFFERENCE, std::mem::take(values)), (GATE, gates), (GROUP_GATE, vec![FAR])] {
                if let Some(parameter) = model.parameters.get_mut(&format!("{name}{suffix}")) {
                    let host = HostTensor { shape: vec![data.len()], data };
                    let weight = Weight::from_host(&host, &parameter.weight.device());
                    parameter.weight = weight.expect("it is a vector");
                }
            }
        }
        self.kept = Some(kept);
    }
}

impl Technique for DiffPruning {
    fn before(&mut self, model: &mut Model, at: At) {
        if self.kept.is_none() && at.step > self.step {
            self.prune(model);
        }
    }

    fn rate(&self, parameter: &str) -> f64 {
        match parameter.ends_with(GATE) || parameter.ends_with(GROUP_GATE) {
            false => 1.0,
            true if self.kept.is_some() => 0.0,
            true => self.rate,
        }
    }

    /// The derivative of `weight` times the expected number of open gates, for every target of the step.
    fn differentiated(&mut self, model: &mut Model, gradients: &mut Gradients, targets: f64) {
        let weight = targets * self.weight;
        if self.kept.is_some() || weight == 0.0 {
            return;
        }
        for name in &self.names {
            let vector =
                |suffix: &str| match model.parameters.get(&format!("{name}{suffix}")).map(|found| &found.weight) {
                    Some(Weight::Vector(locations)) => Some(locations.clone()),
                    _ => None,
                };
            let Some(locations) = vector(GATE) else { continue };
            let group = vector(GROUP_GATE).filter(|_| self.structured).map(|locations| self.gates.open(locations));
            let others: f32 = group.clone().map_or(1.0, |open| open.into_scalar());
            let name_of_gate = format!("{name}{GATE}");
            let gradient = taken(gradients, &name_of_gate).unwrap_or_else(|| locations.zeros_like());
            let (gradient, count) = ops::add_open_slope(gradient, &locations, self.gates, weight as f32 * others);
            gradients.insert(name_of_gate, Gradient::Whole(Weight::Vector(gradient)));
            if let Some(open) = group {
                // p = sigmoid(..), so p' = p (1 - p).
                let shared = open.clone() * (open.neg() + 1.0) * (weight * count) as f32;
                let name = format!("{name}{GROUP_GATE}");
                let gradient = taken(gradients, &name).map_or(shared.clone(), |gradient| gradient + shared);
                gradients.insert(name, Gradient::Whole(Weight::Vector(gradient)));
            }
        }
        gradients.sort_unstable_keys();
    }

    fn settled(&self) -> bool {
        self.kept.is_some()
    }

    fn finish(&mut self, model: &mut Model, notices: &mut Vec<Notice>) -> bool {
        let early = self.kept.is_none();
        if early {
            self.prune(model);
        }
        let (kept, all) = (self.kept.unwrap_or_default(), self.names.iter());
        let all: usize = all.map(|name| model.parameters[&format!("{name}{DIFFERENCE}")].weight.count()).sum();
        let share = 100.0 * kept as f64 / all.max(1) as f64;
        let message = format!("{kept} of {all} differences were kept: {share:.3} %");
        notices.push(Notice::new("ftp::train::pruned", message));
        if kept < Kept::count(self.target, all) {
            let message = format!(
                "`target` left room for {:.3} % of the differences, but all others were 0 before pruning: a smaller `l0_weight` or \
                 `gate_learning_rate` leaves more gates open",
                100.0 * self.target
            );
            notices.push(Notice::new("ftp::train::gates_shut", message));
        }
        early
    }

    fn save(&self, to: &mut Snapshot) {
        to.record("diff_pruning", &self.kept);
    }

    fn load(&mut self, saved: &Saved, _: &mut Model) -> Option<()> {
        self.kept = saved.record("diff_pruning")?;
        Some(())
    }
}

/// The gradient of a vector, out of the others.
fn taken(gradients: &mut Gradients, name: &str) -> Option<Tensor<1>> {
    gradients.swap_remove(name).map(|gradient| match gradient {
        Gradient::Whole(Weight::Vector(gradient)) => gradient,
        other => unreachable!("the gradient of a vector is one: {other:?}"),
    })
}
