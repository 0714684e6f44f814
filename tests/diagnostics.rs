//! Every diagnostic of the language, as people see it: `tests/ui/NAME.ftp` in, `tests/ui/NAME.snap` out.
//!
//! `# --set name=value` in a file's first lines stands for that option. New snapshots: `INSTA_UPDATE=always cargo test`.

mod support;

use std::path::Path;

use ftp::lang::{self, Checked};
use ftp::syntax::Source;
use support::{Table, registry, source};

/// `--set` options in the comments a test file begins with.
fn overrides(text: &str) -> Vec<(String, String)> {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let options = comments.filter_map(|line| line.strip_prefix("# --set ")?.split_once('='));
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All that `ftp check` says about a text.
fn report(source: &Source) -> String {
    let result = lang::check(source, &registry(), &Table, &overrides(&source.text));
    let diagnostics = match result {
        Ok(Checked { warnings, .. }) if warnings.is_empty() => return "no findings".into(),
        Ok(Checked { warnings, .. }) => warnings,
        Err(diagnostics) => diagnostics.all,
    };
    diagnostics.iter().map(|diagnostic| diagnostic.render(source, false)).collect::<Vec<_>>().join("\n")
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
        let source = Source { name: format!("{name}.ftp"), text: std::fs::read_to_string(&file).unwrap() };
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
