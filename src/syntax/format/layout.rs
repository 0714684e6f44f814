//! A statement on one line where it fits; else broken before its arrows, and behind its brackets.

use super::WIDTH;
use super::lines::Lines;
use super::pieces::{Group, Item, Items, Piece, read};
use super::tokens::Token;

/// Columns a continuation is indented by.
const INDENT: usize = 2;

/// `head = item -> item ..`, or a single item without a head.
pub(super) struct Statement {
    /// Up to and with the first `=` outside of brackets; empty without one.
    head: Vec<Piece>,
    /// Spaces to add behind a piece of the head, or of the only item where there is no head.
    padding: Vec<usize>,
    body: Items,
}

impl Statement {
    pub fn new(tokens: &[Token]) -> Self {
        let mut depth = 0usize;
        let equals = tokens.iter().position(|token| {
            match token.text.as_str() {
                _ if token.comment => {}
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                "=" => return depth == 0,
                _ => {}
            }
            false
        });
        let (head, rest) = tokens.split_at(equals.map_or(0, |at| at + 1));
        // No token of the head is an arrow, so it is one item.
        let head = read(head, "->").items.pop().map_or(vec![], |item| item.pieces);
        Self { head, padding: vec![], body: read(rest, "->") }
    }

    pub fn keyword(&self) -> &str {
        match self.words().first() {
            Some(Piece::Word(word)) => word,
            _ => "",
        }
    }

    /// The pieces that may be lined up with those of a neighbour.
    fn words(&self) -> &[Piece] {
        match self.body.items.as_slice() {
            [only] if self.head.is_empty() => &only.pieces,
            _ => &self.head,
        }
    }

    /// Where a word stands; `None` also when a comment before it breaks the line.
    pub fn position(&self, word: &str) -> Option<usize> {
        let words = self.words();
        let at = words.iter().position(|piece| matches!(piece, Piece::Word(text) if text == word))?;
        words[..at].iter().all(|piece| matches!(piece, Piece::Word(_))).then_some(at)
    }

    /// The columns up to the end of a word.
    pub fn width_to(&self, at: usize) -> usize {
        let mut text = String::new();
        flat_into(&mut text, &self.words()[..=at], &self.padding);
        text.chars().count()
    }

    pub fn pad(&mut self, at: usize, spaces: usize) {
        self.padding.resize(self.padding.len().max(at + 1), 0);
        self.padding[at] = spaces;
    }

    pub fn write(&self, lines: &mut Lines) {
        lines.begin(0);
        let (last, most) = match self.body.items.split_last() {
            Some(split) => split,
            None => return pieces(lines, &self.head, &self.padding, 0),
        };
        let plain = self.body.before.is_none()
            && most.iter().all(|item| item.trailing.is_none())
            && self.body.items.iter().all(|item| item.leading.is_empty());
        let chain = if plain { flat_chain(&self.body.items) } else { None };
        if self.head.is_empty() && self.body.items.len() == 1 {
            leading(lines, last, 0);
            pieces(lines, &last.pieces, &self.padding, 0);
            return self.ending(lines, last, 0);
        }
        pieces(lines, &self.head, &self.padding, 0);
        if let Some(chain) = &chain
            && !lines.is_closed()
            && lines.column() + 1 + chain.chars().count() <= WIDTH
        {
            lines.code(&format!(" {chain}"));
            return self.ending(lines, last, 0);
        }
        // A lone call breaks behind its bracket, on the line of its `=`.
        if plain && most.is_empty() && !lines.is_closed() && ends_in_group(last) {
            lines.code(" ");
            pieces(lines, &last.pieces, &[], 0);
            return self.ending(lines, last, 0);
        }
        if let Some(comment) = &self.body.before {
            lines.comment(INDENT, comment);
        }
        if let Some(chain) = chain.filter(|chain| INDENT + chain.chars().count() <= WIDTH) {
            lines.begin(INDENT);
            lines.code(&chain);
            return self.ending(lines, last, INDENT);
        }
        for (index, item) in self.body.items.iter().enumerate() {
            leading(lines, item, INDENT);
            lines.begin(INDENT);
            if index > 0 {
                lines.code("-> ");
            }
            pieces(lines, &item.pieces, &[], INDENT);
            if index < most.len() {
                trailing(lines, item, INDENT);
            }
        }
        self.ending(lines, last, INDENT);
    }

    /// What comes behind the last item.
    fn ending(&self, lines: &mut Lines, last: &Item, indent: usize) {
        trailing(lines, last, indent);
        own(lines, &self.body.dangling, indent);
    }
}

fn ends_in_group(item: &Item) -> bool {
    matches!(item.pieces.last(), Some(Piece::Group(_)))
}

fn leading(lines: &mut Lines, item: &Item, indent: usize) {
    own(lines, &item.leading, indent);
}

fn own(lines: &mut Lines, comments: &[super::pieces::Own], indent: usize) {
    for comment in comments {
        if comment.blank {
            lines.blank();
        }
        lines.own_comment(indent, &comment.text);
    }
}

