//! A run as one HTML file: no script, nothing from elsewhere, light and dark, for a screen, a phone or paper.
//!
//! From outside: [`Page`], which says what is shown, and [`Page::html`]. Whatever it is given is escaped here.

mod chart;
mod journal;
mod parts;
mod style;

pub use journal::{Evaluation, Journal};

use super::drawing::escaped;

/// All that is shown.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub title: String,
    /// How the run ended.
    pub badge: Badge,
    /// Name and value, in the order to show.
    pub facts: Vec<(String, String)>,
    /// What whoever reads the rest must know first.
    pub warnings: Vec<String>,
    pub comparisons: Vec<Comparison>,
    pub expectations: Vec<Expectation>,
    /// An SVG of the plan.
    pub graph: String,
    pub stages: Vec<Stage>,
    pub data: Vec<DataFile>,
    /// What it is about, and what was cut, dropped or guessed.
    pub notices: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    /// Lines for a shell, or comments.
    pub reproduce: Vec<String>,
}

/// A word on how it went, and its colour.
#[derive(Debug, Clone, Default)]
pub struct Badge {
    pub state: State,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Computed by this run.
    Ran,
    /// In the store before it.
    Hit,
    Failed,
    /// By a race.
    Stopped,
    /// Not in the store.
    #[default]
    Missing,
}

impl State {
    /// As a class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            State::Ran => "ran",
            State::Hit => "hit",
            State::Failed => "failed",
            State::Stopped => "stopped",
            State::Missing => "missing",
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Ran => "ran",
            State::Hit => "in the store",
            State::Failed => "failed",
            State::Stopped => "stopped by a race",
            State::Missing => "not in the store",
        }
    }
}

/// Pipelines that end on one labelled set.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub set: String,
    pub split: String,
    pub rows: Option<u64>,
    pub metrics: Vec<String>,
    pub lines: Vec<Line>,
}

/// A pipeline, several of one declaration, or a baseline.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub name: String,
    /// Its stages in words.
    pub stages: String,
    /// By metric; of several pipelines each one's.
    pub values: Vec<Vec<f64>>,
    pub members: Vec<Line>,
    pub baseline: bool,
}

/// An `expect`.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// `small.accuracy >= 0.8`.
    pub text: String,
    pub value: Option<f64>,
    pub holds: bool,
}

/// A stage of the plan.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    pub label: String,
    /// Stages of one name are compared in one chart: the label without the pipeline it is in.
    pub family: String,
    pub state: State,
    /// Seconds since 1970, UTC.
    pub started: Option<f64>,
    pub seconds: Option<f64>,
    pub key: Option<String>,
    pub output: Option<String>,
    pub parameters: Vec<String>,
    /// The labels that its confusion matrices are of.
    pub labels: Vec<String>,
    pub journal: Journal,
}

/// A file that a source reads.
#[derive(Debug, Clone)]
pub struct DataFile {
    pub source: String,
    pub file: String,
    pub split: String,
    pub rows: Option<u64>,
    pub bytes: u64,
    pub digest: String,
}

impl Page {
    /// The file.
    pub fn html(&self) -> String {
        let mut body = format!(
            "<header>\n<h1>{}</h1>\n<p class=\"badge {}\">{}</p>\n{}</header>\n<main>\n",
            escaped(&self.title),
            self.badge.state.class(),
            escaped(&self.badge.text),
            parts::facts(&self.facts)
        );
        for warning in &self.warnings {
            body += &format!("<p class=\"warning\">{}</p>\n", escaped(warning));
        }
        let mut contents = String::new();
        let sections = [
            ("results", "Results", parts::comparisons(&self.comparisons)),
            ("expectations", "Expectations", parts::expectations(&self.expectations)),
            ("plan", "Plan", parts::graph(&self.graph)),
            ("time", "Time", parts::timeline(&self.stages)),
            ("curves", "Curves", chart::curves(&self.stages)),
            ("confusion", "Confusion", parts::confusions(&self.stages)),
            ("data", "Data", parts::data(&self.data)),
            ("notices", "Cut, dropped, guessed", parts::notices(&self.notices)),
            ("stages", "Stages", parts::stages(&self.stages)),
            ("environment", "Environment", parts::facts(&self.environment)),
            ("reproduce", "Reproduce", parts::reproduce(&self.reproduce)),
        ];
        let mut text = String::new();
        for (id, title, content) in sections {
            if !content.is_empty() {
                contents += &format!("<a href=\"#{id}\">{title}</a> ");
                text += &format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{content}</section>\n");
            }
        }
        body += &format!("<nav>{}</nav>\n{text}</main>\n", contents.trim_end());
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n\
             <body>\n{body}<footer>ftp {}</footer>\n</body>\n</html>\n",
            escaped(&self.title),
            style::SHEET,
            env!("CARGO_PKG_VERSION")
        )
    }
}
