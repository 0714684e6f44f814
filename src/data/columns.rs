//! Which column is the text and which the label. Guessed only where there is one reading; otherwise the file's columns
//! are listed and the user is asked.

use super::error::problem;
use super::options::Options;
use super::read::{Cell, Table};
use crate::event::Notice;
use crate::lang::world::SourceError;

/// Names a text column has; the first needs no notice.
const TEXTS: [&str; 4] = ["text", "sentence", "content", "document"];

/// Names the label or score has; the first two need no notice.
const LABELS: [&str; 8] = ["label", "score", "labels", "class", "category", "target", "gold_label", "rating"];

/// Names the two texts of a pair have in well-known sets (GLUE, SNLI, QA); none needs a notice.
const PAIRS: [(&str, &str); 9] = [
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("question1", "question2"),
    ("question", "answer"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
];

/// Columns by role.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Roles {
    pub text: String,
    pub text_pair: Option<String>,
    pub label: String,
}

/// The columns of all files of a source together.
struct Columns {
    names: Vec<String>,
    /// Whether a column holds words: strings that are not all numbers.
    words: Vec<bool>,
}

impl Columns {
    fn new<'a>(tables: impl Iterator<Item = &'a Table>) -> Self {
        let mut columns = Self { names: Vec::new(), words: Vec::new() };
        for table in tables {
            for (at, name) in table.columns.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                let words = || table.rows.iter().filter_map(|row| row.cells.as_ref().ok()?.get(at)).any(is_words);
                match columns.names.iter().position(|other| other == name) {
                    Some(known) => columns.words[known] = columns.words[known] || words(),
                    None => {
                        columns.names.push(name.clone());
                        columns.words.push(words());
                    }
                }
            }
        }
        columns
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|column| column == name)
    }

    fn strings(&self) -> impl Iterator<Item = &str> {
        self.names.iter().zip(&self.words).filter(|(_, words)| **words).map(|(name, _)| name.as_str())
    }

    /// The column a parameter names.
    fn given(&self, name: &str, parameter: &'static str) -> Result<String, SourceError> {
        if self.has(name) {
            return Ok(name.to_string());
        }
        let near =
            self.names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let help = match near {
            Some(near) => format!("did you mean `{parameter} = \"{near}\"`? The columns are {}", list(&self.names)),
            None => "the files have no columns".to_string(),
        };
        Err(problem(
            "ftp::data::missing_column",
            Some(parameter),
            format!("no column is called {name:?}"),
            "no such column",
            help,
        ))
    }

    fn ask(&self, parameter: &'static str, why: String) -> SourceError {
        let example = match self.names.iter().find(|name| parameter != "label" || LABELS.contains(&name.as_str())) {
            Some(name) => format!("say which: `{parameter} = \"{name}\"`; the columns are {}", list(&self.names)),
            None => format!("say which: `{parameter} = \"..\"`; the columns are {}", list(&self.names)),
        };
        problem("ftp::data::which_column", None, why, "which column?", example)
    }
}

fn is_words(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if !text.trim().is_empty() && text.trim().parse::<f64>().is_err())
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn guessed(notices: &mut Vec<Notice>, role: &str, column: &str) {
    let message = format!("the column `{column}` was taken as `{role}`; say `{role} = \"{column}\"` to be sure");
    notices.push(Notice::new("ftp::data::column_guessed", message));
}

/// The columns of a labelled set.
pub(super) fn resolve<'a>(
    options: &Options,
    tables: impl Iterator<Item = &'a Table>,
    notices: &mut Vec<Notice>,
) -> Result<Roles, Vec<SourceError>> {
    let columns = Columns::new(tables);
    let mut errors = Vec::new();
    let mut given = |name: &Option<String>, parameter| {
        name.as_ref().and_then(|name| columns.given(name, parameter).map_err(|error| errors.push(error)).ok())
    };
    let (label, text, text_pair) =
        (given(&options.label, "label"), given(&options.text, "text"), given(&options.text_pair, "text_pair"));
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut notes = Vec::new();
    // The texts may be told by what the label leaves over, and the label by what the texts leave over.
    let label = label.map_or_else(|| known_label(&columns, &mut notes), |label| Ok(Some(label)));
    let known = label.as_ref().ok().and_then(|label| label.as_deref());
    let texts = if options.is_pair {
        pair(&columns, known, text, text_pair, &mut notes).map(|(text, second)| (text, Some(second)))
    } else {
        text.map_or_else(|| single(&columns, known, "text", &mut notes), Ok).map(|text| (text, None))
    };
    let used: Vec<&str> =
        texts.iter().flat_map(|(text, second)| [Some(text.as_str()), second.as_deref()]).flatten().collect();
    let label = label.and_then(|label| label.map_or_else(|| rest(&columns, &used, &mut notes), Ok));
    match (texts, label) {
        (Ok((text, text_pair)), Ok(label)) => {
            notices.extend(notes);
            Ok(Roles { text, text_pair, label })
        }
        (texts, label) => Err(texts.err().into_iter().chain(label.err()).collect()),
    }
}

