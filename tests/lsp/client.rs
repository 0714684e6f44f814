//! An editor for tests: talks to the server over a connection in memory, keeps no text of its own.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use lsp_server::{Connection, Message, Notification, Request, Response};
use serde_json::{Value, json};

/// How long to wait for what must come; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    connection: Connection,
    server: Option<JoinHandle<bool>>,
    pub capabilities: Value,
    next: i32,
    /// Notifications that arrived while something else was waited for.
    notes: Vec<Notification>,
    /// Answers that came before the one that was waited for.
    answers: Vec<Response>,
    /// Requests of the server.
    pub asked: Vec<Request>,
}

impl Client {
    pub fn start() -> Self {
        Self::with(json!({}))
    }

    /// With capabilities of the client.
    pub fn with(capabilities: Value) -> Self {
        let (ours, theirs) = Connection::memory();
        let server = std::thread::spawn(move || ftp::lsp::serve(&theirs).expect("it begins with initialize"));
        let mut client = Self {
            connection: ours,
            server: Some(server),
            capabilities: Value::Null,
            next: 1,
            notes: vec![],
            answers: vec![],
            asked: vec![],
        };
        let result =
            client.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": capabilities }));
        client.capabilities = result["capabilities"].clone();
        client.tell("initialized", json!({}));
        client
    }

    pub fn tell(&self, method: &str, params: Value) {
        self.connection.sender.send(Notification::new(method.into(), params).into()).unwrap();
    }

    pub fn send(&mut self, method: &str, params: Value) -> i32 {
        self.next += 1;
        self.connection.sender.send(Request::new(self.next.into(), method.into(), params).into()).unwrap();
        self.next
    }

    fn receive(&mut self) -> Message {
        self.connection.receiver.recv_timeout(PATIENCE).expect("the server answers")
    }

    pub fn response(&mut self, id: i32) -> Response {
        loop {
            if let Some(position) = self.answers.iter().position(|one| one.id == id.into()) {
                return self.answers.remove(position);
            }
            match self.receive() {
                Message::Response(response) => self.answers.push(response),
                Message::Notification(note) => self.notes.push(note),
                Message::Request(request) => self.asked.push(request),
            }
        }
    }

    /// The result of a request, which must have one.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        match result(self.response(id)) {
            Ok(result) => result,
            Err((code, message)) => panic!("{method}: {code} {message}"),
        }
    }

    /// The code and the message of a refusal.
    pub fn refused(&mut self, method: &str, params: Value) -> (i64, String) {
        let id = self.send(method, params);
        result(self.response(id)).expect_err("it is refused")
    }

    pub fn open(&self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": "ftp", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Replaces a part of a document.
    pub fn edit(&self, uri: &str, version: i32, range: Value, text: &str) {
        let changes = json!([{ "range": range, "text": text }]);
        let document = json!({ "uri": uri, "version": version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// The next diagnostics of a document.
    pub fn diagnostics(&mut self, uri: &str) -> (Option<i64>, Vec<Value>) {
        let ours =
            |note: &Notification| note.method == "textDocument/publishDiagnostics" && note.params["uri"] == json!(uri);
        loop {
            if let Some(position) = self.notes.iter().position(ours) {
                let params = self.notes.remove(position).params;
                return (params["version"].as_i64(), params["diagnostics"].as_array().unwrap().clone());
            }
            match self.receive() {
                Message::Notification(note) => self.notes.push(note),
                Message::Request(request) => self.asked.push(request),
                Message::Response(response) => self.answers.push(response),
            }
        }
    }

    /// Diagnostics as they come, until they satisfy.
    pub fn diagnostics_until(&mut self, uri: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        loop {
            let (_, found) = self.diagnostics(uri);
            if enough(&found) {
                return found;
            }
        }
    }

    /// What was logged, which is nothing unless something is wrong.
    pub fn complaints(&self) -> Vec<&Notification> {
        self.notes.iter().filter(|note| note.method == "window/logMessage").collect()
    }

    /// Ends the server in the order of the protocol; whether it says it was.
    pub fn stop(mut self) -> bool {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.server.take().expect("it runs").join().expect("it does not panic")
    }

    /// Ends the server by hanging up.
    pub fn hang_up(mut self) -> bool {
        let server = self.server.take().expect("it runs");
        drop(self);
        server.join().expect("it does not panic")
    }
}

fn result(response: Response) -> Result<Value, (i64, String)> {
    let response = serde_json::to_value(response).unwrap();
    match response.get("error") {
        Some(error) => Err((error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())),
        None => Ok(response["result"].clone()),
    }
}

pub fn at(line: usize, character: usize) -> Value {
    json!({ "line": line, "character": character })
}

pub fn range(start: (usize, usize), end: (usize, usize)) -> Value {
    json!({ "start": at(start.0, start.1), "end": at(end.0, end.1) })
}

pub fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Line and UTF-16 column of the first occurrence of a text, moved on by so many units.
pub fn place(text: &str, what: &str, on: usize) -> Value {
    let offset = text.find(what).unwrap_or_else(|| panic!("{what} is not in the text"));
    let line = text[..offset].matches('\n').count();
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    at(line, text[start..offset].encode_utf16().count() + on)
}

/// A request about the first occurrence of a text.
pub fn about(uri: &str, text: &str, what: &str, on: usize) -> Value {
    json!({ "textDocument": { "uri": uri }, "position": place(text, what, on) })
}

/// A text after edits as the protocol has them, which do not overlap.
pub fn edited(text: &str, edits: &Value) -> String {
    let offset = |place: &Value| {
        let line = place["line"].as_u64().unwrap() as usize;
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let mut units = place["character"].as_u64().unwrap() as usize;
        let mut end = start;
        for character in text[start..].chars() {
            if units == 0 || character == '\n' {
                break;
            }
            units -= character.len_utf16();
            end += character.len_utf8();
        }
        end
    };
    let mut edits: Vec<(usize, usize, &str)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            (offset(&range["start"]), offset(&range["end"]), edit["newText"].as_str().unwrap())
        })
        .collect();
    edits.sort();
    let mut new = String::new();
    let mut last = 0;
    for (start, end, replacement) in edits {
        assert!(start >= last, "edits overlap");
        new.push_str(&text[last..start]);
        new.push_str(replacement);
        last = end;
    }
    new + &text[last..]
}
