//! Every code has a page, and every page's examples are what they claim to be.

mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ftp::data::FileWorld;
use ftp::lang::explain::{self, Block, Page};
use ftp::lang::{self, Checked, Diagnostic};
use ftp::methods;
use ftp::syntax::Source;

/// Codes below `src/syntax`, `src/lang` and `src/data` that no check of a file reports: why.
const NOT_AT_CHECK_TIME: &[(&str, &str)] = &[
    ("ftp::data::changed", "a stage finds that a file is no longer the one of the plan"),
    ("ftp::data::not_labelled", "a stage got a source that is no labelled set"),
    ("ftp::data::unknown_source", "a source without a reader: a mistake in ftp"),
    ("ftp::data::unreadable", "the error of a stage that has none of its own"),
    // What `ftp check` notes without calling it wrong.
    ("ftp::data::blank_lines", "a note"),
    ("ftp::data::column_guessed", "a note"),
    ("ftp::data::leak", "a note"),
    ("ftp::data::split_guessed", "a note"),
    ("ftp::data::task_guessed", "a note"),
    ("ftp::data::encoder_not_saved", "a note"),
    ("ftp::data::tokenizer_built", "a note"),
    ("ftp::data::unused_label", "a note"),
];

/// Pages without examples: why.
const WITHOUT_EXAMPLES: &[(&str, &str)] = &[
    ("ftp::name::too_deep", "needs a hundred declarations; tested below"),
    ("ftp::recipe::too_large", "needs 50,000 stages; tested in recipes.rs"),
    ("ftp::module::no_files", "only a module of the standard library could be wrong so"),
    ("ftp::data::unreadable_file", "needs a file its owner may not read"),
];

/// The text of the Rust files below a directory, but for those in a directory of this name.
fn sources(directory: &Path, leave_out: &str) -> String {
    let files = walk::sources_under(directory).into_iter();
    let kept = files.filter(|file| !file.strip_prefix(directory).unwrap().iter().any(|part| part == leave_out));
    kept.map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// String literals that are codes.
fn codes_in(text: &str) -> BTreeSet<String> {
    let literals = text.split('"').filter(|part| part.starts_with("ftp::") && part.matches("::").count() == 2);
    let is_code = |code: &&str| {
        !code.ends_with(':') && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
    };
    literals.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_code_of_check_time_has_a_page_and_every_page_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // The tokenizer works in stages only.
    let text: String = ["syntax", "lang", "data"].map(|layer| sources(&root.join(layer), "tokenizer")).concat();
    let mut codes = codes_in(&text);
    assert!(codes.len() > 60, "the codes are not found: {codes:?}");
    for (code, why) in NOT_AT_CHECK_TIME {
        assert!(codes.remove(*code), "{code} is gone, take it from the list ({why})");
    }
    let pages: BTreeSet<String> = explain::pages().iter().map(|page| page.code.to_owned()).collect();
    let without: Vec<_> = codes.difference(&pages).collect();
    assert!(without.is_empty(), "no page in docs/errors for {without:?}");
    let stale: Vec<_> = pages.difference(&codes).collect();
    assert!(stale.is_empty(), "a page for a code that is gone: {stale:?}");
    assert_eq!(pages.len(), explain::pages().len(), "a code has two pages");
    assert!(pages.len() >= 60);
}

/// Codes that stand as literals, or in the attributes of error types.
fn all_codes_in(text: &str) -> BTreeSet<String> {
    let attributes = text.split("code(").skip(1).filter_map(|rest| rest.split_once(')')).map(|(code, _)| code);
    let quoted: String =
        attributes.filter(|code| code.starts_with("ftp::")).map(|code| format!("\"{code}\"")).collect();
    codes_in(&(text.to_owned() + &quoted))
}

#[test]
fn every_code_there_is_can_be_explained() {
    let text = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    let mut codes = all_codes_in(&text);
    assert!(codes.remove("ftp::a::b"), "of a test in report/github.rs");
    let explained: BTreeSet<String> = explain::all().map(|page| page.code.to_owned()).collect();
    let without: Vec<_> = codes.difference(&explained).collect();
    assert!(without.is_empty(), "no page in docs/errors for {without:?}");
    assert_eq!(explained.len(), explain::all().count(), "a code has two pages");
    let gone: Vec<_> =
        explain::running().iter().filter(|page| !text.contains(page.code)).map(|page| page.code).collect();
    assert!(gone.is_empty(), "a page for a code that is gone: {gone:?}");
    assert!(explain::running().iter().all(|page| page.blocks.len() == 1), "a page of running.md is text");
}

/// What the README of `docs/errors` says lies beside every example.
fn surroundings(root: &Path) {
    let rows =
        "{\"text\": \"a NAME good film\", \"label\": \"good\"}\n{\"text\": \"a NAME bad film\", \"label\": \"bad\"}\n";
    for split in ["train", "dev", "test"] {
        write(root, &format!("data/{split}.jsonl"), rows.replace("NAME", split).as_bytes());
    }
    write(root, "data/domain.txt", b"one line\nanother line\n");
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let weights = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat();
    write(root, "models/minilm/config.json", br#"{"model_type": "bert"}"#);
    write(root, "models/minilm/tokenizer.json", b"{}");
    write(root, "models/minilm/model.safetensors", &weights);
    write(
        root,
        "out/mood/adapter_config.json",
        br#"{"peft_type": "LORA", "r": 8, "target_modules": ["query", "value"]}"#,
    );
    write(root, "out/mood/adapter_model.safetensors", &weights);
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The bytes a block of data stands for.
fn data(content: &str, count: usize) -> Vec<u8> {
    let (head, last) = content.trim_end().rsplit_once('\n').unwrap_or(("", content));
    let text = match count {
        1 => content.to_owned(),
        _ => {
            let line = |n: usize| last.replace("{n}", &n.to_string()).replace("{odd}", &(n % 2).to_string());
            std::iter::once(head.to_owned()).chain((0..count).map(line)).collect::<Vec<_>>().join("\n")
        }
    };
    let mut bytes = vec![];
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend(rest.bytes());
    bytes
}

/// The codes of all findings, and the reports to show when they are not the right ones.
fn findings(root: &Path, text: &str) -> (BTreeSet<&'static str>, String) {
    let (found, source) = diagnostics(root, text);
    let reports: Vec<String> = found.iter().map(|one| one.render(&source, false)).collect();
    (found.iter().map(|one| one.code).collect(), reports.join("\n"))
}

fn diagnostics(root: &Path, text: &str) -> (Vec<Diagnostic>, Source) {
    let source = Source::new("example.ftp", text);
    let set: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# --set ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let found = match lang::check(&source, methods::registry(), &FileWorld::new(root), &set) {
        Ok(Checked { warnings, .. }) => warnings,
        Err(diagnostics) => diagnostics.all,
    };
    (found, source)
}

/// A directory with all that a page's examples read.
fn place_of(page: &Page) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    surroundings(root);
    for block in &page.blocks {
        if let Block::Data { path, count, content } = block {
            write(root, path, &data(content, *count));
        }
    }
    directory
}

/// What people see of every code: the wrong example of its page, as `ftp check` reports it.
#[test]
fn every_code_points_into_the_file_says_what_to_do_and_reads_as_its_snapshot() {
    let mut areas: BTreeMap<&str, String> = BTreeMap::new();
    for page in explain::pages() {
        let directory = place_of(page);
        let wrong =
            page.blocks.iter().filter_map(|block| if let Block::Wrong(text) = block { Some(text) } else { None });
        for text in wrong {
            let (mut found, source) = diagnostics(directory.path(), text);
            // The directory is another one each time.
            let place = format!("{}/", directory.path().display());
            found.iter_mut().for_each(|one| one.message = one.message.replace(&place, ""));
            for one in &found {
                // What is set on the command line is not in the file.
                let elsewhere = text.contains("# --set ");
                assert!(elsewhere || one.span.is_some_and(|span| span.file == 0), "{} points nowhere", one.code);
                assert!(one.help.is_some(), "{} does not say what to do", one.code);
            }
            let reports: Vec<String> = found.iter().map(|one| one.render(&source, false)).collect();
            let area = page.code.split("::").nth(1).unwrap();
            *areas.entry(area).or_default() += &reports.join("\n");
        }
    }
    for (area, reports) in areas {
        insta::with_settings!({ snapshot_path => "ui", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("code_{area}"), reports);
        });
    }
}

