//! Every diagnostic of the language, as people see it: `tests/ui/NAME.ftp` in, `tests/ui/NAME.snap` out.
//!
//! `# --set name=value` in a file's first lines stands for that option, `# all methods` for the methods there are instead of the
//! few that most of these files need. New snapshots: `INSTA_UPDATE=always cargo test`.

mod support;

use std::path::Path;

use ftp::lang::{self, Checked};
use ftp::syntax::Source;
use support::{Table, outline, registry, source};

/// `--set` options in the comments a test file begins with.
fn overrides(text: &str) -> Vec<(String, String)> {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let options = comments.filter_map(|line| line.strip_prefix("# --set ")?.split_once('='));
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All that `ftp check` says about a text.
fn report(source: &Source) -> String {
    let few = registry();
    let methods = if source.text.starts_with("# all methods\n") { ftp::methods::registry() } else { &few };
    let result = lang::check(source, methods, &Table, &overrides(&source.text));
    let (diagnostics, source) = match result {
        Ok(Checked { warnings, .. }) if warnings.is_empty() => return "no findings".into(),
        Ok(Checked { warnings, source, .. }) => (warnings, source),
        Err(diagnostics) => (diagnostics.all, diagnostics.source),
    };
    diagnostics.iter().map(|diagnostic| diagnostic.render(&source, false)).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_diagnostic_reads_as_its_snapshot() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ftp"));
    files.sort();
    assert!(files.len() > 40, "the test files are gone");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = Source::new(format!("{name}.ftp"), std::fs::read_to_string(&file).unwrap());
        insta::with_settings!({ snapshot_path => "ui", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, report(&source));
        });
    }
}

#[test]
fn a_diagnostic_as_json_is_one_object_with_its_place() {
    let source = source("let base = hf(\"models/minilm\")\npipeline p = base -> finetune(dta)\n");
    let diagnostics = lang::check(&source, &registry(), &Table, &[]).unwrap_err();
    assert_eq!(diagnostics.errors(), 1);
    let json: serde_json::Value = serde_json::from_str(&diagnostics.all[0].to_json(&source)).unwrap();
    assert_eq!(json["severity"], "error");
    assert_eq!(json["code"], "ftp::name::unknown");
    assert_eq!(json["file"], "test.ftp");
    assert_eq!((&json["line"], &json["column"]), (&2.into(), &31.into()));
    assert_eq!(json["labels"][0]["length"], 3);
    assert!(json["help"].is_string());
}

#[test]
fn a_report_with_colours_says_the_same() {
    let source = source("pipeline p = pretrian -> finetune(x)\n");
    let diagnostics = lang::check(&source, &registry(), &Table, &[]).unwrap_err();
    assert!(diagnostics.all[0].render(&source, true).contains("\u{1b}["));
    assert!(!diagnostics.all[0].render(&source, false).contains("\u{1b}["));
}

fn checked(text: &str, overrides: &[(&str, &str)]) -> Checked {
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let source = source(text);
    lang::check(&source, &registry(), &Table, &overrides).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.all.iter().map(|diagnostic| diagnostic.render(&source, false)).collect::<String>())
    })
}

#[test]
fn a_good_file_becomes_the_program_it_describes() {
    let program = checked(include_str!("ui/good.ftp"), &[("epochs", "5")]).program;
    insta::with_settings!({ snapshot_path => "ui", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("good_program", outline(&program));
    });
}

#[test]
fn a_chain_named_by_let_is_one_node_wherever_it_is_used() {
    let text = "let base = hf(\"m\")\nlet d = text(\"d\")\nlet t = labelled(\"t\")\nlet a = base -> adapt(d)\n\
                pipeline p = a -> finetune(t)\npipeline q = a -> finetune(t, epochs = 1)\n";
    let program = checked(text, &[]).program;
    let inputs: Vec<_> =
        program.pipelines.iter().map(|pipeline| program.nodes[pipeline.output].inputs["model"]).collect();
    assert_eq!(inputs[0], inputs[1]);
    let labels = |stages: &[usize]| stages.iter().map(|id| program.nodes[*id].label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&program.pipelines[0].stages), ["adapt(d)", "finetune(t)"]);
    assert_eq!(program.nodes.iter().filter(|node| node.method == "adapt").count(), 1);
}

#[test]
fn inputs_come_before_the_nodes_that_use_them_even_when_declared_below() {
    let text = "pipeline p = a -> finetune(t)\nset pretrain(corpus = d)\nlet a = pretrain -> adapt(d)\n\
                let t = labelled(\"t\")\nlet d = text(\"d\")\n";
    let program = checked(text, &[]).program;
    for (id, node) in program.nodes.iter().enumerate() {
        assert!(node.inputs.values().all(|input| *input < id), "{} comes before its input", node.label);
    }
    assert_eq!(program.nodes.iter().filter(|node| node.method == "text").count(), 1);
}

#[test]
fn a_calls_argument_wins_over_set_and_set_over_the_default() {
    let text = "let base = hf(\"m\")\nlet t = labelled(\"t\")\nset finetune(epochs = 7)\n\
                pipeline p = base -> finetune(t)\npipeline q = base -> finetune(t, epochs = 2)\n";
    let program = checked(text, &[]).program;
    let value = |pipeline: usize, name: &str| {
        program.nodes[program.pipelines[pipeline].output].parameters[name].value.to_string()
    };
    assert_eq!(value(0, "epochs"), "7 epochs");
    assert_eq!(value(1, "epochs"), "2 epochs");
    assert_eq!(value(0, "batch_size"), "32");
}

#[test]
fn a_delta_that_decides_about_the_whole_model_stands_alone_in_a_stack() {
    let check = |deltas: &str| {
        let text = format!(
            "let base = hf(\"models/minilm\")\nlet target = labelled(\"data/sst2.jsonl\")\npipeline p = base -> peft({deltas}) -> finetune(target)\n"
        );
        lang::check(&source(&text), ftp::methods::registry(), &Table, &[])
    };
    let error = check("stack(lora, last_layers(layers = 1))").unwrap_err();
    assert_eq!((error.errors(), error.all[0].code), (1, "ftp::order::not_stackable"));
    assert!(error.all[0].message.contains("`last_layers`"), "{}", error.all[0].message);
    assert!(check("stack(last_layers(layers = 1))").is_ok());
    let deltas = check("stack(adapter, ia3, lora(rank = 2), bitfit)").unwrap().program.nodes[2].deltas.clone();
    let names: Vec<&str> = deltas.iter().map(|delta| delta.method.as_str()).collect();
    assert_eq!(names, ["bitfit", "lora", "ia3", "adapter"]);
}
