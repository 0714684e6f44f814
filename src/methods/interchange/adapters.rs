//! Directories of `adapters`: `adapter_config.json`, `adapter.safetensors`, and the head in files of its own.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::{Apart, Writing, free_prefix, head, misfit, model_type, no_place, own_name, spec, write_sorted};
use crate::data::DataError;
use crate::data::saved::{self, Method, Saved};
use crate::event::Notice;
use crate::hub;
use crate::hub::tensors::{HostTensor, Tensors};
use crate::lang::signature::Library;
use crate::lang::value::Value;
use crate::lang::world::Task;
use crate::methods::bundle::Bundle;
use crate::methods::{StageFailure, adapter, invertible};
use crate::nn::models::layout::{Layout, Part};
use crate::plan::spec::DeltaSpec;

/// The version whose format this is.
const VERSION: &str = "adapters.1.3.0";

/// Names of a bottleneck's maps there and here.
const MAPS: [(&str, &str); 2] = [("adapter_down.0", "down"), ("adapter_up", "up")];
const INVERTIBLE_MAPS: [(&str, &str); 4] = [("F.0", "f.down"), ("F.2", "f.up"), ("G.0", "g.down"), ("G.2", "g.up")];

pub(super) fn read(
    root: &Path,
    found: &Saved,
    base: &Bundle,
    notices: &mut Vec<Notice>,
) -> Result<Apart, StageFailure> {
    let Method::Bottleneck { attention, output, norm_before, activation, invertible } = found.method else {
        return Err(misfit(root, "it is none of `adapters`"));
    };
    let layout = head::layout(&base.config, 1)?;
    let (prefix, inverse) = (free_prefix(base, "adapters"), free_prefix(base, "invertibles"));
    let mut own = Tensors::new();
    for (name, tensor) in hub::read_safetensors(&root.join(saved::ADAPTERS_WEIGHTS))? {
        let plain = hub::names::task_model_name(model_type(&base.config), &name);
        let named = own_of(&plain, &found.name, &prefix, &inverse);
        own.insert(named.ok_or_else(|| misfit(root, format!("it holds `{name}`, which has no place there")))?, tensor);
    }
    let hidden = layout.slots.iter().find(|slot| slot.is_layer_norm()).map_or(0, |slot| slot.shape[0]);
    let activation = ("activation", Value::Name(activation.to_owned()));
    let mut specs = vec![];
    if output {
        let places: &[&str] = if attention { &["attention", "output"] } else { &["output"] };
        let sites: Vec<String> = (0..layout.layers())
            .flat_map(|layer| places.iter().map(move |place| (layer, place)))
            .map(|(layer, place)| format!("{prefix}layer.{layer}.{place}"))
            .collect();
        let width = bottlenecks(root, &own, &sites, hidden)?;
        let style = if norm_before { "pfeiffer" } else { "houlsby" };
        let norms = if norm_before { Value::None } else { Value::Bool(false) };
        let changes = vec![("style", Value::Name(style.into())), ("layer_norms", norms), activation.clone()];
        specs.push(spec("adapter", [changes, size(hidden, width, adapter::WIDTH)].concat()));
    }
    if invertible {
        let half = hidden / 2;
        let width = bottlenecks(root, &own, &[format!("{inverse}f"), format!("{inverse}g")], half)?;
        specs.push(spec("invertible", [vec![activation], size(half, width, invertible::WIDTH)].concat()));
    }
    let expected: usize = specs
        .iter()
        .map(|spec| if spec.method == "adapter" { 4 * layout.layers() * if attention { 2 } else { 1 } } else { 8 })
        .sum();
    if own.len() != expected {
        return Err(misfit(root, format!("it holds {} tensors where {expected} belong", own.len())));
    }
    let (on_top, task) = read_head(root, base, &layout, notices)?;
    Ok(Apart { specs, own, head: on_top, task })
}

/// The name here of a tensor there.
fn own_of(name: &str, adapter: &str, prefix: &str, inverse: &str) -> Option<String> {
    let maps = |rest: &str, maps: &[(&str, &str)]| {
        let (map, kind) = rest.rsplit_once('.')?;
        let (_, own) = maps.iter().find(|(there, _)| *there == map)?;
        Some(format!("{own}.{kind}"))
    };
    if let Some((_, rest)) = name.split_once(&format!("invertible_adapters.{adapter}.")) {
        return Some(format!("{inverse}{}", maps(rest, &INVERTIBLE_MAPS)?));
    }
    let (site, rest) = name.split_once(&format!(".adapters.{adapter}."))?;
    let layer: usize = site.split_once(".layer.")?.1.split('.').next()?.parse().ok()?;
    let place = match site {
        site if site.ends_with(".attention.output") || site.ends_with(".attention_adapters") => "attention",
        site if site.ends_with(".output") || site.ends_with(".output_adapters") => "output",
        _ => return None,
    };
    Some(format!("{prefix}layer.{layer}.{place}.{}", maps(rest, &MAPS)?))
}

