//! Writing a pipeline's model as a Hugging Face directory, or its delta alone as one of `peft` or `adapters`, atomically, and only over what `ftp` itself wrote; beside it the
//! model card and the file that reproduces it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::data::saved;
use crate::event::Notice;
use crate::lang::signature::Library;
use crate::methods::bases::Bases;
use crate::methods::bundle::Bundle;
use crate::methods::interchange::{self, BaseName, Writing};
use crate::nn::models::layout::Part;
use crate::nn::models::{Head, Model};
use crate::plan::spec::StageFailure;
use crate::store::{self, Manifest, Store};

/// Where a published directory says what it is.
const LABEL: &str = store::Publication::LABEL;

/// A model with what is written beside it.
pub(super) struct Publication<'a> {
    pub manifest: &'a Manifest,
    pub pipeline: &'a str,
    pub form: Form,
    /// Names and texts of the files for people.
    pub texts: [(&'static str, String); 2],
}

/// What is written.
pub(super) enum Form {
    /// A whole model.
    Model,
    /// The delta alone.
    Adapter {
        library: Library,
        base: BaseName,
        /// The base is in a directory that was published, which holds what its own head needs and no more.
        published: bool,
    },
}

impl Form {
    /// The file whose presence says that it was written.
    fn weights(&self) -> &'static str {
        match self {
            Form::Model => "model.safetensors",
            Form::Adapter { library: Library::Peft, .. } => saved::PEFT_WEIGHTS,
            Form::Adapter { library: Library::Adapters, .. } => saved::ADAPTERS_WEIGHTS,
        }
    }

    fn base(&self) -> Option<&str> {
        match self {
            Form::Model => None,
            Form::Adapter { base, .. } => Some(&base.name),
        }
    }
}

/// Publishes a model, unless the directory already holds just this one. Returns what was left out.
pub(super) fn publish(store: &Store, publication: &Publication, directory: &Path) -> Result<Vec<Notice>, StageFailure> {
    let label = directory.join(LABEL);
    let present: Option<serde_json::Value> = fs::read(&label).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if present.as_ref().and_then(|label| label["output"].as_str()) == Some(publication.manifest.output.as_str())
        && present.as_ref().and_then(|label| label["base_model"].as_str()) == publication.form.base()
        && directory.join(publication.form.weights()).is_file()
    {
        // A card may have been written on since; what is there stays.
        let mut missing = publication.texts.iter().filter(|(name, _)| !directory.join(name).exists());
        missing.try_for_each(|(name, text)| write_text(directory, name, text))?;
        return Ok(vec![]);
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
    let written = write(store, publication, &beside).and_then(|notices| replace(directory, &beside).map(|()| notices));
    if written.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    written
}

fn write(store: &Store, publication: &Publication, directory: &Path) -> Result<Vec<Notice>, StageFailure> {
    let Publication { manifest, pipeline, form, texts } = publication;
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let notices = match form {
        Form::Model => {
            Bundle::open(store, &manifest.output)?.tidy()?.save(directory)?;
            vec![]
        }
        Form::Adapter { library, base, published } => {
            write_adapter(store, publication, directory, *library, base, *published)?
        }
    };
    let mut label = json!({
        "made_by": format!("ftp {}", env!("CARGO_PKG_VERSION")),
        "pipeline": pipeline,
        "output": manifest.output,
        "key": manifest.key,
        "result": manifest.summary,
    });
    if let Form::Adapter { library, base, .. } = form {
        label["saved_as"] = json!(library);
        label["base_model"] = json!(base.name);
    }
    for (name, text) in texts {
        write_text(directory, name, text)?;
    }
    write_text(directory, LABEL, &format!("{label:#}\n"))?;
    Ok(notices)
}

fn write_adapter(
    store: &Store,
    publication: &Publication,
    directory: &Path,
    library: Library,
    base: &BaseName,
    published: bool,
) -> Result<Vec<Notice>, StageFailure> {
    let apart = Bases::default().apart(store, &publication.manifest.output)?;
    let Some((mut apart, config, below)) = apart else {
        let message = format!("{} is a whole model, without a delta to write apart", publication.pipeline);
        return Err(StageFailure::new("ftp::publish::no_delta", message).help("leave `as adapter` out"));
    };
    let mut notices = vec![];
    match &apart.task {
        None if !apart.head.is_empty() => {
            let message = "the head for masked words is no part of the adapter: a directory of `peft` or `adapters` holds heads of tasks";
            notices.push(Notice::new("ftp::publish::head_left_out", message));
            apart.head.clear();
        }
        // What was published for another head lacks the pooler that this one reads.
        Some(task) if published && !matches!(Head::from_config(&below.config), Some(Head::Sequence(_))) => {
            let layout = Model::layout_of(&config, &Head::Sequence(task.clone()))?;
            for slot in layout.slots.iter().filter(|slot| slot.part == Part::Pooler) {
                if let Some(tensor) = below.tensors.get(&slot.name).filter(|_| !apart.head.contains_key(&slot.name)) {
                    apart.head.insert(slot.name.clone(), tensor.clone());
                }
            }
        }
        _ => {}
    }
    let writing = Writing { apart: &apart, config: &config, base, name: publication.pipeline };
    interchange::write(directory, library, &writing)?;
    below.tokenizer.save(directory)?;
    Ok(notices)
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
