//! `text(..)`: unlabelled documents, a line of a text file or a row of a table each.

use std::path::Path;

use indexmap::IndexMap;

use super::columns;
use super::error::{DataError, problem};
use super::fault::Faults;
use super::labelled::{blank_lines, missing_column, read_all, take_text};
use super::options::{BadRows, Options, Parameters};
use super::paths::{self, Found};
use super::read::{Content, LINE_COLUMN, Row};
use crate::event::Notice;
use crate::lang::world::{SourceError, SourceFacts, SourceFile};

/// Finds and reads a corpus; everything about it that a plan needs. `columns` names the text column where the files
/// have columns.
pub(super) fn describe(directory: &Path, options: &Options) -> Result<SourceFacts, Vec<SourceError>> {
    let mut notices = Vec::new();
    let files = paths::find(directory, &options.path)?;
    let contents = read_all(&files, None)?;
    blank_lines(&files, &contents, &mut notices);
    let lines_only = files.iter().all(|file| file.shown.to_ascii_lowercase().ends_with(".txt"));
    let column = match (lines_only, &options.text) {
        (true, Some(_)) => {
            return Err(vec![problem(
                "ftp::data::missing_column",
                Some("column"),
                "a .txt file has no columns",
                "no columns",
                "remove `column`: each line is a document",
            )]);
        }
        (true, None) => LINE_COLUMN.to_string(),
        (false, _) => columns::resolve_text(options, contents.iter().map(|content| &content.table), &mut notices)
            .map_err(|error| vec![error])?,
    };
    let sizes: Vec<(String, u64)> = contents.iter().map(|content| (content.digest.clone(), content.bytes)).collect();
    let (_, used) = assemble(options, &column, &files, contents, &mut notices)?;
    let files = files.into_iter().zip(sizes).zip(used).map(|((file, (digest, bytes)), rows)| SourceFile {
        split: None,
        path: file.path,
        shown: file.shown,
        digest,
        bytes,
        rows,
    });
    let columns = if lines_only { IndexMap::new() } else { IndexMap::from([("text".to_string(), column)]) };
    Ok(SourceFacts { files: files.collect(), task: None, columns, architecture: None, notices })
}

/// The documents of a corpus a plan was made with.
///
/// # Errors
/// `ftp::data::changed` when a file's digest is no longer the one in `facts`; otherwise what describing it would say.
pub fn read_text(parameters: &Parameters, facts: &SourceFacts) -> Result<Vec<String>, DataError> {
    let options = Options::new("text", parameters)?;
    let column = facts.columns.get("text").map_or(LINE_COLUMN, String::as_str);
    let files: Vec<Found> = facts
        .files
        .iter()
        .map(|file| Found { path: file.path.clone(), shown: file.shown.clone(), split: None })
        .collect();
    let contents = read_all(&files, Some(facts))?;
    let (documents, _) = assemble(&options, column, &files, contents, &mut Vec::new())?;
    Ok(documents)
}

fn assemble(
    options: &Options,
    column: &str,
    files: &[Found],
    contents: Vec<Content>,
    notices: &mut Vec<Notice>,
) -> Result<(Vec<String>, Vec<u64>), Vec<SourceError>> {
    let (mut documents, mut faults, mut used, mut rows) = (Vec::new(), Faults::default(), Vec::new(), 0);
    for (file, Content { mut table, .. }) in files.iter().zip(contents) {
        let at = table.column(column).unwrap_or(usize::MAX);
        if at == usize::MAX && !table.columns.is_empty() {
            return Err(vec![missing_column(&file.shown, column, "column", &table.columns)]);
        }
        let before = documents.len();
        rows += table.rows.len();
        for Row { at: line, cells } in std::mem::take(&mut table.rows) {
            match cells.and_then(|mut cells| take_text(&mut cells, at, column)) {
                Ok(text) => documents.push(text),
                Err(fault) => faults.add(table.place(&file.shown, line), fault),
            }
        }
        used.push((documents.len() - before) as u64);
    }
    if options.bad_rows == BadRows::Stop && !faults.is_empty() {
        return Err(faults.errors());
    }
    notices.extend(faults.notices(rows));
    if documents.is_empty() {
        return Err(vec![problem(
            "ftp::data::no_rows",
            Some("path"),
            "no row can be used",
            "no rows left",
            "mend the rows; what is wrong with them is said without `bad_rows = skip`",
        )]);
    }
    Ok((documents, used))
}
