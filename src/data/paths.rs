//! Which files a path of the language means: `{train,dev}` alternatives, globs, and the split a file's name says.

use std::path::{Path, PathBuf};

use super::error::problem;
use super::fault::counted;
use crate::event::Notice;
use crate::lang::world::SourceError;

/// The splits, in the order they are read and shown.
pub(super) const SPLITS: [&str; 3] = ["train", "dev", "test"];

/// A file a pattern matched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub path: PathBuf,
    /// Relative to the `.ftp` file, as the pattern wrote it.
    pub shown: String,
    /// What its name or its brace alternative says.
    pub split: Option<&'static str>,
}

/// All files of a pattern: alternatives in the order written, the files of a glob sorted by name.
pub(super) fn find(directory: &Path, pattern: &str) -> Result<Vec<Found>, Vec<SourceError>> {
    let alternatives = expand(pattern).map_err(|error| vec![error])?;
    let (mut found, mut errors) = (Vec::<Found>::new(), Vec::new());
    for (path, chosen) in alternatives {
        match matches(directory, &path) {
            Ok(files) if files.is_empty() => errors.push(no_match(directory, &path)),
            Ok(files) => {
                for (file, shown) in files {
                    if found.iter().all(|other| other.path != file) {
                        let split = split_of(&chosen, &shown);
                        found.push(Found { path: file, shown, split });
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Gives every file a split and orders them by it. Files whose name says none are `train`, and the notice says so.
pub(super) fn assign_splits(mut files: Vec<Found>, notices: &mut Vec<Notice>) -> Result<Vec<Found>, SourceError> {
    let unnamed: Vec<&Found> = files.iter().filter(|file| file.split.is_none()).collect();
    if let Some(first) = unnamed.first() {
        let what = if unnamed.len() == 1 {
            format!("{} names no split: its rows are train", first.shown)
        } else {
            format!(
                "{} name no split ({} the first): their rows are train",
                counted(unnamed.len(), "file"),
                first.shown
            )
        };
        notices.push(Notice::new("ftp::data::split_guessed", what));
    }
    for file in &mut files {
        file.split.get_or_insert("train");
    }
    if files.iter().all(|file| file.split != Some("train")) {
        let names = files.iter().map(|file| file.shown.as_str()).collect::<Vec<_>>().join(", ");
        return Err(problem(
            "ftp::data::no_train",
            Some("path"),
            format!("no file is a train split: {names}"),
            "no train split",
            "name a train file too, e.g. `{train,dev,test}.jsonl`",
        ));
    }
    files.sort_by_key(|file| SPLITS.iter().position(|split| Some(*split) == file.split));
    Ok(files)
}

/// `a{b,c}d` -> `abd`, `acd`, each with the alternatives chosen for it. Groups may repeat and nest.
fn expand(pattern: &str) -> Result<Vec<(String, Vec<String>)>, SourceError> {
    let Some(open) = pattern.find('{') else {
        return Ok(vec![(pattern.to_string(), Vec::new())]);
    };
    let (mut depth, mut from, mut close, mut parts) = (0, open + 1, None, Vec::new());
    for (at, character) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match character {
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(&pattern[from..at]);
                from = at + 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&pattern[from..at]);
                    close = Some(at);
                    break;
                }
            }
            _ => {}
        }
    }
    let Some(close) = close else {
        return Err(problem(
            "ftp::data::path",
            Some("path"),
            format!("`{pattern}` opens a `{{` that is not closed"),
            "unclosed `{`",
            "close it, as in `{train,dev}.jsonl`",
        ));
    };
    let mut all = Vec::new();
    for part in parts {
        // The alternative goes back in front of the rest, so that groups inside it and after it are expanded too.
        for (path, mut chosen) in expand(&format!("{}{part}{}", &pattern[..open], &pattern[close + 1..]))? {
            chosen.insert(0, part.to_string());
            all.push((path, chosen));
        }
    }
    Ok(all)
}

/// The files one brace-free path means, with how to show them.
fn matches(directory: &Path, path: &str) -> Result<Vec<(PathBuf, String)>, SourceError> {
    let literal = directory.join(path);
    if literal.is_file() {
        return Ok(vec![(literal, path.to_string())]);
    }
    if literal.is_dir() {
        return Err(problem(
            "ftp::data::is_directory",
            Some("path"),
            format!("{path} is a directory"),
            "a directory, not a file",
            format!("name its files, e.g. `{}/*.jsonl`", path.trim_end_matches('/')),
        ));
    }
    let base = glob::Pattern::escape(&directory.to_string_lossy());
    let pattern = if Path::new(path).is_absolute() { path.to_string() } else { format!("{base}/{path}") };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths = glob::glob_with(&pattern, options).map_err(|error| {
        problem(
            "ftp::data::path",
            Some("path"),
            format!("`{path}` is not a pattern: {}", error.msg),
            "not a pattern",
            "`*` stands for any part of a name, `**` for any directories, `{a,b}` for alternatives",
        )
    })?;
    let mut files: Vec<(PathBuf, String)> = paths
        .filter_map(Result::ok)
        .filter(|file| file.is_file())
        .map(|file| {
            let shown = file.strip_prefix(directory).unwrap_or(&file).to_string_lossy().into_owned();
            (file, shown)
        })
        .collect();
    files.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(files)
}

/// Names the nearest things that do exist.
fn no_match(directory: &Path, path: &str) -> SourceError {
    let (mut parent, mut missing) = match path.rsplit_once('/') {
        Some((parent, name)) => (parent, name),
        None => ("", path),
    };
    while !parent.is_empty() && !directory.join(parent).is_dir() {
        (parent, missing) = parent.rsplit_once('/').unwrap_or(("", parent));
    }
    let mut names: Vec<(f64, String)> = std::fs::read_dir(directory.join(parent))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .map(|name| (strsim::jaro_winkler(&name, missing), name))
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let near: Vec<&str> =
        names.iter().filter(|(score, _)| *score > 0.6).take(3).map(|(_, name)| name.as_str()).collect();
    let place = if parent.is_empty() { "the `.ftp` file's directory".to_string() } else { parent.to_string() };
    let help = match (near.is_empty(), names.is_empty()) {
        (false, _) => format!("near it in {place}: {}", near.join(", ")),
        (true, false) => {
            let some: Vec<&str> = names.iter().take(5).map(|(_, name)| name.as_str()).collect();
            format!("in {place} there are: {}", some.join(", "))
        }
        (true, true) => format!("{place} is empty or missing; paths are relative to the `.ftp` file"),
    };
    problem("ftp::data::missing_file", Some("path"), format!("no file matches {path}"), "nothing there", help)
}

/// The split the brace alternatives say; else the file's name; else its directory.
fn split_of(chosen: &[String], shown: &str) -> Option<&'static str> {
    let path = Path::new(shown);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let parent = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    chosen.iter().cloned().chain(stem).chain(parent).find_map(|name| named_split(&name))
}

/// The one split whose name is a word of `name`; none when two are.
fn named_split(name: &str) -> Option<&'static str> {
    let mut found = None;
    for word in name.split(|character: char| !character.is_ascii_alphabetic()) {
        let split = match word.to_ascii_lowercase().as_str() {
            "train" | "training" => "train",
            "dev" | "valid" | "validation" | "val" => "dev",
            "test" => "test",
            _ => continue,
        };
        if found.is_some_and(|other| other != split) {
            return None;
        }
        found = Some(split);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_in_the_order_written_and_nest() {
        let paths = |pattern: &str| expand(pattern).unwrap().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(paths("x/{train,dev}.{json,csv}"), ["x/train.json", "x/train.csv", "x/dev.json", "x/dev.csv"]);
        assert_eq!(paths("{a{1,2},b}"), ["a1", "a2", "b"]);
        assert!(expand("{a,b").is_err());
    }

    #[test]
    fn the_split_is_a_word_of_the_alternative_then_the_name_then_the_directory() {
        assert_eq!(named_split("validation-00000-of-00001"), Some("dev"));
        assert_eq!(named_split("mnli_dev_matched"), Some("dev"));
        assert_eq!(named_split("latest"), None);
        assert_eq!(named_split("train_test"), None);
        assert_eq!(split_of(&["test".into()], "data/test/x.csv"), Some("test"));
        assert_eq!(split_of(&[], "data/valid/x.csv"), Some("dev"));
    }
}
