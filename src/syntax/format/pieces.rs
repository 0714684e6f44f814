//! Tokens -> what is laid out: words, and brackets with their items, each with the comments that belong to it.

use super::tokens::Token;

#[derive(Debug)]
pub(super) enum Piece {
    Word(String),
    /// A comment where no item begins or ends, e.g. between `=` and the value of an argument.
    Comment(String),
    Group(Group),
}

/// `(..)` or `[..]`.
#[derive(Debug)]
pub(super) struct Group {
    pub open: String,
    /// The comment on the line of the opening bracket.
    pub after_open: Option<String>,
    pub items: Vec<Item>,
    /// Comments between the last item and the closing bracket.
    pub dangling: Vec<Own>,
    pub close: String,
}

/// What stands between two commas, or between two arrows.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub leading: Vec<Own>,
    pub pieces: Vec<Piece>,
    /// The comment on the line of the item's end.
    pub trailing: Option<String>,
}

/// A comment on a line of its own.
#[derive(Debug)]
pub(super) struct Own {
    /// A blank line stands before it.
    pub blank: bool,
    pub text: String,
}

/// Items separated by `separator`, up to the end of the tokens or the bracket that closes the group they are in.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// The comment on the line before the first item.
    pub before: Option<String>,
    pub items: Vec<Item>,
    pub dangling: Vec<Own>,
}

type Tokens<'a> = std::iter::Peekable<std::slice::Iter<'a, Token>>;

/// Reads the items of a chain (`->`) or of a group (`,`) from all of these tokens.
pub(super) fn read(tokens: &[Token], separator: &str) -> Items {
    items(&mut tokens.iter().peekable(), separator)
}

fn items(tokens: &mut Tokens, separator: &str) -> Items {
    let mut read = Items::default();
    let mut item = Item::default();
    // Comments that belong to the next item, if one comes.
    let mut waiting: Vec<Own> = vec![];
    // Nothing but comments since the last separator or the beginning.
    let mut at_beginning = true;
    // The comment may still belong to the line before.
    let mut on_line = true;
    while let Some(token) = tokens.peek() {
        if !token.comment && is_close(&token.text) {
            break;
        }
        let token = tokens.next().expect("one was peeked at");
        if token.newlines > 0 {
            on_line = false;
        }
        if token.comment {
            let at_end = !at_beginning && ends_item(tokens, separator);
            match read.items.last_mut() {
                // Behind the separator, on the line of the item before it.
                Some(last) if at_beginning && on_line && last.trailing.is_none() && waiting.is_empty() => {
                    last.trailing = Some(token.text.clone());
                }
                None if at_beginning && on_line && read.before.is_none() => read.before = Some(token.text.clone()),
                _ if at_end && on_line && item.trailing.is_none() => item.trailing = Some(token.text.clone()),
                _ if at_beginning || at_end => {
                    let first = read.items.is_empty() && at_beginning && waiting.is_empty() && read.before.is_none();
                    waiting.push(Own { blank: token.newlines > 1 && !first, text: token.text.clone() });
                }
                _ => item.pieces.push(Piece::Comment(token.text.clone())),
            }
            continue;
        }
        on_line = true;
        if token.text == separator {
            if !item.pieces.is_empty() {
                read.items.push(std::mem::take(&mut item));
            }
            at_beginning = true;
            continue;
        }
        if at_beginning {
            item.leading = std::mem::take(&mut waiting);
            at_beginning = false;
        }
        item.pieces.push(piece(token, tokens));
    }
    if !item.pieces.is_empty() {
        read.items.push(item);
    }
    read.dangling = waiting;
    read
}

/// Whether nothing but comments comes before the next separator, the closing bracket, or the end.
fn ends_item(tokens: &Tokens, separator: &str) -> bool {
    tokens.clone().find(|token| !token.comment).is_none_or(|token| token.text == separator || is_close(&token.text))
}

fn piece(token: &Token, tokens: &mut Tokens) -> Piece {
    if !matches!(token.text.as_str(), "(" | "[" | "{") {
        return Piece::Word(token.text.clone());
    }
    let Items { before, items, dangling } = items(tokens, ",");
    let close = tokens.next().map_or_else(String::new, |token| token.text.clone());
    Piece::Group(Group { open: token.text.clone(), after_open: before, items, dangling, close })
}

fn is_close(text: &str) -> bool {
    matches!(text, ")" | "]" | "}")
}
