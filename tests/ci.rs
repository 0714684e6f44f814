//! What a run leaves for systems of continuous integration.
#![cfg(feature = "train")]

use std::fs;
use std::process::Command;

mod project;
use project::{project, write};

#[test]
fn a_failing_expectation_is_a_failed_case_an_annotation_and_an_exit_code() {
    let directory = project();
    let root = directory.path();
    write(root, "pipeline small = base -> finetune(target)\nexpect small.accuracy > 0.99\n");
    let run = |number: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
        command.current_dir(root).env("FTP_STORE", root.join("store")).env("GITHUB_ACTIONS", "true");
        command.env("GITHUB_STEP_SUMMARY", root.join("summary.md"));
        let board = format!("board{number}");
        command.args(["run", "p.ftp", "--junit", "out/report.xml", "--tensorboard", &board]).output().expect("it runs")
    };
    let ended = run("1");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let line =
        said.lines().find(|line| line.starts_with("::error ")).unwrap_or_else(|| panic!("no annotation in\n{said}"));
    // The beginning has eight lines; then the pipeline, then what is expected of it.
    assert!(line.starts_with("::error file=p.ftp,line=10,col=1,title=expectation::small.accuracy is 0."), "{line}");
    let xml = fs::read_to_string(root.join("out/report.xml")).expect("written");
    let document = roxmltree::Document::parse(&xml).expect("XML");
    let cases: Vec<(&str, bool)> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|node| (node.attribute("name").unwrap_or(""), node.children().any(|child| child.has_tag_name("failure"))))
        .collect();
    assert_eq!(cases, [("pretrain", false), ("finetune(target)", false), ("small.accuracy > 0.99", true)]);
    assert!(fs::read_to_string(root.join("summary.md")).expect("written").contains("small"));

    // Results that were there have their curves, too.
    assert_eq!(run("2").status.code(), Some(1));
    let size = |board: &str| -> u64 {
        let stage = fs::read_dir(root.join(board).join("finetune(target)")).expect("a directory a stage");
        stage.map(|file| file.expect("readable").metadata().expect("readable").len()).sum()
    };
    assert!(size("board1") > 500);
    assert_eq!(size("board1"), size("board2"));
}

#[test]
fn findings_of_a_check_are_annotations() {
    let directory = project();
    let root = directory.path();
    write(root, "pipeline small = base -> finetune(target, epoch = 3)\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    let ended =
        command.current_dir(root).env("GITHUB_ACTIONS", "true").args(["check", "p.ftp"]).output().expect("it runs");
    assert_eq!(ended.status.code(), Some(3));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("::error file=p.ftp,line=9,col=43,title=ftp%3A%3Aname%3A%3Aunknown_parameter::"), "{said}");
}
