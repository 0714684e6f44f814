//! `ftp diff`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use super::past::{self, Named, Past, scores};
use super::{Exit, project};
use crate::report::text;
use crate::store::{Differing, Manifest, RunRecord, Store, StoreError};

#[derive(Args)]
pub(super) struct Diff {
    /// What to compare with: a run, or a result, named as for `ftp show` [default: the run before the last one of its file]
    #[arg(value_name = "OLD", requires = "new")]
    old: Option<String>,
    /// What is compared: of the same sort [default: the last run]
    #[arg(value_name = "NEW")]
    new: Option<String>,
    #[command(flatten)]
    past: Past,
}

/// Two results that are compared: what they are called, and each, where it is there.
struct Pair {
    name: String,
    old: Option<Manifest>,
    new: Option<Manifest>,
}

impl Diff {
    pub fn run(self) -> Exit {
        self.compare().unwrap_or_else(|error| {
            project::print_error(&error);
            Exit::Failed
        })
    }

    fn compare(&self) -> Result<Exit, StoreError> {
        let store = self.past.open()?;
        let sides = match (&self.old, &self.new) {
            (Some(old), Some(new)) => Some((past::find(&store, old)?, past::find(&store, new)?)),
            _ => last_two(&store)?,
        };
        let (set, pairs) = match sides {
            None => {
                println!("there are no two runs of one file to compare");
                return Ok(Exit::Ok);
            }
            Some((Named::Run(old), Named::Run(new))) => (set(&old, &new), pairs(&store, &old, &new)),
            Some((Named::Result(old), Named::Result(new))) => {
                let name = new.label.clone();
                (vec![], vec![Pair { name, old: Some(*old), new: Some(*new) }])
            }
            Some(_) => {
                eprintln!("a run is compared with a run, and a result with a result");
                return Ok(Exit::Usage);
            }
        };
        let mut leaves: Vec<Differing> = vec![];
        for (old, new) in pairs.iter().filter_map(|pair| Some((pair.old.as_ref()?, pair.new.as_ref()?))) {
            for one in store.differences(old, new) {
                if !leaves.contains(&one) {
                    leaves.push(one);
                }
            }
        }
        match self.past.json {
            true => println!("{}", as_json(&set, &leaves, &pairs)),
            false => print(&set, &leaves, &pairs),
        }
        Ok(Exit::Ok)
    }
}

/// The last run, and the one before it of the same file.
fn last_two(store: &Store) -> Result<Option<(Named, Named)>, StoreError> {
    let mut runs = store.known_runs()?.into_iter();
    let Some(new) = runs.next() else { return Ok(None) };
    let old = runs.find(|run| run.path == new.path);
    Ok(old.map(|old| (Named::Run(Box::new(old)), Named::Run(Box::new(new)))))
}

/// What each pipeline came to in both runs.
fn pairs(store: &Store, old: &RunRecord, new: &RunRecord) -> Vec<Pair> {
    let names: BTreeSet<&String> = old.pipelines.keys().chain(new.pipelines.keys()).collect();
    let result = |run: &RunRecord, name: &String| store.result(run.pipelines.get(name)?).ok().flatten();
    names.into_iter().map(|name| Pair { name: name.clone(), old: result(old, name), new: result(new, name) }).collect()
}

/// Parameters of the command line that differ: name, old, new.
fn set(old: &RunRecord, new: &RunRecord) -> Vec<(String, Option<String>, Option<String>)> {
    let of = |run: &RunRecord| run.set.iter().cloned().collect::<BTreeMap<String, String>>();
    let (old, new) = (of(old), of(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let both = names.into_iter().map(|name| (name.clone(), old.get(name).cloned(), new.get(name).cloned()));
    both.filter(|(_, old, new)| old != new).collect()
}

/// Scores of both sides of a pair, by name.
fn scored(pair: &Pair) -> Vec<(String, Option<f64>, Option<f64>)> {
    let of = |side: &Option<Manifest>| -> BTreeMap<String, f64> { side.iter().flat_map(scores).collect() };
    let (old, new) = (of(&pair.old), of(&pair.new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().map(|name| (name.clone(), old.get(name).copied(), new.get(name).copied())).collect()
}

fn as_json(
    set: &[(String, Option<String>, Option<String>)],
    leaves: &[Differing],
    pairs: &[Pair],
) -> serde_json::Value {
    let key = |side: &Option<Manifest>| side.as_ref().map(|manifest| manifest.key.clone());
    let results = pairs.iter().map(|pair| {
        let scores = scored(pair).into_iter().map(|(name, old, new)| json!({ "name": name, "old": old, "new": new }));
        json!({
            "name": pair.name, "old": key(&pair.old), "new": key(&pair.new),
            "scores": scores.collect::<Vec<_>>(),
        })
    });
    let set = set.iter().map(|(name, old, new)| json!({ "name": name, "old": old, "new": new }));
    json!({ "set": set.collect::<Vec<_>>(), "differences": leaves, "results": results.collect::<Vec<_>>() })
}

fn print(set: &[(String, Option<String>, Option<String>)], leaves: &[Differing], pairs: &[Pair]) {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".to_owned());
    if !set.is_empty() {
        println!("given on the command line");
        set.iter().for_each(|(name, old, new)| println!("  {name}: {} -> {}", shown(old), shown(new)));
    }
    let mut stage = None;
    for one in leaves {
        if stage != Some(&one.stage) {
            println!("{}", one.stage);
            stage = Some(&one.stage);
        }
        println!("  {}: {} -> {}", one.leaf, shown(&one.old), shown(&one.new));
    }
    if leaves.is_empty() && pairs.iter().all(|pair| pair.old.is_some() && pair.new.is_some()) {
        println!("made from the same");
    }
    for pair in pairs {
        match (&pair.old, &pair.new) {
            (None, None) => println!("\n{}: no result is left", pair.name),
            (None, Some(_)) => println!("\n{}: is new", pair.name),
            (Some(_), None) => println!("\n{}: is gone", pair.name),
            (Some(old), Some(new)) if old.output == new.output => println!("\n{}: the same result", pair.name),
            (Some(_), Some(_)) => {
                println!("\n{}", pair.name);
                for (name, old, new) in scored(pair) {
                    let metric = |value: Option<f64>| value.map_or("-".to_owned(), text::metric);
                    let change = old.zip(new).map_or(String::new(), |(old, new)| format!("  ({:+.4})", new - old));
                    println!("  {name} {} -> {}{change}", metric(old), metric(new));
                }
            }
        }
    }
}
