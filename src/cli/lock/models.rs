//! The models of the hub: which commit each stands at, and its files on this machine.

use std::path::Path;

use super::super::Exit;
use crate::data::pinned::HubModel;
use crate::modules::{Lock, ModelPin, shelf};

/// The parameter that makes a model one of the hub. A file without this word names none.
pub const REVISION: &str = "revision";

/// Locks and fetches these models. What is locked stays as it is unless it is looked up `anew`; then what is not among them
/// is no longer locked.
pub(super) fn resolve(models: &[HubModel], lock: &mut Lock, directory: &Path, anew: bool) -> Result<(), Exit> {
    if anew {
        let asked = |pin: &ModelPin| models.iter().any(|one| one.name == pin.hub && one.revision == pin.revision);
        lock.models.retain(asked);
    }
    for model in models {
        // One that has no possible name is an error of the file, which is said when it is checked.
        if model.check().is_err() {
            continue;
        }
        let locked = lock.find_model(&model.name, &model.revision).cloned();
        let here = locked.as_ref().is_some_and(|pin| shelf::find_model(directory, pin).is_some());
        if !here || anew {
            network::get(model, locked.as_ref(), anew, lock)?;
        }
    }
    Ok(())
}

/// Copies a model's files, whole or not at all.
pub(super) fn copy(from: &Path, to: &Path, pin: &ModelPin) -> std::io::Result<()> {
    if from == to {
        return Ok(());
    }
    let root = to.parent().unwrap_or(to);
    std::fs::create_dir_all(root)?;
    let new = tempfile::tempdir_in(root)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if entry.file_type()?.is_file() && !hidden {
            std::fs::copy(entry.path(), new.path().join(entry.file_name()))?;
        }
    }
    shelf::complete(new.path(), &pin.hub, &pin.commit)?;
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::rename(new.path(), to)
}

#[cfg(feature = "remote")]
mod network {
    use std::time::{Duration, Instant};

    use super::super::super::project;
    use super::*;
    use crate::data::{model, pinned};
    use crate::hub::fetch::{self, Progress, Wanted};
    use crate::report::text;

    /// Between two lines about a file that takes long.
    const PERIOD: Duration = Duration::from_secs(5);

    /// Fetches a model and pins it: as it is locked, or where it stands now.
    pub fn get(model: &HubModel, locked: Option<&ModelPin>, anew: bool, lock: &mut Lock) -> Result<(), Exit> {
        let failed = |error: fetch::FetchError| {
            project::print_error(&error);
            Exit::Failed
        };
        let revision = match locked {
            Some(pin) if !anew => &pin.commit,
            _ => &model.revision,
        };
        let wanted = Wanted { model: &model.name, revision, token: model.token.as_deref() };
        if let Some(pin) = locked.filter(|_| anew)
            && fetch::commit(&wanted).map_err(failed)? == pin.commit
        {
            return Ok(());
        }
        let place = |commit: &str| shelf::model_cache().join(shelf::model_name(&model.name, commit));
        let (commit, directory) = fetch::fetch(&wanted, &place, &mut lines(&model.name)).map_err(failed)?;
        let unwritable = |source| {
            let path = directory.clone();
            failed(fetch::FetchError::Io { doing: "write", path, source })
        };
        shelf::complete(&directory, &model.name, &commit).map_err(unwritable)?;
        if locked.is_some_and(|_| !anew) {
            // Whether it is what was locked, the check of the file tells.
            return Ok(());
        }
        let facts = model::describe(&directory, &format!("{}@{}", model.name, &commit[..12])).map_err(|errors| {
            for error in errors {
                eprintln!("error: {} ({})", error.message, error.code);
                if let Some(help) = error.help {
                    eprintln!("  help: {help}");
                }
            }
            Exit::Failed
        })?;
        let (hub, revision) = (model.name.clone(), model.revision.clone());
        lock.put_model(ModelPin { hub, revision, commit, tree: pinned::digest(&facts) });
        Ok(())
    }

    /// A line for each file, and more where one takes long.
    fn lines(model: &str) -> impl FnMut(Progress) {
        let mut last: Option<(String, Instant)> = None;
        move |progress| {
            let begun = last.as_ref().is_none_or(|(file, _)| file != progress.file);
            if begun || last.as_ref().is_some_and(|(_, at)| at.elapsed() >= PERIOD) {
                let (done, size) = (text::bytes(progress.done), text::bytes(progress.size));
                eprintln!("fetching {model}: {}, {done} of {size}", progress.file);
                last = Some((progress.file.to_owned(), Instant::now()));
            }
        }
    }
}

#[cfg(not(feature = "remote"))]
mod network {
    use super::*;

    /// Without a network nothing is fetched; what is missing is said when the file is checked.
    pub fn get(_: &HubModel, _: Option<&ModelPin>, _: bool, _: &mut Lock) -> Result<(), Exit> {
        Ok(())
    }
}
