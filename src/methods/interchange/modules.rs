//! Names of modules, as a configuration lists those that have a delta.

use indexmap::IndexSet;

use crate::nn::models::layout::Layout;

/// All modules of a model, those that hold others among them.
pub(super) fn all(layout: &Layout) -> IndexSet<String> {
    let mut modules = IndexSet::new();
    for slot in &layout.slots {
        let ends = slot.name.match_indices('.').map(|(at, _)| at);
        modules.extend(ends.map(|at| slot.name[..at].to_owned()));
    }
    modules
}

/// The shortest ends of names that match these modules and no other: `query` for the queries of all layers.
pub(super) fn endings(sites: &IndexSet<String>, all: &IndexSet<String>) -> Vec<String> {
    let mut endings = IndexSet::new();
    for site in sites {
        let mut starts: Vec<usize> = site.match_indices('.').map(|(at, _)| at + 1).collect();
        starts.insert(0, 0);
        let own = |ending: &str| {
            let dotted = format!(".{ending}");
            all.iter()
                .filter(|module| *module == ending || module.ends_with(&dotted))
                .all(|module| sites.contains(module))
        };
        let shortest = starts.iter().rev().map(|start| &site[*start..]).find(|ending| own(ending));
        endings.insert(shortest.unwrap_or(site).to_owned());
    }
    endings.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> IndexSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn endings_are_as_short_as_they_can_be_without_matching_another_module() {
        let all = set(&[
            "m.0.self.query",
            "m.1.self.query",
            "m.0.attention.output",
            "m.0.output",
            "m.1.attention.output",
            "m.1.output",
            "m.1",
        ]);
        assert_eq!(endings(&set(&["m.0.self.query", "m.1.self.query"]), &all), ["query"]);
        assert_eq!(endings(&set(&["m.1.self.query"]), &all), ["1.self.query"]);
        assert_eq!(endings(&set(&["m.0.output", "m.1.output"]), &all), ["0.output", "1.output"]);
        let both = set(&["m.0.output", "m.1.output", "m.0.attention.output", "m.1.attention.output"]);
        assert_eq!(endings(&both, &all), ["output"]);
    }
}