fn trailing(lines: &mut Lines, item: &Item, indent: usize) {
    if let Some(comment) = &item.trailing {
        lines.comment(indent, comment);
    }
}

/// Writes pieces on the last line; groups that don't fit on it are broken, one item a line.
fn pieces(lines: &mut Lines, pieces: &[Piece], padding: &[usize], indent: usize) {
    let mut before: Option<&Piece> = None;
    for (index, piece) in pieces.iter().enumerate() {
        if let Piece::Comment(text) = piece {
            lines.comment(indent + INDENT, text);
            before = None;
            continue;
        }
        if lines.is_closed() {
            lines.begin(indent + INDENT);
        } else if before.is_some_and(|before| spaced(before, piece)) {
            lines.code(" ");
        }
        match piece {
            Piece::Group(inner) => group(lines, inner, called(before, inner), indent),
            Piece::Word(word) => lines.code(word),
            Piece::Comment(_) => {}
        }
        lines.code(&" ".repeat(padding.get(index).copied().unwrap_or(0)));
        before = Some(piece);
    }
}

/// `arguments`: the group's items, with a comma behind each; else a chain, unless it is a list.
fn group(lines: &mut Lines, group: &Group, arguments: bool, indent: usize) {
    let mut line = String::new();
    // Room for the comma that may follow.
    if flat_group(&mut line, group) && lines.column() + line.chars().count() < WIDTH {
        return lines.code(&line);
    }
    lines.code(&group.open);
    if let Some(comment) = &group.after_open {
        lines.comment(indent + INDENT, comment);
    }
    for item in &group.items {
        leading(lines, item, indent + INDENT);
        match group.open == "(" && !arguments {
            true => stages(lines, &item.pieces, indent + INDENT),
            false => {
                lines.begin(indent + INDENT);
                pieces(lines, &item.pieces, &[], indent + INDENT);
                lines.code(",");
            }
        }
        trailing(lines, item, indent + INDENT);
    }
    own(lines, &group.dangling, indent + INDENT);
    lines.begin(indent);
    lines.code(&group.close);
}

fn is_arrow(piece: &Piece) -> bool {
    matches!(piece, Piece::Word(word) if word == "->")
}

/// A chain in parentheses, which ends without a comma: a stage a line, where they don't fit on one.
fn stages(lines: &mut Lines, chain: &[Piece], indent: usize) {
    let mut line = String::new();
    if flat_into(&mut line, chain, &[]) && indent + line.chars().count() <= WIDTH {
        lines.begin(indent);
        return lines.code(&line);
    }
    for (number, stage) in chain.split(is_arrow).enumerate() {
        lines.begin(indent);
        if number > 0 {
            lines.code("-> ");
        }
        pieces(lines, stage, &[], indent);
    }
}

/// All items on one line; `None` where a comment inside one forbids it.
fn flat_chain(items: &[Item]) -> Option<String> {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text += " -> ";
        }
        if !flat_into(&mut text, &item.pieces, &[]) {
            return None;
        }
    }
    Some(text)
}

/// Adds pieces to a line; false where that is not possible.
fn flat_into(text: &mut String, pieces: &[Piece], padding: &[usize]) -> bool {
    let mut before: Option<&Piece> = None;
    for (index, piece) in pieces.iter().enumerate() {
        if before.is_some_and(|before| spaced(before, piece)) {
            text.push(' ');
        }
        match piece {
            Piece::Word(word) if word.contains('\n') => return false,
            Piece::Word(word) => text.push_str(word),
            Piece::Comment(_) => return false,
            Piece::Group(inner) => {
                if !flat_group(text, inner) {
                    return false;
                }
            }
        }
        text.push_str(&" ".repeat(padding.get(index).copied().unwrap_or(0)));
        before = Some(piece);
    }
    true
}

fn flat_group(text: &mut String, group: &Group) -> bool {
    if group.after_open.is_some() || !group.dangling.is_empty() {
        return false;
    }
    text.push_str(&group.open);
    for (index, item) in group.items.iter().enumerate() {
        if !item.leading.is_empty() || item.trailing.is_some() {
            return false;
        }
        if index > 0 {
            text.push_str(", ");
        }
        if !flat_into(text, &item.pieces, &[]) {
            return false;
        }
    }
    text.push_str(&group.close);
    true
}

/// Whether a group is what a name is called with.
fn called(before: Option<&Piece>, group: &Group) -> bool {
    match before {
        Some(Piece::Word(word)) if !matches!(word.as_str(), "then" | "else") => {
            group.open == "(" && word.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        }
        _ => false,
    }
}

/// Whether a space stands between two pieces of a line.
fn spaced(before: &Piece, after: &Piece) -> bool {
    let before_word = match before {
        Piece::Word(word) => word.as_str(),
        _ => "",
    };
    match after {
        // A call's parentheses stand close to its name, others apart from what is before them.
        Piece::Group(group) => !called(Some(before), group),
        Piece::Word(word) => !matches!(word.as_str(), "." | ".." | ":" | ",") && !matches!(before_word, "." | ".."),
        Piece::Comment(_) => false,
    }
}
