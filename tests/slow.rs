//! Every method and remedy on real data: a pipeline for each in `slow/methods.ftp`. Running them takes minutes and is
//! asked for: `cargo test --release --test slow -- --ignored --nocapture`. That none is missing is looked at every time.
#![cfg(feature = "train")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftp::data::FileWorld;
use ftp::lang::ir::Program;
use ftp::lang::signature::{Kind, Parameter, ParameterType};
use ftp::lang::value::Value;
use ftp::methods::registry;
use ftp::syntax::Source;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slow/methods.ftp")
}

fn program() -> Program {
    let text = std::fs::read_to_string(file()).expect("readable");
    let world = FileWorld::new(file().parent().expect("a directory"));
    let checked = ftp::lang::check(&Source::new("methods.ftp", text), registry(), &world, &[]);
    checked.unwrap_or_else(|found| panic!("{:?}", found.all)).program
}

/// What of the parameters of `finetune` keeps it stable: `intermediate` has the others.
fn remedies() -> impl Iterator<Item = &'static Parameter> {
    let [finetune, intermediate] = ["finetune", "intermediate"].map(|name| registry().get(name).expect("known"));
    let common: Vec<&str> = intermediate.parameters.iter().map(|parameter| parameter.name).collect();
    finetune.parameters.iter().filter(move |parameter| !common.contains(&parameter.name) && parameter.name != "target")
}

#[test]
fn every_delta_stage_and_remedy_is_run_on_real_data() {
    let program = program();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for node in &program.nodes {
        used.insert(node.method.clone());
        used.extend(node.deltas.iter().map(|delta| delta.method.clone()));
        if node.method == "finetune" {
            used.extend(node.inputs.keys().cloned());
            for (name, parameter) in node.parameters.iter().filter(|(_, parameter)| parameter.value != Value::None) {
                used.insert(name.clone());
                used.extend(parameter.value.as_name().map(|choice| format!("{name} = {choice}")));
            }
        }
    }
    let methods = registry().iter().filter(|method| method.kind != Kind::Source).map(|method| method.name.to_owned());
    let parameters = remedies().flat_map(|parameter| match parameter.ty {
        ParameterType::Choice(names) => names.iter().map(|name| format!("{} = {name}", parameter.name)).collect(),
        _ => vec![parameter.name.to_owned()],
    });
    let missing: Vec<String> = methods.chain(parameters).filter(|name| !used.contains(name)).collect();
    assert!(missing.is_empty(), "write a pipeline with each of these in tests/slow/methods.ftp: {missing:?}");
}

#[test]
fn every_method_and_remedy_has_an_example() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let files = std::fs::read_dir(directory).expect("there").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "ftp"));
    let code = |path: PathBuf| {
        let text = std::fs::read_to_string(path).expect("readable");
        text.lines().map(|line| line.split('#').next().unwrap_or_default().to_owned() + "\n").collect::<String>()
    };
    let examples: String = files.map(code).collect();
    let words: BTreeSet<&str> = examples.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    // Of remedies what is chosen by name, and what is a remedy by itself; other parameters belong to one of these.
    const ALONE: [&str; 7] =
        ["layer_decay", "unfreeze_every", "reinit_layers", "remove_layers", "mixout", "cycles", "unlabelled"];
    let chosen = remedies().flat_map(|parameter| match parameter.ty {
        ParameterType::Choice(names) => names.to_vec(),
        _ => vec![],
    });
    let methods = registry().iter().map(|method| method.name).chain(chosen).chain(ALONE);
    let missing: Vec<&str> = methods.filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "write a pipeline with each of these in pipelines/: {missing:?}");
}

fn ftp(store: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.env("FTP_STORE", store).env_remove("FTP_REMOTE").args(arguments).output().expect("ftp starts")
}

/// More than always giving the same answer, by four standard errors of a share of so many rows.
fn beyond_chance(baseline: f64, rows: f64) -> f64 {
    baseline + 4.0 * (baseline * (1.0 - baseline) / rows).sqrt()
}

#[test]
#[ignore = "takes minutes; asked for with `--ignored`, best in a release build"]
fn every_method_learns_from_real_data() {
    let directory = tempfile::tempdir().expect("a directory");
    // A store that is kept, to look at results or to go on after a failure.
    let store = std::env::var_os("FTP_SLOW_STORE").map_or(directory.path().join("store"), PathBuf::from);
    let path = file().display().to_string();
    let ran = ftp(&store, &["run", &path, "--keep-going"]);
    let told = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}");
    let mut wrong = vec![];
    println!(
        "{:<16}{:>10}{:>10}{:>10}{:>22}{:>12}{:>9}",
        "pipeline", "dev", "test", "chance", "training loss", "trained", "seconds"
    );
    for pipeline in &program().pipelines {
        let name = &pipeline.name;
        let shown = ftp(&store, &["show", name, "--json"]);
        let result: serde_json::Value = serde_json::from_slice(&shown.stdout)
            .unwrap_or_else(|error| panic!("{name}: {error}: {}", String::from_utf8_lossy(&shown.stderr)));
        let number = |pointer: &str| result.pointer(pointer).and_then(serde_json::Value::as_f64);
        let accuracy = |split: &str| number(&format!("/summary/metrics/{split}/accuracy")).unwrap_or(f64::NAN);
        let (chance, rows) = (number("/summary/baseline/metrics/accuracy"), number("/summary/metrics/test/rows"));
        let (chance, rows) = (chance.unwrap_or(f64::NAN), rows.unwrap_or(f64::NAN));
        let losses = result["journal"].as_array().into_iter().flatten();
        let losses: Vec<f64> =
            losses.filter(|entry| entry["event"] == "progress").filter_map(|entry| entry["loss"].as_f64()).collect();
        // Means of the first and of the last tenth: what is told is of few rows. Stages that only put models together have none.
        let tenth = losses.len().div_ceil(10);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let fell = (tenth > 0).then(|| (mean(&losses[..tenth]), mean(&losses[losses.len() - tenth..])));
        let share = number("/summary/parameters/trained").zip(number("/summary/parameters/total"));
        println!(
            "{name:<16}{:>10.4}{:>10.4}{chance:>10.4}{:>22}{:>12}{:>9.1}",
            accuracy("dev"),
            accuracy("test"),
            fell.map_or(String::new(), |(first, last)| format!("{first:.4} -> {last:.4}")),
            share.map_or(String::new(), |(trained, total)| format!("{:.2} %", 100.0 * trained / total)),
            number("/record/seconds").unwrap_or(f64::NAN),
        );
        let beyond = accuracy("test") > beyond_chance(chance, rows);
        if !beyond {
            wrong.push(format!("{name}: an accuracy of {} is not beyond chance, {chance}", accuracy("test")));
        }
        // The weight of the divergence from the answers of epochs before rises, and the loss with it.
        let learnt = name == "temporal" || fell.is_none_or(|(first, last)| last < first);
        if let Some((first, last)) = fell.filter(|_| !learnt) {
            wrong.push(format!("{name}: the training loss went from {first} to {last}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