/// The text column of a corpus.
pub(super) fn resolve_text<'a>(
    options: &Options,
    tables: impl Iterator<Item = &'a Table>,
    notices: &mut Vec<Notice>,
) -> Result<String, SourceError> {
    let columns = Columns::new(tables);
    match &options.text {
        Some(name) => columns.given(name, "column"),
        None => single(&columns, None, "column", notices),
    }
}

/// The one text column: by a known name, else the only one with words.
fn single(
    columns: &Columns,
    label: Option<&str>,
    parameter: &'static str,
    notices: &mut Vec<Notice>,
) -> Result<String, SourceError> {
    let known: Vec<&str> = columns.strings().filter(|name| TEXTS.contains(name) && Some(*name) != label).collect();
    let strings: Vec<&str> = columns.strings().filter(|name| Some(*name) != label).collect();
    match (known.as_slice(), strings.as_slice()) {
        ([one], _) | ([], [one]) => {
            if *one != TEXTS[0] {
                guessed(notices, parameter, one);
            }
            Ok(one.to_string())
        }
        ([], []) => Err(columns.ask(parameter, "no column holds texts".into())),
        ([], _) => {
            let mut error = columns.ask(parameter, format!("{} could each be the text", list(&strings)));
            if parameter == "text" && PAIRS.iter().any(|(first, second)| columns.has(first) && columns.has(second)) {
                error.help = error.help.map(|help| format!("{help}; for pairs of texts declare them with `pairs(..)`"));
            }
            Err(error)
        }
        (several, _) => Err(columns.ask(parameter, format!("{} could each be the text", list(several)))),
    }
}

/// The two text columns: a known couple, else the only two with words, in the file's order.
fn pair(
    columns: &Columns,
    label: Option<&str>,
    first: Option<String>,
    second: Option<String>,
    notices: &mut Vec<Notice>,
) -> Result<(String, String), SourceError> {
    let fits = |given: &Option<String>, name: &str| given.as_deref().is_none_or(|given| given == name);
    if let (Some(first), Some(second)) = (&first, &second) {
        return Ok((first.clone(), second.clone()));
    }
    let known: Vec<(&str, &str)> = PAIRS
        .into_iter()
        .filter(|(a, b)| columns.has(a) && columns.has(b) && fits(&first, a) && fits(&second, b))
        .collect();
    let strings: Vec<&str> = columns.strings().filter(|name| Some(*name) != label).collect();
    match (known.as_slice(), strings.as_slice()) {
        ([(a, b)], _) => Ok((a.to_string(), b.to_string())),
        ([], [a, b]) => {
            // A given column keeps its role; the other string is its mate.
            let swap = first.as_deref() == Some(*b) || second.as_deref() == Some(*a);
            let (a, b) = if swap { (*b, *a) } else { (*a, *b) };
            if first.is_none() {
                guessed(notices, "text", a);
            }
            if second.is_none() {
                guessed(notices, "text_pair", b);
            }
            Ok((a.to_string(), b.to_string()))
        }
        ([], [one]) if first.is_none() && second.is_none() => Err(problem(
            "ftp::data::which_column",
            None,
            format!("only `{one}` holds texts, and a pair needs two"),
            "where is the other text?",
            "for single texts declare them with `labelled(..)`",
        )),
        (known, _) => {
            let parameter = if first.is_some() { "text_pair" } else { "text" };
            let why = match known {
                [] => "the two columns of a pair can't be told".to_string(),
                known => {
                    let couples: Vec<String> = known.iter().map(|(a, b)| format!("`{a}` and `{b}`")).collect();
                    format!("the pair could be {}", couples.join(", or "))
                }
            };
            let mut error = columns.ask(parameter, why);
            error.help = Some(format!(
                "say which: `text = \"..\", text_pair = \"..\"`; the columns are {}",
                list(&columns.names)
            ));
            Err(error)
        }
    }
}

/// The label by a known name; `None` when no column has one.
fn known_label(columns: &Columns, notices: &mut Vec<Notice>) -> Result<Option<String>, SourceError> {
    let known: Vec<&str> = LABELS.into_iter().filter(|name| columns.has(name)).collect();
    match known.as_slice() {
        [] => Ok(None),
        [one] => {
            if !LABELS[..2].contains(one) {
                guessed(notices, "label", one);
            }
            Ok(Some(one.to_string()))
        }
        several => Err(columns.ask("label", format!("{} could each be the label", list(several)))),
    }
}

/// The only column the texts leave over.
fn rest(columns: &Columns, used: &[&str], notices: &mut Vec<Notice>) -> Result<String, SourceError> {
    let rest: Vec<&str> = columns.names.iter().map(String::as_str).filter(|name| !used.contains(name)).collect();
    match rest.as_slice() {
        [one] if !used.is_empty() => {
            guessed(notices, "label", one);
            Ok(one.to_string())
        }
        _ => Err(columns.ask("label", "no column is called `label` or `score`".into())),
    }
}
