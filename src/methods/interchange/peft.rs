//! Directories of `peft`: `adapter_config.json`, `adapter_model.safetensors`.

use std::path::Path;

use indexmap::IndexSet;
use serde_json::{Map, Value as Json, json};

use super::{
    Apart, BaseName, Writing, free_prefix, head, linear, misfit, model_type, modules, no_place, own_name, spec,
    strings, write_sorted,
};
use crate::data::saved::{self, Method, Saved};
use crate::event::Notice;
use crate::hub;
use crate::hub::tensors::{HostTensor, Tensors};
use crate::lang::signature::Library;
use crate::lang::value::Value;
use crate::methods::bundle::Bundle;
use crate::methods::{StageFailure, ia3, lora};
use crate::nn::models::layout::{Layout, Part, Role};
use crate::plan::spec::DeltaSpec;

/// The version whose format this is.
const VERSION: &str = "0.21.2";

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";
const MAGNITUDE: &str = ".lora_magnitude_vector";
const SCALES: &str = ".ia3_l";
const EMBEDDINGS: &str = "prompt_embeddings";

pub(super) fn read(
    root: &Path,
    saved: &Saved,
    base: &Bundle,
    notices: &mut Vec<Notice>,
) -> Result<Apart, StageFailure> {
    let (mut own, mut on_top, mut embeddings) = (Tensors::new(), Tensors::new(), None);
    for (name, tensor) in hub::read_safetensors(&root.join(saved::PEFT_WEIGHTS))? {
        if name == EMBEDDINGS {
            embeddings = Some(tensor);
            continue;
        }
        // Copies beside a head that was saved under its own name.
        if name.contains(".original_module.") {
            continue;
        }
        let name = plain_name(&name, model_type(&base.config));
        let is_own = [A, B, MAGNITUDE, SCALES].iter().any(|suffix| name.ends_with(suffix));
        if is_own {
            own.insert(name, tensor)
        } else {
            on_top.insert(name, tensor)
        };
    }
    let file = |name: &str| saved::optional_json(root, name).map_err(crate::data::DataError::from);
    let labels = file(saved::LABELS)?.as_ref().and_then(head::named_by);
    let config = file(saved::MODEL_CONFIG)?;
    let named: Vec<&Json> = labels.iter().chain(&config).chain([&base.config]).collect();
    let task = head::task(root, &on_top, &base.config, &named, notices)?;
    let layout = head::layout(&base.config, 1)?;
    let (spec, own) = match &saved.method {
        Method::Lora { .. } => (low_rank(root, saved, &own, &layout)?, own),
        Method::Ia3 => (scales(root, &own, &layout)?, own),
        Method::Prompt { tokens, .. } => prompt(root, *tokens, embeddings, base)?,
        Method::Prefix { tokens, .. } => prefix(root, *tokens, embeddings, base, &layout)?,
        Method::Bottleneck { .. } => return Err(misfit(root, "it is none of `peft`")),
    };
    Ok(Apart { specs: vec![spec], own, head: on_top, task })
}

/// The name in the task model: without the wrappers it was saved under.
fn plain_name(name: &str, model_type: &str) -> String {
    let plain = name.strip_prefix("base_model.").unwrap_or(name);
    let plain = plain.strip_prefix("model.").unwrap_or(plain).replace(".modules_to_save.", ".");
    let plain = plain.strip_suffix(".weight").filter(|plain| plain.ends_with(MAGNITUDE)).unwrap_or(&plain);
    hub::names::task_model_name(model_type, plain)
}

fn value(shape: &[usize]) -> String {
    format!("{shape:?}")
}

/// The shape of a module's weight, `[out, in]`.
fn weight_of(layout: &Layout, site: &str) -> Option<[usize; 2]> {
    let name = format!("{site}.weight");
    let slot =
        layout.slots.iter().find(|slot| slot.name == name && slot.role == Role::Weight && slot.part != Part::Head)?;
    Some([slot.shape[0], slot.shape[1]])
}

fn expect(root: &Path, own: &Tensors, name: &str, shape: &[usize]) -> Result<(), StageFailure> {
    match own.get(name) {
        Some(tensor) if tensor.shape == shape => Ok(()),
        Some(tensor) => {
            Err(misfit(root, format!("`{name}` has the shape {}, not {}", value(&tensor.shape), value(shape))))
        }
        None => Err(misfit(root, format!("it lacks `{name}`"))),
    }
}

