//! Places in a source text.

use serde::{Deserialize, Serialize};

/// A half-open range of byte offsets into one text: that of a [`Source`] or of a module it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// 0 for the source itself, from 1 for its modules.
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// A place in the source itself.
    pub fn new(start: usize, end: usize) -> Self {
        Self { file: 0, start, end }
    }

    pub fn in_file(self, file: usize) -> Self {
        Self { file, ..self }
    }

    /// The smallest span that covers both, which are of one file.
    pub fn to(self, other: Span) -> Self {
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether another place lies in this one.
    pub fn contains(self, other: Span) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }
}

/// Where an address names a user and a password, or a token: `https://HERE@host`. The plain name of a user of ssh is none.
fn credentials(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    text.match_indices("://").filter_map(|(at, separator)| {
        let start = at + separator.len();
        let host = text[start..].split(|c: char| c.is_whitespace() || "/\"".contains(c)).next()?;
        let (user, _) = host.rsplit_once('@')?;
        let plain = text[..at].ends_with("ssh") && !user.contains(':');
        (!plain).then(|| start..start + user.len())
    })
}

impl From<Span> for miette::SourceSpan {
    fn from(span: Span) -> Self {
        (span.start, span.end - span.start).into()
    }
}

/// A source text and the name to show for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// As the user wrote it on the command line; for a module its path, or `std.adaptive`.
    pub name: String,
    pub text: String,
    /// The texts of the modules it uses, and of those that they use; in the order of [`Span::file`].
    pub modules: Vec<Source>,
    /// Bytes of the text that may be a secret, written by mistake: no report shows them.
    hidden: Vec<std::ops::Range<usize>>,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), modules: vec![], hidden: vec![] }
    }

    /// From now on no report shows the strings in the line of a place, from there on.
    pub fn hide(&mut self, span: Span) {
        let file = match span.file.checked_sub(1) {
            Some(module) if module < self.modules.len() => &mut self.modules[module],
            _ => self,
        };
        let rest = file.text.get(span.start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        if let Some((first, last)) = line.find('"').zip(line.rfind('"')) {
            file.hidden.push(span.start + first + 1..span.start + last.max(first + 1));
        }
    }

    /// The text as reports show it, of the same length.
    pub fn shown(&self) -> std::borrow::Cow<'_, str> {
        let hidden: Vec<_> = self.hidden.iter().cloned().chain(credentials(&self.text)).collect();
        if hidden.is_empty() {
            return self.text.as_str().into();
        }
        let hidden = |at: usize| hidden.iter().any(|range| range.contains(&at));
        let masked = |(at, c): (usize, char)| if hidden(at) { "*".repeat(c.len_utf8()) } else { c.to_string() };
        self.text.char_indices().map(masked).collect::<String>().into()
    }

    /// The file that a place is in.
    pub fn of(&self, span: Span) -> &Source {
        match span.file {
            0 => self,
            module => self.modules.get(module - 1).unwrap_or(self),
        }
    }

    /// Line and column (both from 1, columns in characters) of a byte offset into this file's own text.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// `name:line:column` of a span's beginning.
    pub fn place(&self, span: Span) -> String {
        let file = self.of(span);
        let (line, column) = file.position(span.start);
        format!("{}:{line}:{column}", file.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_report_shows_what_an_address_says_of_its_user() {
        let shown = |text: &str| Source::new("a.ftp", text).shown().into_owned();
        assert_eq!(shown("use git(\"https://me:secr\u{e9}t@host/a\")"), "use git(\"https://**********@host/a\")");
        assert_eq!(shown("# https://token@host, ssh://me:secret@host"), "# https://*****@host, ssh://*********@host");
        for plain in ["ssh://git@host/a", "https://host/a@v1", "git@host:a", "a -> b # ://"] {
            assert_eq!(shown(plain), plain);
        }
    }
}
