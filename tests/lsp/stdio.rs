//! The program itself, over standard input and output.

use std::io::BufReader;
use std::process::{Command, Stdio};

use lsp_server::{Message, Notification, Request};
use serde_json::{Value, json};

use crate::client::about;

#[test]
fn the_program_serves_over_standard_input_and_output_and_ends_well() {
    let cache = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ftp"))
        .arg("lsp")
        .env("XDG_CACHE_HOME", cache.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let mut say = |message: Message| message.write(&mut input).unwrap();
    let mut answer_to = |id: i32| loop {
        match Message::read(&mut output).unwrap().expect("the server is there") {
            Message::Response(response) if response.id == id.into() => {
                break serde_json::to_value(response).unwrap()["result"].clone();
            }
            _ => {}
        }
    };
    let request = |id: i32, method: &str, params: Value| Request::new(id.into(), method.into(), params).into();
    let note = |method: &str, params: Value| Notification::new(method.into(), params).into();

    say(request(1, "initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} })));
    assert_eq!(answer_to(1)["serverInfo"]["name"], json!("ftp"));
    say(note("initialized", json!({})));

    // A module of the standard library is a file that can be opened.
    let text = "use std.adaptive\nlet base = hf(\"m\") -> adaptive.domain_adaptive(d, t)\n";
    let document = json!({ "uri": "untitled:x", "languageId": "ftp", "version": 1, "text": text });
    say(note("textDocument/didOpen", json!({ "textDocument": document })));
    // Modules are read by the check that follows, which is said to have happened by its diagnostics.
    say(request(2, "textDocument/documentSymbol", json!({ "textDocument": { "uri": "untitled:x" } })));
    answer_to(2);
    let mut id = 2;
    let place = loop {
        id += 1;
        say(request(id, "textDocument/definition", about("untitled:x", text, "domain_adaptive", 0)));
        let place = answer_to(id);
        if !place.is_null() {
            break place;
        }
    };
    let file = place["uri"].as_str().unwrap().strip_prefix("file://").unwrap();
    assert!(file.starts_with(cache.path().to_str().unwrap()), "{file}");
    let library = std::fs::read_to_string(file).unwrap();
    assert_eq!(library, ftp::lang::stdlib::module("adaptive").unwrap());
    let line = place["range"]["start"]["line"].as_u64().unwrap() as usize;
    assert!(library.lines().nth(line).unwrap().starts_with("recipe domain_adaptive"));

    say(request(1000, "shutdown", Value::Null));
    answer_to(1000);
    say(note("exit", Value::Null));
    drop(input);
    assert!(program.wait().unwrap().success());
}
