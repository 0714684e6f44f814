//! `ftp bundle` and `ftp unbundle`: a file with all it needs in one archive, and back.

use std::path::{Component, Path, PathBuf};

use clap::Args;

use super::project::Project;
use super::{Exit, FileArguments, StoreArguments, project};
use crate::archive::{self, ArchiveError, Contents, LeftOut, Opened, Packed};
use crate::data::digest;
use crate::data::pinned::HubModel;
use crate::exec::{self, Status};
use crate::modules::{Lock, lock, shelf};
use crate::plan::Plan;
use crate::report::text;
use crate::store::{Sent, Store};

const ENDINGS: [&str; 3] = [".tar.gz", ".tgz", ".tar"];

/// Packs the file, its modules and lock, the data within its project, and if asked for its results. The same contents
/// give the same bytes.
#[derive(Args)]
pub(super) struct Bundle {
    #[command(flatten)]
    file: FileArguments,
    /// The archive: .tar.gz, .tgz, or .tar without compression [default: the file's name and .tar.gz]
    #[arg(long, short, value_name = "ARCHIVE")]
    output: Option<PathBuf>,
    /// Pack the results too, so that nothing is computed where it is unpacked
    #[arg(long)]
    results: bool,
    /// Leave the data out, and list it with digests
    #[arg(long)]
    no_data: bool,
    /// The project's directory: what lies in it is packed [default: the file's directory]
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
}

impl Bundle {
    pub fn run(self) -> Exit {
        self.bundle().err().unwrap_or(Exit::Ok)
    }

    fn bundle(&self) -> Result<(), Exit> {
        let stem = self.file.file.file_stem().unwrap_or_default().to_string_lossy();
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.tar.gz")));
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            eprintln!("error: an archive's name ends in .tar.gz, .tgz or .tar, not as {name} does");
            return Err(Exit::Usage);
        }
        let project = project::open(&self.file, false)?;
        let mut contents = self.project(&project)?;
        let store = if self.results { Some(self.store.open()?) } else { None };
        if let Some(store) = &store {
            contents.results = self.results(&project, store)?;
        }
        let index = archive::write(contents, store.as_ref(), &output).map_err(failed)?;
        let size = |entries: &[archive::Entry]| text::bytes(entries.iter().map(|entry| entry.bytes).sum());
        println!("{}: {} files, {}", output.display(), index.files.len(), size(&index.files));
        if self.results {
            println!("with {} results, {}", index.results.len(), size(&index.blobs));
        }
        print_left_out(&index.left_out);
        Ok(())
    }

    /// The file, its modules, its lock, and the data it reads.
    fn project(&self, project: &Project) -> Result<Contents, Exit> {
        let directory = project::directory(&self.file);
        let root = Root::new(self.within.as_deref().unwrap_or(directory))?;
        let mut contents = Contents { set: self.file.set.clone(), ..Contents::default() };
        contents.file = root.path_of(&self.file.file).ok_or_else(|| outside(&self.file.file, &root))?;
        contents.files.push(root.file(&self.file.file)?);
        for module in &project.source.modules {
            // What is shown of a module of a repository, or of the standard library, names no file with its text.
            let path = Path::new(&module.name);
            if std::fs::read(path).is_ok_and(|bytes| bytes == module.text.as_bytes()) {
                contents.files.push(root.file(path)?);
            }
        }
        let lock = Lock::read(directory).map_err(failed)?;
        let modules = &lock.modules;
        if lock != Lock::default() {
            contents.files.push(root.file(&directory.join(lock::NAME))?);
        }
        for pin in modules {
            // One that the file no longer uses need not be on this machine.
            let Some(from) = shelf::find(directory, &shelf::cache(), pin).map_err(failed)? else { continue };
            let to = directory.join(shelf::VENDOR).join(from.file_name().unwrap_or_default());
            for (name, _) in shelf::read(&from).map_err(|error| unreadable(&from, error))? {
                let path = root.path_of(&to.join(&name)).ok_or_else(|| outside(&to, &root))?;
                contents.files.push(Packed { path, ..packed(&from.join(&name))? });
            }
        }
        for node in &project.program.nodes {
            let pin = HubModel::in_plan(node);
            let pin = pin.and_then(|model| lock.find_model(&model.name, &model.revision).cloned());
            // Where `ftp vendor` would put it.
            let vendored = pin.map(|pin| directory.join(shelf::VENDOR).join(shelf::model_name(&pin.hub, &pin.commit)));
            let files = node.source.iter().flat_map(|facts| &facts.files);
            if let Some((to, first)) = vendored.as_ref().zip(files.clone().next()).filter(|_| !self.no_data) {
                let path = root.path_of(&to.join(shelf::SOURCE)).ok_or_else(|| outside(to, &root))?;
                contents.files.push(Packed { path, ..packed(&first.path.with_file_name(shelf::SOURCE))? });
            }
            for file in files {
                let path = match (&vendored, file.path.file_name()) {
                    (Some(to), Some(name)) => root.path_of(&to.join(name)),
                    _ => root.path_of(&file.path),
                };
                let (digest, bytes, from) = (file.digest.clone(), file.bytes, file.path.clone());
                match path {
                    Some(path) if !self.no_data => contents.files.push(Packed { path, from, digest, bytes }),
                    path => {
                        let name = || from.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let path = path.unwrap_or_else(name);
                        let one = LeftOut { source: node.label.clone(), path, digest, bytes };
                        if !contents.left_out.contains(&one) {
                            contents.left_out.push(one);
                        }
                    }
                }
            }
        }
        Ok(contents)
    }

    /// The results of all stages, with what they are deltas of.
    fn results(&self, project: &Project, store: &Store) -> Result<Vec<Sent>, Exit> {
        let plan = Plan::new(&project.program, &self.store.device);
        let mut keys = vec![];
        for (stage, status) in exec::status(&plan, &project.program, &project.source, store).into_iter().enumerate() {
            match status {
                Status::Hit { key, .. } => keys.push(key),
                Status::Stopped => {}
                Status::Run { .. } | Status::After { .. } => {
                    eprintln!("error: {} is not in the store (ftp::bundle::no_result)", plan.stages[stage].label);
                    eprintln!("  help: `ftp run` it first, or leave --results out");
                    return Err(Exit::Failed);
                }
            }
        }
        store.closure(&keys).map_err(failed)
    }
}

