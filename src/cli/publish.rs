//! Writing a pipeline's model as a Hugging Face directory, atomically, and only over what `ftp` itself wrote; beside it the
//! model card and the file that reproduces it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::methods::bundle::Bundle;
use crate::plan::spec::StageFailure;
use crate::store::{Manifest, Store};

/// Where a published directory says what it is.
const LABEL: &str = "ftp.json";

/// A model with what is written beside it.
pub(super) struct Publication<'a> {
    pub manifest: &'a Manifest,
    pub pipeline: &'a str,
    /// Names and texts of the files for people.
    pub texts: [(&'static str, String); 2],
}

/// Publishes a model, unless the directory already holds just this one.
pub(super) fn publish(store: &Store, publication: &Publication, directory: &Path) -> Result<(), StageFailure> {
    let label = directory.join(LABEL);
    let present: Option<serde_json::Value> = fs::read(&label).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if present.as_ref().and_then(|label| label["output"].as_str()) == Some(publication.manifest.output.as_str())
        && directory.join("model.safetensors").is_file()
    {
        // A card may have been written on since; what is there stays.
        let mut missing = publication.texts.iter().filter(|(name, _)| !directory.join(name).exists());
        return missing.try_for_each(|(name, text)| write_text(directory, name, text));
    }
    let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && present.is_none() {
        return Err(StageFailure::new(
            "ftp::publish::occupied",
            format!("{} holds files that ftp did not write", directory.display()),
        )
        .help("choose another directory, or empty this one"));
    }

    let beside = sibling(directory, "new");
    let written = write(store, publication, &beside).and_then(|()| replace(directory, &beside));
    if written.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    written
}

fn write(store: &Store, publication: &Publication, directory: &Path) -> Result<(), StageFailure> {
    let Publication { manifest, pipeline, texts } = publication;
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    Bundle::open(store, &manifest.output)?.tidy()?.save(directory)?;
    let label = json!({
        "made_by": format!("ftp {}", env!("CARGO_PKG_VERSION")),
        "pipeline": pipeline,
        "output": manifest.output,
        "key": manifest.key,
        "result": manifest.summary,
    });
    for (name, text) in texts {
        write_text(directory, name, text)?;
    }
    write_text(directory, LABEL, &format!("{label:#}\n"))
}

fn write_text(directory: &Path, name: &str, text: &str) -> Result<(), StageFailure> {
    fs::write(directory.join(name), text).map_err(|error| unwritable(directory, &error))
}

/// Puts the new directory in the old one's place: for an instant neither is there, never half of one.
fn replace(directory: &Path, new: &Path) -> Result<(), StageFailure> {
    let old = sibling(directory, "old");
    let _ = fs::remove_dir_all(&old);
    if directory.exists() {
        fs::rename(directory, &old).map_err(|error| unwritable(directory, &error))?;
    }
    fs::rename(new, directory).map_err(|error| unwritable(directory, &error))?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

/// `.name.new.1234` beside `name`: on the same file system, so that a rename is one step.
fn sibling(directory: &Path, purpose: &str) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}.{purpose}.{}", std::process::id()))
}

fn unwritable(directory: &Path, error: &std::io::Error) -> StageFailure {
    StageFailure::new(
        "ftp::publish::unwritable",
        format!("can't write {}: {}", directory.display(), super::project::reason(error)),
    )
    .help("check the directory's permissions and the space left")
}
