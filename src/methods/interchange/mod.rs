//! Deltas apart from their models, as `peft` and `adapters` save them: read into what a stage attaches, written from what
//! a stage handed over. `docs/interchange.md` says what is done and what is not.

mod adapters;
mod head;
mod modules;
#[cfg(test)]
mod parity;
mod peft;

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::bundle::Bundle;
use super::{StageFailure, registry};
use crate::data::{DataError, saved};
use crate::event::Notice;
use crate::hub;
use crate::hub::tensors::{HostTensor, Tensors};
use crate::lang::signature::{Default, Library};
use crate::lang::value::Value;
use crate::lang::world::Task;
use crate::nn::models::{self, Head};
use crate::plan::spec::DeltaSpec;

/// A delta without the model it lies over.
#[derive(Debug, Clone, PartialEq)]
pub struct Apart {
    /// In the order in which they act.
    pub specs: Vec<DeltaSpec>,
    /// Their tensors, under the names they have in a model.
    pub own: Tensors,
    /// What stands on top and came with it: the classifier, and a pooler that was trained or that the base lacks.
    pub head: Tensors,
    /// What that answers.
    pub task: Option<Task>,
}

/// The model that a directory is for, as others name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseName {
    /// A directory, or a model of the hub.
    pub name: String,
    pub revision: Option<String>,
}

/// What a directory is written with.
pub struct Writing<'a> {
    pub apart: &'a Apart,
    /// The configuration of the model with its delta: what the labels are.
    pub config: &'a Json,
    pub base: &'a BaseName,
    /// What `adapters` calls the delta.
    pub name: &'a str,
}

/// Reads a saved delta for a model.
///
/// # Errors
/// What [`saved::read`] finds; tensors that the model has no place for, or that are missing.
pub fn read(root: &Path, base: &Bundle) -> Result<(Apart, Vec<Notice>), StageFailure> {
    let found = saved::read(root, &root.display().to_string()).map_err(DataError::from)?;
    let mut notices = found.notices.clone();
    let apart = match found.library {
        Library::Peft => peft::read(root, &found, base, &mut notices),
        Library::Adapters => adapters::read(root, &found, base, &mut notices),
    }?;
    Ok((apart, notices))
}

/// Writes a directory that the library loads over the base.
///
/// # Errors
/// A delta that it has no place for; a directory that can't be written.
pub fn write(directory: &Path, library: Library, writing: &Writing) -> Result<(), StageFailure> {
    let of_model = head::layout(writing.config, 1)?;
    let weight = |name: &&String| of_model.slots.iter().any(|slot| slot.name == **name);
    if let Some(name) = writing.apart.own.keys().find(weight) {
        return Err(no_place(format!("`{name}`, a weight of the model itself"), library));
    }
    match library {
        Library::Peft => peft::write(directory, writing),
        Library::Adapters => adapters::write(directory, writing),
    }
}

impl Apart {
    /// The configuration of a model that has it.
    ///
    /// # Errors
    /// An architecture that is not supported.
    pub(super) fn config(&self, base: &Json) -> Result<Json, StageFailure> {
        let mut config = match &self.task {
            Some(task) => models::described(base, &Head::Sequence(task.clone()))?,
            None => base.clone(),
        };
        for spec in &self.specs {
            if super::bundle::known_delta(spec)?.fold.is_none() {
                super::beside::add(&mut config, spec);
            }
        }
        Ok(config)
    }

    /// All tensors.
    pub(super) fn tensors(&self) -> Tensors {
        self.own.iter().chain(&self.head).map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }
}

impl Bundle {
    /// A model from a Hugging Face directory, with a saved delta from another.
    ///
    /// # Errors
    /// As [`Bundle::from_directory`] and [`read`].
    pub fn with_saved(base: &Path, saved: &Path) -> Result<(Self, Vec<Notice>), StageFailure> {
        let mut bundle = Self::from_directory(base)?;
        let (apart, notices) = read(saved, &bundle)?;
        let config = apart.config(&bundle.config)?;
        bundle.lay_over(config, apart.tensors(), &apart.specs)?;
        Ok((bundle, notices))
    }
}

/// A delta method with its defaults and these changes.
fn spec(method: &str, changes: Vec<(&str, Value)>) -> DeltaSpec {
    let signature = registry().get(method);
    let formals = signature.into_iter().flat_map(|signature| &signature.parameters);
    let mut parameters: IndexMap<String, Value> = formals
        .filter_map(|formal| match &formal.default {
            Default::Value(value) => Some((formal.name.to_owned(), value.clone())),
            _ => None,
        })
        .collect();
    parameters.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    DeltaSpec { method: method.into(), version: signature.map_or(0, |signature| signature.version), parameters }
}

fn strings<'s>(values: impl IntoIterator<Item = &'s String>) -> Value {
    Value::List(values.into_iter().cloned().map(Value::String).collect())
}

/// `kind.N.`, with the first N that the model has no tensor of: as deltas are named when they are attached.
fn free_prefix(base: &Bundle, kind: &str) -> String {
    let prefix = |number: usize| format!("{kind}.{number}.");
    let taken = |number: &usize| base.tensors.keys().any(|name| name.starts_with(&prefix(*number)));
    prefix((0..).find(|number| !taken(number)).unwrap_or_default())
}

/// The part of a delta's own name behind `kind.N.`.
fn own_name(name: &str) -> &str {
    name.splitn(3, '.').nth(2).unwrap_or_default()
}

fn model_type(config: &Json) -> &str {
    config.get("model_type").and_then(Json::as_str).unwrap_or_default()
}

fn misfit(root: &Path, what: impl std::fmt::Display) -> StageFailure {
    StageFailure::new(
        "ftp::peft::other_model",
        format!("the delta in {} does not fit the model: {what}", root.display()),
    )
    .help("give the model that it was made for: its configuration names one, and so does its model card")
}

fn no_place(what: impl std::fmt::Display, library: Library) -> StageFailure {
    StageFailure::new("ftp::publish::no_place", format!("a directory of `{}` has no place for {what}", library.name()))
        .help("publish the whole model: leave `as adapter` out")
}

/// Writes a JSON file whose keys are sorted, as both libraries write them.
fn write_sorted(directory: &Path, name: &str, value: &Json) -> Result<(), StageFailure> {
    let sorted: std::collections::BTreeMap<&String, &Json> = value.as_object().into_iter().flatten().collect();
    let text = serde_json::to_string_pretty(&sorted).unwrap_or_default();
    let file = directory.join(name);
    std::fs::write(&file, text + "\n").map_err(|error| hub::HubError::writing(&file, error))?;
    Ok(())
}

/// The rows of `x W^T + b`. x `[n, in]`, weight `[out, in]`, bias `[out]` -> `[n, out]`.
fn linear(x: &HostTensor, weight: &HostTensor, bias: &HostTensor) -> HostTensor {
    let (inputs, outputs) = (weight.shape[1], weight.shape[0]);
    let product = |row: &[f32], at: usize| {
        let terms = row.iter().zip(&weight.data[at * inputs..][..inputs]);
        f64::from(bias.data[at]) + terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()
    };
    let rows = x.data.chunks(inputs);
    let data = rows.flat_map(|row| (0..outputs).map(move |at| product(row, at) as f32)).collect();
    HostTensor { shape: vec![x.shape[0], outputs], data }
}
