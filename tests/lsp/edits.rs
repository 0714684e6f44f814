//! Any editing whatever: the server keeps the same text as the editor, answers everything, and does not panic.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::{Client, at, range};

const FILE: &str = "untitled:random";
const GOOD: &str = include_str!("../ui/good.ftp");

/// Places in a text as an editor knows them: lines, which end with `\n`, `\r\n` or `\r`, and UTF-16 columns.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let (mut line, mut column) = (0, 0);
    let mut rest = text[..floor(text, offset)].chars().peekable();
    while let Some(character) = rest.next() {
        let ends = character == '\n' || character == '\r' && rest.peek() != Some(&'\n');
        (line, column) = if ends { (line + 1, 0) } else { (line, column + character.len_utf16()) };
    }
    (line, column)
}

/// The last place up to an offset where an editor can be: not inside a character or a line's end.
fn floor(text: &str, offset: usize) -> usize {
    let inside = |at: usize| text[..at].ends_with('\r') && text[at..].starts_with('\n');
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at) && !inside(*at)).unwrap_or(0)
}

/// What is asked at a place after an edit.
const REQUESTS: &[&str] = &[
    "textDocument/hover",
    "textDocument/completion",
    "textDocument/definition",
    "textDocument/documentHighlight",
    "textDocument/references",
    "textDocument/rename",
    "textDocument/prepareRename",
    "textDocument/documentSymbol",
    "textDocument/formatting",
    "textDocument/inlayHint",
    "textDocument/codeAction",
];

fn params((line, column): (usize, usize)) -> Value {
    json!({
        "textDocument": { "uri": FILE },
        "position": at(line, column),
        "range": range((0, 0), (line, column)),
        "context": { "includeDeclaration": true, "diagnostics": [], "triggerKind": 1 },
        "options": { "tabSize": 2, "insertSpaces": true },
        "newName": "other",
    })
}

fn inserted() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z(),=\\[\\]\"#.> \n-]{0,6}",
        Just("\npipeline p = base -> ".to_owned()),
        Just("\nlet a = a\n".to_owned()),
        Just("\u{1f600}\u{e9}".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("finetune(".to_owned()),
        Just("\nexpect small.".to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn random_edits_never_bring_it_down_nor_out_of_step(
        edits in prop::collection::vec((0.0..1.0f64, 0..60usize, inserted(), 0..REQUESTS.len(), 0.0..1.0f64), 1..30),
    ) {
        let mut text = GOOD.to_owned();
        let mut client = Client::start();
        client.open(FILE, &text);
        let mut version = 1;
        for (at, removed, new, request, asked) in edits {
            let start = floor(&text, (at * text.len() as f64) as usize);
            let end = floor(&text, start + removed).max(start);
            version += 1;
            client.edit(FILE, version, range(place(&text, start), place(&text, end)), &new);
            text.replace_range(start..end, &new);
            // Asked of a place in the text as it is, and of one behind everything.
            let here = place(&text, floor(&text, (asked * text.len() as f64) as usize));
            for here in [here, (9999, 9999)] {
                let id = client.send(REQUESTS[request], params(here));
                let answer = serde_json::to_value(client.response(id)).unwrap();
                // A rename may be refused; nothing may go wrong inside.
                let code = &answer["error"]["code"];
                prop_assert!(code.is_null() || *code == json!(-32803), "{} {answer}\n{text}", REQUESTS[request]);
            }
        }
        // The server's text is the editor's: what it finds there is what a check of that text finds.
        loop {
            let (of, found) = client.diagnostics(FILE);
            if of == Some(i64::from(version)) {
                let source = ftp::syntax::Source::new("x", text.clone());
                let (_, errors) = ftp::syntax::parse(&source);
                let expected: Vec<(&str, Value)> = errors
                    .iter()
                    .map(|error| (error.code, range(place(&text, error.span.start), place(&text, error.span.end))))
                    .collect();
                let reported: Vec<(&str, Value)> =
                    found.iter().map(|one| (one["code"].as_str().unwrap(), one["range"].clone())).collect();
                for error in &expected {
                    prop_assert!(reported.contains(error), "{:?} is missing in {:?}\n{}", error, reported, text);
                }
                for error in reported.iter().filter(|(code, _)| *code == "ftp::syntax::unexpected") {
                    prop_assert!(expected.contains(error), "{:?} is not in {:?}\n{}", error, expected, text);
                }
                break;
            }
        }
        prop_assert!(client.complaints().is_empty(), "{:?}", client.complaints());
        prop_assert!(client.stop());
    }
}
