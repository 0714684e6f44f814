//! `ftp cache`: what the store holds, what may go, whether it is whole.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::past::{SHOWN, ago};
use super::{Exit, project};
use crate::report::{table, text};
use crate::store::{Collection, Part, Policy, Store, StoreError, StoredResult, Survey};

#[derive(Args)]
pub(super) struct Cache {
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE", global = true)]
    store: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the results: key, size, age, stage, and why each is kept
    Ls(Keep),
    /// Show how much each part of the store takes
    Du,
    /// Remove what nothing keeps: no pin, no run that goes on, none of the last runs, not young
    Gc(Gc),
    /// Keep a result, with all it was made from, until it is unpinned
    Pin(Named),
    /// Undo `pin`
    Unpin(Named),
    /// Read everything, and move aside what is not as it was written; exit code 1 when something was
    Verify,
}

#[derive(Args)]
struct Keep {
    /// Keep the results of this many runs of each file; runs with the same results count once
    #[arg(long, value_name = "N", default_value_t = Policy::default().keep_runs)]
    keep_runs: usize,
    /// Keep what is younger than this: a number and s, min, h or d
    #[arg(long, value_name = "AGE", default_value = "14d", value_parser = duration)]
    grace: Duration,
}

#[derive(Args)]
struct Gc {
    #[command(flatten)]
    keep: Keep,
    /// Only show what would go, and how much that is
    #[arg(long)]
    plan: bool,
}

#[derive(Args)]
struct Named {
    /// The first characters of a key, or the name of a pipeline: what the last run that finished it came to
    #[arg(value_name = "KEY|PIPELINE")]
    name: String,
}

impl Cache {
    pub fn run(self) -> Exit {
        let done = Store::open(project::store_directory(self.store.as_deref())).and_then(|store| match &self.action {
            Action::Ls(keep) => self.list(&store, &keep.policy()),
            Action::Du => self.usage(&store),
            Action::Gc(gc) => self.collect(&store, gc),
            Action::Pin(named) => self.pin(&store, &named.name),
            Action::Unpin(named) => self.unpin(&store, &named.name),
            Action::Verify => self.verify(&store),
        });
        done.unwrap_or_else(|error| {
            project::print_error(&error);
            Exit::Failed
        })
    }

    fn list(&self, store: &Store, policy: &Policy) -> Result<Exit, StoreError> {
        let Survey { mut results, damaged, .. } = store.survey(policy)?;
        results.sort_by(|one, other| (one.age, &one.manifest.key).cmp(&(other.age, &other.manifest.key)));
        if self.json {
            let damaged: Vec<_> = damaged.iter().map(|reading| &reading.path).collect();
            println!("{}", json!({ "results": results.iter().map(row).collect::<Vec<_>>(), "damaged": damaged }));
            return Ok(Exit::Ok);
        }
        let cells = |one: &StoredResult| {
            let manifest = &one.manifest;
            let why = one.why.as_ref().map_or_else(|| "nothing keeps it".to_owned(), ToString::to_string);
            vec![manifest.key[..SHOWN].to_owned(), text::bytes(one.bytes()), ago(one.age), manifest.label.clone(), why]
        };
        let rows: Vec<_> = results.iter().map(cells).collect();
        print!("{}", table::render(&["key", "size", "age", "stage", "kept because"], &rows));
        for reading in damaged {
            println!("  damaged: {} (`ftp cache verify` moves it aside)", reading.path.display());
        }
        Ok(Exit::Ok)
    }

    fn usage(&self, store: &Store) -> Result<Exit, StoreError> {
        let parts = store.usage()?;
        let total = parts.iter().map(|part| part.bytes).sum();
        if self.json {
            let parts: serde_json::Map<_, _> = parts
                .iter()
                .map(|part| (part.name.to_owned(), json!({ "files": part.files, "bytes": part.bytes })))
                .collect();
            println!("{}", json!({ "store": store.root(), "parts": parts, "bytes": total }));
            return Ok(Exit::Ok);
        }
        let rows: Vec<_> = parts
            .iter()
            .map(|part| vec![part.name.to_owned(), text::thousands(part.files), text::bytes(part.bytes)])
            .collect();
        println!("{}", store.root().display());
        print!("{}", table::render(&["", "files", "size"], &rows));
        println!("  {} in all", text::bytes(total));
        Ok(Exit::Ok)
    }

    fn collect(&self, store: &Store, gc: &Gc) -> Result<Exit, StoreError> {
        let policy = gc.keep.policy();
        let collection = if gc.plan { store.collectable(&policy)? } else { store.collect(&policy)? };
        if self.json {
            let results: Vec<_> = collection.results.iter().map(row).collect();
            let files: Vec<_> = collection.files.iter().map(|file| &file.path).collect();
            println!(
                "{}",
                json!({
                    "removed": !gc.plan, "results": results, "files": files,
                    "bytes": collection.bytes(), "kept": collection.kept,
                })
            );
            return Ok(Exit::Ok);
        }
        if gc.plan {
            for one in &collection.results {
                let again = text::duration(one.manifest.record.seconds);
                let (key, label) = (&one.manifest.key[..SHOWN], &one.manifest.label);
                println!("  {key}  {label}: {}, {again} to compute again", text::bytes(one.bytes()));
            }
        }
        print!("{}", summary(&collection, gc.plan));
        Ok(Exit::Ok)
    }

