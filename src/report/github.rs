//! What GitHub Actions shows beside a change: annotations of lines, and the summary of a job.

use std::fs::OpenOptions;
use std::io::Write;

/// Whether this process is a step of a workflow.
pub fn is_there() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}

/// A place in a file, its line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

/// An annotation, as a workflow command; `level` is `error`, `warning` or `notice`.
pub fn annotation(level: &str, place: Option<&Place>, title: &str, message: &str) -> String {
    let at = place.map_or(String::new(), |place| {
        format!("file={},line={},col={},", property(&place.file), place.line, place.column)
    });
    format!("::{level} {at}title={}::{}", property(title), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Adds Markdown to the job's summary. A job without one has none.
pub fn add_to_summary(markdown: &str) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return };
    // A summary that can't be written is no reason for a run to fail.
    let _ = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(markdown.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_escaped_as_workflow_commands_ask() {
        let place = Place { file: "a,b:c.ftp".into(), line: 3, column: 7 };
        assert_eq!(
            annotation("error", Some(&place), "ftp::a::b", "100 %\nof it: gone, all"),
            "::error file=a%2Cb%3Ac.ftp,line=3,col=7,title=ftp%3A%3Aa%3A%3Ab::100 %25%0Aof it: gone, all"
        );
        assert_eq!(annotation("warning", None, "t", "m"), "::warning title=t::m");
    }
}
