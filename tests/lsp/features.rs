//! Hover, completion, navigation, renaming, formatting, actions, hints.

use serde_json::{Value, json};

use crate::client::{Client, about, at, edited, place, range, uri};

const FILE: &str = "untitled:pipeline";

const TEXT: &str = "\
## Two ways to the target. \u{1f600}

## How long.
param epochs: int = 3
let base   = hf(\"model\")  # \u{e9}
let target = labelled(\"data/{train,dev}.jsonl\")
let domain = text(\"data/*.txt\")
set finetune(epochs = epochs)
let adapted = base -> adapt(domain)
pipeline small = adapted -> peft(lora, rank = 4) -> finetune(target, schedule = cosine)
expect small.accuracy >= 0.8
publish small to \"out\"
";

fn opened(text: &str) -> Client {
    let client = Client::start();
    client.open(FILE, text);
    client
}

fn hover(client: &mut Client, what: &str, on: usize) -> String {
    let answer = client.ask("textDocument/hover", about(FILE, TEXT, what, on));
    answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
}

/// The labels offered at the `|` of a text.
fn offered(text: &str) -> Vec<String> {
    items(text).iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
}

fn items(text: &str) -> Vec<Value> {
    let plain = text.replacen('|', "", 1);
    let mut client = opened(&plain);
    let answer = client.ask("textDocument/completion", about(FILE, text, "|", 0));
    answer.as_array().unwrap().clone()
}

#[test]
fn hovering_over_a_method_shows_its_page() {
    let page = hover(&mut opened(TEXT), "finetune(target", 2);
    for part in ["# `finetune`", "| `learning_rate` |", "a labelled set"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn hovering_over_a_parameter_or_choice_shows_type_default_and_documentation() {
    let mut client = opened(TEXT);
    for (what, parts) in [
        ("rank = 4", ["`rank` of `lora`", "integer", "default `8`"]),
        ("schedule =", ["`schedule` of `finetune`", "`cosine`", "default"]),
        ("cosine)", ["a choice of", "`schedule`", "default"]),
    ] {
        let text = hover(&mut client, what, 1);
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[test]
fn hovering_over_a_name_shows_its_declaration_what_it_is_and_its_documentation() {
    let mut client = opened(TEXT);
    let epochs = hover(&mut client, "epochs)", 3);
    for part in ["param epochs: int = 3", "param, int", "How long."] {
        assert!(epochs.contains(part), "{part} is not in {epochs}");
    }
    assert!(hover(&mut client, "adapted ->", 0).contains("a model"));
    assert!(hover(&mut client, "domain)", 0).contains("unlabelled text"));
    assert!(hover(&mut client, "accuracy", 0).contains("more is better"));
    assert_eq!(hover(&mut client, "# \u{e9}", 0), "");
}

#[test]
fn a_name_leads_to_its_declaration_and_the_declaration_to_its_uses() {
    let mut client = opened(TEXT);
    let answer = client.ask("textDocument/definition", about(FILE, TEXT, "target, schedule", 3));
    assert_eq!(answer["range"], range((5, 4), (5, 10)));
    let mut params = about(FILE, TEXT, "small =", 0);
    params["context"] = json!({ "includeDeclaration": true });
    let places = |answer: &Value| -> Vec<(u64, u64)> {
        let all = answer.as_array().unwrap().iter().map(|one| &one["range"]["start"]);
        all.map(|start| (start["line"].as_u64().unwrap(), start["character"].as_u64().unwrap())).collect()
    };
    assert_eq!(places(&client.ask("textDocument/references", params.clone())), [(9, 9), (10, 7), (11, 8)]);
    params["context"] = json!({ "includeDeclaration": false });
    assert_eq!(places(&client.ask("textDocument/references", params)), [(10, 7), (11, 8)]);
    let same = client.ask("textDocument/documentHighlight", about(FILE, TEXT, "finetune(epochs", 0));
    assert_eq!(places(&same), [(7, 4), (9, 52)]);
    // Methods are declared nowhere.
    assert_eq!(client.ask("textDocument/definition", about(FILE, TEXT, "adapt(", 0)), Value::Null);
}

#[test]
fn renaming_changes_every_place_and_nothing_else() {
    let mut client = opened(TEXT);
    let range_of = client.ask("textDocument/prepareRename", about(FILE, TEXT, "epochs)", 0));
    assert_eq!(range_of["placeholder"], json!("epochs"));
    let mut params = about(FILE, TEXT, "epochs)", 0);
    params["newName"] = json!("passes");
    let answer = client.ask("textDocument/rename", params);
    let new = edited(TEXT, &answer["changes"][FILE]);
    // The parameter of the same name stays.
    let expected = TEXT.replace("param epochs", "param passes").replace("epochs = epochs", "epochs = passes");
    assert_eq!(new, expected);
}

#[test]
fn a_rename_that_would_not_keep_the_meaning_is_refused_with_the_reason() {
    let mut client = opened(TEXT);
    let mut refused = |what: &str, to: &str| {
        let mut params = about(FILE, TEXT, what, 0);
        params["newName"] = json!(to);
        client.refused("textDocument/rename", params).1
    };
    assert!(refused("base ", "none").contains("word of the language"));
    assert!(refused("base ", "finetune").contains("stage"));
    assert!(refused("base ", "target").contains("declared already"));
    assert!(refused("base ", "3x").contains("not a name"));
    assert!(refused("base ", "a b").contains("not a name"));
    assert!(refused("base ", "").contains("not a name"));
    assert!(refused("finetune(", "x").contains("only names this file declares"));
    assert!(refused("cosine", "x").contains("only names this file declares"));
    // A param called like a choice would be taken for the choice.
    let text = "param how: string = \"x\"\nlet a = hf(\"m\")\nset finetune(schedule = how)\n";
    let mut client = opened(text);
    let mut params = about(FILE, text, "how:", 0);
    params["newName"] = json!("linear");
    assert!(client.refused("textDocument/rename", params).1.contains("line 3 would mean something else"));
}

#[test]
fn completion_knows_what_may_stand_where() {
    let file = |end: &str| {
        format!(
            "let base = hf(\"m\")\nlet target = labelled(\"d\")\nlet words = text(\"w\")\nparam rate: float = 1\nparam path: string = \"x\"\n{end}"
        )
    };
    let at = |end: &str| offered(&file(end));
    assert_eq!(at("|"), ["param", "let", "set", "pipeline", "expect", "recipe", "use", "publish"]);
    let stages = at("pipeline p = base -> |");
    assert!(stages.contains(&"finetune".into()) && !stages.contains(&"pretrain".into()), "{stages:?}");
    assert!(!stages.contains(&"lora".into()) && !stages.contains(&"hf".into()), "{stages:?}");
    let first = at("pipeline p = base -> finetune(|");
    assert_eq!(first[0], "target");
    assert!(first.contains(&"epochs".into()) && !first.contains(&"words".into()), "{first:?}");
    let later = at("pipeline p = base -> finetune(target, epochs = 3, |)");
    assert!(later.contains(&"learning_rate".into()), "{later:?}");
    assert!(!later.contains(&"epochs".into()) && !later.contains(&"target".into()), "{later:?}");
    assert_eq!(at("set finetune(schedule = |)")[..2], ["linear", "cosine"]);
    assert_eq!(at("set finetune(learning_rate = |)"), ["rate"]);
    assert_eq!(at("let t = text(|")[0], "path");
    let delta = at("pipeline p = base -> peft(|");
    assert!(delta.starts_with(&["bitfit".into(), "lora".into()]), "{delta:?}");
    assert!(delta.contains(&"stack".into()), "{delta:?}");
    assert!(at("pipeline p = base -> peft(lora, r|").contains(&"rank".into()));
    assert!(at("let both = stack(lora, bitfit)\npipeline p = base -> peft(|").contains(&"both".into()));
    assert_eq!(at("let both = stack(|")[..2], ["bitfit", "lora"]);
    assert!(at("let both = stack(lora(|").contains(&"rank".into()));
    assert_eq!(
        at("param key: secret = secret(\"KEY\")\nlet m = hf(\"a/b\", revision = \"main\", token = |)")[..2],
        ["secret", "key"]
    );
    assert_eq!(at("param room: size = 8 GB\nset finetune(memory = |)")[0], "room");
    assert_eq!(at("use |"), ["std", "git"]);
    assert_eq!(at("pipeline p = base -> finetune(target)\npublish |"), ["p"]);
    assert_eq!(at("publish p |"), ["to"]);
    assert!(at("expect p.|").contains(&"accuracy".into()));
    assert!(at("param x: |").contains(&"ratio".into()));
    assert!(at("set |").contains(&"lora".into()));
    let begin = at("pipeline p = |");
    assert!(begin.starts_with(&["base".into(), "pretrain".into()]), "{begin:?}");
    assert_eq!(at("# |"), [""; 0]);
    assert_eq!(at("let q = text(\"|"), [""; 0]);
}

#[test]
fn a_completion_takes_the_place_of_the_word_that_is_being_written() {
    let text = "let \u{e9} = hf(\"m\")\npipeline p = \u{e9} -> fin|etu(x)";
    let plain = text.replace('|', "");
    let item = items(text).into_iter().find(|item| item["label"] == json!("finetune")).unwrap();
    assert_eq!(edited(&plain, &json!([item["textEdit"]])), plain.replace("finetu", "finetune"));
    let text = "let t = labelled(\"d\")\nset finetune(ep|)";
    let plain = text.replace('|', "");
    let item = items(text).into_iter().find(|item| item["label"] == json!("epochs")).unwrap();
    assert_eq!(edited(&plain, &json!([item["textEdit"]])), plain.replace("(ep)", "(epochs = )"));
}

#[test]
fn declarations_are_the_symbols_of_a_file() {
    let answer = opened(TEXT).ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": FILE } }));
    let names: Vec<&str> = answer.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["epochs", "base", "target", "domain", "adapted", "small"]);
    assert_eq!(answer[4]["selectionRange"], range((8, 4), (8, 11)));
    assert_eq!(answer[4]["range"], range((8, 0), (8, 35)));
}

#[test]
fn formatting_gives_the_one_style_by_edits_of_the_lines_that_differ() {
    let wrong = "let  base = hf( \"m\" )  # \u{1f600}\n\n\n\nlet d =text(\"d\")\npipeline p = base -> adapt( d )";
    let mut client = opened(wrong);
    let edits = client.ask(
        "textDocument/formatting",
        json!({ "textDocument": { "uri": FILE }, "options": { "tabSize": 2, "insertSpaces": true } }),
    );
    let source = ftp::syntax::Source::new("x", wrong);
    assert_eq!(edited(wrong, &edits), ftp::syntax::format(&source).unwrap());
    let mut client = opened("let a = = b\n");
    let edits = client.ask(
        "textDocument/formatting",
        json!({ "textDocument": { "uri": FILE }, "options": { "tabSize": 2, "insertSpaces": true } }),
    );
    assert_eq!(edits, Value::Null);
}

#[test]
fn a_misspelt_name_can_be_mended_alone_or_with_all_others() {
    let text = TEXT.replace("adapt(domain)", "adapt(domian)").replace("rank", "rnk");
    let mut client = opened(&text);
    let ask = |start: Value, context: Value| json!({ "textDocument": { "uri": FILE }, "range": { "start": start, "end": start }, "context": context });
    let only_fixes = json!({ "diagnostics": [], "only": ["quickfix"] });
    let answer = client.ask("textDocument/codeAction", ask(place(&text, "domian", 2), only_fixes));
    assert_eq!(answer.as_array().unwrap().len(), 1);
    assert_eq!(answer[0]["title"], json!("Change `domian` to `domain`"));
    assert_eq!(answer[0]["diagnostics"][0]["code"], json!("ftp::name::unknown"));
    assert_eq!(edited(&text, &answer[0]["edit"]["changes"][FILE]), text.replace("domian", "domain"));
    let all = json!({ "diagnostics": [], "only": ["source.fixAll"] });
    let answer = client.ask("textDocument/codeAction", ask(at(0, 0), all));
    assert_eq!(edited(&text, &answer[0]["edit"]["changes"][FILE]), TEXT);
}

#[test]
fn hints_say_what_a_let_holds_when_its_text_does_not() {
    let mut client = opened(TEXT);
    let mut hints = |lines: (usize, usize)| -> Vec<String> {
        let range = range((lines.0, 0), (lines.1, 0));
        let answer = client.ask("textDocument/inlayHint", json!({ "textDocument": { "uri": FILE }, "range": range }));
        answer
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{}{}", one["position"]["line"], one["label"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(hints((0, 12)), ["4: Model", "5: Labelled", "6: Text", "8: Model"]);
    assert_eq!(hints((7, 9)), ["8: Model"]);
}

#[test]
fn names_that_lead_in_circles_or_nowhere_do_not_trouble_it() {
    let text = "let a = b\nlet b = a\nlet c = nowhere -> finetune(nothing)\nlet a = c\npipeline\n";
    let mut client = opened(text);
    for what in ["a = b", "b\n", "nowhere", "nothing", "c\n"] {
        client.ask("textDocument/hover", about(FILE, text, what, 0));
        client.ask("textDocument/definition", about(FILE, text, what, 0));
    }
    assert!(client.stop());
}

const RECIPES: &str = "\
use std.adaptive
use \"team.ftp\" as team

param name: string = \"x\"
let base = hf(\"models/${name}\")
let target = labelled(\"d\")

## Twice, with anything.
recipe twice(
  ## Where it begins.
  start: model,
  data: labelled,
  method: recipe(labelled) = finetune,
  epochs: epochs = 3,
) = start -> method(data) -> each(seed in 1..3) finetune(data, epochs = epochs, seed = seed)

let tuned = base -> team.robust(target, epochs = 2)
pipeline a = base -> twice(target, epochs = 1 epochs)
pipeline b = [tuned, base -> adaptive.domain_adaptive(words, target)] -> ensemble
pipeline c = base -> if quick then team.robust(target) -> finetune(target)
let words = text(\"w\")
param quick: bool = true
";

const TEAM: &str = "\
## What the team agreed on.

## Made to last.
recipe robust(
  base: model,
  target: labelled,
  ## How long.
  epochs: epochs = 1,
) = base -> finetune(target, epochs = epochs)
";

/// A file that uses a module beside it; its address and the module's.
fn project() -> (tempfile::TempDir, Client, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    std::fs::write(root.join("team.ftp"), TEAM).unwrap();
    std::fs::write(root.join("main.ftp"), RECIPES).unwrap();
    let (main, team) = (uri(&root.join("main.ftp")), uri(&root.join("team.ftp")));
    let mut client = Client::start();
    client.open(&main, RECIPES);
    // Modules are read by the first check.
    client.diagnostics(&main);
    (directory, client, main, team)
}

#[test]
fn names_of_recipes_and_variables_lead_to_their_own_declarations() {
    let (_directory, mut client, main, _) = project();
    let mut leads = |what: &str, on: usize, to: &str| {
        let answer = client.ask("textDocument/definition", about(&main, RECIPES, what, on));
        assert_eq!(answer["range"]["start"], place(RECIPES, to, 0), "{what}");
    };
    leads("start -> method", 0, "start: model");
    leads("method(data)", 0, "method: recipe");
    leads("= epochs, seed", 2, "epochs: epochs = 3");
    leads("= seed)", 2, "seed in 1..3");
    leads("${name}", 2, "name: string");
    leads("twice(target", 0, "twice(\n");
    leads("epochs = 1 epochs", 0, "epochs: epochs = 3");
    leads("words, target", 0, "words = text");
    leads("quick then", 0, "quick: bool");
    leads("tuned, base", 0, "tuned = base");
    leads("team.robust(target, epochs", 0, "team\n");
}

#[test]
fn names_of_modules_lead_into_their_files() {
    let (_directory, mut client, main, team) = project();
    let mut leads = |what: &str, on: usize, line: usize, column: usize| {
        let answer = client.ask("textDocument/definition", about(&main, RECIPES, what, on));
        assert_eq!((&answer["uri"], &answer["range"]["start"]), (&json!(team), &at(line, column)), "{what}");
    };
    leads("robust(target, epochs", 3, 3, 7);
    leads("epochs = 2", 0, 7, 2);
    leads("team\n", 1, 0, 0);
    let page = client.ask("textDocument/hover", about(&main, RECIPES, "robust(target, epochs", 0));
    assert!(page["contents"]["value"].as_str().unwrap().contains("Made to last."), "{page}");
}

#[test]
fn a_module_is_what_its_editor_shows_and_its_users_are_renamed_with_it() {
    let (_directory, mut client, main, team) = project();
    let missing = |found: &[Value]| found.iter().any(|one| one["code"] == json!("ftp::name::not_in_module"));
    client.open(&team, TEAM);
    assert!(!missing(&client.diagnostics(&main).1));
    // Changed in the editor and not saved.
    client.edit(&team, 2, range((3, 7), (3, 13)), "sturdy");
    assert!(missing(&client.diagnostics_until(&main, |found| missing(found))));
    client.edit(&team, 3, range((3, 7), (3, 13)), "robust");
    client.diagnostics_until(&main, |found| !missing(found));
    let mut params = about(&team, TEAM, "robust", 0);
    params["newName"] = json!("lasting");
    params["context"] = json!({ "includeDeclaration": true });
    assert_eq!(client.ask("textDocument/references", params.clone()).as_array().unwrap().len(), 3);
    let answer = client.ask("textDocument/rename", params);
    assert_eq!(edited(TEAM, &answer["changes"][&team]), TEAM.replace("robust", "lasting"));
    assert_eq!(edited(RECIPES, &answer["changes"][&main]), RECIPES.replace("robust", "lasting"));
    // From where it is only used, it is not renamed.
    let mut params = about(&main, RECIPES, "robust(target, epochs", 0);
    params["newName"] = json!("lasting");
    assert!(client.refused("textDocument/rename", params).1.contains("declared in another file"));
    let mut params = about(&main, RECIPES, "adaptive.domain", 0);
    params["newName"] = json!("lasting");
    assert!(client.refused("textDocument/rename", params).1.contains("write `as`"));
    assert!(client.stop());
}

#[test]
fn renaming_a_recipes_parameter_reaches_its_body_and_its_calls() {
    let (_directory, mut client, main, _) = project();
    let mut params = about(&main, RECIPES, "epochs: epochs = 3", 0);
    params["newName"] = json!("passes");
    let answer = client.ask("textDocument/rename", params.clone());
    let expected = RECIPES
        .replace("epochs: epochs = 3", "passes: epochs = 3")
        .replace("epochs = epochs", "epochs = passes")
        .replace("epochs = 1 epochs", "passes = 1 epochs");
    assert_eq!(edited(RECIPES, &answer["changes"][&main]), expected);
    params["newName"] = json!("data");
    assert!(client.refused("textDocument/rename", params).1.contains("declared already"));
}

#[test]
fn what_is_wrong_in_a_module_is_said_where_it_is_used() {
    let (directory, _, main, team) = project();
    std::fs::write(directory.path().join("team.ftp"), TEAM.replace("finetune", "finetun")).unwrap();
    let capabilities = json!({
        "textDocument": { "publishDiagnostics": { "relatedInformation": true } },
        "workspace": { "inlayHint": { "refreshSupport": true } },
    });
    let mut client = Client::with(capabilities);
    client.open(&main, RECIPES);
    let (_, found) = client.diagnostics(&main);
    // What the modules give may have changed types.
    assert_eq!(client.asked[0].method, "workspace/inlayHint/refresh");
    let error = found.iter().find(|one| one["code"] == json!("ftp::name::unknown_stage")).unwrap();
    assert_eq!(error["range"]["start"], at(1, 0));
    assert_eq!(error["relatedInformation"][0]["location"]["uri"], json!(team));
    assert_eq!(error["relatedInformation"][0]["location"]["range"]["start"]["line"], json!(8));
    assert!(client.stop());
}

#[test]
fn recipes_and_modules_are_completed() {
    let (_directory, mut client, main, _) = project();
    let mut version = 1;
    let last = RECIPES.lines().count();
    let mut at_end = |text: &str| -> Vec<String> {
        version += 1;
        client.edit(&main, version, range((last, 0), (last + 9, 0)), text);
        let position = at(last, text.len());
        let params = json!({ "textDocument": { "uri": main }, "position": position });
        let answer = client.ask("textDocument/completion", params);
        answer.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(at_end("pipeline z = base -> team."), ["robust"]);
    let stages = at_end("pipeline z = base -> ");
    for stage in ["finetune", "twice", "team", "adaptive", "each", "if"] {
        assert!(stages.contains(&stage.to_owned()), "{stage} is not in {stages:?}");
    }
    // The model stands left of the arrow.
    assert_eq!(at_end("pipeline z = base -> team.robust("), ["target", "target", "epochs"]);
    assert_eq!(at_end("pipeline z = twice(")[..2], ["base", "tuned"]);
    assert_eq!(at_end("pipeline z = base -> twice(target, method = ")[0], "twice");
    assert!(at_end("use std.").contains(&"efficient".to_owned()));
    assert_eq!(at_end("recipe r(one: model, two: labelled) = one -> finetune(")[0], "two");
    assert!(at_end("recipe r(one: ").contains(&"labelled".to_owned()));
    assert!(at_end("pipeline z = base -> if ").contains(&"quick".to_owned()));
}
