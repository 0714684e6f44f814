//! What must hold for any text. Used by the targets of `cargo fuzz`, and by `tests/corpus.rs` on what they have found.
#![allow(dead_code, reason = "each target uses one")]

use std::thread;
use std::time::Duration;

use ftp::lang::value::Value as Written;
use ftp::lang::world::{SourceError, SourceFacts, SourceRequest, Task, World};
use ftp::lang::{self, Diagnostics};
use ftp::syntax::{self, Source, Span};
use indexmap::IndexMap;
use lsp_server::{Connection, Message, Notification, Request};
use serde_json::{Value, json};

/// Parsing gives a tree and errors whose places lie in the text.
pub fn parse(text: &str) {
    let (_, errors) = syntax::parse(&Source::new("fuzz.ftp", text));
    for error in errors {
        inside(text, error.span);
        error.related.iter().for_each(|related| inside(text, related.0));
    }
}

/// A check ends, and what it says can be shown.
pub fn check(text: &str) {
    let source = Source::new("fuzz.ftp", text);
    if let Err(Diagnostics { all, source }) = lang::check(&source, ftp::methods::registry(), &Anything, &[]) {
        assert!(!all.is_empty());
        for diagnostic in &all {
            let spans = diagnostic.span.iter().chain(diagnostic.related.iter().map(|(span, _)| span));
            spans.for_each(|span| inside(&source.of(*span).text, *span));
        }
        // All would be shown in the same way.
        for diagnostic in all.iter().take(8) {
            diagnostic.render(&source, false);
            diagnostic.to_json(&source);
        }
    }
}

/// What is formatted is right, and stays as it is when it is formatted again.
pub fn format(text: &str) {
    if let Ok(formatted) = syntax::format(&Source::new("fuzz.ftp", text)) {
        let again =
            syntax::format(&Source::new("fuzz.ftp", &formatted)).expect("what is formatted has no syntax error");
        assert_eq!(again, formatted);
    }
}

/// The language server answers. The text before the first U+0001 is a file; behind each further one are two characters
/// that say where to edit and how much goes, and what takes its place.
pub fn lsp(text: &str) {
    let mut parts = text.split('\u{1}');
    let mut document = parts.next().unwrap_or("").to_owned();
    let mut editor = Editor::new(&document);
    editor.ask_everything(&document, document.len() / 2);
    // More edits than these say nothing new.
    for part in parts.take(8) {
        let mut characters = part.chars();
        let (Some(at), Some(gone)) = (characters.next(), characters.next()) else { continue };
        let start = floor(&document, at as usize * document.len() / 128);
        let end = floor(&document, start + gone as usize % 64).max(start);
        editor.edit(&document, start, end, characters.as_str());
        document.replace_range(start..end, characters.as_str());
        editor.ask_everything(&document, start + characters.as_str().len());
    }
    editor.stop();
}

fn inside(text: &str, span: Span) {
    assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{span:?} is no part of {text:?}");
}

/// Every file is there, but for those called missing.
struct Anything;

impl World for Anything {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        let path = match request.parameters.get("path") {
            Some(Written::String(path)) => path.as_str(),
            _ => "",
        };
        if path.contains("missing") {
            return Err(vec![SourceError {
                code: "ftp::data::missing_file",
                message: format!("there is no file {path}"),
                label: "no such file".into(),
                help: None,
                parameter: Some("path"),
            }]);
        }
        let task = match request.method.as_str() {
            "labelled" | "pairs" if path.contains("score") => Some(Task::Regression),
            "labelled" | "pairs" => Some(Task::Classification { labels: vec!["no".into(), "yes".into()] }),
            _ => None,
        };
        Ok(SourceFacts { files: vec![], task, columns: IndexMap::new(), architecture: None, notices: vec![] })
    }
}

const FILE: &str = "untitled:fuzz";

/// The other end of a server.
struct Editor {
    connection: Connection,
    server: thread::JoinHandle<bool>,
    requests: i32,
    version: i32,
}

impl Editor {
    fn new(text: &str) -> Self {
        let (connection, server) = Connection::memory();
        let server = thread::spawn(move || ftp::lsp::serve(&server).expect("it begins with initialize"));
        let mut editor = Self { connection, server, requests: 0, version: 1 };
        editor.ask("initialize", json!({ "capabilities": {} }));
        editor.tell("initialized", json!({}));
        let document = json!({ "uri": FILE, "languageId": "ftp", "version": 1, "text": text });
        editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
        editor
    }

    fn tell(&self, method: &str, params: Value) {
        self.connection.sender.send(Notification::new(method.into(), params).into()).expect("the server is there");
    }

    fn ask(&mut self, method: &str, params: Value) {
        self.requests += 1;
        let request = Request::new(self.requests.into(), method.into(), params);
        self.connection.sender.send(request.into()).expect("the server is there");
        loop {
            match self.connection.receiver.recv_timeout(Duration::from_secs(60)).expect("the server answers") {
                Message::Response(response) => {
                    let answer = serde_json::to_value(response).expect("it is JSON");
                    let code = answer["error"]["code"].as_i64();
                    // What is asked may be refused, such as a rename; nothing may go wrong inside.
                    assert!(code.is_none_or(|code| code == -32803), "{method}: {answer}");
                    return;
                }
                Message::Notification(note) => assert_ne!(note.method, "window/logMessage", "{:?}", note.params),
                Message::Request(_) => {}
            }
        }
    }

    fn edit(&mut self, text: &str, start: usize, end: usize, new: &str) {
        self.version += 1;
        let range = json!({ "start": place(text, start), "end": place(text, end) });
        let document = json!({ "uri": FILE, "version": self.version });
        let changes = json!([{ "range": range, "text": new }]);
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    fn ask_everything(&mut self, text: &str, offset: usize) {
        let place = place(text, floor(text, offset));
        let params = json!({
            "textDocument": { "uri": FILE },
            "position": place,
            "range": { "start": { "line": 0, "character": 0 }, "end": place },
            "context": { "includeDeclaration": true, "diagnostics": [], "triggerKind": 1 },
            "options": { "tabSize": 2, "insertSpaces": true },
            "newName": "other",
        });
        for request in [
            "hover",
            "completion",
            "definition",
            "references",
            "documentHighlight",
            "prepareRename",
            "rename",
            "documentSymbol",
            "formatting",
            "inlayHint",
            "codeAction",
        ] {
            self.ask(&format!("textDocument/{request}"), params.clone());
        }
    }

    fn stop(mut self) {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        assert!(self.server.join().expect("it does not panic"), "it ends in order");
    }
}

/// A place as editors know it: lines, which end with `\n`, `\r\n` or `\r`, and UTF-16 columns.
fn place(text: &str, offset: usize) -> Value {
    let (mut line, mut column) = (0, 0);
    let mut rest = text[..offset].chars().peekable();
    while let Some(character) = rest.next() {
        let ends = character == '\n' || character == '\r' && rest.peek() != Some(&'\n');
        (line, column) = if ends { (line + 1, 0) } else { (line, column + character.len_utf16()) };
    }
    json!({ "line": line, "character": column })
}

/// The last place up to an offset where an editor can be: not inside a character or a line's end.
fn floor(text: &str, offset: usize) -> usize {
    let inside = |at: usize| text[..at].ends_with('\r') && text[at..].starts_with('\n');
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at) && !inside(*at)).unwrap_or(0)
}