fn low_rank(root: &Path, saved: &Saved, own: &Tensors, layout: &Layout) -> Result<DeltaSpec, StageFailure> {
    let Method::Lora { rank, alpha, dropout, use_rslora, use_dora } = saved.method else {
        return Err(misfit(root, "it is no LoRA"));
    };
    let site_of = |name: &String| {
        [A, B, MAGNITUDE, SCALES].iter().find_map(|suffix| name.strip_suffix(suffix)).map(str::to_owned)
    };
    let sites: IndexSet<String> = own.keys().filter_map(site_of).collect();
    for site in &sites {
        let Some([outputs, inputs]) = weight_of(layout, site) else {
            return Err(misfit(root, format!("it changes `{site}`, which is no linear map of the model")));
        };
        expect(root, own, &format!("{site}{A}"), &[rank as usize, inputs])?;
        expect(root, own, &format!("{site}{B}"), &[outputs, rank as usize])?;
        if use_dora {
            expect(root, own, &format!("{site}{MAGNITUDE}"), &[outputs])?;
        }
    }
    let per_site = if use_dora { 3 } else { 2 };
    if sites.is_empty() || own.len() != per_site * sites.len() {
        return Err(misfit(root, "its tensors are not those of the settings it names"));
    }
    let mut changes = vec![
        ("rank", Value::Int(rank)),
        ("alpha", Value::Float(alpha)),
        ("dropout", Value::Float(dropout)),
        ("use_rslora", Value::Bool(use_rslora)),
        ("use_dora", Value::Bool(use_dora)),
    ];
    let of_target = |target: &&str| -> bool {
        let slots = layout.slots.iter().filter(|slot| slot.role == Role::Weight);
        let maps = slots.filter(|slot| slot.map.is_some_and(|map| lora::targets(target).contains(&map)));
        maps.filter_map(|slot| slot.name.strip_suffix(".weight").map(str::to_owned)).collect::<IndexSet<_>>() == sites
    };
    match ["query_value", "attention", "all_linear"].iter().find(|target| of_target(target)) {
        Some(target) => changes.push(("target", Value::Name((*target).into()))),
        None => changes.push((lora::SITES, strings(&sites))),
    }
    Ok(spec("lora", changes))
}

fn scales(root: &Path, own: &Tensors, layout: &Layout) -> Result<DeltaSpec, StageFailure> {
    let (mut outputs, mut inputs, mut of_paper) = (vec![], vec![], 0);
    for (name, tensor) in own {
        let site = name.strip_suffix(SCALES).unwrap_or(name).to_owned();
        let Some([rows, columns]) = weight_of(layout, &site) else {
            return Err(misfit(root, format!("it scales `{site}`, which is no linear map of the model")));
        };
        let map = layout.slots.iter().find(|slot| slot.name == format!("{site}.weight")).and_then(|slot| slot.map);
        use crate::nn::models::layout::Map;
        let scales_outputs = tensor.shape == [rows, 1];
        match (map, scales_outputs, tensor.shape == [1, columns]) {
            (None, ..) => return Err(misfit(root, format!("it scales `{site}`, which is in no layer"))),
            (Some(Map::Key | Map::Value), true, _) | (Some(Map::Output), false, true) => of_paper += 1,
            (_, true, _) | (_, _, true) => {}
            _ => return Err(misfit(root, format!("`{name}` has the shape {}", value(&tensor.shape)))),
        }
        if scales_outputs { outputs.push(site) } else { inputs.push(site) }
    }
    if own.is_empty() {
        return Err(misfit(root, "it scales nothing"));
    }
    let all = of_paper == own.len() && of_paper == 3 * layout.layers();
    let changes = vec![(ia3::SCALED_OUTPUTS, strings(&outputs)), (ia3::SCALED_INPUTS, strings(&inputs))];
    Ok(spec("ia3", if all { vec![] } else { changes }))
}

/// The hidden size, of the first norm.
fn hidden(layout: &Layout) -> usize {
    layout.slots.iter().find(|slot| slot.is_layer_norm()).map_or(0, |slot| slot.shape[0])
}

