//! Bytes -> text. UTF-8 only: what is something else is named, not guessed into letters.

use crate::data::error::problem;
use crate::data::fault::{Fault, Kind};
use crate::lang::world::SourceError;

/// A file as text. Bytes that are not UTF-8 stand as U+FFFD, and the lines they are on are known.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub text: String,
    invalid: Vec<Invalid>,
    looks_single_byte: bool,
}

/// The first bad byte of a line.
#[derive(Debug)]
struct Invalid {
    line: u64,
    column: u64,
    byte: u8,
}

impl Decoded {
    /// The fault of a row that spans these lines, if one of its bytes was not UTF-8.
    pub fn fault(&self, first: u64, last: u64) -> Option<Fault> {
        let at = self.invalid.partition_point(|invalid| invalid.line < first);
        let invalid = self.invalid.get(at).filter(|invalid| invalid.line <= last)?;
        let line = if invalid.line == first { String::new() } else { format!("line {}, ", invalid.line) };
        let guess = if self.looks_single_byte { "; the file looks like Latin-1 (Windows-1252)" } else { "" };
        let Invalid { column, byte, .. } = invalid;
        Some(Fault::new(Kind::InvalidUtf8, format!("{line}column {column}: the byte 0x{byte:02X} is not UTF-8{guess}")))
    }
}

/// Decodes a file, without its byte order mark.
pub(super) fn decode(shown: &str, bytes: Vec<u8>) -> Result<Decoded, SourceError> {
    refuse_compressed(shown, &bytes)?;
    if let Some(encoding) = utf16(&bytes) {
        return Err(problem(
            "ftp::data::encoding",
            Some("path"),
            format!("{shown} is {encoding}, not UTF-8"),
            "not UTF-8",
            format!("convert it: `iconv -f UTF-16 -t UTF-8 {shown} > new`"),
        ));
    }
    if bytes.contains(&0) {
        return Err(problem(
            "ftp::data::encoding",
            Some("path"),
            format!("{shown} is not text: it has zero bytes"),
            "not text",
            "use a UTF-8 text file",
        ));
    }
    let decoded = match String::from_utf8(bytes) {
        Ok(text) => Decoded { text, ..Decoded::default() },
        Err(error) => lossy(error.as_bytes()),
    };
    let decoded = match decoded.text.strip_prefix('\u{feff}') {
        Some(rest) => Decoded { text: rest.to_string(), ..decoded },
        None => decoded,
    };
    if decoded.text.trim().is_empty() { Err(empty(shown)) } else { Ok(decoded) }
}

pub(super) fn empty(shown: &str) -> SourceError {
    problem(
        "ftp::data::empty_file",
        Some("path"),
        format!("{shown} is empty"),
        "an empty file",
        "remove it, or fill it",
    )
}

/// Compressed files by their first bytes, whatever they are called.
pub(super) fn refuse_compressed(shown: &str, bytes: &[u8]) -> Result<(), SourceError> {
    const MAGIC: [(&[u8], &str, &str); 5] = [
        (b"\x1f\x8b", "gzip", "gunzip -k"),
        (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"),
        (b"PK\x03\x04", "a zip archive", "unzip"),
        (b"\xfd7zXZ\x00", "xz", "xz -dk"),
        (b"BZh", "bzip2", "bunzip2 -k"),
    ];
    match MAGIC.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        None => Ok(()),
        Some((_, name, command)) => Err(problem(
            "ftp::data::compressed",
            Some("path"),
            format!("{shown} is compressed ({name})"),
            "compressed",
            format!("unpack it first: `{command} {shown}`"),
        )),
    }
}

/// UTF-16 by its byte order mark, or by zero bytes in every second place, as Latin letters have them.
fn utf16(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(&[0xff, 0xfe]) {
        return Some("UTF-16 (little endian)");
    }
    if bytes.starts_with(&[0xfe, 0xff]) {
        return Some("UTF-16 (big endian)");
    }
    let start = &bytes[..bytes.len().min(4096)];
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, most) = (zeros(0), zeros(1), start.len() * 2 / 5);
    match start.len() >= 4 {
        true if odd > most && even == 0 => Some("UTF-16 (little endian)"),
        true if even > most && odd == 0 => Some("UTF-16 (big endian)"),
        _ => None,
    }
}

fn lossy(bytes: &[u8]) -> Decoded {
    let (mut text, mut invalid) = (String::with_capacity(bytes.len()), Vec::<Invalid>::new());
    let (mut line, mut column, mut multibyte) = (1, 1, false);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            multibyte |= !character.is_ascii() && character != '\u{feff}';
            if character == '\n' {
                (line, column) = (line + 1, 1);
            } else {
                column += 1;
            }
        }
        text.push_str(chunk.valid());
        if let Some(&byte) = chunk.invalid().first() {
            if invalid.last().is_none_or(|last| last.line != line) {
                invalid.push(Invalid { line, column, byte });
            }
            text.push(char::REPLACEMENT_CHARACTER);
            column += 1;
        }
    }
    Decoded { text, invalid, looks_single_byte: !multibyte }
}
