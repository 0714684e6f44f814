//! From an attempt's files to a result: blobs first, the manifest last.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::error::short;
use super::journal::JOURNAL;
use super::{FileEntry, Lookup, Manifest, Record, SCHEMA, Store, StoreError};
use crate::event::Notice;
use crate::lang::signature::Artifact;
use crate::lang::world::Digest;
use crate::plan::PreImage;
use crate::plan::spec::Outcome;

/// What a stage made, before it is stored.
#[derive(Debug, Clone)]
pub struct Product {
    pub key: Digest,
    pub method: String,
    pub version: u32,
    pub label: String,
    pub pre_image: PreImage,
    pub artifact: Artifact,
    pub outcome: Outcome,
    /// Seconds since 1970, UTC.
    pub started: f64,
    pub seconds: f64,
}

/// A result that is in the store.
#[derive(Debug, Clone)]
pub struct Committed {
    pub manifest: Manifest,
    /// Set when an earlier result of the same key is there and differs: that one stays.
    pub notice: Option<Notice>,
}

impl Store {
    /// Moves the files of `attempt` into the store and writes the manifest, if the lease with this nonce still stands.
    pub fn commit(&self, product: Product, attempt: &Path, nonce: &str) -> Result<Committed, StoreError> {
        let mut files = BTreeMap::new();
        for name in &product.outcome.files {
            let path = attempt.join(plain(name)?);
            if !path.is_file() {
                return Err(StoreError::NotWritten { name: name.clone() });
            }
            files.insert(name.clone(), self.seal(&path)?);
        }
        let journal = attempt.join(JOURNAL);
        let journal = if journal.is_file() { Some(self.seal(&journal)?) } else { None };
        let (label, key) = (product.label.clone(), product.key.clone());
        let manifest = manifest(product, files, journal);
        // From the first blob in place to the manifest that names it, nothing may be collected.
        let _guard = self.using()?;
        for (name, file) in manifest.blobs() {
            self.ingest(&attempt.join(name), file)?;
        }
        let committed = self.under_lease(&key, nonce, || self.write(manifest))?;
        let committed = committed.ok_or(StoreError::LeaseLost { label })?;
        // Of no use any more. Where it can't be removed it is in nobody's way.
        let _ = std::fs::remove_file(self.checkpoint(&key));
        Ok(committed)
    }

    fn write(&self, manifest: Manifest) -> Result<Committed, StoreError> {
        if let Lookup::Hit(earlier) = self.lookup(&manifest.key) {
            let notice = (earlier.output != manifest.output).then(|| divergence(&manifest, &earlier));
            return Ok(Committed { manifest: *earlier, notice });
        }
        let bytes = manifest.to_bytes();
        self.write_atomically(&self.output_path(&manifest.output), &bytes)?;
        self.write_atomically(&self.result_path(&manifest.key), &bytes)?;
        Ok(Committed { manifest, notice: None })
    }
}

fn manifest(product: Product, files: BTreeMap<String, FileEntry>, journal: Option<FileEntry>) -> Manifest {
    let Outcome { base, summary, notices, .. } = product.outcome;
    Manifest {
        schema: SCHEMA,
        key: product.key,
        method: product.method,
        version: product.version,
        label: product.label,
        pre_image: product.pre_image,
        output: Manifest::output_digest(product.artifact, &files, base.as_ref(), &summary),
        artifact: product.artifact,
        base,
        files,
        summary,
        record: Record {
            started: product.started,
            seconds: product.seconds,
            host: super::Process::current().host,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            notices,
            journal,
        },
    }
}

fn divergence(new: &Manifest, earlier: &Manifest) -> Notice {
    let message = format!(
        "{} gave {} where an earlier run with the same key gave {}; the earlier result is kept, this one is not used",
        new.label,
        short(&new.output),
        short(&earlier.output)
    );
    Notice::new("ftp::store::divergent", message)
}

/// A name that stays in the attempt's directory.
pub(super) fn plain(name: &str) -> Result<&str, StoreError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(StoreError::BadName { name: name.to_owned() }),
    }
}