fn prompt(
    root: &Path,
    tokens: i64,
    embeddings: Option<HostTensor>,
    base: &Bundle,
) -> Result<(DeltaSpec, Tensors), StageFailure> {
    let name = format!("{}embedding.weight", free_prefix(base, "prompts"));
    let own = Tensors::from_iter(embeddings.map(|embeddings| (name.clone(), embeddings)));
    expect(root, &own, &name, &[tokens as usize, hidden(&head::layout(&base.config, 1)?)])?;
    // The values are there, and none is drawn.
    let init = ("prompt_tuning_init", Value::Name("random".into()));
    Ok((spec("prompt", vec![("num_virtual_tokens", Value::Int(tokens)), init]), own))
}

fn prefix(
    root: &Path,
    tokens: i64,
    embeddings: Option<HostTensor>,
    base: &Bundle,
    layout: &Layout,
) -> Result<(DeltaSpec, Tensors), StageFailure> {
    let (hidden, layers, count) = (hidden(layout), layout.layers(), tokens as usize);
    let whole = Tensors::from_iter(embeddings.map(|embeddings| (EMBEDDINGS.to_owned(), embeddings)));
    let width = 2 * layers * hidden;
    expect(root, &whole, EMBEDDINGS, &[count, width])?;
    let prefix = free_prefix(base, "prefixes");
    let columns = |part: usize| {
        let rows = whole[EMBEDDINGS].data.chunks(width);
        let data = rows.flat_map(|row| row[part * hidden..][..hidden].to_vec()).collect();
        HostTensor { shape: vec![count, hidden], data }
    };
    let parts = (0..2 * layers).map(|part| {
        let kind = ["key", "value"][part % 2];
        (format!("{prefix}layer.{}.{kind}", part / 2), columns(part))
    });
    Ok((spec("prefix", vec![("num_virtual_tokens", Value::Int(tokens))]), parts.collect()))
}

pub(super) fn write(directory: &Path, writing: &Writing) -> Result<(), StageFailure> {
    let Apart { specs, own, head: on_top, task } = writing.apart;
    let [spec] = &specs[..] else { return Err(no_place("several deltas", Library::Peft)) };
    let layout = head::layout(writing.config, 1)?;
    let mut tensors = Tensors::new();
    let mut config = common(writing.base, task.is_some());
    let mut put = |key: &str, value: Json| config.insert(key.to_owned(), value);
    let mut saved_modules = vec!["classifier", "score"];
    for module in ["pre_classifier", "pooler"] {
        if on_top.keys().any(|name| name.split('.').any(|part| part == module)) {
            saved_modules.push(module);
        }
    }
    put("modules_to_save", if on_top.is_empty() { Json::Null } else { json!(saved_modules) });
    let wrapped = !matches!(spec.method.as_str(), "prompt" | "p_tuning" | "prefix");
    let outer = if wrapped { "base_model.model." } else { "base_model." };
    tensors.extend(on_top.iter().map(|(name, tensor)| (format!("{outer}{name}"), tensor.clone())));
    if wrapped {
        tensors.extend(own.iter().map(|(name, tensor)| (format!("{outer}{name}"), tensor.clone())));
    } else {
        let embeddings = embeddings(spec, own, &layout)?;
        let heads = ["num_attention_heads", "n_heads"].iter().find_map(|key| writing.config.get(*key)?.as_u64());
        put("num_virtual_tokens", json!(spec.int("num_virtual_tokens")));
        put("num_transformer_submodules", json!(1));
        put("num_attention_heads", json!(heads));
        put("num_layers", json!(layout.layers()));
        put("token_dim", json!(hidden(&layout)));
        tensors.insert(EMBEDDINGS.to_owned(), embeddings);
    }
    let sites = |suffix: &str, which: &dyn Fn(&HostTensor) -> bool| -> IndexSet<String> {
        let own = own.iter().filter(|(_, tensor)| which(tensor));
        own.filter_map(|(name, _)| name.strip_suffix(suffix).map(str::to_owned)).collect()
    };
    let all = modules::all(&layout);
    match spec.method.as_str() {
        "lora" => {
            put("peft_type", json!("LORA"));
            put("r", json!(spec.int("rank")));
            put("lora_alpha", number(spec.float("alpha")));
            put("lora_dropout", json!(spec.float("dropout")));
            put("use_rslora", json!(spec.bool("use_rslora")));
            put("use_dora", json!(spec.bool("use_dora")));
            put("bias", json!("none"));
            put("fan_in_fan_out", json!(false));
            put("init_lora_weights", json!(true));
            put("target_modules", json!(modules::endings(&sites(A, &|_| true), &all)));
        }
        "ia3" => {
            put("peft_type", json!("IA3"));
            put("fan_in_fan_out", json!(false));
            put("init_ia3_weights", json!(true));
            put("target_modules", json!(modules::endings(&sites(SCALES, &|_| true), &all)));
            put("feedforward_modules", json!(modules::endings(&sites(SCALES, &|tensor| tensor.shape[0] == 1), &all)));
        }
        "prompt" => {
            put("peft_type", json!("PROMPT_TUNING"));
            put("prompt_tuning_init", json!("RANDOM"));
        }
        "p_tuning" => {
            put("peft_type", json!("P_TUNING"));
            put("encoder_reparameterization_type", json!("MLP"));
            put(
                "encoder_hidden_size",
                json!(spec.optional_int("encoder_hidden_size").unwrap_or(hidden(&layout) as i64)),
            );
            put("encoder_num_layers", json!(2));
            put("encoder_dropout", json!(0.0));
        }
        "prefix" => {
            if model_type(writing.config) == "distilbert" {
                return Err(no_place("a prefix of a DistilBERT, which `peft` can't run", Library::Peft));
            }
            put("peft_type", json!("PREFIX_TUNING"));
            put("prefix_projection", json!(spec.bool("prefix_projection")));
            put(
                "encoder_hidden_size",
                json!(spec.optional_int("encoder_hidden_size").unwrap_or(hidden(&layout) as i64)),
            );
        }
        other => return Err(no_place(format!("`{other}`"), Library::Peft)),
    }
    hub::write_safetensors(&directory.join(saved::PEFT_WEIGHTS), &tensors)?;
    if task.is_some() {
        write_sorted(directory, saved::LABELS, &writing.config["label2id"])?;
    }
    write_sorted(directory, saved::CONFIG, &Json::Object(config))
}