/// The width that all bottlenecks at these sites have.
fn bottlenecks(root: &Path, own: &Tensors, sites: &[String], size: usize) -> Result<usize, StageFailure> {
    let mut width = None;
    for site in sites {
        let shape = |name: &str| own.get(&format!("{site}.{name}")).map(|tensor| tensor.shape.as_slice());
        let down = shape("down.weight").filter(|shape| shape.len() == 2 && shape[1] == size);
        let own = down.map(|shape| shape[0]).filter(|own| *width.get_or_insert(*own) == *own);
        let fits = own.is_some_and(|own| {
            shape("down.bias") == Some(&[own][..])
                && shape("up.weight") == Some(&[size, own][..])
                && shape("up.bias") == Some(&[size][..])
        });
        if !fits {
            return Err(misfit(
                root,
                format!("its bottleneck `{site}` is not all there, or of another size than the model"),
            ));
        }
    }
    width.ok_or_else(|| misfit(root, "it has no bottlenecks"))
}

/// The parameters that give a bottleneck its width.
fn size(hidden: usize, width: usize, named: &'static str) -> Vec<(&'static str, Value)> {
    match (1..=hidden).find(|factor| hidden.div_ceil(*factor) == width) {
        Some(factor) => vec![("reduction_factor", Value::Int(factor as i64))],
        None => vec![(named, Value::Int(width as i64))],
    }
}

/// A head that computes what the model's own does.
fn read_head(
    root: &Path,
    base: &Bundle,
    layout: &Layout,
    notices: &mut Vec<Notice>,
) -> Result<(Tensors, Option<Task>), StageFailure> {
    let none = (Tensors::new(), None);
    let Some(config) = saved::optional_json(root, saved::HEAD_CONFIG).map_err(DataError::from)? else {
        return Ok(none);
    };
    let file = root.join(saved::HEAD_WEIGHTS);
    if !file.is_file() {
        return Err(misfit(root, format!("{} is there without {}", saved::HEAD_CONFIG, saved::HEAD_WEIGHTS)));
    }
    let flexible = config["config"].is_object();
    let class = config["model_class"].as_str().unwrap_or_default();
    let kind = config["config"]["head_type"].as_str().unwrap_or(class);
    if !(kind == "classification" || !flexible && class.ends_with("ForSequenceClassification")) {
        let message = format!("the head in {} ({kind}) has no use here and was left out", root.display());
        notices.push(Notice::new("ftp::model::head_left_out", message));
        return Ok(none);
    }
    let mut tensors = hub::read_safetensors(&file)?;
    if flexible {
        tensors = flexible_head(root, &config["config"], tensors, layout)?;
    }
    let label2id = if flexible { &config["config"]["label2id"] } else { &config["label2id"] };
    let named = head::named_by(label2id);
    let named: Vec<&Json> = named.iter().collect();
    let task = head::task(root, &tensors, &base.config, &named, notices)?;
    Ok((tensors, task))
}

/// A head that was put together there: the maps of the model's own head, numbered.
fn flexible_head(root: &Path, config: &Json, tensors: Tensors, layout: &Layout) -> Result<Tensors, StageFailure> {
    let maps: Vec<&str> = layout
        .slots
        .iter()
        .filter(|slot| head::is_head(slot))
        .filter_map(|slot| slot.name.strip_suffix(".weight"))
        .collect();
    let pooler = layout.slots.iter().any(|slot| slot.part == Part::Pooler);
    let (layers, pooled) = (config["layers"].as_u64().unwrap_or(0), config["use_pooler"] == true);
    // The function between two maps: that of the model's own head.
    let between = if maps.contains(&"pre_classifier") { "relu" } else { "tanh" };
    let own: &[&str] = match (layers, pooled, &maps[..]) {
        (1, true, [_, last]) if pooler => &[last],
        (2, false, all @ [_, _]) if config["activation_function"] == between => all,
        _ => {
            return Err(misfit(root, "its head is put together in another way than the model's own").help(
                "give it one map on the pooled state, or two with the function of the model's own head between",
            ));
        }
    };
    if config["bias"] == false {
        return Err(misfit(root, "its head has no bias"));
    }
    // Dropout has a number too, and so has the function between.
    let places: &[&str] = if own.len() == 1 { &["1"] } else { &["1", "4"] };
    let renamed = tensors.into_iter().map(|(name, tensor)| {
        let mut parts = name.rsplit('.');
        let (kind, place) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let at = places.iter().position(|known| *known == place);
        let at = at.ok_or_else(|| misfit(root, format!("its head holds `{name}`, which has no place there")))?;
        Ok((format!("{}.{kind}", own[at]), tensor))
    });
    renamed.collect()
}