fn examine(page: &Page) {
    let directory = place_of(page);
    let root = directory.path();
    let (mut wrong, mut right) = (0, 0);
    for block in &page.blocks {
        match block {
            Block::Wrong(text) => {
                wrong += 1;
                let (codes, reports) = findings(root, text);
                assert_eq!(codes, BTreeSet::from([page.code]), "the wrong example of {}:\n{reports}", page.code);
            }
            Block::Right(text) => {
                right += 1;
                let (codes, reports) = findings(root, text);
                assert!(codes.is_empty(), "the right example of {}:\n{reports}", page.code);
            }
            _ => {}
        }
    }
    let exempt = WITHOUT_EXAMPLES.iter().any(|(code, _)| *code == page.code);
    assert_eq!((wrong, right), if exempt { (0, 0) } else { (1, 1) }, "the examples of {}", page.code);
    assert!(!page.summary().is_empty());
}

#[test]
fn wrong_examples_give_their_code_and_right_ones_give_nothing() {
    explain::pages().iter().for_each(examine);
}

#[test]
fn examples_are_formatted() {
    for page in explain::pages() {
        for block in &page.blocks {
            if let Block::Right(text) = block {
                let source = Source::new(page.code, *text);
                assert_eq!(ftp::syntax::format(&source).unwrap(), *text, "the right example of {}", page.code);
            }
        }
    }
}

#[test]
fn declarations_that_lead_too_far_down_are_reported() {
    let mut text = String::from("let _first = m0\n");
    (0..150).for_each(|n| text += &format!("let m{n} = m{} -> adapt(domain)\n", n + 1));
    text += "let m150 = hf(\"models/minilm\")\nlet domain = text(\"data/domain.txt\")\n";
    let directory = tempfile::tempdir().unwrap();
    surroundings(directory.path());
    assert!(findings(directory.path(), &text).0.contains("ftp::name::too_deep"));
}

#[test]
fn a_code_is_found_by_its_end_and_a_misspelt_one_suggested() {
    let codes = |code| explain::find(code).iter().map(|page| page.code).collect::<Vec<_>>();
    assert_eq!(codes("ftp::name::unknown_stage"), ["ftp::name::unknown_stage"]);
    assert_eq!(codes("unknown_stage"), ["ftp::name::unknown_stage"]);
    assert_eq!(codes("unused"), ["ftp::each::unused", "ftp::name::unused", "ftp::set::unused"]);
    assert!(codes("").is_empty());
    assert_eq!(explain::nearest("unknown_stag"), Some("ftp::name::unknown_stage"));
    assert_eq!(explain::nearest("ftp::nam::unknown_stage"), Some("ftp::name::unknown_stage"));
}
