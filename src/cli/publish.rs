//! Writing a pipeline's model as a Hugging Face directory, atomically, and only over what `ftp` itself wrote.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::methods::bundle::Bundle;
use crate::plan::spec::StageFailure;
use crate::store::{Manifest, Store};

/// Where a published directory says what it is.
const CARD: &str = "ftp.json";

/// Publishes a model, unless the directory already holds just this one.
pub(super) fn publish(
    store: &Store,
    manifest: &Manifest,
    pipeline: &str,
    directory: &Path,
) -> Result<(), StageFailure> {
    let card = directory.join(CARD);
    let present: Option<serde_json::Value> = fs::read(&card).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if present.as_ref().and_then(|card| card["output"].as_str()) == Some(manifest.output.as_str())
        && directory.join("model.safetensors").is_file()
    {
        return Ok(());
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
    let written = write(store, manifest, pipeline, &beside).and_then(|()| replace(directory, &beside));
    if written.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    written
}

fn write(store: &Store, manifest: &Manifest, pipeline: &str, directory: &Path) -> Result<(), StageFailure> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    Bundle::open(store, &manifest.output)?.tidy()?.save(directory)?;
    let card = json!({
        "made_by": format!("ftp {}", env!("CARGO_PKG_VERSION")),
        "pipeline": pipeline,
        "output": manifest.output,
        "key": manifest.key,
        "result": manifest.summary,
    });
    fs::write(directory.join(CARD), format!("{card:#}\n")).map_err(|error| unwritable(directory, &error))
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
