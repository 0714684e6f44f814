//! What the models that a pipeline begins with say about themselves: their names on the Hub, license and language.

use std::path::Path;

use crate::lang::ir::Node;

/// Only what is said somewhere; nothing is guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// As `config.json` names the model it was made from: `bert-base-uncased`, `nreimers/MiniLM-L6`.
    pub models: Vec<String>,
    /// Of one model, or the same of all.
    pub license: Option<String>,
    pub languages: Vec<String>,
}

impl Origin {
    /// Reads `config.json` and the model card of every model directory among these sources.
    pub fn of<'a>(sources: impl Iterator<Item = &'a Node>) -> Self {
        let mut origin = Self::default();
        let mut licenses = vec![];
        for node in sources.filter(|node| node.method == "hf") {
            let files = node.source.iter().flat_map(|facts| &facts.files);
            let Some(directory) = files.filter_map(|file| file.path.parent()).next() else { continue };
            origin.models.extend(name(directory).filter(|name| !origin.models.contains(name)));
            let card = std::fs::read_to_string(directory.join("README.md")).unwrap_or_default();
            licenses.push(values(&card, "license").into_iter().next());
            for language in values(&card, "language") {
                if !origin.languages.contains(&language) {
                    origin.languages.push(language);
                }
            }
        }
        if licenses.windows(2).all(|pair| pair[0] == pair[1]) {
            origin.license = licenses.into_iter().next().flatten();
        }
        origin
    }
}

/// The name of the model on the Hub, where its configuration has one. A path of someone's machine is none.
fn name(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let name = config["_name_or_path"].as_str()?;
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    (name.split('/').count() <= 2 && name.split('/').all(part)).then(|| name.to_owned())
}

/// The values of a key in a card's front matter: a plain word, or a list of them.
fn values(card: &str, key: &str) -> Vec<String> {
    let mut lines = card.lines().map(str::trim_end);
    if lines.next() != Some("---") {
        return vec![];
    }
    let mut front = lines
        .take_while(|line| *line != "---")
        .skip_while(|line| line.strip_prefix(key).is_none_or(|rest| !rest.starts_with(':')));
    let Some(first) = front.next() else { return vec![] };
    let inline = first[key.len() + 1..].trim();
    let plain = |text: &str| {
        let text = text.trim().trim_matches(['"', '\'']);
        let known = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        known.then(|| text.to_owned())
    };
    match inline.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        Some(list) => list.split(',').filter_map(plain).collect(),
        None if !inline.is_empty() => plain(inline).into_iter().collect(),
        None => front.map_while(|line| line.trim_start().strip_prefix("- ").map(plain)).flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_front_matter_are_read_where_they_are_plain() {
        let card =
            "---\nlanguage:\n- en\n- \"de\"\nlicense: mit\ntags: [a, 'b']\nlicense_name: other\n---\nlicense: no\n";
        assert_eq!(values(card, "language"), ["en", "de"]);
        assert_eq!(values(card, "license"), ["mit"]);
        assert_eq!(values(card, "tags"), ["a", "b"]);
        assert!(values(card, "datasets").is_empty());
        assert!(values("license: mit\n", "license").is_empty(), "there is no front matter");
        assert!(values("---\nlicense: {a: b}\n---\n", "license").is_empty(), "that is no word");
    }

    #[test]
    fn a_path_is_no_name_on_the_hub() {
        let directory = tempfile::tempdir().expect("a directory");
        let named = |text: &str| {
            let config = serde_json::json!({ "_name_or_path": text });
            std::fs::write(directory.path().join("config.json"), config.to_string()).expect("written");
            name(directory.path())
        };
        assert_eq!(named("bert-base-uncased").as_deref(), Some("bert-base-uncased"));
        assert_eq!(named("org/model.v2").as_deref(), Some("org/model.v2"));
        for path in ["/home/me/model", "./model", "../m", "a/b/c", "", "a b"] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
