//! What a labelled set asks for: one of which labels, or a number.

use std::collections::BTreeSet;

use super::error::problem;
use super::fault::{Fault, Kind, count};
use super::options::{Options, TaskChoice};
use super::read::Cell;
use super::set::Target;
use crate::event::Notice;
use crate::lang::world::{SourceError, Task};

/// More distinct labels than this are taken for a mistake: an id or a text, not a label.
const MOST_LABELS: usize = 1000;

/// What the label cells of train are.
#[derive(Debug, Default)]
struct Seen {
    words: BTreeSet<String>,
    integers: BTreeSet<i64>,
    /// As written.
    fractions: BTreeSet<String>,
    cells: usize,
}

impl Seen {
    fn add(&mut self, cell: &Cell) {
        self.cells += 1;
        match cell {
            Cell::Missing | Cell::Null | Cell::Other(_) => self.cells -= 1,
            Cell::Bool(value) => drop(self.words.insert(value.to_string())),
            Cell::Int(value) => drop(self.integers.insert(*value)),
            Cell::Float(value) => drop(self.fractions.insert(format!("{value:?}"))),
            Cell::Text(text) => match (text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                _ if text.trim().is_empty() => self.cells -= 1,
                // Only what prints as it stood is a number: `007` stays a word.
                (Ok(value), _) if value.to_string() == *text => drop(self.integers.insert(value)),
                (_, Ok(value)) if value.is_finite() && text.contains('.') => drop(self.fractions.insert(text.clone())),
                _ => drop(self.words.insert(text.clone())),
            },
        }
    }

    fn integers_as_labels(&self) -> impl Iterator<Item = String> {
        self.integers.iter().map(i64::to_string)
    }
}

/// The task of a set, from the file's words where it has any, else from the label cells of train.
pub(super) fn infer<'a>(
    options: &Options,
    column: &str,
    cells: impl Iterator<Item = &'a Cell>,
    notices: &mut Vec<Notice>,
) -> Result<Task, SourceError> {
    let mut seen = Seen::default();
    cells.for_each(|cell| seen.add(cell));
    if seen.cells == 0 {
        return Err(problem(
            "ftp::data::missing_field",
            Some("label"),
            format!("no row of train has a value in `{column}`"),
            "no labels",
            "name another column with `label = \"..\"`",
        ));
    }
    if let Some(labels) = &options.labels {
        let unused: Vec<String> =
            labels.iter().filter(|label| !occurs(&seen, label)).map(|label| format!("{label:?}")).collect();
        if !unused.is_empty() {
            let message = format!("no row of train has the label {}: a model can't learn it", unused.join(" or "));
            notices.push(Notice::new("ftp::data::unused_label", message));
        }
        return Ok(Task::Classification { labels: labels.clone() });
    }
    match options.task {
        Some(TaskChoice::Regression) => Ok(Task::Regression),
        Some(TaskChoice::Classification) => match seen.fractions.first() {
            Some(fraction) => Err(fractions_as_classes(column, fraction)),
            None => classes(column, &seen),
        },
        None => match seen.fractions.first() {
            _ if !seen.words.is_empty() => classes(column, &seen),
            Some(_) if column == "score" => Ok(Task::Regression),
            None if column != "score" => {
                let task = classes(column, &seen)?;
                let message = format!(
                    "the {} different integers of `{column}` were taken as classes; say `task = regression` if they are scores",
                    seen.integers.len()
                );
                notices.push(Notice::new("ftp::data::task_guessed", message));
                Ok(task)
            }
            _ => Err(problem(
                "ftp::data::which_task",
                Some("task"),
                format!("`{column}` holds numbers: it could be scores or class ids"),
                "which task?",
                "say `task = regression` or `task = classification`",
            )),
        },
    }
}

fn occurs(seen: &Seen, label: &str) -> bool {
    seen.words.contains(label)
        || seen.fractions.contains(label)
        || label.parse().is_ok_and(|value: i64| seen.integers.contains(&value))
}

fn fractions_as_classes(column: &str, fraction: &str) -> SourceError {
    problem(
        "ftp::data::which_task",
        Some("task"),
        format!("`{column}` holds numbers like {fraction}, which can't be classes"),
        "these are scores",
        "say `task = regression`, or list the classes as they are written with `labels = [..]`",
    )
}

fn classes(column: &str, seen: &Seen) -> Result<Task, SourceError> {
    let mut labels: Vec<String> = seen.integers_as_labels().chain(seen.words.iter().cloned()).collect();
    if !seen.words.is_empty() {
        labels.extend(seen.fractions.iter().cloned());
        labels.sort();
    }
    if labels.len() > MOST_LABELS {
        return Err(problem(
            "ftp::data::too_many_labels",
            Some("label"),
            format!("`{column}` has {} different values: that is no list of labels", count(labels.len())),
            "not a label column",
            "name the label column with `label = \"..\"`, or say `task = regression`",
        ));
    }
    if let [only] = labels.as_slice() {
        return Err(problem(
            "ftp::data::one_label",
            Some("label"),
            format!("every row of train has the label {only:?}"),
            "nothing to tell apart",
            "add rows with other labels, or name another column with `label = \"..\"`",
        ));
    }
    Ok(Task::Classification { labels })
}

/// What a label cell means under a task.
pub(super) fn target(cell: &Cell, column: &str, task: &Task, listed: bool) -> Result<Target, Fault> {
    let written = match cell {
        Cell::Missing => return Err(Fault::new(Kind::MissingField, format!("no `{column}`"))),
        Cell::Null => return Err(Fault::new(Kind::MissingField, format!("`{column}` is null"))),
        Cell::Other(what) => return Err(Fault::new(Kind::WrongType, format!("`{column}` holds {what}"))),
        Cell::Text(text) if text.trim().is_empty() => {
            return Err(Fault::new(Kind::MissingField, format!("`{column}` is empty")));
        }
        Cell::Text(text) => text.clone(),
        Cell::Int(value) => value.to_string(),
        Cell::Float(value) => format!("{value:?}"),
        Cell::Bool(value) => value.to_string(),
    };
    match task {
        Task::Regression => match written.trim().parse::<f32>() {
            Ok(score) if score.is_finite() => Ok(Target::Score(score)),
            _ => Err(Fault::new(Kind::NotANumber, format!("`{column}` is {written:?}, not a number"))),
        },
        Task::Classification { labels } => match labels.iter().position(|label| *label == written) {
            Some(class) => Ok(Target::Class(class as u32)),
            None if listed => Err(Fault::new(Kind::UnknownLabel, format!("the label {written:?} is not in `labels`"))),
            None => Err(Fault::new(Kind::LabelNotInTrain, format!("the label {written:?} is not in train"))),
        },
    }
}
