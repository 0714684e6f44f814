//! What the hub says about a model.

use serde::Deserialize;

/// A commit and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<Listed>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: String,
    pub size: u64,
    pub identity: Identity,
}

/// What tells whether a file arrived as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Of a large file: its SHA-256, hexadecimal.
    Sha256(String),
    /// Of any other: git's name of it, the SHA-1 of a header with its length, and of its bytes.
    Git(String),
}

#[derive(Deserialize)]
struct Model {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    /// Reads the answer to `GET /api/models/NAME/revision/REVISION?blobs=true`.
    pub fn read(answer: &[u8]) -> Result<Self, String> {
        let model: Model = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let hexadecimal =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal(&model.sha, 40) {
            return Err("it names no commit".to_owned());
        }
        let mut files = vec![];
        for sibling in model.siblings {
            let large = sibling.lfs.and_then(|large| Some((large.sha256?, large.size)));
            let (identity, size) = match (large, sibling.blob_id) {
                (Some((sha256, size)), _) if hexadecimal(&sha256, 64) => {
                    (Identity::Sha256(sha256), size.or(sibling.size))
                }
                (None, Some(blob)) if hexadecimal(&blob, 40) => (Identity::Git(blob), sibling.size),
                _ => return Err(format!("it does not say what {} holds", sibling.rfilename)),
            };
            let size = size.ok_or_else(|| format!("it does not say how large {} is", sibling.rfilename))?;
            files.push(Listed { name: sibling.rfilename, size, identity });
        }
        Ok(Self { commit: model.sha, files })
    }

    /// The names of all files, for people; not more than they want to read.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.files.iter().take(12).map(|file| file.name.clone()).collect();
        if self.files.len() > names.len() {
            names.push(format!("and {} more", self.files.len() - names.len()));
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of the hub's own documentation of `model_info` with `files_metadata`.
    #[test]
    fn a_listing_names_commit_sizes_and_digests() {
        let (commit, blob, sha256) = ("c".repeat(40), "b".repeat(40), "a".repeat(64));
        let answer = serde_json::json!({
            "id": "org/name", "sha": commit, "private": false,
            "siblings": [
                {"rfilename": "config.json", "size": 612, "blobId": blob},
                {"rfilename": "model.safetensors", "size": 9, "blobId": blob,
                 "lfs": {"sha256": sha256, "size": 90868376, "pointerSize": 134}},
            ],
        });
        let listing = Listing::read(answer.to_string().as_bytes()).expect("whole");
        assert_eq!(listing.commit, commit);
        assert_eq!(listing.files[0].identity, Identity::Git(blob));
        assert_eq!((listing.files[1].size, &listing.files[1].identity), (90_868_376, &Identity::Sha256(sha256)));
    }

    #[test]
    fn what_says_too_little_is_refused() {
        for answer in ["", "{}", r#"{"sha":"../x","siblings":[]}"#] {
            assert!(Listing::read(answer.as_bytes()).is_err(), "{answer}");
        }
        let answer = format!(r#"{{"sha":"{}","siblings":[{{"rfilename":"config.json"}}]}}"#, "c".repeat(40));
        assert!(Listing::read(answer.as_bytes()).is_err_and(|why| why.contains("config.json")));
    }
}
