//! The one way to write a file: [`format`]. White space and line breaks change, trailing commas come and go; no other
//! token and no comment does.
//!
//! The layout comes from tokens and brackets, not from the kinds of statements, so a new statement is laid out without a
//! word here. A kind whose neighbours should line up gets an arm in `columns::joints`.

mod columns;
mod layout;
mod lines;
mod pieces;
mod tokens;

use pest::Parser;
use pest::iterators::Pair;

use super::error::SyntaxError;
use super::grammar::{Grammar, Rule};
use super::span::Source;
use layout::Statement;
use lines::Lines;

/// Columns a line of code may take; comments are never broken.
const WIDTH: usize = 100;

/// A line of the file by itself, or a statement.
enum Entry {
    Comment(String),
    Statement(Statement),
}

/// The text in the one style; equal to the given text when it is already.
///
/// # Errors
/// The syntax errors of a text that has any: what is broken can't be laid out without guessing.
pub fn format(source: &Source) -> Result<String, Vec<SyntaxError>> {
    let (_, errors) = super::parse(source);
    if !errors.is_empty() {
        return Err(errors);
    }
    let pairs = Grammar::parse(Rule::file, &source.text).map_err(|error| vec![super::error::unparsed(&error)])?;
    let mut entries: Vec<(bool, Entry)> = vec![];
    // Where the last entry ended.
    let mut end = 0;
    for pair in pairs.flat_map(Pair::into_inner) {
        let entry_start = pair.as_span().start();
        let tokens = tokens::of(pair, &source.text);
        let Some(last) = tokens.last() else { continue };
        let blank = !entries.is_empty() && tokens::newlines(&source.text[end..entry_start]) > 1;
        end = last.end;
        entries.push((
            blank,
            match tokens.as_slice() {
                [comment] if comment.comment => Entry::Comment(comment.text.clone()),
                _ => Entry::Statement(Statement::new(&tokens)),
            },
        ));
    }
    align(&mut entries);
    let mut lines = Lines::default();
    for (blank, entry) in &entries {
        if *blank {
            lines.blank();
        }
        match entry {
            Entry::Comment(text) => lines.own_comment(0, text),
            Entry::Statement(statement) => statement.write(&mut lines),
        }
    }
    let text = lines.finish();
    let kept = content(&text) == content(&source.text) && super::parse(&Source::new(&source.name, &text)).1.is_empty();
    debug_assert!(kept, "the formatter loses or breaks something: {}", source.text);
    // A user's file is worth more than its style: what the layout does not understand stays as it is.
    Ok(if kept { text } else { source.text.clone() })
}

/// The code and the comments of a text; commas come and go.
fn content(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let pairs = Grammar::parse(Rule::file, text).ok()?;
    let tokens = pairs.flat_map(Pair::into_inner).flat_map(|pair| tokens::of(pair, text));
    let (comments, code): (Vec<_>, Vec<_>) = tokens.filter(|token| token.text != ",").partition(|token| token.comment);
    let texts = |tokens: Vec<tokens::Token>| tokens.into_iter().map(|token| token.text).collect();
    Some((texts(code), texts(comments)))
}

/// Lines up neighbours of one kind: statements with nothing between them.
fn align(entries: &mut [(bool, Entry)]) {
    let mut group: Vec<&mut Statement> = vec![];
    for (blank, entry) in entries {
        match entry {
            Entry::Statement(statement) => {
                if *blank || group.first().is_some_and(|first| first.keyword() != statement.keyword()) {
                    columns::align(&mut group);
                    group.clear();
                }
                group.push(statement);
            }
            Entry::Comment(_) => {
                columns::align(&mut group);
                group.clear();
            }
        }
    }
    columns::align(&mut group);
}
