//! What the real `peft` and `adapters` saved is read, computes what it does there, and is written as it was: the fixtures of
//! `tests/parity/interchange.py --fixtures`.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value as Json, json};

use super::{Apart, BaseName, Writing, read, write};
use crate::data::batch::{Batch, Encoding};
use crate::data::saved;
use crate::data::tokenizer::Tokenizer;
use crate::hub::tensors::Tensors;
use crate::hub::{Directory, read_safetensors, write_safetensors};
use crate::lang::signature::Library;
use crate::lang::world::Task;
use crate::methods::bundle::{Bundle, known_delta};
use crate::methods::oracle;
use crate::nn::models::{Head, Model};
use crate::nn::ops::Precision;
use crate::nn::parameters::Weight;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures")
}

/// Directory, library, and the name of the base.
fn all() -> Vec<(PathBuf, Library, String)> {
    let mut found = vec![];
    for library in [Library::Peft, Library::Adapters] {
        for entry in fs::read_dir(fixtures().join("saved").join(library.name())).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((path, library, format!("{}_sequence", name.split_once('-').unwrap().0)));
        }
    }
    found.sort();
    assert!(found.len() >= 20, "the fixtures are gone");
    found
}

fn base(name: &str) -> Bundle {
    let directory = Directory::open(fixtures().join(name)).unwrap();
    let vocabulary = json!({ "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4 });
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].iter().enumerate();
    let added: Vec<Json> = special.map(|(id, token)| json!({ "id": id, "content": token, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false })).collect();
    let model = json!({ "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" });
    let text = json!({ "version": "1.0", "added_tokens": added, "model": model });
    let tokenizer = Tokenizer::from_bytes(text.to_string().as_bytes(), serde_json::Map::new()).unwrap();
    Bundle { tensors: directory.tensors().unwrap(), ..Bundle::fresh(directory.config().clone(), tokenizer) }
}

fn batch(model: &str) -> Batch {
    let text = fs::read_to_string(fixtures().join(model).join("case.json")).unwrap();
    let case: Json = serde_json::from_str(&text).unwrap();
    let rows = |key: &str| serde_json::from_value::<Vec<Vec<u32>>>(case[key].clone()).unwrap();
    let sequences = rows("ids").into_iter().zip(rows("segments"));
    let encodings: Vec<Encoding> = sequences.map(|(ids, segments)| Encoding { ids, segments, words: vec![] }).collect();
    Batch::pack(&encodings)
}

fn logits(model: &mut Model, batch: &Batch) -> Vec<f32> {
    model.precision = Precision::F32Strict;
    let pass = model.evaluating_pass();
    let logits = model.sequence_logits(&pass, model.encode_at(&pass, batch, &batch.first_tokens()));
    Weight::Matrix(logits).to_host().data
}

fn config(directory: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(directory.join(saved::CONFIG)).unwrap()).unwrap()
}

fn head(apart: &Apart) -> Head {
    Head::Sequence(apart.task.clone().unwrap())
}

#[test]
fn what_was_saved_computes_what_it_did_there() {
    for (directory, _, name) in all() {
        let (mut laid, below) = (base(&name), base(&name));
        let (apart, _) = read(&directory, &below).unwrap();
        let labels = vec!["negative".to_owned(), "neutral".into(), "positive".into()];
        assert_eq!(apart.task, Some(Task::Classification { labels }), "{}", directory.display());
        let config = apart.config(&below.config).unwrap();
        laid.lay_over(config, apart.tensors(), &apart.specs).unwrap();
        let (mut model, report) = laid.model(&head(&apart), 0, &Device::flex()).unwrap();
        assert_eq!((report.missing, report.unused), (vec![], vec![]), "{}", directory.display());
        let expected = &read_safetensors(&directory.join("logits.safetensors")).unwrap()["logits"];
        oracle::assert_close(&logits(&mut model, &batch(&name)), &expected.data, 1e-4);
    }
}

/// Attached as a training stage attaches it, from its values, it computes the same as laid over.
#[test]
fn what_was_saved_can_be_trained_further_from_where_it_is() {
    for (directory, _, name) in all() {
        let mut below = base(&name);
        let (apart, _) = read(&directory, &below).unwrap();
        below.tensors.extend(apart.head.clone());
        let (mut model, _) = below.model(&head(&apart), 0, &Device::flex()).unwrap();
        for spec in &apart.specs {
            (known_delta(spec).unwrap().attach)(spec, &mut model, 0).unwrap();
        }
        for (name, value) in &apart.own {
            assert_eq!(model.parameters[name].weight.shape(), value.shape, "{name}");
            oracle::set(&mut model, name, value);
        }
        let expected = &read_safetensors(&directory.join("logits.safetensors")).unwrap()["logits"];
        oracle::assert_close(&logits(&mut model, &batch(&name)), &expected.data, 1e-4);
    }
}

