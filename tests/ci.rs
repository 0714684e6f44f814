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

    // A report is of its own run: a file that is wrong leaves none of an earlier one.
    let whole = fs::read_to_string(root.join("p.ftp")).expect("readable");
    write(root, "pipeline small = base -> finetune(targt)\n");
    assert_eq!(run("0").status.code(), Some(3));
    assert!(!root.join("out/report.xml").exists());
    fs::write(root.join("p.ftp"), whole).expect("written");

    // Results that were there have their curves, too.
    assert_eq!(run("2").status.code(), Some(1));
    let size = |board: &str| -> u64 {
        let mut stage = fs::read_dir(root.join(board).join("finetune(target)")).expect("a directory a stage");
        let result = stage.next().expect("a result").expect("readable").path();
        let files = fs::read_dir(result).expect("a directory a result");
        files.map(|file| file.expect("readable").metadata().expect("readable").len()).sum()
    };
    let written = size("board1");
    assert!(written > 500);
    assert_eq!(size("board2"), written);
    // And not twice.
    assert_eq!(run("1").status.code(), Some(1));
    assert_eq!(size("board1"), written);
}

#[test]
fn a_step_in_a_folder_annotates_the_files_of_the_repository_and_each_expectation_its_own_line() {
    let directory = project();
    let root = directory.path();
    write(
        root,
        "pipeline small = base -> finetune(target)\nexpect small.accuracy >= 0.0\n\
         expect small.accuracy - small.macro_f1 > 1.0\nexpect small.accuracy > 1.0\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftp"));
    command.current_dir(root.join("target")).env("FTP_STORE", root.join("store"));
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", root).env_remove("GITHUB_STEP_SUMMARY");
    let ended = command.args(["run", "../p.ftp"]).output().expect("it runs");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let annotations: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("::error file=p.ftp,")).collect();
    assert_eq!(annotations.len(), 2, "{said}");
    assert!(annotations[0].starts_with("line=11,col=1,title=expectation::small.accuracy - small.macro_f1"), "{said}");
    assert!(annotations[1].starts_with("line=12,col=1,title=expectation::small.accuracy is"), "{said}");
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
