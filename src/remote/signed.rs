//! A manifest as it lies on a remote: as the store has it, and below it a line with its signature.
//!
//! One object has both, so that two who push at a time can't leave the manifest of one with the signature of the other.

use serde::{Deserialize, Serialize};

use super::{PublicKey, Remote, RemoteError, SigningKey};
use crate::store::Manifest;

/// The line below a manifest.
#[derive(Serialize, Deserialize)]
struct Line {
    signer: String,
    signature: String,
}

/// A manifest from a remote. It is whole; whether its signature is good is another question
/// ([`Trusted::check`](super::Trusted::check)).
pub(super) struct Signed {
    pub manifest: Manifest,
    /// As the store has it, and what was signed.
    pub bytes: Vec<u8>,
    /// Who says to have signed it, and the signature.
    pub signature: Option<(PublicKey, String)>,
}

/// What is put on a remote.
pub(super) fn sign(manifest: &[u8], key: Option<&SigningKey>) -> Vec<u8> {
    let mut bytes = manifest.to_vec();
    if let Some(key) = key {
        let line = Line { signer: key.public().to_string(), signature: key.sign(manifest) };
        bytes.extend(serde_json::to_vec(&line).expect("two strings"));
        bytes.push(b'\n');
    }
    bytes
}

fn parse(bytes: &[u8]) -> Result<Signed, String> {
    // A manifest is one line.
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it is cut off")? + 1;
    let (bytes, rest) = bytes.split_at(end);
    let manifest = Manifest::from_bytes(bytes)?;
    let signature = match rest {
        [] => None,
        rest => {
            let line: Line = serde_json::from_slice(rest).map_err(|_| "its signature can't be made out")?;
            Some((line.signer.parse().map_err(|_| "its signature is of no key")?, line.signature))
        }
    };
    Ok(Signed { manifest, bytes: bytes.to_vec(), signature })
}

impl Remote {
    /// The manifest in an object, which `is` tells from another one; `None` when there is no such object.
    pub(super) async fn signed(
        &self,
        path: &str,
        is: impl FnOnce(&Manifest) -> bool,
    ) -> Result<Option<Signed>, RemoteError> {
        let Some(bytes) = self.read(path).await? else { return Ok(None) };
        let signed = parse(&bytes)
            .and_then(|signed| if is(&signed.manifest) { Ok(signed) } else { Err("it is another result's".into()) });
        signed.map(Some).map_err(|why| self.damaged_object(path, why))
    }
}