pub(super) fn write(directory: &Path, writing: &Writing) -> Result<(), StageFailure> {
    let Apart { specs, own, head: on_top, task } = writing.apart;
    let (config, name) = (writing.config, writing.name);
    let layout = head::layout(config, 1)?;
    let hidden = layout.slots.iter().find(|slot| slot.is_layer_norm()).map_or(0, |slot| slot.shape[0]);
    let unknown = |method: &str| no_place(format!("`{method}`"), Library::Adapters);
    let mut tensors = Tensors::new();
    for (own, tensor) in own {
        let there =
            name_there(own, model_type(config), name).ok_or_else(|| no_place(format!("`{own}`"), Library::Adapters))?;
        tensors.insert(there, tensor.clone());
    }
    let of = |method: &str| specs.iter().find(|spec| spec.method == method);
    if let Some(other) = specs.iter().find(|spec| !["adapter", "invertible"].contains(&spec.method.as_str())) {
        return Err(unknown(&other.method));
    }
    let (bottleneck, invertible) = (of("adapter"), of("invertible"));
    let houlsby = bottleneck.is_some_and(|spec| spec.name("style") == "houlsby");
    let activation = specs.first().map_or("relu", |spec: &DeltaSpec| spec.name("activation"));
    let width = |part: &str| tensors_of(own, part).map_or(1, |tensor| tensor.shape[0]);
    let settings = json!({
        "adapter_residual_before_ln": false,
        "cross_adapter": false,
        "dropout": 0.0,
        "init_weights": "bert",
        "inv_adapter": invertible.map(|_| "nice"),
        "inv_adapter_reduction_factor": invertible.map(|_| factor(hidden / 2, width("f.down.weight"))),
        "is_parallel": false,
        "leave_out": [],
        "ln_after": false,
        "ln_before": false,
        "mh_adapter": houlsby,
        "non_linearity": activation,
        "original_ln_after": true,
        "original_ln_before": bottleneck.is_some() && !houlsby,
        "output_adapter": bottleneck.is_some(),
        "phm_layer": false,
        "reduction_factor": bottleneck.map_or(json!(16), |_| factor(hidden, width("output.down.weight"))),
        "residual_before_ln": true,
        "scaling": 1.0,
        "use_gating": false,
    });
    let class = config["architectures"][0].as_str().unwrap_or_default();
    let whole = json!({
        "config": settings,
        "hidden_size": hidden,
        "model_class": class,
        "model_name": writing.base.name,
        "model_type": model_type(config),
        "name": name,
        "version": VERSION,
    });
    hub::write_safetensors(&directory.join(saved::ADAPTERS_WEIGHTS), &tensors)?;
    write_sorted(directory, saved::CONFIG, &whole)?;
    if task.is_none() {
        return Ok(());
    }
    if let Some(pooler) = layout.slots.iter().find(|slot| slot.part == Part::Pooler && on_top.contains_key(&slot.name))
    {
        let what = format!("`{}`, which the base model lacks or which was trained", pooler.name);
        return Err(no_place(what, Library::Adapters));
    }
    let labels = config["label2id"].as_object().map_or(0, serde_json::Map::len);
    let described = json!({
        "config": null,
        "hidden_size": hidden,
        "label2id": config["label2id"],
        "model_class": class,
        "model_name": writing.base.name,
        "model_type": model_type(config),
        "name": null,
        "num_labels": labels,
        "version": VERSION,
    });
    hub::write_safetensors(&directory.join(saved::HEAD_WEIGHTS), on_top)?;
    write_sorted(directory, saved::HEAD_CONFIG, &described)
}

/// The first tensor whose own name ends so.
fn tensors_of<'t>(own: &'t Tensors, ending: &str) -> Option<&'t HostTensor> {
    own.iter().find(|(name, _)| name.ends_with(ending)).map(|(_, tensor)| tensor)
}

/// A reduction factor that gives a width there, where the quotient is rounded down.
fn factor(size: usize, width: usize) -> Json {
    if size.is_multiple_of(width) { json!(size / width) } else { json!(size as f64 / (width as f64 + 0.5)) }
}

/// The name there of a tensor here.
fn name_there(name: &str, model_type: &str, adapter: &str) -> Option<String> {
    let (site, kind) = own_name(name).rsplit_once('.')?;
    let renamed =
        |map: &str, maps: &[(&'static str, &str)]| maps.iter().find(|(_, own)| *own == map).map(|(there, _)| *there);
    if name.starts_with("invertibles.") {
        let map = renamed(site, &INVERTIBLE_MAPS)?;
        return Some(format!("{model_type}.invertible_adapters.{adapter}.{map}.{kind}"));
    }
    let ["layer", layer, place, map] = site.split('.').collect::<Vec<_>>()[..] else { return None };
    let map = renamed(map, &MAPS)?;
    let place = match (model_type, place) {
        ("distilbert", "attention") => format!("transformer.layer.{layer}.attention_adapters"),
        ("distilbert", _) => format!("transformer.layer.{layer}.output_adapters"),
        (_, "attention") => format!("encoder.layer.{layer}.attention.output"),
        _ => format!("encoder.layer.{layer}.output"),
    };
    Some(format!("{model_type}.{place}.adapters.{adapter}.{map}.{kind}"))
}
