//! Paths <-> `file:` addresses.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lsp_types::Uri;

/// The path of a `file:` address; `None` for others, such as `untitled:`.
pub(super) fn path(uri: &Uri) -> Option<PathBuf> {
    let rest = uri.as_str().strip_prefix("file://")?;
    // Behind `//` stands a host: none, or this one.
    let encoded = rest.strip_prefix("localhost").unwrap_or(rest);
    let encoded = encoded.split(['?', '#']).next().unwrap_or(encoded);
    let bytes = decode(encoded)?;
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.is_absolute().then_some(path)
}

/// The address of a path.
pub(super) fn of_path(path: &Path) -> Option<Uri> {
    let mut text = "file://".to_owned();
    for byte in path.to_str()?.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").ok()?,
        }
    }
    text.parse().ok()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    Some(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_from_its_address() {
        for shown in ["/a/b.ftp", "/with space/\u{e9}\u{1f600}/100%#?.ftp"] {
            assert_eq!(path(&of_path(Path::new(shown)).unwrap()).unwrap(), Path::new(shown));
        }
        assert_eq!(of_path(Path::new("/a b")).unwrap().as_str(), "file:///a%20b");
    }

    #[test]
    fn what_is_no_file_has_no_path() {
        for address in ["untitled:Untitled-1", "https://example.org/a.ftp", "file://host/a.ftp"] {
            assert_eq!(path(&address.parse().unwrap()), None, "{address}");
        }
    }
}