fn common(base: &BaseName, classifies: bool) -> Map<String, Json> {
    let task_type = if classifies { json!("SEQ_CLS") } else { Json::Null };
    let keys = [
        ("auto_mapping", Json::Null),
        ("base_model_name_or_path", json!(base.name)),
        ("revision", json!(base.revision)),
        ("inference_mode", json!(true)),
        ("peft_version", json!(VERSION)),
        ("task_type", task_type),
    ];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Whole numbers without a point, as `peft` writes them.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// What an encoder of virtual tokens makes of them in the end: all that is saved.
fn embeddings(spec: &DeltaSpec, own: &Tensors, layout: &Layout) -> Result<HostTensor, StageFailure> {
    let find = |wanted: &str| {
        let found = own.iter().find(|(name, _)| own_name(name) == wanted);
        found.map(|(_, tensor)| tensor).ok_or_else(|| no_place(format!("a delta without `{wanted}`"), Library::Peft))
    };
    let map = |x: &HostTensor, site: &str| {
        Ok::<_, StageFailure>(linear(x, find(&format!("{site}.weight"))?, find(&format!("{site}.bias"))?))
    };
    let with = |mut x: HostTensor, f: fn(f32) -> f32| {
        x.data.iter_mut().for_each(|value| *value = f(*value));
        x
    };
    let relu = |value: f32| value.max(0.0);
    match spec.method.as_str() {
        "prompt" => Ok(find("embedding.weight")?.clone()),
        "p_tuning" => {
            let first = with(map(find("embedding.weight")?, "mlp_head.0")?, relu);
            map(&with(map(&first, "mlp_head.2")?, relu), "mlp_head.4")
        }
        _ => {
            let projected = spec.bool("prefix_projection");
            let inner = match projected {
                true => Some(with(map(find("embedding.weight")?, "transform.0")?, f32::tanh)),
                false => None,
            };
            let mut parts = vec![];
            for layer in 0..layout.layers() {
                for kind in ["key", "value"] {
                    let site = format!("layer.{layer}.{kind}");
                    parts.push(match &inner {
                        Some(inner) => map(inner, &site)?,
                        None => find(&site)?.clone(),
                    });
                }
            }
            let (tokens, width) = (parts[0].shape[0], parts[0].shape[1]);
            let row = |token: usize| parts.iter().flat_map(move |part| part.data[token * width..][..width].to_vec());
            let data = (0..tokens).flat_map(row).collect();
            Ok(HostTensor { shape: vec![tokens, parts.len() * width], data })
        }
    }
}
