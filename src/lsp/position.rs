//! Byte offsets <-> lines and columns as the protocol counts them.

use lsp_types::{Position, PositionEncodingKind, Range};

use crate::syntax::Span;

/// What a column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes.
    Utf8,
    /// 16-bit units: what every client understands.
    Utf16,
    /// Characters.
    Utf32,
}

impl Encoding {
    /// The first of the client's that is known here; clients list theirs in the order they like them.
    pub fn negotiate(offered: Option<&[PositionEncodingKind]>) -> Self {
        let known = |kind: &PositionEncodingKind| match kind.as_str() {
            "utf-8" => Some(Encoding::Utf8),
            "utf-16" => Some(Encoding::Utf16),
            "utf-32" => Some(Encoding::Utf32),
            _ => None,
        };
        offered.unwrap_or_default().iter().find_map(known).unwrap_or(Encoding::Utf16)
    }

    pub fn kind(self) -> PositionEncodingKind {
        match self {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
            Encoding::Utf32 => PositionEncodingKind::UTF32,
        }
    }

    fn width(self, character: char) -> usize {
        match self {
            Encoding::Utf8 => character.len_utf8(),
            Encoding::Utf16 => character.len_utf16(),
            Encoding::Utf32 => 1,
        }
    }
}

/// Where the lines of a text begin. A line ends with `\n`, `\r\n` or `\r`, as the protocol has it.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    starts: Vec<usize>,
    encoding: Encoding,
}

impl Lines {
    pub fn new(text: &str, encoding: Encoding) -> Self {
        let bytes = text.as_bytes();
        let ends = |at: &usize| bytes[*at] == b'\n' || bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let starts = std::iter::once(0).chain((0..bytes.len()).filter(ends).map(|at| at + 1)).collect();
        Self { starts, encoding }
    }

    /// The place of a byte offset into the text; one inside a character, or inside a line's end, counts as its beginning.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let offset = floor(text, offset);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = text[self.starts[line]..offset].trim_end_matches('\r');
        let column: usize = before.chars().map(|c| self.encoding.width(c)).sum();
        Position::new(line as u32, column as u32)
    }

    /// The byte offset of a place. Columns behind the end of a line mean its end, lines behind the last the end of the
    /// text; a place inside a character means its beginning.
    pub fn offset(&self, text: &str, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line as usize).copied() else { return text.len() };
        let end = self.starts.get(position.line as usize + 1).copied().unwrap_or(text.len());
        let line = text[start..end].trim_end_matches(['\n', '\r']);
        let mut column = 0;
        for (at, character) in line.char_indices() {
            column += self.encoding.width(character);
            if column > position.character as usize {
                return start + at;
            }
        }
        start + line.len()
    }

    pub fn range(&self, text: &str, span: Span) -> Range {
        Range::new(self.position(text, span.start), self.position(text, span.end))
    }

    /// The span of a range; of one that is the wrong way round, too.
    pub fn span(&self, text: &str, range: Range) -> Span {
        let (start, end) = (self.offset(text, range.start), self.offset(text, range.end));
        Span::new(start.min(end), start.max(end))
    }
}

fn floor(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a\u{e9}\u{1f600}b\r\nc\n\n\u{4e2d}";

    #[test]
    fn columns_count_what_was_agreed_on() {
        let column = |encoding| Lines::new(TEXT, encoding).position(TEXT, TEXT.find('b').unwrap()).character;
        // One letter of 1 byte, one of 2 bytes and 1 unit, one of 4 bytes and 2 units.
        assert_eq!(column(Encoding::Utf8), 7);
        assert_eq!(column(Encoding::Utf16), 4);
        assert_eq!(column(Encoding::Utf32), 3);
    }

    #[test]
    fn every_offset_comes_back() {
        for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32] {
            let lines = Lines::new(TEXT, encoding);
            // Between `\r` and `\n` there is no place.
            for (offset, _) in TEXT.char_indices().filter(|(_, character)| *character != '\n') {
                assert_eq!(lines.offset(TEXT, lines.position(TEXT, offset)), offset, "{encoding:?}");
            }
        }
    }

    #[test]
    fn places_that_are_not_there_mean_the_nearest_that_is() {
        let lines = Lines::new(TEXT, Encoding::Utf16);
        assert_eq!(lines.offset(TEXT, Position::new(0, 99)), TEXT.find('\r').unwrap());
        assert_eq!(lines.offset(TEXT, Position::new(99, 0)), TEXT.len());
        assert_eq!(lines.offset(TEXT, Position::new(0, 3)), TEXT.find('\u{1f600}').unwrap());
    }

    #[test]
    fn the_clients_order_decides_and_utf_16_is_always_understood() {
        let kinds = [PositionEncodingKind::new("x"), PositionEncodingKind::UTF8, PositionEncodingKind::UTF16];
        assert_eq!(Encoding::negotiate(Some(&kinds)), Encoding::Utf8);
        assert_eq!(Encoding::negotiate(Some(&[])), Encoding::Utf16);
        assert_eq!(Encoding::negotiate(None), Encoding::Utf16);
    }
}
