//! Hugging Face directories.

use crate::Case;

/// A safetensors file with one tensor of two f32.
fn weights() -> Vec<u8> {
    let header = br#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat()
}

fn model() -> Case {
    Case::new("hf", "m")
        .file("m/config.json", r#"{"model_type": "bert"}"#)
        .file("m/model.safetensors", weights())
        .file("m/tokenizer.json", "{}")
        .file("m/README.md", "not part of the model")
}

#[test]
fn a_whole_model_gives_its_architecture_and_the_files_that_make_it() {
    let facts = model().file("m/tokenizer_config.json", "{}").facts();
    assert_eq!(facts.architecture.as_deref(), Some("bert"));
    let shown: Vec<&str> = facts.files.iter().map(|file| file.shown.as_str()).collect();
    assert_eq!(shown, ["m/config.json", "m/model.safetensors", "m/tokenizer.json", "m/tokenizer_config.json"]);
    assert_eq!(facts.files[1].digest, blake3::hash(&weights()).to_hex().as_str());
    assert!(facts.notices.is_empty());
}

#[test]
fn shards_are_all_part_of_the_model() {
    let case = model();
    std::fs::remove_file(case.path().join("m/model.safetensors")).unwrap();
    let index =
        r#"{"weight_map": {"b": "model-2.safetensors", "a": "model-1.safetensors", "c": "model-2.safetensors"}}"#;
    let case = case.file("m/model.safetensors.index.json", index).file("m/model-1.safetensors", weights());
    case.fails("ftp::data::model_file", "m/model-2.safetensors: is missing");
    let facts = case.file("m/model-2.safetensors", weights()).facts();
    assert_eq!(facts.files.len(), 5);
}

#[test]
fn everything_that_is_missing_is_said() {
    let errors = Case::new("hf", "m").file("m/x", "").describe().unwrap_err();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        ["m/config.json: is missing", "m/model.safetensors: is missing", "m/tokenizer.json: is missing"]
    );
    Case::new("hf", "bert-base").fails("ftp::data::missing_model", "bert-base is not a directory");
}

#[test]
fn weights_that_are_not_there_in_full_are_refused() {
    let whole = weights();
    let case = model().file("m/model.safetensors", &whole[..whole.len() - 1]);
    let message = "m/model.safetensors: is cut short: the tensors its header names are not all there";
    case.fails("ftp::data::model_file", message);
    let case = model().file("m/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    let message = "m/model.safetensors: is a Git LFS pointer, not the weights: run `git lfs pull` there";
    case.fails("ftp::data::model_file", message);
    let case = model().file("m/pytorch_model.bin", "x");
    std::fs::remove_file(case.path().join("m/model.safetensors")).unwrap();
    let message = "m has its weights as pytorch_model.bin; ftp reads safetensors only";
    case.fails("ftp::data::model_file", message);
}

#[test]
fn a_configuration_without_an_architecture_is_refused() {
    let case = model().file("m/config.json", "{}");
    case.fails("ftp::data::model_file", "m/config.json: names no `model_type`");
    let case = model().file("m/config.json", "{");
    assert!(case.error().message.starts_with("m/config.json: is not JSON: "));
}

#[test]
fn a_vocabulary_alone_is_enough_and_said_to_be() {
    let case = model().file("m/vocab.txt", "[PAD]\n");
    std::fs::remove_file(case.path().join("m/tokenizer.json")).unwrap();
    let message = "m has no tokenizer.json: a BERT WordPiece tokenizer is built from its vocab.txt";
    case.notices(&[("ftp::data::tokenizer_built", message)]);
}
