//! The loop: messages in their order, then what has changed is checked, then waiting.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::select;
use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, RequestId, Response};
use lsp_types::notification::{self, Notification as _};
use lsp_types::request::{CodeActionRequest, InlayHintRefreshRequest, RegisterCapability, Request as _, Shutdown};
use lsp_types::{
    CancelParams, DidChangeTextDocumentParams, DidChangeWatchedFilesParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, DidSaveTextDocumentParams, InitializeParams, NumberOrString, PublishDiagnosticsParams,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::document::Document;
use super::facts::{Facts, Reading};
use super::setup::{self, Client};
use super::{answers, diagnostics, uri};

/// Talks to a client until it says goodbye. Whether it did so in the order of the protocol, which asks for an exit code of
/// 1 otherwise.
///
/// # Errors
/// When the client begins with something else than `initialize`.
pub fn serve(connection: &Connection) -> Result<bool, ProtocolError> {
    let (id, params) = connection.initialize_start()?;
    // What a client leaves out or says oddly, it does not understand.
    let params: InitializeParams = serde_json::from_value(params).unwrap_or_default();
    let client = Client::new(&params);
    let result = serde_json::json!({
        "capabilities": setup::capabilities(client.encoding),
        "serverInfo": { "name": "ftp", "version": env!("CARGO_PKG_VERSION") },
    });
    connection.initialize_finish(id, result)?;
    let mut server = Server {
        connection,
        client,
        documents: HashMap::new(),
        facts: Facts::new(),
        waiting: VecDeque::new(),
        asked: 0,
        stopped: false,
    };
    if client.watches {
        server.ask::<RegisterCapability>(setup::watch_files());
    }
    Ok(server.run())
}

struct Server<'a> {
    connection: &'a Connection,
    client: Client,
    /// The open ones, by address.
    documents: HashMap<String, Document>,
    facts: Facts,
    /// Received, not looked at yet.
    waiting: VecDeque<Message>,
    /// How many requests the client was sent.
    asked: i32,
    /// After `shutdown`.
    stopped: bool,
}

