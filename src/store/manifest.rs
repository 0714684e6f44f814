//! What the store says about a result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::commit::plain;
use super::journal::JOURNAL;
use crate::event::Notice;
use crate::lang::signature::Artifact;
use crate::lang::world::Digest;
use crate::plan::PreImage;

/// One committed result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the manifest itself: [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    pub key: Digest,
    pub method: String,
    pub version: u32,
    /// What the stage was called when it ran; another file may call it otherwise.
    pub label: String,
    pub pre_image: PreImage,
    /// Over kind, files, base and summary: equal results of different keys have one.
    pub output: Digest,
    pub artifact: Artifact,
    /// Output digest of the artifact this is a delta of, or refers to.
    pub base: Option<Digest>,
    /// By name.
    pub files: BTreeMap<String, FileEntry>,
    /// Metrics, labels, counts.
    pub summary: serde_json::Value,
    pub record: Record,
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub digest: Digest,
    pub bytes: u64,
}

/// The circumstances of a result: never part of a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970, UTC.
    pub started: f64,
    pub seconds: f64,
    pub host: String,
    /// Version of ftp.
    pub engine: String,
    pub notices: Vec<Notice>,
    /// What the stage said while it ran, a blob; none of results that are older than journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<FileEntry>,
}

const HEAD: &str = "{\"blake3\":\"";
const MIDDLE: &str = "\",\"manifest\":";
const TAIL: &str = "}\n";

impl Manifest {
    /// The digest of what was made, without when, where and by whom.
    pub fn output_digest(
        artifact: Artifact,
        files: &BTreeMap<String, FileEntry>,
        base: Option<&Digest>,
        summary: &serde_json::Value,
    ) -> Digest {
        // JSON delimits its strings, and the maps in here are sorted.
        let content = serde_json::json!({
            "ftp": "output", "artifact": artifact, "base": base, "files": files, "summary": sorted(summary),
        });
        blake3::hash(content.to_string().as_bytes()).to_hex().to_string()
    }

    /// Every blob that the store keeps for this result, by the name it has here.
    pub fn blobs(&self) -> impl Iterator<Item = (&str, &FileEntry)> {
        let files = self.files.iter().map(|(name, file)| (name.as_str(), file));
        files.chain(self.record.journal.iter().map(|file| (JOURNAL, file)))
    }

    /// `{"blake3":"<digest of the manifest's bytes>","manifest":{..}}`.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let body = serde_json::to_string(self).expect("a manifest has only string keys and finite numbers");
        let digest = blake3::hash(body.as_bytes()).to_hex();
        format!("{HEAD}{digest}{MIDDLE}{body}{TAIL}").into_bytes()
    }

    /// The same without the pre-image, which most of a manifest is. The digest of its bytes tells that it is what was written.
    pub(super) fn from_bytes_without_pre_image(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Rest {
            schema: u32,
            key: Digest,
            method: String,
            version: u32,
            label: String,
            output: Digest,
            artifact: Artifact,
            base: Option<Digest>,
            files: BTreeMap<String, FileEntry>,
            summary: serde_json::Value,
            record: Record,
        }
        let body = body(bytes).ok_or("it is not what was written")?;
        let Rest { schema, key, method, version, label, output, artifact, base, files, summary, record } =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let (pre_image, label) = (PreImage::default(), printable(label));
        Ok(Self { schema, key, method, version, label, pre_image, output, artifact, base, files, summary, record })
    }

    /// Reads what the store wrote, here or elsewhere; the error says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let body = body(bytes).ok_or("it is not what was written")?;
        let mut manifest: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        manifest.label = printable(manifest.label);
        let output = Self::output_digest(manifest.artifact, &manifest.files, manifest.base.as_ref(), &manifest.summary);
        if output != manifest.output {
            return Err("its output digest does not fit".into());
        }
        manifest.names_are_plain().map(|()| manifest)
    }

    /// Digests and names become names of files here and where a model is published: none may lead to another place.
    fn names_are_plain(&self) -> Result<(), String> {
        let digests = self.blobs().map(|(_, file)| &file.digest).chain([&self.key]).chain(&self.base);
        if let Some(odd) = digests.into_iter().find(|digest| !is_digest(digest)) {
            return Err(format!("{odd:?} in it is no digest"));
        }
        match self.files.keys().find(|name| plain(name).is_err()) {
            Some(name) => Err(format!("{name:?} in it is no plain file name")),
            None => Ok(()),
        }
    }
}

/// A label may come from elsewhere, and is shown on terminals.
fn printable(label: String) -> String {
    if label.contains(char::is_control) { label.replace(char::is_control, "\u{fffd}") } else { label }
}

/// Whether a text is a digest as the store writes it.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn body(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(HEAD.as_bytes())?;
    let (digest, rest) = rest.split_at_checked(64)?;
    let body = rest.strip_prefix(MIDDLE.as_bytes())?.strip_suffix(TAIL.as_bytes())?;
    (blake3::hash(body).to_hex().as_bytes() == digest).then_some(body)
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        Value::Object(map) => {
            let entries: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(entries.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        other => other.clone(),
    }
}