/// Unpacks a bundle into a directory that is not there yet, and its results into the store; nothing before every byte was
/// verified.
#[derive(Args)]
pub(super) struct Unbundle {
    /// What `ftp bundle` wrote
    archive: PathBuf,
    /// Where to unpack it [default: the archive's name without its ending]
    directory: Option<PathBuf>,
    /// Leave its results alone, and compute everything here
    #[arg(long)]
    no_results: bool,
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE")]
    store: Option<PathBuf>,
}

impl Unbundle {
    pub fn run(self) -> Exit {
        self.unbundle().err().unwrap_or(Exit::Ok)
    }

    fn unbundle(&self) -> Result<(), Exit> {
        let name = self.archive.file_name().unwrap_or_default().to_string_lossy();
        let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or("bundle");
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from(stem));
        let store = match self.no_results {
            true => None,
            false => Some(Store::open(project::store_directory(self.store.as_deref())).map_err(failed)?),
        };
        let opened: Opened = archive::unpack(&self.archive, &directory, store.as_ref()).map_err(failed)?;
        let index = opened.index.clone();
        let new = opened.install(store.as_ref(), &directory).map_err(failed)?;
        println!("{}: {} files", directory.display(), index.files.len());
        if !index.results.is_empty() && !self.no_results {
            println!("{} results, {new} of them new in the store", index.results.len());
        }
        print_left_out(&index.left_out);
        let set: String =
            index.set.iter().map(|(name, value)| format!(" --set {}", quoted(&format!("{name}={value}")))).collect();
        println!("\nftp run {} --locked{set}", quoted(&directory.join(&index.file).display().to_string()));
        Ok(())
    }
}

/// The directory that a bundle is of.
struct Root {
    directory: PathBuf,
}

impl Root {
    fn new(directory: &Path) -> Result<Self, Exit> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let found = std::fs::canonicalize(directory).map_err(|error| unreadable(directory, error))?;
        Ok(Self { directory: found })
    }

    /// The path below the root, with `/`; `None` for what lies elsewhere. A link counts by where it lies.
    fn path_of(&self, file: &Path) -> Option<String> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A directory that is not there yet is looked for above.
        let mut missing: Vec<PathBuf> = vec![PathBuf::from(file.file_name()?)];
        let mut at = parent;
        let found = loop {
            match std::fs::canonicalize(at) {
                Ok(found) => break found,
                Err(_) => {
                    missing.push(PathBuf::from(at.file_name()?));
                    at = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                }
            }
        };
        let whole = missing.iter().rev().fold(found, |path, part| path.join(part));
        let below = whole.strip_prefix(&self.directory).ok()?;
        let parts: Option<Vec<&str>> = below
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        parts.map(|parts| parts.join("/"))
    }

    fn file(&self, from: &Path) -> Result<Packed, Exit> {
        let path = self.path_of(from).ok_or_else(|| outside(from, self))?;
        Ok(Packed { path, ..packed(from)? })
    }
}

/// A file as it is now.
fn packed(from: &Path) -> Result<Packed, Exit> {
    let bytes = from.metadata().map_err(|error| unreadable(from, error))?.len();
    let digest = digest::file(from).map_err(|error| unreadable(from, error))?;
    Ok(Packed { path: String::new(), from: from.to_path_buf(), digest, bytes })
}

fn print_left_out(left_out: &[LeftOut]) {
    if !left_out.is_empty() {
        println!("left out, to be had elsewhere:");
        for one in left_out {
            println!("  {} of {}, {}, blake3 {}", one.path, one.source, text::bytes(one.bytes), one.digest);
        }
    }
}

/// A word of a command line as a shell reads it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/=:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn outside(file: &Path, root: &Root) -> Exit {
    eprintln!(
        "error: {} lies outside of {}, which the bundle is of (ftp::bundle::outside)",
        file.display(),
        root.directory.display()
    );
    eprintln!("  help: name a directory with both in it: --within ..");
    Exit::Failed
}

fn unreadable(path: &Path, source: std::io::Error) -> Exit {
    failed(ArchiveError::Io { doing: "read", path: path.to_path_buf(), source })
}

fn failed(error: impl miette::Diagnostic) -> Exit {
    project::print_error(&error);
    Exit::Failed
}
