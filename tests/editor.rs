//! The grammar for editors knows every word of the grammar that parses.

use std::path::Path;

use serde_json::Value;

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
