//! Beginning, end, order, encodings, diagnostics.

use serde_json::{Value, json};

use crate::client::{Client, about, at, range, uri};

const NOWHERE: &str = "untitled:one";

fn codes(diagnostics: &[Value]) -> Vec<&str> {
    diagnostics.iter().filter_map(|one| one["code"].as_str()).collect()
}

#[test]
fn it_says_what_it_can_and_ends_as_the_protocol_asks() {
    let client = Client::start();
    for ability in ["hoverProvider", "definitionProvider", "referencesProvider", "documentFormattingProvider"] {
        assert_eq!(client.capabilities[ability], json!(true), "{ability}");
    }
    assert_eq!(client.capabilities["textDocumentSync"]["change"], json!(2));
    assert!(client.stop());
}

#[test]
fn a_client_that_hangs_up_ends_the_server_too_but_not_in_order() {
    assert!(!Client::start().hang_up());
    let client = Client::start();
    client.tell("exit", Value::Null);
    assert!(!client.hang_up());
}

#[test]
fn after_shutdown_nothing_is_answered_any_more() {
    let mut client = Client::start();
    client.ask("shutdown", Value::Null);
    assert_eq!(client.refused("textDocument/hover", json!({})).0, -32600);
}

#[test]
fn unknown_requests_and_wrong_parameters_are_refused_and_unknown_notifications_ignored() {
    let mut client = Client::start();
    assert_eq!(client.refused("textDocument/moonPhase", json!({})).0, -32601);
    assert_eq!(client.refused("textDocument/hover", json!({ "textDocument": 3 })).0, -32602);
    client.tell("textDocument/moonPhase", json!({}));
    client.tell("textDocument/didChange", json!({ "nonsense": true }));
    // About documents that are not open there is nothing to say.
    assert_eq!(client.ask("textDocument/hover", about("untitled:other", "x", "x", 0)), Value::Null);
    assert!(client.stop());
}

#[test]
fn a_request_cancelled_before_its_turn_is_answered_so_and_others_are_not_disturbed() {
    let mut client = Client::start();
    client.open(NOWHERE, &"let a = hf(\"m\")\n".repeat(2000));
    // All of these arrive while the first is being read.
    let ids: Vec<i32> = (0..20)
        .map(|_| client.send("textDocument/documentSymbol", json!({ "textDocument": { "uri": NOWHERE } })))
        .collect();
    client.tell("$/cancelRequest", json!({ "id": ids[19] }));
    for id in ids {
        let answer = serde_json::to_value(client.response(id)).unwrap();
        // Too late is fine as well; no answer at all is not.
        assert!(answer.get("result").is_some() || answer["error"]["code"] == json!(-32800), "{answer}");
    }
    assert!(client.stop());
}

#[test]
fn errors_come_with_severity_code_place_related_places_and_the_version_they_are_of() {
    let mut client = Client::with(json!({
        "textDocument": { "publishDiagnostics": { "relatedInformation": true } },
        "experimental": { "ftpExplain": true },
    }));
    client.open(NOWHERE, "param a: int = 1\nparam a: int = 2\nlet unused = 3\n");
    let (version, found) = client.diagnostics(NOWHERE);
    assert_eq!(version, Some(1));
    assert_eq!(codes(&found), ["ftp::name::duplicate"]);
    let error = &found[0];
    assert_eq!(error["severity"], json!(1));
    assert_eq!(error["range"], range((1, 6), (1, 7)));
    assert_eq!(error["relatedInformation"][0]["location"]["range"], range((0, 6), (0, 7)));
    let link = error["codeDescription"]["href"].as_str().unwrap();
    let page = client.ask("ftp/explain", json!({ "code": link.strip_prefix("ftp-explain:").unwrap() }));
    assert!(page.as_str().unwrap().contains("ftp::name::duplicate"));
    // Without the error, the warning shows.
    client.edit(NOWHERE, 2, range((1, 6), (1, 7)), "b");
    let (version, found) = client.diagnostics(NOWHERE);
    assert_eq!((version, codes(&found)), (Some(2), vec!["ftp::name::unused"]));
    assert_eq!((&found[0]["severity"], &found[0]["tags"]), (&json!(2), &json!([1])));
    // A closed file has no findings.
    client.tell("textDocument/didClose", json!({ "textDocument": { "uri": NOWHERE } }));
    assert_eq!(client.diagnostics(NOWHERE).1, Vec::<Value>::new());
    assert!(client.stop());
}

#[test]
fn places_are_counted_in_the_encoding_that_was_agreed_on() {
    // One character of 4 bytes, 2 units.
    let text = "param a: string = \"\u{1f600}\" wrong\n";
    for (offered, agreed, column) in [
        (json!(["utf-8", "utf-16"]), "utf-8", 25),
        (json!(["utf-16"]), "utf-16", 23),
        (json!(["utf-32"]), "utf-32", 22),
    ] {
        let mut client = Client::with(json!({ "general": { "positionEncodings": offered } }));
        assert_eq!(client.capabilities["positionEncoding"], json!(agreed));
        client.open(NOWHERE, text);
        let (_, found) = client.diagnostics(NOWHERE);
        assert_eq!(found[0]["range"]["start"], at(0, column), "{agreed}");
        // An edit behind the character removes just what is meant.
        client.edit(NOWHERE, 2, range((0, column - 1), (0, column + 5)), "");
        assert_eq!(client.diagnostics(NOWHERE).1, Vec::<Value>::new(), "{agreed}");
    }
}

#[test]
fn data_is_read_behind_the_editors_back_and_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = uri(&directory.path().join("a.ftp"));
    let data = directory.path().join("data.jsonl");
    let rows = "{\"text\": \"a\", \"label\": \"no\"}\n{\"text\": \"b\", \"label\": \"yes\"}\n";
    let watching = json!({ "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } } });
    let mut client = Client::with(watching);
    let text = "let base = hf(\"model\")\nlet d = labelled(\"data.jsonl\")\npipeline p = base -> finetune(d)\n";
    client.open(&file, text);
    let missing = |found: &[Value]| codes(found).iter().filter(|code| **code == "ftp::data::missing_file").count();
    let found = client.diagnostics_until(&file, |found| missing(found) == 1);
    assert!(found.iter().any(|one| one["range"] == range((1, 17), (1, 29))), "{found:?}");
    assert_eq!(client.asked[0].method, "client/registerCapability");
    // The file comes into being, and the client says so.
    std::fs::write(&data, rows).unwrap();
    client.tell("workspace/didChangeWatchedFiles", json!({ "changes": [{ "uri": uri(&data), "type": 1 }] }));
    client.diagnostics_until(&file, |found| missing(found) == 0);
    // A client that says nothing of files says when the text is saved.
    std::fs::remove_file(&data).unwrap();
    client.tell("textDocument/didSave", json!({ "textDocument": { "uri": file } }));
    client.diagnostics_until(&file, |found| missing(found) == 1);
    assert!(client.stop());
}
