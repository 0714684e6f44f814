//! The tools around the language, as users call them: fmt, check, explain.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with two labelled splits and a pipeline.
fn project(pipeline: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "p.ftp", pipeline);
    for split in ["train", "dev"] {
        let rows = format!(
            "{{\"text\": \"a {split} good film\", \"label\": \"good\"}}\n{{\"text\": \"a {split} bad film\", \"label\": \"bad\"}}\n"
        );
        write(directory.path(), &format!("data/{split}.jsonl"), &rows);
    }
    write(directory.path(), "data/domain.txt", "one line\nanother line\n");
    directory
}

fn write(root: &Path, path: &str, text: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), text).unwrap();
}

fn command(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(directory.path()).args(arguments);
    command
}

/// Standard output and error of a call that must end with a code.
fn ftp(directory: &TempDir, arguments: &[&str], code: i32) -> (String, String) {
    ended(command(directory, arguments).output().unwrap(), code)
}

fn ended(output: Output, code: i32) -> (String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

fn pipeline(directory: &TempDir) -> String {
    fs::read_to_string(directory.path().join("p.ftp")).unwrap()
}

const MISSPELT: &str = "\
let domain = text(\"data/domain.txt\")
let target = labeled(\"data/{train,dev}.jsonl\")
set pretrain(corpus = domain)
pipeline small = pretrain -> adpat(domian) -> peft(bitfti) -> finetune(target, epoch = 3, schedule = cosin) # ok
expect smal.acuracy >= 0.5
";

const MENDED: &str = "\
let domain = text(\"data/domain.txt\")
let target = labelled(\"data/{train,dev}.jsonl\")
set pretrain(corpus = domain)
pipeline small = pretrain -> adapt(domain) -> peft(bitfit) -> finetune(target, epochs = 3, schedule = cosine) # ok
expect small.accuracy >= 0.5
";

#[test]
fn check_fix_mends_misspelt_names_and_nothing_else() {
    let directory = project(MISSPELT);
    let (_, said) = ftp(&directory, &["check", "p.ftp", "--fix"], 0);
    assert_eq!(pipeline(&directory), MENDED);
    assert!(said.contains("places mended"), "{said}");
    ftp(&directory, &["check", "p.ftp", "--fix"], 0);
    assert_eq!(pipeline(&directory), MENDED);
}

#[test]
fn check_fix_goes_on_to_what_an_error_hid_but_makes_no_second_argument() {
    let head = "let domain = text(\"data/domain.txt\")\npipeline p = pretrain(corpus = domain) -> ";
    let directory = project(&format!("{head}adpat(domian)\n"));
    ftp(&directory, &["check", "p.ftp", "--fix"], 0);
    assert_eq!(pipeline(&directory), format!("{head}adapt(domain)\n"));
    let twice = format!("{head}adapt(domain, epoch = 3, epochs = 4)\n");
    let directory = project(&twice);
    ftp(&directory, &["check", "p.ftp", "--fix"], 3);
    assert_eq!(pipeline(&directory), twice);
}

#[test]
fn check_fix_leaves_alone_what_it_is_not_sure_of() {
    // Two names are as near, a name that nothing is near, a value out of range.
    let text = "let data1 = text(\"data/domain.txt\")\nlet data2 = text(\"data/domain.txt\")\n\
                pipeline p = pretrain(corpus = data3, learning_rate = 20) -> quantise(data1, data2)\n";
    let directory = project(text);
    ftp(&directory, &["check", "p.ftp", "--fix"], 3);
    assert_eq!(pipeline(&directory), text);
}

#[test]
fn errors_as_sarif_have_a_rule_a_region_and_a_fix() {
    let directory = project(MISSPELT);
    let (out, _) = ftp(&directory, &["check", "p.ftp", "--sarif"], 3);
    let mut log: Value = serde_json::from_str(&out).unwrap();
    log["runs"][0]["tool"]["driver"]["version"] = "VERSION".into();
    insta::with_settings!({ snapshot_path => "programs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("sarif", format!("{log:#}"));
    });
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in results {
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
    }
    let clean = project(MENDED);
    let (out, _) = ftp(&clean, &["check", "p.ftp", "--sarif"], 0);
    let log: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn errors_as_json_name_the_edit_that_mends_them() {
    let directory = project(MISSPELT);
    let (out, _) = ftp(&directory, &["check", "p.ftp", "--json"], 3);
    let errors: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stage = errors.iter().find(|error| error["code"] == "ftp::name::unknown_stage").unwrap();
    assert_eq!((&stage["line"], &stage["column"], &stage["file"]), (&4.into(), &30.into(), &"p.ftp".into()));
    assert_eq!(stage["severity"], "error");
    assert_eq!((&stage["fix"]["text"], &stage["fix"]["length"]), (&"adapt".into(), &5.into()));
    assert_eq!(stage["fix"]["offset"], MISSPELT.find("adpat").unwrap());
}

const CROWDED: &str = "let domain=text( \"data/domain.txt\" )#why\npipeline p=pretrain(corpus=domain)\n";
const SPACED: &str = "let domain = text(\"data/domain.txt\")  #why\npipeline p = pretrain(corpus = domain)\n";

#[test]
fn fmt_check_shows_what_would_change_and_changes_nothing() {
    let directory = project(CROWDED);
    let (diff, _) = ftp(&directory, &["fmt", "--check", "p.ftp"], 1);
    assert!(diff.starts_with("--- p.ftp\n+++ p.ftp (formatted)\n@@ -1,2 +1,2 @@\n-let domain=text"), "{diff}");
    assert!(diff.contains("+let domain = text(\"data/domain.txt\")  #why\n"), "{diff}");
    assert_eq!(pipeline(&directory), CROWDED);
    ftp(&directory, &["fmt", "."], 0);
    assert_eq!(pipeline(&directory), SPACED);
    assert_eq!(ftp(&directory, &["fmt", "--check", "p.ftp"], 0).0, "");
}

#[test]
fn fmt_reads_standard_input_and_leaves_broken_files_alone() {
    let directory = project("let x = (\n");
    let (_, error) = ftp(&directory, &["fmt", "p.ftp"], 3);
    assert!(error.contains("ftp::syntax::unexpected") && error.contains("not formatted"), "{error}");
    assert_eq!(pipeline(&directory), "let x = (\n");
    let mut child =
        command(&directory, &["fmt", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(CROWDED.as_bytes()).unwrap();
    assert_eq!(ended(child.wait_with_output().unwrap(), 0).0, SPACED);
    ftp(&directory, &["fmt"], 2);
    ftp(&directory, &["fmt", "nowhere.ftp"], 2);
}

#[test]
fn explain_shows_a_page_a_list_or_what_was_meant() {
    let directory = project("");
    let (page, _) = ftp(&directory, &["explain", "unknown_stage"], 0);
    assert!(page.starts_with("ftp::name::unknown_stage\n") && page.contains("\nWrong:\n"), "{page}");
    let (list, _) = ftp(&directory, &["explain"], 0);
    assert!(list.lines().count() >= 60);
    let (_, error) = ftp(&directory, &["explain", "unknown_stag"], 2);
    assert!(error.contains("did you mean `ftp::name::unknown_stage`?"), "{error}");
}

#[test]
fn a_new_project_checks_is_formatted_and_is_never_written_over() {
    let directory = tempfile::tempdir().unwrap();
    ftp(&directory, &["new", "first"], 0);
    let (out, error) = ftp(&directory, &["check", "first/main.ftp"], 0);
    assert_eq!((out.as_str(), error.as_str()), ("first/main.ftp: ok (2 pipelines, 5 stages)\n", ""));
    ftp(&directory, &["fmt", "--check", "first"], 0);
    fs::write(directory.path().join("first/main.ftp"), "# mine\n").unwrap();
    let (_, error) = ftp(&directory, &["new", "first"], 2);
    assert!(error.contains("first/main.ftp is there already"), "{error}");
    assert_eq!(fs::read_to_string(directory.path().join("first/main.ftp")).unwrap(), "# mine\n");
}

#[test]
fn help_is_of_commands_and_of_methods() {
    let directory = project("");
    let (page, _) = ftp(&directory, &["help", "finetune"], 0);
    assert!(page.contains("\n  learning_rate: number, above 0, at most 1 (default "), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 100 || line.starts_with("    ")), "{page}");
    assert_eq!(page, ftp(&directory, &["methods", "finetune"], 0).0);
    assert!(ftp(&directory, &["help", "fmt"], 0).0.contains("--check"));
    assert!(ftp(&directory, &["help"], 0).0.contains("explain"));
    let (_, error) = ftp(&directory, &["help", "finetun"], 2);
    assert!(error.contains("no command and no method `finetun`"), "{error}");
}

/// What a run would train on, twice: `changed` learns longer, leaves `peft` out and adapts first.
const BEFORE: &str = "\
let domain = text(\"data/domain.txt\")
let target = labelled(\"data/{train,dev}.jsonl\")
set pretrain(corpus = domain)
pipeline small = pretrain -> peft(bitfit) -> finetune(target)
";
const AFTER: &str = "\
# The same data and model under other names.
let words = text(\"data/domain.txt\")
let goal  = labelled(\"data/{train,dev}.jsonl\")
set pretrain(corpus = words)
pipeline large = pretrain -> adapt(words) -> finetune(goal, epochs = 7)
";

#[test]
fn two_plans_are_compared_by_what_their_stages_are_not_by_their_names() {
    let directory = project(AFTER);
    write(directory.path(), "old.ftp", BEFORE);
    let (out, _) = ftp(&directory, &["plan", "p.ftp", "--diff", "old.ftp"], 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..3],
        ["  same    pretrain", "  new     adapt(words)", "  changed finetune(goal), was finetune(target)"]
    );
    assert_eq!(lines[3], "            epochs 3 epochs -> 7 epochs (p.ftp:5:70)");
    assert_eq!(lines[lines.len() - 2..], ["  gone    peft(bitfit)", "4 stages: 1 same, 1 changed, 1 new, 1 gone"]);
    let (out, _) = ftp(&directory, &["plan", "p.ftp", "--diff", "old.ftp", "--json"], 0);
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[2]["changes"][0]["leaf"], "parameters.epochs");
    assert_eq!(
        (&rows[2]["changes"][0]["old"], &rows[2]["changes"][0]["new"]),
        (&"3 epochs".into(), &"7 epochs".into())
    );
}

#[test]
fn a_reformatted_and_renamed_file_makes_the_same_plan() {
    let directory = project(BEFORE);
    write(
        directory.path(),
        "new.ftp",
        &BEFORE.replace("domain =", "d  =\n  ").replace("= domain", "=d").replace("small", "s"),
    );
    let (out, _) = ftp(&directory, &["plan", "new.ftp", "--diff", "p.ftp"], 0);
    assert!(out.ends_with("3 stages: 3 same, 0 changed, 0 new, 0 gone\n"), "{out}");
}

#[test]
fn a_graph_is_drawn_with_every_stage_once() {
    let directory = project(BEFORE);
    let (svg, _) = ftp(&directory, &["graph", "p.ftp", "--format", "svg"], 0);
    assert!(
        svg.starts_with("<svg ") && svg.contains(" xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n")
    );
    for label in ["domain", "target", "pretrain", "peft(bitfit)", "finetune(target)", "small"] {
        assert_eq!(svg.matches(&format!(">{label}</text>")).count(), 1, "{label} in {svg}");
    }
    assert_eq!(svg.matches("marker-end").count(), 5);
}

const WITH_PARAMS: &str = "\
## What the desk needs.

## How long to
## train.
param epochs: epochs = 3 epochs
param learning_rate: float in 0.0..0.1 = 1e-4
param token: secret = secret(\"TOKEN\")

let domain = text(\"data/domain.txt\")
let target = labelled(\"data/{train,dev}.jsonl\")
set pretrain(corpus = domain)
## Quick and
## good.
pipeline small = pretrain -> finetune(target, epochs = epochs, learning_rate = learning_rate)
";

#[test]
fn params_are_options_of_every_command_that_reads_the_file_with_their_types_defaults_and_documentation() {
    let directory = project(WITH_PARAMS);
    for command in ["run", "plan", "check", "graph"] {
        let (help, _) = ftp(&directory, &[command, "p.ftp", "--help"], 0);
        let (_, params) = help.split_once("Parameters of p.ftp:\n").unwrap_or_else(|| panic!("{help}"));
        assert!(help.ends_with("What the desk needs.\n\nPipelines of p.ftp:\n  small  Quick and\n"), "{help}");
        let words = params.split_whitespace().collect::<Vec<_>>().join(" ");
        for param in [
            "--epochs <epochs> How long to train. [default: 3 epochs]",
            "--learning-rate <float in 0.0..0.1> [default: 1e-4]",
            "--token <secret> [default: secret(\"TOKEN\")]",
        ] {
            assert!(words.contains(param), "{param} is not in {help}");
        }
    }
    let other = WITH_PARAMS.replace("= 3 epochs", "= 5 epochs").replace("1e-4", "1e-5");
    write(directory.path(), "other.ftp", &other);
    let differs = ["plan", "p.ftp", "--diff", "other.ftp"];
    assert!(ftp(&directory, &differs, 0).0.contains("1 same, 1 changed"));
    let given = [&differs[..], &["--epochs", "5", "--learning_rate=1e-5"]].concat();
    assert!(ftp(&directory, &given, 0).0.contains("2 same, 0 changed"));
    let (_, error) = ftp(&directory, &["check", "p.ftp", "--learning-rate", "7"], 3);
    assert!(error.contains("ftp::param::bad_override"), "{error}");
}
