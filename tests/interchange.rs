//! Deltas that leave without their model, and come back: `publish .. as adapter`, `delta`, `evaluate`, `ftp predict --base`.
//!
//! That the real libraries agree is tested in `src/methods/interchange/parity.rs` and by `tests/parity/interchange.py`.
#![cfg(feature = "train")]

mod place;

use std::fs;

use place::Place;
use serde_json::Value;

const START: &str = "\
let corpus = text(\"corpus.txt\")
let target = labelled(\"target/{train,dev,test}.jsonl\")

set pretrain(
  corpus = corpus, vocab_size = 200, hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2,
  max_length = 32, epochs = 1, batch_size = 8, learning_rate = 1e-3,
)
set finetune(epochs = 2, max_length = 24, learning_rate = 1e-2)
set evaluate(max_length = 24)

let start = pretrain
let tuned = start -> finetune(target, epochs = 1)
pipeline base  = start
pipeline whole = tuned
pipeline small = start -> peft(lora, rank = 2) -> finetune(target)
pipeline tower = tuned -> peft(adapter, reduction_factor = 4) -> finetune(target)
";

const PUBLISH: &str = "
publish base  to \"out/base\"
publish whole to \"out/tuned\"
publish small to \"out/small\" as adapter
publish tower to \"out/tower\" as adapter
";

const TEXTS: [&str; 2] = ["the good cat 3 sat on the mat", "the bad dog 4 saw many cats"];

fn answers(here: &Place, model: &str, more: &[&str]) -> Vec<Value> {
    let arguments = [&["predict", model, "--json"], more, &TEXTS[..]].concat();
    here.ftp(&arguments, 0).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn assert_same(one: &[Value], other: &[Value]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one["label"], other["label"]);
        for (label, share) in one["probabilities"].as_object().expect("shares") {
            let difference = share.as_f64().unwrap() - other["probabilities"][label].as_f64().expect("the same labels");
            assert!(difference.abs() < 1e-5, "{one} and {other}");
        }
    }
}

fn json(here: &Place, path: &str) -> Value {
    serde_json::from_str(&here.read(path)).expect("JSON")
}

#[test]
fn an_adapter_answers_over_its_base_as_the_result_in_the_store_does() {
    let here = Place::new(&(START.to_owned() + PUBLISH));
    here.ftp(&["run", "p.ftp"], 0);
    for (name, base) in [("small", "out/base"), ("tower", "out/tuned")] {
        let directory = format!("out/{name}");
        let stored = answers(&here, name, &[]);
        assert_same(&answers(&here, &directory, &["--base", base]), &stored);
        // The base is where the file published it, seen from the project or from above the adapter.
        assert_same(&answers(&here, &directory, &[]), &stored);
        assert_same(&answers(&here, &here.at(&directory).display().to_string(), &[]), &stored);
        assert!(!here.at(&format!("{directory}/model.safetensors")).exists());
        let card = here.read(&format!("{directory}/README.md"));
        assert!(card.contains(if name == "small" { "library_name: peft" } else { "library_name: adapters" }), "{card}");
    }
    let settings = json(&here, "out/small/adapter_config.json");
    assert_eq!(settings["base_model_name_or_path"], "out/base");
    // The published base has no pooler: a masked language model needs none. It goes with the delta.
    assert!(settings["modules_to_save"].as_array().unwrap().contains(&"pooler".into()), "{settings}");
    assert_eq!(settings["target_modules"], serde_json::json!(["query", "value"]));

    // `peft` has no place for labels, and `transformers` would take a directory with a config.json for a whole model.
    assert_eq!(json(&here, "out/small/label_map.json"), serde_json::json!({ "bad": 0, "good": 1 }));
    assert!(!here.at("out/small/config.json").exists());

    // The same again writes nothing; another base does.
    let label = fs::metadata(here.at("out/small/ftp.json")).unwrap().modified().unwrap();
    here.ftp(&["run", "p.ftp"], 0);
    assert_eq!(fs::metadata(here.at("out/small/ftp.json")).unwrap().modified().unwrap(), label);
    here.write("p.ftp", &(START.to_owned() + &PUBLISH.replace("out/base", "out/below")));
    here.ftp(&["run", "p.ftp"], 0);
    assert_eq!(json(&here, "out/small/adapter_config.json")["base_model_name_or_path"], "out/below");
    fs::rename(here.at("out/below"), here.at("out/gone")).unwrap();
    let message = here.ftp(&["predict", "out/small", "a text"], 1);
    assert!(message.contains("lies over `out/below`, which is no directory here (ftp::predict::no_base)"), "{message}");
}

