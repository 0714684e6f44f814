//! A run as JUnit XML, which every system of continuous integration shows: a case a stage, a case an expectation.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::event::Event;

/// What came of a stage or an expectation.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Passed(f64),
    /// What failed, more about it, and how long that took.
    Failed(String, String, f64),
    Skipped(String),
}

/// Listens to a run and writes it down at its end.
#[derive(Debug, Default)]
pub struct Junit {
    stages: Vec<(String, Outcome)>,
    expectations: Vec<(String, Outcome)>,
    seconds: f64,
    /// When each stage began.
    begun: HashMap<String, Instant>,
}

impl Junit {
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage, .. } => {
                self.begun.entry(stage.clone()).or_insert_with(Instant::now);
            }
            Event::StageHit { stage, .. } => self.stages.push((stage.clone(), Outcome::Passed(0.0))),
            Event::StageFinished { stage, seconds, .. } => {
                self.stages.push((stage.clone(), Outcome::Passed(*seconds)));
            }
            Event::StageStopped { stage } => {
                self.stages.push((stage.clone(), Outcome::Skipped("stopped by a race".into())));
            }
            Event::StageFailed { stage, code, message, help, .. } => {
                let more = help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"));
                let seconds = self.begun.get(stage).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                self.stages.push((stage.clone(), Outcome::Failed(code.clone(), format!("{message}{more}"), seconds)));
            }
            Event::Expectation { measure, value, relation, bound, holds } => {
                let name = format!("{measure} {relation} {bound}");
                let outcome = match (holds, value.is_nan()) {
                    (true, _) => Outcome::Passed(0.0),
                    (false, true) => Outcome::Failed("ftp::expect::unknown".into(), "there is no value".into(), 0.0),
                    (false, false) => Outcome::Failed("ftp::expect::failed".into(), format!("it is {value}"), 0.0),
                };
                self.expectations.push((name, outcome));
            }
            Event::RunFinished { seconds, .. } => self.seconds = *seconds,
            _ => {}
        }
    }

    /// Writes the file. `file` is the pipeline's, `labels` are all stages of its plan: those of which nothing was heard were
    /// not begun.
    pub fn write(&self, path: &Path, file: &str, labels: &[&str]) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.to_xml(file, labels))
    }

    fn to_xml(&self, file: &str, labels: &[&str]) -> String {
        let heard = |label: &&str| self.stages.iter().any(|(stage, _)| stage == label);
        let not_begun = labels.iter().filter(|label| !heard(label));
        let why = |label: &str| if self.begun.contains_key(label) { "interrupted" } else { "not begun" };
        let not_begun = not_begun.map(|label| ((*label).to_owned(), Outcome::Skipped(why(label).into())));
        let stages: Vec<_> = self.stages.iter().cloned().chain(not_begun).collect();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"ftp\">\n");
        suite(&mut xml, file, "stages", self.seconds, &stages);
        if !self.expectations.is_empty() {
            suite(&mut xml, file, "expectations", 0.0, &self.expectations);
        }
        xml + "</testsuites>\n"
    }
}

fn suite(xml: &mut String, file: &str, name: &str, seconds: f64, cases: &[(String, Outcome)]) {
    let count = |of: fn(&Outcome) -> bool| cases.iter().filter(|(_, outcome)| of(outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed(..)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let (file, total) = (escaped(file), cases.len());
    // Writing to a string can't fail.
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{file}: {name}\" tests=\"{total}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\">"
    );
    for (case, outcome) in cases {
        let case = escaped(case);
        let (time, inner) = match outcome {
            Outcome::Passed(seconds) => (*seconds, String::new()),
            Outcome::Failed(code, message, seconds) => {
                let (code, message) = (escaped(code), escaped(message));
                (*seconds, format!("<failure type=\"{code}\" message=\"{message}\">{code}: {message}</failure>"))
            }
            Outcome::Skipped(why) => (0.0, format!("<skipped message=\"{}\"/>", escaped(why))),
        };
        let _ =
            writeln!(xml, "    <testcase classname=\"{file}\" name=\"{case}\" time=\"{time:.3}\">{inner}</testcase>");
    }
    xml.push_str("  </testsuite>\n");
}

/// Text within an attribute or an element. What XML 1.0 can't hold, control characters, is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter < ' ' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_and_expectation_is_a_case_with_what_came_of_it() {
        let mut junit = Junit::default();
        let (stage, hostile) = ("pretrain".to_owned(), "finetune(\"<a>\" & b)\u{1}".to_owned());
        junit.note(&Event::StageHit { stage, key: String::new() });
        junit.note(&Event::StageFailed {
            stage: hostile,
            code: "ftp::train::diverged".into(),
            message: "the loss is NaN\nat step 3".into(),
            help: Some("lower the rate".into()),
            kept: String::new(),
        });
        let expectation = |value: f64, holds| Event::Expectation {
            measure: "small.accuracy".into(),
            value,
            relation: ">=".into(),
            bound: 0.8,
            holds,
        };
        junit.note(&expectation(0.9, true));
        junit.note(&expectation(f64::NAN, false));
        let xml = junit.to_xml("p.ftp", &["pretrain", "finetune(\"<a>\" & b)\u{1}", "select"]);
        let document = roxmltree::Document::parse(&xml).expect("it is XML");
        let suites: Vec<_> = document.root_element().children().filter(roxmltree::Node::is_element).collect();
        assert_eq!(suites.len(), 2);
        let counts = |name| suites.iter().map(|suite| suite.attribute(name).expect("there")).collect::<Vec<_>>();
        assert_eq!(
            (counts("tests"), counts("failures"), counts("skipped")),
            (vec!["3", "2"], vec!["1", "1"], vec!["1", "0"])
        );
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).expect("one");
        assert_eq!(failure.attribute("message"), Some("the loss is NaN\nat step 3\nhelp: lower the rate"));
        let case = failure.parent().expect("a case");
        assert_eq!(case.attribute("name"), Some("finetune(\"<a>\" & b)\u{fffd}"));
    }
}
