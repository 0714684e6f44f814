//! Models of the Hugging Face hub, by way of the program itself, from a hub that the test starts.
#![cfg(all(feature = "train", feature = "remote"))]

mod machines;
mod place;
mod servers;
mod walk;

use std::fs;
use std::path::PathBuf;

use machines::{Machine, Said};
use servers::hub::Hub;

const TOKEN: &str = "hf_canaryOfTheHubsToken";

const PIPELINE: &str = "\
let target = labelled(\"target/{train,dev,test}.jsonl\")
let base = hf(\"team/model\", revision = \"main\")

pipeline small = base -> finetune(target, learning_rate = 1e-2, epochs = 1, max_length = 16)

publish small to \"out/small\"
";

/// A hub with a model that `ftp` has trained and published, and things beside it that nobody needs.
fn hub() -> Hub {
    let machine = Machine::new();
    machine.ftp("run p.ftp", 0);
    machine.place.write("out/full/pytorch_model.bin", &"x".repeat(10_000));
    Hub::new().with("team/model", &machine.place.at("out/full"))
}

/// A machine with a pipeline over a model of a hub.
fn machine(hub: &Hub, pipeline: &str) -> Machine {
    let mut machine = Machine::new();
    machine.place.write("p.ftp", pipeline);
    machine.environment.push(("HF_ENDPOINT", format!("http://{}", hub.address)));
    machine.environment.push(("XDG_CACHE_HOME", machine.place.at("cache").display().to_string()));
    machine
}

fn with_token() -> String {
    PIPELINE.replace("revision = \"main\"", "revision = \"main\", token = secret(\"TEAM_TOKEN\")")
}

fn lock_of(machine: &Machine) -> String {
    fs::read_to_string(machine.place.at("ftp.lock")).unwrap_or_default()
}

/// The directory of the one model that was fetched.
fn fetched(machine: &Machine) -> PathBuf {
    let mut found = fs::read_dir(machine.place.at("cache/ftp/models")).expect("models were fetched").flatten();
    let one = found.next().expect("a model").path();
    assert!(found.next().is_none());
    one
}

fn fails(machine: &Machine, words: &str, exit: i32, code: &str) -> Said {
    let said = machine.ftp(words, exit);
    assert!(said.err.contains(code), "{words} does not say {code}:\n{}", said.err);
    said
}

#[test]
fn a_model_is_fetched_once_and_stays_what_it_was() {
    let hub = hub();
    let here = machine(&hub, PIPELINE);
    fails(&here, "check p.ftp", 3, "ftp::hub::not_locked");
    fails(&here, "run p.ftp --locked", 3, "ftp::hub::not_locked");
    assert!(hub.requests().is_empty(), "only `lock` and `run` fetch");

    assert_eq!(here.run("").0, 1);
    let asked = hub.requests().join("\n");
    assert!(asked.contains("/config.json") && asked.contains("/large/"), "{asked}");
    assert!(!asked.contains("pytorch_model.bin") && !asked.contains("README"), "nobody needs these:\n{asked}");
    assert!(lock_of(&here).contains(&format!("commit = \"{}\"", hub.state().commit)), "{}", lock_of(&here));
    let reproduce = here.place.read("out/small/reproduce.ftp");
    assert!(reproduce.contains(&format!("hf(\"team/model\", revision = \"{}\")", hub.state().commit)), "{reproduce}");

    // The same files from a directory are the same model.
    let copied = fetched(&here);
    here.place
        .write("q.ftp", &PIPELINE.replace("\"team/model\", revision = \"main\"", &format!("\"{}\"", copied.display())));
    assert!(here.ftp("run q.ftp", 0).out.contains("nothing to train"));

    // The branch moves on. Nothing changes here until someone asks for it.
    let before = lock_of(&here);
    {
        let mut state = hub.state();
        state.commit = "b2".repeat(20);
        let config = state.models.get_mut("team/model").expect("there").get_mut("config.json").expect("there");
        *config = String::from_utf8_lossy(config).replace("{", "{\"note\": \"new\", ").into_bytes();
    }
    assert_eq!(here.run("").0, 0);
    assert_eq!((here.run("--locked").0, lock_of(&here)), (0, before.clone()));
    assert!(hub.requests().is_empty(), "what is locked and here is not asked for");
    let said = here.ftp("update p.ftp --dry-run", 0);
    assert!(
        said.out.contains("team/model main: a1a1a1a1a1a1 -> b2b2b2b2b2b2") && lock_of(&here) == before,
        "{}",
        said.out
    );
    here.ftp("update p.ftp", 0);
    assert!(lock_of(&here).contains("b2b2b2"));
    assert!(here.ftp("update p.ftp", 0).out.contains("every model is at the commit"));
}

#[test]
fn another_machine_gets_the_locked_commit_or_says_so() {
    let hub = hub();
    let here = machine(&hub, PIPELINE);
    here.ftp("lock p.ftp", 0);
    let there = machine(&hub, PIPELINE);
    there.place.write("ftp.lock", &lock_of(&here));
    fails(&there, "check p.ftp", 3, "ftp::hub::not_fetched");
    there.ftp("lock p.ftp", 0);
    there.ftp("check p.ftp", 0);
    assert_eq!(lock_of(&there), lock_of(&here));

    // Somebody changes a file of it.
    let config = fetched(&there).join("config.json");
    fs::write(&config, fs::read_to_string(&config).expect("text").replace("{", "{ ")).expect("written");
    let said = fails(&there, "run p.ftp", 3, "ftp::hub::changed");
    assert!(said.err.contains("remove that directory"));
    fs::remove_dir_all(fetched(&there)).expect("removed");
    there.ftp("lock p.ftp", 0);
    there.ftp("check p.ftp", 0);
}

#[test]
fn what_is_cut_off_is_gone_on_with_and_what_differs_is_refused() {
    let hub = hub();
    let here = machine(&hub, PIPELINE);
    hub.state().cut = Some(1000);
    here.ftp("lock p.ftp", 0);
    let asked = hub.requests();
    let ranges: Vec<&String> = asked.iter().filter(|request| request.ends_with(" from 1000")).collect();
    assert!(!ranges.is_empty(), "{asked:?}");
    here.ftp("check p.ftp", 0);

    for file in ["model.safetensors", "config.json"] {
        let there = machine(&hub, PIPELINE);
        hub.state().changed = Some(file.to_owned());
        let said = fails(&there, "lock p.ftp", 1, "ftp::hub::damaged");
        assert!(said.err.contains(file) && lock_of(&there).is_empty(), "{}", said.err);
        fails(&there, "check p.ftp", 3, "ftp::hub::not_locked");
        hub.state().changed = None;
        there.ftp("lock p.ftp", 0);
        there.ftp("check p.ftp", 0);
    }
}

#[test]
fn a_token_is_sent_to_the_hub_and_to_nobody_else() {
    let hub = hub();
    hub.state().token = Some(TOKEN.to_owned());
    fails(&machine(&hub, PIPELINE), "lock p.ftp", 1, "ftp::hub::refused");
    let mut here = machine(&hub, &with_token());
    let said = fails(&here, "lock p.ftp", 1, "ftp::hub::no_secret");
    assert!(said.err.contains("TEAM_TOKEN"));
    here.environment.push(("TEAM_TOKEN", "wrong".to_owned()));
    fails(&here, "lock p.ftp", 1, "ftp::hub::refused");
    here.environment.pop();
    here.environment.push(("TEAM_TOKEN", format!("{TOKEN}\nX: y")));
    let said = fails(&here, "lock p.ftp", 1, "ftp::hub::bad_secret");
    assert!(!said.err.contains(TOKEN));

    here.environment.pop();
    here.environment.push(("TEAM_TOKEN", TOKEN.to_owned()));
    here.environment.push(("HF_ENDPOINT", "http://hub.example.org".to_owned()));
    fails(&here, "lock p.ftp", 1, "ftp::hub::insecure");
    here.environment.pop();
    assert_eq!(here.run("").0, 1);
    assert!(!hub.state().leaked, "large files lie on another host, which gets no token");
    assert!(here.place.read("out/small/reproduce.ftp").contains("token = secret(\"TEAM_TOKEN\")"));

    // It is no part of a key, and what is fetched needs none.
    here.environment.pop();
    here.place.write("p.ftp", PIPELINE);
    assert_eq!(here.run("--locked").0, 0);
}

#[test]
fn what_the_hub_does_not_have_is_said() {
    let hub = hub();
    let other = |from: &str, to: &str| machine(&hub, &PIPELINE.replace(from, to));
    let said = fails(&other("team/model", "team/other"), "run p.ftp", 1, "ftp::hub::not_found");
    assert!(said.err.contains("team/other") && said.err.contains("Repository not found"), "{}", said.err);
    fails(&other("\"main\"", "\"v9\""), "lock p.ftp", 1, "ftp::hub::not_found");
    fails(&other("team/model", "../model"), "lock p.ftp", 0, "");
    fails(&other("team/model", "../model"), "run p.ftp", 3, "ftp::hub::bad_name");
    other("\"main\"", "\"refs/pr/1\"").ftp("lock p.ftp", 0);

    hub.state().models.get_mut("team/model").expect("there").remove("model.safetensors");
    let here = machine(&hub, PIPELINE);
    hub.requests();
    let said = fails(&here, "lock p.ftp", 1, "ftp::hub::not_usable");
    assert!(said.err.contains("pytorch_model.bin"), "it says what there is: {}", said.err);
    assert_eq!(hub.requests().len(), 1, "nothing is fetched of what can't be used");

    let mut away = machine(&hub, PIPELINE);
    away.environment.push(("HF_ENDPOINT", "http://127.0.0.1:1".to_owned()));
    fails(&away, "lock p.ftp", 1, "ftp::hub::unreachable");
    away.environment.push(("HF_ENDPOINT", format!("https://name:{TOKEN}@hub.example.org")));
    let said = fails(&away, "lock p.ftp", 1, "ftp::hub::endpoint");
    assert!(!said.err.contains(TOKEN));
}

#[test]
fn shards_are_fetched_as_the_index_names_them_and_nowhere_else() {
    let hub = hub();
    {
        let mut state = hub.state();
        let files = state.models.get_mut("team/model").expect("there");
        let weights = files.remove("model.safetensors").expect("there");
        files.insert("model-00001-of-00001.safetensors".to_owned(), weights);
        let index = r#"{"weight_map": {"a": "model-00001-of-00001.safetensors"}}"#;
        files.insert("model.safetensors.index.json".to_owned(), index.into());
    }
    let here = machine(&hub, PIPELINE);
    here.ftp("lock p.ftp", 0);
    here.ftp("check p.ftp", 0);
    let index = r#"{"weight_map": {"a": "../../model.safetensors"}}"#;
    let mut state = hub.state();
    let files = state.models.get_mut("team/model").expect("there");
    files.insert("model.safetensors.index.json".to_owned(), index.into());
    drop(state);
    fails(&machine(&hub, PIPELINE), "lock p.ftp", 1, "ftp::hub::damaged");
}

#[test]
fn vendored_and_bundled_models_need_no_network() {
    let hub = hub();
    let here = machine(&hub, PIPELINE);
    here.ftp("vendor p.ftp", 0);
    fs::remove_dir_all(here.place.at("cache")).expect("removed");
    hub.requests();
    assert_eq!(here.run("--locked").0, 1);
    here.ftp("bundle p.ftp -o b.tar", 0);
    assert!(hub.requests().is_empty());

    let there = machine(&hub, PIPELINE);
    here.ftp("lock p.ftp", 0);
    fs::copy(here.place.at("b.tar"), there.place.at("b.tar")).expect("copied");
    there.ftp("unbundle b.tar mine", 0);
    there.ftp("check mine/p.ftp", 0);
    there.ftp("run mine/p.ftp --locked", 0);
    assert!(hub.requests().is_empty());
}

#[test]
fn two_that_want_the_same_model_fetch_it_once() {
    let hub = hub();
    let here = machine(&hub, PIPELINE);
    let started: Vec<_> = (0..3).map(|_| here.command("lock p.ftp").spawn().expect("ftp starts")).collect();
    for mut one in started {
        assert!(one.wait().expect("ended").success());
    }
    let large = hub.requests().iter().filter(|request| request.starts_with("GET /large/")).count();
    let files = fs::read_dir(fetched(&here)).expect("there").flatten().map(|entry| entry.path());
    let expected = files.filter(|path| path.metadata().expect("there").len() >= 4096).count();
    assert_eq!(large, expected);
}