#[test]
fn a_saved_delta_is_used_as_it_is_or_trained_further_from_its_values() {
    let here = Place::new(&(START.to_owned() + PUBLISH));
    here.ftp(&["run", "p.ftp"], 0);
    let read = "\
let target = labelled(\"target/{train,dev,test}.jsonl\")
let base   = hf(\"out/base\")
let tuned  = hf(\"out/tuned\")
let small  = delta(\"out/small\")
let tower  = delta(\"out/tower\")

set finetune(max_length = 24)
set evaluate(max_length = 24)

pipeline as_it_is = base -> peft(small) -> evaluate(target)
pipeline further  = base -> peft(small) -> finetune(target, steps = 1, learning_rate = 1e-6)
pipeline again    = as_it_is
pipeline both     = [tuned -> peft(tower) -> evaluate(target), tuned -> peft(tower) -> evaluate(target)] -> fusion -> finetune(target, steps = 1)

expect as_it_is.accuracy >= 0.0
publish as_it_is to \"out/whole\"
publish again    to \"out/again\" as adapter
publish further  to \"out/further\" as adapter
";
    here.write("read.ftp", read);
    let shown = here.ftp(&["run", "read.ftp", "--json"], 0);
    let stored = answers(&here, "small", &[]);
    assert_same(&answers(&here, "as_it_is", &[]), &stored);
    assert_same(&answers(&here, "out/whole", &[]), &stored);
    assert_same(&answers(&here, "out/again", &[]), &stored);
    assert!(shown.contains("\"event\""), "{shown}");
    // Nothing of it changed on the way, and one tiny step leaves it where it was.
    let weights = |name: &str| fs::read(here.at(&format!("out/{name}/adapter_model.safetensors"))).unwrap();
    assert_eq!(weights("again"), weights("small"));
    assert_ne!(weights("further"), weights("small"));
    let tensors =
        |name: &str| ftp::hub::read_safetensors(&here.at(&format!("out/{name}/adapter_model.safetensors"))).unwrap();
    let (before, after) = (tensors("small"), tensors("further"));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, tensor) in before.iter().filter(|(name, _)| !name.contains("classifier")) {
        let moved = tensor.data.iter().zip(&after[name].data).map(|(one, other)| (one - other).abs());
        assert!(moved.fold(0.0, f32::max) < 1e-4, "{name}");
    }

    here.ftp(&["plan", "out/again/reproduce.ftp"], 0);

    // A key knows what the files hold, not where they lie.
    fs::rename(here.at("out/small"), here.at("out/moved")).unwrap();
    here.write("read.ftp", &read.replace("out/small", "out/moved"));
    let shown = here.ftp(&["run", "read.ftp"], 0);
    assert!(shown.contains("nothing to train"), "{shown}");

    // A delta that changed after it was planned is not read, and one for another model is told.
    let settings = here.read("out/moved/adapter_config.json");
    here.write("out/moved/adapter_config.json", &settings.replace("\"r\": 2", "\"r\": 3"));
    let shown = here.ftp(&["run", "read.ftp"], 1);
    assert!(shown.contains("ftp::peft::other_model"), "{shown}");
}