/// The inverse of an invertible adapter acts before words are predicted.
#[test]
fn a_language_adapter_predicts_the_words_it_did_there() {
    let directory = fixtures().join("saved/language");
    let mut laid = base("bert_mlm");
    let (apart, notices) = read(&directory, &laid).unwrap();
    assert_eq!((apart.task.clone(), notices.len(), apart.specs.len()), (None, 0, 2));
    laid.lay_over(apart.config(&laid.config).unwrap(), apart.tensors(), &apart.specs).unwrap();
    let (mut model, report) = laid.model(&Head::MaskedLm, 0, &Device::flex()).unwrap();
    assert_eq!((report.missing, report.unused), (vec![], vec![]));
    model.precision = Precision::F32Strict;
    let pass = model.evaluating_pass();
    let logits = model.mlm_logits(&pass, model.encode(&pass, &batch("bert_mlm")));
    let expected = &read_safetensors(&directory.join("logits.safetensors")).unwrap()["logits"];
    oracle::assert_close(&Weight::Matrix(logits).to_host().data, &expected.data, 1e-4);
}

#[test]
fn what_was_read_is_written_as_it_was() {
    for (directory, library, name) in all() {
        let below = base(&name);
        let (apart, _) = read(&directory, &below).unwrap();
        let written = tempfile::tempdir().unwrap();
        let (config_with, base_name) =
            (apart.config(&below.config).unwrap(), BaseName { name: name.clone(), revision: None });
        let writing = Writing { apart: &apart, config: &config_with, base: &base_name, name: "mood" };
        write(written.path(), library, &writing).unwrap();
        let (again, _) = read(written.path(), &below).unwrap();
        assert_eq!(again, apart, "{}", directory.display());
        let weights = if library == Library::Peft { saved::PEFT_WEIGHTS } else { saved::ADAPTERS_WEIGHTS };
        let tensors = |of: &Path| -> Tensors {
            let mut tensors = read_safetensors(&of.join(weights)).unwrap();
            tensors.sort_keys();
            tensors
        };
        assert_eq!(tensors(written.path()), tensors(&directory), "{}", directory.display());
        // What decides the numbers has the same values, wherever we write it.
        let (ours, theirs) = (config(written.path()), config(&directory));
        let (ours, theirs) = match library {
            Library::Peft => (&ours, &theirs),
            Library::Adapters => (&ours["config"], &theirs["config"]),
        };
        // A P-tuning whose encoder is not saved is written as the prompt that it is.
        let told_otherwise = [
            "prompt_tuning_init",
            "target_modules",
            "feedforward_modules",
            "modules_to_save",
            "peft_type",
            "reduction_factor",
            "inv_adapter_reduction_factor",
            "prefix_projection",
            "encoder_hidden_size",
        ];
        for (key, value) in ours.as_object().unwrap() {
            let same = value == &theirs[key] || value.as_f64().is_some() && value.as_f64() == theirs[key].as_f64();
            assert!(same || told_otherwise.contains(&key.as_str()), "{key} of {}", directory.display());
        }
    }
}

#[test]
fn a_delta_of_another_model_says_what_does_not_fit() {
    let of = |model: &str, saved: &str| read(&fixtures().join("saved").join(saved), &base(model)).unwrap_err();
    let failure = of("roberta_sequence", "peft/bert-lora");
    assert_eq!(failure.code, "ftp::peft::other_model");
    assert!(
        failure.message.contains("which has no place there") || failure.message.contains("no linear map"),
        "{}",
        failure.message
    );
    let failure = of("bert_sequence", "adapters/distilbert-seq_bn");
    assert_eq!(failure.code, "ftp::peft::other_model");
}

/// A copy of a fixture with a change of its settings.
fn changed(name: &str, change: impl Fn(&mut Json)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = fixtures().join("saved").join(name);
    for entry in fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut settings = config(copy.path());
    change(&mut settings);
    fs::write(copy.path().join(saved::CONFIG), settings.to_string()).unwrap();
    copy
}