    fn pin(&self, store: &Store, name: &str) -> Result<Exit, StoreError> {
        let key = store.find(name)?;
        store.pin(&key, name)?;
        self.say(json!({ "pinned": key }), &format!("{} is pinned, with all it was made from", &key[..SHOWN]));
        Ok(Exit::Ok)
    }

    fn unpin(&self, store: &Store, name: &str) -> Result<Exit, StoreError> {
        // A pipeline may have come to something else since it was pinned: what was pinned by that name is meant.
        let pins = store.pins()?;
        let mut keys: BTreeSet<String> = pins.into_iter().filter(|(_, by)| by == name).map(|(key, _)| key).collect();
        if keys.is_empty() {
            keys.insert(store.find(name)?);
        }
        for key in keys {
            let was = store.unpin(&key)?;
            let said = if was { "is not pinned any more" } else { "was not pinned" };
            self.say(json!({ "unpinned": key, "was_pinned": was }), &format!("{} {said}", &key[..SHOWN]));
        }
        Ok(Exit::Ok)
    }

    fn verify(&self, store: &Store) -> Result<Exit, StoreError> {
        let bar = indicatif::ProgressBar::new_spinner();
        if self.json || !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let verified = store.verify(&|bytes| {
            bar.inc(bytes);
            bar.set_message(format!("{} read", text::bytes(bar.position())));
        })?;
        bar.finish_and_clear();
        let exit = if verified.damaged.is_empty() { Exit::Ok } else { Exit::Failed };
        if self.json {
            let damaged: Vec<_> = verified
                .damaged
                .iter()
                .map(|one| json!({ "path": one.path, "what": one.what, "moved": one.moved }))
                .collect();
            println!(
                "{}",
                json!({
                    "manifests": verified.manifests, "blobs": verified.blobs, "bytes": verified.bytes,
                    "damaged": damaged, "missing": verified.missing,
                })
            );
            return Ok(exit);
        }
        for one in &verified.damaged {
            println!("  damaged: {}, {}", one.path.display(), one.what);
            if let Some(moved) = &one.moved {
                println!("           moved to {}", moved.display());
            }
        }
        for what in &verified.missing {
            println!("  missing: {what}; its result is computed again when it is needed");
        }
        let (blobs, bytes) = (text::thousands(verified.blobs as u64), text::bytes(verified.bytes));
        let manifests = text::thousands(verified.manifests as u64);
        println!("{manifests} manifests and {blobs} files ({bytes}) read, {} damaged", verified.damaged.len());
        Ok(exit)
    }

    fn say(&self, json: serde_json::Value, text: &str) {
        if self.json { println!("{json}") } else { println!("{text}") }
    }
}

impl Keep {
    fn policy(&self) -> Policy {
        Policy { keep_runs: self.keep_runs, grace: self.grace }
    }
}

fn row(one: &StoredResult) -> serde_json::Value {
    let manifest = &one.manifest;
    json!({
        "key": manifest.key, "output": manifest.output, "stage": manifest.label, "method": manifest.method,
        "bytes": one.bytes(), "age_seconds": one.age.as_secs(), "seconds": manifest.record.seconds,
        "why": one.why.as_ref().map(ToString::to_string),
    })
}

/// What went, or would, of each kind, and what stays.
fn summary(collection: &Collection, plan: bool) -> String {
    let kinds = [
        (Part::Blobs, "files of results"),
        (Part::Manifests, "manifests"),
        (Part::Checkpoints, "checkpoints"),
        (Part::States, "states of fixed layers"),
        (Part::Logs, "logs"),
        (Part::Damaged, "damaged files"),
        (Part::Runs, "records of runs"),
        (Part::Attempts, "attempts of lost processes"),
    ];
    let mut said = String::new();
    for (part, name) in kinds {
        let (count, bytes) = collection.of(part);
        if count > 0 {
            said += &format!("  {count} {name}, {}\n", text::bytes(bytes));
        }
    }
    let (verb, gone) = if plan { ("would go", "would be free") } else { ("removed", "freed") };
    let bytes = text::bytes(collection.bytes());
    said += &format!("{} results {verb}, {bytes} {gone}; {} stay", collection.results.len(), collection.kept);
    if collection.young > 0 {
        said += &format!(", {} of them only because they are young (--grace)", collection.young);
    }
    said + "\n"
}

/// `90s`, `30 min`, `12h`, `14d`, `0`.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let seconds = match unit {
        "s" => Some(1),
        "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        "" if number == "0" => Some(1),
        _ => None,
    };
    let product = number.parse::<u64>().ok().zip(seconds).and_then(|(number, seconds)| number.checked_mul(seconds));
    product.map(Duration::from_secs).ok_or_else(|| "an age is a number and `s`, `min`, `h` or `d`: `14d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_shown() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("30 min", 1800), ("12h", 43_200), ("14d", 1_209_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "14", "d", "-1d", "1.5d", "99999999999999999999d", "999999999999999999d", "1 week"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("14d"), Ok(Policy::default().grace));
        let shown = [(59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d")];
        for (seconds, expected) in shown {
            assert_eq!(ago(Duration::from_secs(seconds)), expected);
        }
    }
}
