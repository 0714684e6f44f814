//! The grammar for editors knows every word of the grammar that parses.

use std::path::Path;

use ftp::lang;
use serde_json::Value;

mod support;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar").join(path)).unwrap()
}

#[test]
fn every_keyword_is_coloured() {
    let grammar: Value = serde_json::from_str(&read("vscode/syntaxes/ftp.tmLanguage.json")).unwrap();
    let patterns: String =
        grammar["patterns"].as_array().unwrap().iter().filter_map(|pattern| pattern["match"].as_str()).collect();
    let mut words: Vec<&str> = patterns.split(|c: char| !c.is_ascii_alphabetic()).collect();
    words.sort_unstable();
    let pest = read("ftp.pest");
    let keywords = pest.lines().filter(|line| line.starts_with("kw_")).filter_map(|line| line.split('"').nth(1));
    let keywords: Vec<&str> = keywords.collect();
    assert!(keywords.len() >= 7, "{keywords:?}");
    let missing: Vec<_> = keywords.iter().filter(|word| words.binary_search(word).is_err()).collect();
    assert!(missing.is_empty(), "not in grammar/vscode/syntaxes/ftp.tmLanguage.json: {missing:?}");
}

#[test]
fn what_the_extension_names_is_there() {
    let package: Value = serde_json::from_str(&read("vscode/package.json")).unwrap();
    let contributes = &package["contributes"];
    for path in [&contributes["languages"][0]["configuration"], &contributes["grammars"][0]["path"]] {
        let text = read(&format!("vscode/{}", path.as_str().unwrap().trim_start_matches("./")));
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
    }
    assert_eq!(contributes["languages"][0]["extensions"], serde_json::json!([".ftp"]));
}

#[test]
fn every_unit_is_coloured() {
    // The help for an unknown one lists them.
    let wrong = support::source("let x = 3 fortnights\n");
    let found = lang::check(&wrong, &support::registry(), &support::Table, &[]).unwrap_err();
    let help = found.all[0].help.clone().unwrap();
    let units: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
    assert!(units.contains(&"GiB"), "{help}");
    let grammar: Value = serde_json::from_str(&read("vscode/syntaxes/ftp.tmLanguage.json")).unwrap();
    let numbers = grammar["patterns"].as_array().unwrap().iter().filter_map(|pattern| pattern["match"].as_str());
    let numbers = numbers.filter(|pattern| pattern.contains("[0-9]")).collect::<String>();
    let coloured: Vec<&str> = numbers.split(|c: char| !c.is_ascii_alphabetic() && c != '%').collect();
    let missing: Vec<_> = units.iter().filter(|unit| !coloured.contains(unit)).collect();
    assert!(missing.is_empty(), "not in grammar/vscode/syntaxes/ftp.tmLanguage.json: {missing:?}");
}