#[test]
fn settings_that_would_change_what_is_computed_are_errors() {
    let peft = |key: &'static str, value: Json| {
        let copy = changed("peft/bert-lora", |settings| settings[key] = value.clone());
        read(copy.path(), &base("bert_sequence")).map(|(apart, _)| apart)
    };
    for (key, value) in [
        ("bias", json!("all")),
        ("r", json!(0)),
        ("lora_alpha", json!("eight")),
        ("lora_dropout", json!(1.5)),
        ("use_dora", json!("yes")),
        ("rank_pattern", json!({ "query": 4 })),
        ("alpha_pattern", json!({ "query": 4 })),
        ("modules_to_save", json!(["classifier", "embeddings"])),
        ("lora_bias", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("task_type", json!("CAUSAL_LM")),
        ("peft_type", json!("VERA")),
        ("a_setting_of_next_year", json!("on")),
        ("trainable_token_indices", json!([1, 2])),
    ] {
        let failure = peft(key, value).unwrap_err();
        assert_eq!(failure.code, "ftp::data::unsupported_delta", "{key}");
        assert!(failure.help.is_some() && (failure.message.contains(key) || key == "peft_type"), "{}", failure.message);
    }
    // What is empty changes nothing, whoever thought of it, and so does where the base lies.
    for (key, value) in [("a_setting_of_next_year", json!(null)), ("base_model_name_or_path", json!("elsewhere"))] {
        assert!(peft(key, value).is_ok());
    }
    assert_eq!(peft("r", json!(2)).unwrap_err().code, "ftp::peft::other_model");
    let adapters = |key: &'static str, value: Json| {
        let copy = changed("adapters/bert-seq_bn", |settings| settings["config"][key] = value.clone());
        read(copy.path(), &base("bert_sequence")).unwrap_err().code
    };
    for (key, value) in [
        ("scaling", json!(4.0)),
        ("is_parallel", json!(true)),
        ("ln_before", json!(true)),
        ("leave_out", json!([0])),
        ("architecture", json!("lora")),
        ("non_linearity", json!("tanh")),
        ("original_ln_before", json!(false)),
        ("reduction_factor", json!({ "default": 4, "1": 2 })),
        ("inv_adapter", json!("glow")),
    ] {
        assert_eq!(adapters(key, value), "ftp::data::unsupported_delta", "{key}");
    }
}

#[test]
fn labels_that_nobody_names_are_numbered_and_told() {
    let saved = fixtures().join("saved/peft/bert-lora");
    let mut below = base("bert_sequence");
    below.config["id2label"] = json!({ "0": "no", "1": "yes" });
    let (apart, notices) = read(&saved, &below).unwrap();
    let labels = ["LABEL_0", "LABEL_1", "LABEL_2"].map(str::to_owned).to_vec();
    assert_eq!(apart.task, Some(Task::Classification { labels }));
    assert_eq!(notices[0].code, "ftp::model::labels_numbered");
}

/// `peft` learns the names from the configuration beside the delta.
#[test]
fn a_head_that_lacks_a_tensor_is_an_error() {
    let copy = changed("peft/bert-lora", |_| {});
    let file = copy.path().join(saved::PEFT_WEIGHTS);
    let mut tensors = read_safetensors(&file).unwrap();
    tensors.shift_remove("base_model.model.classifier.bias").unwrap();
    write_safetensors(&file, &tensors).unwrap();
    assert!(read(copy.path(), &base("bert_sequence")).unwrap_err().message.contains("lacks `classifier.bias`"));
}

/// A head of `adapters` with two maps and no pooler computes what BERT's pooler and classifier do.
#[test]
fn a_head_that_was_put_together_takes_the_places_of_the_models_own() {
    let copy = changed("adapters/bert-seq_bn", |_| {});
    let own = base("bert_sequence").tensors;
    let numbered = [("bert.pooler.dense", "1"), ("classifier", "4")];
    let tensors = numbered.iter().flat_map(|(module, place)| {
        ["weight", "bias"].map(|kind| (format!("heads.mood.{place}.{kind}"), own[&format!("{module}.{kind}")].clone()))
    });
    write_safetensors(&copy.path().join(saved::HEAD_WEIGHTS), &tensors.collect()).unwrap();
    let head = |activation: &str| {
        json!({ "model_class": "BertAdapterModel", "name": "mood", "config": {
            "head_type": "classification", "layers": 2, "activation_function": activation, "use_pooler": false, "bias": true,
            "num_labels": 3, "label2id": { "c": 2, "a": 0, "b": 1 },
        }})
    };
    fs::write(copy.path().join(saved::HEAD_CONFIG), head("tanh").to_string()).unwrap();
    let (apart, _) = read(copy.path(), &base("bert_sequence")).unwrap();
    let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(apart.task, Some(Task::Classification { labels }));
    for (name, tensor) in &apart.head {
        assert_eq!(tensor, &own[name]);
    }
    assert_eq!(apart.head.len(), 4);
    fs::write(copy.path().join(saved::HEAD_CONFIG), head("relu").to_string()).unwrap();
    assert_eq!(read(copy.path(), &base("bert_sequence")).unwrap_err().code, "ftp::peft::other_model");
}
