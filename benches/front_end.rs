//! How long a file of a thousand lines takes to parse and to check, and an editor waits for its diagnostics after a
//! keystroke: `cargo bench --bench front_end`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;

use ftp::lang;
use ftp::syntax::{self, Source};
use lsp_server::{Connection, Message, Notification, Request};
use serde_json::{Value, json};
use support::{Table, registry, source};

fn main() {
    divan::main();
}

/// A file of about `lines` lines: a few shared declarations, then pipelines of four lines each.
fn generated(lines: usize) -> Source {
    let mut text = String::from(
        "## Generated.\nparam epochs: int = 3\nlet base = hf(\"models/minilm\")\nlet domain = text(\"data/*.txt\")\n\
         let target = labelled(\"data/{train,dev,test}.jsonl\", label = \"class\")\nset finetune(epochs = epochs)\n",
    );
    for pipeline in 0..lines / 4 {
        writeln!(
            text,
            "## Variant {pipeline}.\npipeline p{pipeline} =\n  base -> adapt(domain, seed = {pipeline}) -> peft(lora, rank = 4)\n  \
             -> finetune(target, learning_rate = 1e-3, warmup = 10 %, seed = {pipeline})"
        )
        .expect("writing to a string never fails");
    }
    source(&text)
}

/// The same with an error in every pipeline.
fn wrong(lines: usize) -> Source {
    source(&generated(lines).text.replace("learning_rate", "learning_rte"))
}

#[divan::bench]
fn parse_1000_lines(bencher: divan::Bencher) {
    let source = generated(1000);
    bencher.bench(|| syntax::parse(&source));
}

#[divan::bench]
fn check_1000_lines(bencher: divan::Bencher) {
    let (source, registry) = (generated(1000), registry());
    bencher.bench(|| lang::check(&source, &registry, &Table, &[]).is_ok());
}

#[divan::bench]
fn check_1000_lines_with_250_errors(bencher: divan::Bencher) {
    let (source, registry) = (wrong(1000), registry());
    bencher.bench(|| lang::check(&source, &registry, &Table, &[]).is_err());
}

/// The program's own check, with its own methods, of files that are there.
#[divan::bench]
fn check_1000_lines_with_files(bencher: divan::Bencher) {
    let (directory, source) = (data(), generated(1000));
    let world = ftp::data::FileWorld::new(directory.path());
    bencher.bench(|| {
        let checked = lang::check(&source, ftp::methods::registry(), &world, &[]);
        assert!(checked.is_ok(), "{}", checked.unwrap_err());
    });
}

/// From a change of one letter to the diagnostics of the text with it, over the protocol.
#[divan::bench]
fn diagnostics_after_a_keystroke(bencher: divan::Bencher) {
    let (directory, source) = (data(), generated(1000));
    let uri = format!("file://{}", directory.path().join("bench.ftp").display());
    let (client, server) = Connection::memory();
    let server = std::thread::spawn(move || ftp::lsp::serve(&server));
    let say = |message: Message| client.sender.send(message).expect("the server is there");
    let note = |method: &str, params: Value| say(Notification::new(method.into(), params).into());
    say(Request::new(1.into(), "initialize".into(), json!({ "capabilities": {} })).into());
    note("initialized", json!({}));
    let document = json!({ "uri": uri, "languageId": "ftp", "version": 0, "text": source.text });
    note("textDocument/didOpen", json!({ "textDocument": document }));
    let diagnostics = |version: i64| loop {
        if let Ok(Message::Notification(note)) = client.receiver.recv()
            && note.method == "textDocument/publishDiagnostics"
            && note.params["version"] == json!(version)
        {
            break note.params["diagnostics"].as_array().map_or(0, Vec::len);
        }
    };
    diagnostics(0);
    let mut version = 0;
    // A letter more, and one less, in the middle of the file; both leave a file without a syntax error.
    bencher.bench_local(|| {
        version += 1;
        let end = json!({ "line": 500, "character": usize::from(version % 2 == 0) });
        let change = json!({ "range": { "start": { "line": 500, "character": 0 }, "end": end },
            "text": if version % 2 == 1 { " " } else { "" } });
        let document = json!({ "uri": uri, "version": version });
        note("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
        diagnostics(version)
    });
    say(Request::new(2.into(), "shutdown".into(), Value::Null).into());
    note("exit", Value::Null);
    server.join().expect("it does not panic").expect("it began with initialize");
}

/// A directory with the files that the generated ones name.
fn data() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for a moment");
    let model = directory.path().join("models/minilm");
    std::fs::create_dir_all(directory.path().join("data")).expect("it is ours");
    std::fs::create_dir_all(&model).expect("it is ours");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("it is ours");
    write("data/domain.txt", "a text\n");
    for split in ["train", "dev", "test"] {
        let rows = "{\"text\": \"a\", \"class\": \"no\"}\n{\"text\": \"b\", \"class\": \"yes\"}\n";
        write(&format!("data/{split}.jsonl"), rows);
    }
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/bert_mlm");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(file), model.join(file)).expect("the fixtures are there");
    }
    std::fs::copy(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizer/vocab.txt"),
        model.join("vocab.txt"),
    )
    .expect("the fixtures are there");
    directory
}
