//! `labelled(..)` and `pairs(..)`: rows with a text or two, and what a model should say.

use std::collections::HashSet;
use std::path::Path;

use indexmap::IndexMap;

use super::columns::{self, Roles};
use super::error::{DataError, problem};
use super::fault::{Fault, Faults, Kind, count, counted};
use super::options::{BadRows, Options, Parameters};
use super::paths::{self, Found, SPLITS};
use super::read::{self, Cell, Content, Row};
use super::set::{Example, LabelledSet};
use super::task;
use crate::event::Notice;
use crate::lang::world::{SourceError, SourceFacts, SourceFile, Task};

/// Finds, reads and understands a labelled set; everything about it that a plan needs.
pub(super) fn describe(directory: &Path, options: &Options) -> Result<SourceFacts, Vec<SourceError>> {
    let mut notices = Vec::new();
    let files = paths::find(directory, &options.path)?;
    let files = paths::assign_splits(files, &mut notices).map_err(|error| vec![error])?;
    let contents = read_all(&files, None)?;
    blank_lines(&files, &contents, &mut notices);
    let roles = columns::resolve(options, contents.iter().map(|content| &content.table), &mut notices)?;
    every_file_has(&roles, &files, &contents)?;
    let task = infer_task(options, &roles, &files, &contents, &mut notices).map_err(|error| vec![error])?;
    let sizes: Vec<(String, u64)> = contents.iter().map(|content| (content.digest.clone(), content.bytes)).collect();
    let (set, used) = assemble(options, &roles, &task, &files, contents, &mut notices)?;
    leaks(&set, &mut notices);
    let describe_file = |((file, (digest, bytes)), rows): ((Found, (String, u64)), u64)| SourceFile {
        split: file.split.map(str::to_string),
        path: file.path,
        shown: file.shown,
        digest,
        bytes,
        rows,
    };
    let mut columns = IndexMap::from([("text".to_string(), roles.text)]);
    columns.extend(roles.text_pair.map(|column| ("text_pair".to_string(), column)));
    columns.insert("label".into(), roles.label);
    Ok(SourceFacts {
        files: files.into_iter().zip(sizes).zip(used).map(describe_file).collect(),
        task: Some(task),
        columns,
        architecture: None,
        notices,
    })
}

/// The rows of a labelled set a plan was made with: `method` is `labelled` or `pairs`.
///
/// # Errors
/// `ftp::data::changed` when a file's digest is no longer the one in `facts`; otherwise what describing it would say.
pub fn read_labelled(method: &str, parameters: &Parameters, facts: &SourceFacts) -> Result<LabelledSet, DataError> {
    let options = Options::new(method, parameters)?;
    let column = |role: &str| facts.columns.get(role).cloned();
    let (Some(text), Some(label), Some(task)) = (column("text"), column("label"), facts.task.clone()) else {
        return Err(DataError::new(
            "ftp::data::not_labelled",
            "the source is not a labelled set",
            "declare it with `labelled(..)` or `pairs(..)`",
        ));
    };
    let roles = Roles { text, text_pair: column("text_pair"), label };
    let files: Vec<Found> = facts
        .files
        .iter()
        .map(|file| Found {
            path: file.path.clone(),
            shown: file.shown.clone(),
            split: SPLITS.into_iter().find(|split| file.split.as_deref() == Some(split)),
        })
        .collect();
    let contents = read_all(&files, Some(facts))?;
    every_file_has(&roles, &files, &contents)?;
    let (set, _) = assemble(&options, &roles, &task, &files, contents, &mut Vec::new())?;
    Ok(set)
}

/// Reads files in order; with facts, each must have the digest it had then.
pub(super) fn read_all(files: &[Found], facts: Option<&SourceFacts>) -> Result<Vec<Content>, Vec<SourceError>> {
    let (mut contents, mut errors) = (Vec::with_capacity(files.len()), Vec::new());
    for (index, file) in files.iter().enumerate() {
        match read::read(file, facts.map(|facts| &facts.files[index].digest)) {
            Ok(content) => contents.push(content),
            Err(error) => errors.push(error),
        }
    }
    // Without one row that could be read, what is wrong with the rows is all there is to say.
    if errors.is_empty() && contents.iter().all(|content| content.table.columns.is_empty()) {
        let mut faults = Faults::default();
        for (file, Content { table, .. }) in files.iter().zip(contents) {
            for Row { at, cells } in &table.rows {
                if let Err(fault) = cells {
                    faults.add(table.place(&file.shown, *at), fault.clone());
                }
            }
        }
        return Err(faults.errors());
    }
    if errors.is_empty() { Ok(contents) } else { Err(errors) }
}

/// Blank lines are left out, and said to be.
pub(super) fn blank_lines(files: &[Found], contents: &[Content], notices: &mut Vec<Notice>) {
    let blank: usize = contents.iter().map(|content| content.table.blank).sum();
    if let Some(first) = files.iter().zip(contents).find(|(_, content)| content.table.blank > 0) {
        let place = if files.len() == 1 {
            first.0.shown.clone()
        } else {
            format!("{}, first in {}", counted(files.len(), "file"), first.0.shown)
        };
        let message = format!("{} of {place}: left out", counted(blank, "blank line"));
        notices.push(Notice::new("ftp::data::blank_lines", message));
    }
}

