//! From the Hugging Face hub to a directory: the files that decide what a model is, whole and verified.
//!
//! The hub names each file's size and, of large ones, its SHA-256, of the others git's object name. A file that was begun
//! is gone on with; nothing that differs from what the hub says is kept.

mod answer;
mod client;
mod error;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use error::FetchError;

use answer::Listing;
use client::Client;

use super::TOKENIZER_FILES;

const INDEX: &str = "model.safetensors.index.json";
/// Whoever fetches into a directory holds it locked.
const LOCK: &str = ".lock";

const WEIGHTS: &str = "model.safetensors";

/// A model to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// `organisation/name`, or the name alone.
    pub model: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
    /// The environment variable with the access token.
    pub token: Option<&'a str>,
}

/// What is being fetched.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub file: &'a str,
    /// Bytes of this file that are here, and that it has.
    pub done: u64,
    pub size: u64,
}

/// The commit that the model's revision stands for now.
///
/// # Errors
/// When the hub can't be asked, or has no such model or revision.
pub fn commit(wanted: &Wanted) -> Result<String, FetchError> {
    Ok(Client::new(wanted)?.listing()?.commit)
}

/// Fetches a model into a directory, which is complete when this returns: the commit, and that directory, which `place`
/// names by the commit. Other processes that want the same wait.
///
/// # Errors
/// As [`commit`]; when a file does not arrive, or is not what the hub says it is; when it can't be written.
pub fn fetch(
    wanted: &Wanted,
    place: &dyn Fn(&str) -> PathBuf,
    progress: &mut dyn FnMut(Progress),
) -> Result<(String, PathBuf), FetchError> {
    let client = Client::new(wanted)?;
    let listing = client.listing()?;
    let directory = place(&listing.commit);
    fs::create_dir_all(&directory).map_err(FetchError::io("make", &directory))?;
    let lock_path = directory.join(LOCK);
    let lock = File::create(&lock_path).map_err(FetchError::io("make", &lock_path))?;
    // Held until this returns.
    lock.lock().map_err(FetchError::io("lock", &lock_path))?;
    let mut names = first(wanted, &listing)?;
    while let Some(name) = names.pop() {
        let Some(file) = listing.files.iter().find(|file| file.name == name) else {
            let found = listing.names();
            return Err(not_usable(wanted, "all of the shards that its index names", found));
        };
        client.file(&listing.commit, file, &directory, progress)?;
        if name == INDEX {
            names.extend(shards(wanted, &directory.join(INDEX))?);
        }
    }
    Ok((listing.commit, directory))
}

/// The files to fetch before the shards are known.
fn first(wanted: &Wanted, listing: &Listing) -> Result<Vec<String>, FetchError> {
    let has = |name: &str| listing.files.iter().any(|file| file.name == name);
    let one = |names: &[&str], what| match names.iter().find(|name| has(name)) {
        Some(name) => Ok((*name).to_owned()),
        None => Err(not_usable(wanted, what, listing.names())),
    };
    let mut names = vec![one(&[WEIGHTS, INDEX], "weights in safetensors")?, one(&["config.json"], "config.json")?];
    one(&["tokenizer.json", "vocab.txt"], "tokenizer.json and no vocab.txt")?;
    names.extend(TOKENIZER_FILES.iter().filter(|name| has(name)).map(|name| (*name).to_owned()));
    Ok(names)
}

/// The weight files that an index names. It comes from elsewhere: none may lie outside of its directory.
fn shards(wanted: &Wanted, index: &Path) -> Result<Vec<String>, FetchError> {
    let damaged =
        |why: &str| FetchError::Damaged { model: wanted.model.to_owned(), file: INDEX.to_owned(), why: why.to_owned() };
    let text = fs::read(index).map_err(FetchError::io("read", index))?;
    let index: serde_json::Value = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
    let map = index.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| damaged("it has no `weight_map`"))?;
    let mut names: Vec<String> = map.values().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    if names.iter().any(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
        return Err(damaged("it names a file elsewhere"));
    }
    Ok(names)
}

fn not_usable(wanted: &Wanted, what: &'static str, found: Vec<String>) -> FetchError {
    let (model, revision) = (wanted.model.to_owned(), wanted.revision.to_owned());
    FetchError::NotUsable { model, revision, what, found }
}
