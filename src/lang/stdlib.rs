//! The standard library: modules written in the language, part of the program.

/// Name and text of each module.
pub const MODULES: &[(&str, &str)] = &[
    ("adaptive", include_str!("../../stdlib/adaptive.ftp")),
    ("behavioural", include_str!("../../stdlib/behavioural.ftp")),
    ("efficient", include_str!("../../stdlib/efficient.ftp")),
    ("stability", include_str!("../../stdlib/stability.ftp")),
];

/// The text of `std.name`.
pub fn module(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
