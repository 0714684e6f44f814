//! Imports point downwards: a layer of `src/` uses only the layers before it.

mod walk;

use std::fs;
use std::path::Path;

/// From the bottom to the top, as docs/architecture.md lists them.
const LAYERS: &[&[&str]] = &[
    &["event", "net", "random"],
    &["syntax"],
    &["lang"],
    &["plan"],
    &["store"],
    &["hub"],
    &["modules"],
    &["archive"],
    &["remote"],
    &["data"],
    &["nn"],
    &["train"],
    &["methods"],
    &["exec"],
    &["report"],
    &["lsp"],
    &["cli"],
];

fn level(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|names| names.contains(&layer))
        .unwrap_or_else(|| panic!("`{layer}` is not in the list of layers"))
}

#[test]
fn no_layer_uses_a_layer_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walk::sources_under(&root);
    assert!(files.len() > 100, "the sources are not found");
    let mut upwards = vec![];
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src");
        let layer = relative.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        if layer == "lib" || layer == "main" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        for (number, line) in text.lines().enumerate() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if level(&used) > level(&layer) {
                    upwards.push(format!("src/{}:{}: {layer} uses {used}", relative.display(), number + 1));
                }
            }
        }
    }
    assert!(upwards.is_empty(), "imports that point upwards:\n{}", upwards.join("\n"));
}