impl Server<'_> {
    fn run(&mut self) -> bool {
        loop {
            self.receive();
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None if self.check_one() => continue,
                None => {
                    let readings = self.facts.readings.clone();
                    select! {
                        recv(self.connection.receiver) -> message => match message {
                            Ok(message) => message,
                            // The client is gone.
                            Err(_) => return self.stopped,
                        },
                        recv(readings) -> reading => {
                            if let Ok(reading) = reading {
                                self.take_in(reading);
                            }
                            continue;
                        }
                    }
                }
            };
            match message {
                Message::Request(request) => self.request(request),
                Message::Notification(note) if note.method == notification::Exit::METHOD => return self.stopped,
                Message::Notification(note) => self.notification(note),
                // To what the client says to our requests, there is nothing to say.
                Message::Response(_) => {}
            }
        }
    }

    /// Takes what has arrived, without waiting. A request that was cancelled before its turn is answered so.
    fn receive(&mut self) {
        while let Ok(message) = self.connection.receiver.try_recv() {
            match &message {
                Message::Notification(note) if note.method == notification::Cancel::METHOD => {
                    if let Ok(CancelParams { id }) = serde_json::from_value(note.params.clone()) {
                        self.cancel(&match id {
                            NumberOrString::Number(id) => RequestId::from(id),
                            NumberOrString::String(id) => RequestId::from(id),
                        });
                    }
                }
                _ => self.waiting.push_back(message),
            }
        }
        while let Ok(reading) = self.facts.readings.try_recv() {
            self.take_in(reading);
        }
    }

    fn cancel(&mut self, id: &RequestId) {
        let cancelled = |message: &Message| matches!(message, Message::Request(request) if request.id == *id);
        if let Some(position) = self.waiting.iter().position(cancelled) {
            self.waiting.remove(position);
            self.refuse(id.clone(), ErrorCode::RequestCanceled, "cancelled");
        }
    }

    fn take_in(&mut self, reading: Reading) {
        for document in self.facts.take_in(reading) {
            self.check_again(&document);
        }
    }

    fn check_again(&mut self, document: &str) {
        if let Some(document) = self.documents.get_mut(document) {
            document.unchecked = true;
        }
    }

    /// Documents that use a module by this name are to be checked again; also those that miss one.
    fn module_changed(&mut self, name: &str) {
        for document in self.documents.values_mut() {
            let uses = document.below.iter().any(|module| module.name == name);
            let misses = document.findings.iter().any(|finding| finding.code.starts_with("ftp::module::"));
            document.unchecked |= uses || misses;
        }
    }

    fn request(&mut self, request: Request) {
        let id = request.id.clone();
        if self.stopped {
            return self.refuse(id, ErrorCode::InvalidRequest, "the server has been shut down");
        }
        if request.method == Shutdown::METHOD {
            self.stopped = true;
            return self.send(Response::new_ok(id, ()).into());
        }
        // Actions mend what was found, and what was found is of the last check.
        while request.method == CodeActionRequest::METHOD && self.check_one() {}
        let answered = guarded(|| answers::answer(&self.documents, self.client, request));
        match answered {
            Some(response) => self.send(response.into()),
            None => self.refuse(id, ErrorCode::InternalError, "this is a bug in ftp"),
        }
    }

    fn notification(&mut self, note: Notification) {
        let method = note.method.clone();
        // Half an edit would leave another text than the client's, so the document is given up then.
        if guarded(|| self.apply(note)).is_none() {
            self.log(format!("{method} could not be followed; this is a bug in ftp"));
        }
    }

    fn apply(&mut self, note: Notification) {
        match note.method.as_str() {
            notification::DidOpenTextDocument::METHOD => {
                if let Some(DidOpenTextDocumentParams { text_document: opened }) = params(note) {
                    let key = opened.uri.as_str().to_owned();
                    let encoding = self.client.encoding;
                    let document = Document::new(opened.uri, opened.version, opened.text, encoding);
                    self.module_changed(&document.name);
                    self.documents.insert(key, document);
                }
            }
            notification::DidChangeTextDocument::METHOD => {
                if let Some(DidChangeTextDocumentParams { text_document, content_changes }) = params(note)
                    && let Some(mut document) = self.documents.remove(text_document.uri.as_str())
                {
                    document.edit(text_document.version, content_changes);
                    self.module_changed(&document.name);
                    self.documents.insert(text_document.uri.as_str().to_owned(), document);
                }
            }
            notification::DidSaveTextDocument::METHOD => {
                if let Some(DidSaveTextDocumentParams { text_document, .. }) = params(note) {
                    self.facts.refresh(text_document.uri.as_str());
                    self.check_again(text_document.uri.as_str());
                }
            }
            notification::DidCloseTextDocument::METHOD => {
                if let Some(DidCloseTextDocumentParams { text_document: closed }) = params(note) {
                    self.facts.close(closed.uri.as_str());
                    if let Some(document) = self.documents.remove(closed.uri.as_str()) {
                        self.module_changed(&document.name);
                    }
                    self.publish(PublishDiagnosticsParams::new(closed.uri, vec![], None));
                }
            }
            notification::DidChangeWatchedFiles::METHOD => {
                let Some(DidChangeWatchedFilesParams { changes }) = params(note) else { return };
                for path in changes.iter().filter_map(|change| uri::path(&change.uri)) {
                    for document in self.facts.changed(&path) {
                        self.check_again(&document);
                    }
                    self.module_changed(&std::fs::canonicalize(&path).unwrap_or(path).display().to_string());
                }
            }
            // Others may be ignored.
            _ => {}
        }
    }

    /// Checks a document that needs it and says what was found. Whether there was one.
    fn check_one(&mut self) -> bool {
        let unchecked = self.documents.iter().find(|(_, document)| document.unchecked);
        let Some(key) = unchecked.map(|(key, _)| key.clone()) else { return false };
        let Some(mut document) = self.documents.remove(&key) else { return false };
        document.unchecked = false;
        let others = self.documents.values().map(|other| (other.name.as_str(), other.text())).collect();
        let checked = guarded(|| {
            let other_names = diagnostics::check(&key, &mut document, &others, &mut self.facts);
            (diagnostics::all(&document, self.client), other_names)
        });
        match checked {
            Some((found, other_names)) => {
                if other_names && self.client.refreshes {
                    self.ask::<InlayHintRefreshRequest>(());
                }
                self.publish(PublishDiagnosticsParams::new(document.uri.clone(), found, Some(document.version)));
            }
            None => {
                document.findings.clear();
                self.log("a file could not be checked; this is a bug in ftp".into());
            }
        }
        self.documents.insert(key, document);
        true
    }

    fn publish(&self, params: PublishDiagnosticsParams) {
        self.notify::<notification::PublishDiagnostics>(params);
    }

    fn log(&self, message: String) {
        let typ = lsp_types::MessageType::ERROR;
        self.notify::<notification::LogMessage>(lsp_types::LogMessageParams { typ, message });
    }

    fn notify<N: notification::Notification>(&self, params: N::Params)
    where
        N::Params: Serialize,
    {
        self.send(Notification::new(N::METHOD.into(), params).into());
    }

    fn ask<R: lsp_types::request::Request>(&mut self, params: R::Params)
    where
        R::Params: Serialize,
    {
        self.asked += 1;
        self.send(Request::new(self.asked.into(), R::METHOD.into(), params).into());
    }

    fn refuse(&self, id: RequestId, code: ErrorCode, message: &str) {
        self.send(Response::new_err(id, code as i32, message.to_owned()).into());
    }

    /// To a client that is gone nothing can be said; the next receiving ends the loop.
    fn send(&self, message: Message) {
        let _ = self.connection.sender.send(message);
    }
}

/// The result, or `None` after a panic: an error in one file must not end the server.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn params<P: DeserializeOwned>(note: Notification) -> Option<P> {
    serde_json::from_value(note.params).ok()
}