fn every_file_has(roles: &Roles, files: &[Found], contents: &[Content]) -> Result<(), Vec<SourceError>> {
    let roles = [("text", Some(&roles.text)), ("text_pair", roles.text_pair.as_ref()), ("label", Some(&roles.label))];
    let mut errors = Vec::new();
    // A file without columns has only rows that can't be read: each is told by itself.
    for (file, content) in files.iter().zip(contents).filter(|(_, content)| !content.table.columns.is_empty()) {
        for (parameter, column) in roles {
            if let Some(column) = column.filter(|column| content.table.column(column).is_none()) {
                errors.push(missing_column(&file.shown, column, parameter, &content.table.columns));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

pub(super) fn missing_column(shown: &str, column: &str, parameter: &'static str, columns: &[String]) -> SourceError {
    let columns = columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
    problem(
        "ftp::data::missing_column",
        Some(parameter),
        format!("{shown} has no column `{column}`"),
        "a file lacks this column",
        format!("its columns are {columns}; every file of a set needs the same ones"),
    )
}

fn infer_task(
    options: &Options,
    roles: &Roles,
    files: &[Found],
    contents: &[Content],
    notices: &mut Vec<Notice>,
) -> Result<Task, SourceError> {
    let train = files.iter().zip(contents).filter(|(file, _)| file.split == Some("train"));
    let cells = train.flat_map(|(_, content)| {
        let column = content.table.column(&roles.label);
        content.table.rows.iter().filter_map(move |row| row.cells.as_ref().ok()?.get(column?))
    });
    task::infer(options, &roles.label, cells, notices)
}

/// Tables -> examples, and how many rows of each file are used. Bad rows are errors or notices, as the options say.
fn assemble(
    options: &Options,
    roles: &Roles,
    task: &Task,
    files: &[Found],
    contents: Vec<Content>,
    notices: &mut Vec<Notice>,
) -> Result<(LabelledSet, Vec<u64>), Vec<SourceError>> {
    let (mut splits, mut faults, mut used, mut rows) = (IndexMap::new(), Faults::default(), Vec::new(), 0);
    for (file, Content { mut table, .. }) in files.iter().zip(contents) {
        let at = |column: &String| table.column(column).unwrap_or(usize::MAX);
        let (text, label) = (at(&roles.text), at(&roles.label));
        let second = roles.text_pair.as_ref().map(|column| (column, at(column)));
        let examples: &mut Vec<Example> = splits.entry(file.split.unwrap_or("train").to_string()).or_default();
        let before = examples.len();
        rows += table.rows.len();
        for Row { at: line, cells } in std::mem::take(&mut table.rows) {
            let example = cells.and_then(|mut cells| {
                let target = task::target(cell(&cells, label), &roles.label, task, options.labels.is_some());
                let text = take_text(&mut cells, text, &roles.text)?;
                let pair = second.map(|(column, at)| take_text(&mut cells, at, column)).transpose()?;
                Ok(Example { text, pair, target: target? })
            });
            match example {
                Ok(example) => examples.push(example),
                Err(fault) => faults.add(table.place(&file.shown, line), fault),
            }
        }
        used.push((examples.len() - before) as u64);
    }
    if options.bad_rows == BadRows::Stop && !faults.is_empty() {
        return Err(faults.errors());
    }
    notices.extend(faults.notices(rows));
    if let Some((split, _)) = splits.iter().find(|(_, examples)| examples.is_empty()) {
        return Err(vec![problem(
            "ftp::data::no_rows",
            Some("path"),
            format!("no row of {split} can be used"),
            "no rows left",
            "mend the rows; what is wrong with them is said without `bad_rows = skip`",
        )]);
    }
    Ok((LabelledSet { task: task.clone(), splits }, used))
}

fn cell(cells: &[Cell], at: usize) -> &Cell {
    cells.get(at).unwrap_or(&Cell::Missing)
}

/// Takes a text out of a row, or says why it is none.
pub(super) fn take_text(cells: &mut [Cell], at: usize, column: &str) -> Result<String, Fault> {
    match cells.get_mut(at) {
        None | Some(Cell::Missing) => Err(Fault::new(Kind::MissingField, format!("no `{column}`"))),
        Some(Cell::Null) => Err(Fault::new(Kind::MissingField, format!("`{column}` is null"))),
        Some(Cell::Text(text)) if text.trim().is_empty() => {
            Err(Fault::new(Kind::EmptyText, format!("`{column}` is empty")))
        }
        Some(Cell::Text(text)) => Ok(std::mem::take(text)),
        Some(other) => Err(Fault::new(Kind::WrongType, format!("`{column}` holds {}, not a string", other.phrase()))),
    }
}

/// Says how many rows of dev and test train has too.
fn leaks(set: &LabelledSet, notices: &mut Vec<Notice>) {
    let texts = |example: &Example| (example.text.clone(), example.pair.clone());
    let train: HashSet<_> = set.splits.get("train").into_iter().flatten().map(texts).collect();
    for (split, examples) in set.splits.iter().filter(|(split, _)| *split != "train") {
        let both = examples.iter().filter(|example| train.contains(&texts(example))).count();
        if both > 0 {
            let message = format!(
                "{} of {} rows of {split} are in train too: a score on them says little about new texts",
                count(both),
                count(examples.len())
            );
            notices.push(Notice::new("ftp::data::leak", message));
        }
    }
}
