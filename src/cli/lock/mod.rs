//! `ftp lock`, `ftp update`, `ftp vendor`: the modules that a file uses from repositories, and the models from the hub.

mod models;

use std::cell::{Cell, RefCell};

use clap::Args;

use super::{Exit, FileArguments, plan, project};
use crate::data::FileWorld;
use crate::data::pinned::HubModel;
use crate::lang;
use crate::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceRequest, World};
use crate::methods;
use crate::modules::{Lock, ModuleError, Pin, git, shelf};
use crate::syntax::Source;

/// Records in ftp.lock which commit each module of a repository, and each model of the hub, stands at, and fetches what is
/// not here. What is locked stays as it is.
#[derive(Args)]
pub(super) struct LockCommand {
    #[command(flatten)]
    file: FileArguments,
}

/// Looks for new commits behind the tags and revisions that a file names, and locks those.
#[derive(Args)]
pub(super) struct Update {
    #[command(flatten)]
    file: FileArguments,
    /// Only show what would change in the plan
    #[arg(long)]
    dry_run: bool,
}

/// Copies all modules of repositories, and models of the hub, into the directory `vendor` beside the file, so that it needs
/// no network.
#[derive(Args)]
pub(super) struct Vendor {
    #[command(flatten)]
    file: FileArguments,
}

impl LockCommand {
    pub fn run(self) -> Exit {
        exit(lock(&self.file))
    }
}

/// Locks and fetches what a file uses; says what it did.
pub(super) fn lock(arguments: &FileArguments) -> Result<(), Exit> {
    let source = project::read(&arguments.file)?;
    let directory = project::directory(arguments);
    let before = Lock::read(directory).map_err(failed)?;
    let after = resolve(arguments, &source, before.clone(), false)?;
    write(arguments, &before, &after)
}

/// Writes a lock that differs from the one there is.
fn write(arguments: &FileArguments, before: &Lock, after: &Lock) -> Result<(), Exit> {
    let new: Vec<_> = after.modules.iter().filter(|pin| !before.modules.contains(pin)).collect();
    for pin in &new {
        let at = pin.tag.as_deref().map_or(String::new(), |tag| format!(" {tag}"));
        eprintln!("locked {}{at} at {}", pin.git, &pin.commit[..12]);
    }
    for pin in after.models.iter().filter(|pin| !before.models.contains(pin)) {
        eprintln!("locked {} {} at {}", pin.hub, pin.revision, &pin.commit[..12]);
    }
    if before == after {
        return Ok(());
    }
    after.write(project::directory(arguments)).map_err(failed)?;
    Ok(())
}

impl Update {
    pub fn run(self) -> Exit {
        exit(self.update())
    }

    fn update(&self) -> Result<(), Exit> {
        let source = project::read(&self.file.file)?;
        let directory = project::directory(&self.file);
        let before = Lock::read(directory).map_err(failed)?;
        let after = resolve(&self.file, &source, before.clone(), true)?;
        if after == before {
            println!("{}: every module and every model is at the commit it is locked at", source.name);
            return Ok(());
        }
        for pin in after.modules.iter().filter(|pin| !before.modules.contains(pin)) {
            let old = before.find(&pin.git, pin.tag.as_deref(), None).map_or("nothing", |old| &old.commit[..12]);
            println!("{} {}: {old} -> {}", pin.git, pin.tag.as_deref().unwrap_or(""), &pin.commit[..12]);
        }
        for pin in after.models.iter().filter(|pin| !before.models.contains(pin)) {
            let old = before.find_model(&pin.hub, &pin.revision).map_or("nothing", |old| &old.commit[..12]);
            println!("{} {}: {old} -> {}", pin.hub, pin.revision, &pin.commit[..12]);
        }
        let world = |lock: &Lock| FileWorld { lock: Some(lock.clone()), ..FileWorld::new(directory) };
        let models = before.models.iter().all(|pin| shelf::find_model(directory, pin).is_some());
        if models && before.modules.iter().all(|pin| fetched(pin, directory)) {
            plan::print_differences(&self.file, &source, &world(&before), &world(&after))?;
        } else {
            println!("what that changes in the plan can't be told: the old text is no longer to be had");
        }
        if self.dry_run { Ok(()) } else { write(&self.file, &before, &after) }
    }
}

impl Vendor {
    pub fn run(self) -> Exit {
        exit(self.vendor())
    }

    fn vendor(&self) -> Result<(), Exit> {
        lock(&self.file)?;
        let directory = project::directory(&self.file);
        let lock = Lock::read(directory).map_err(failed)?;
        for pin in &lock.modules {
            let Some(from) = shelf::find(directory, &shelf::cache(), pin).map_err(failed)? else { continue };
            let files =
                shelf::read(&from).map_err(|source| failed(ModuleError::Unwritable { path: from.clone(), source }))?;
            let to = shelf::put(&directory.join(shelf::VENDOR), pin, &files).map_err(failed)?;
            println!("{} at {} is in {}", pin.git, &pin.commit[..12], to.display());
        }
        for pin in &lock.models {
            let Some(from) = shelf::find_model(directory, pin) else { continue };
            let to = directory.join(shelf::VENDOR).join(shelf::model_name(&pin.hub, &pin.commit));
            models::copy(&from, &to, pin)
                .map_err(|source| failed(ModuleError::Unwritable { path: to.clone(), source }))?;
            println!("{} at {} is in {}", pin.hub, &pin.commit[..12], to.display());
        }
        if lock == Lock::default() {
            println!("{} uses no module of a repository and no model of the hub", self.file.file.display());
        }
        Ok(())
    }
}

/// Whether a pinned text is on this machine, after an attempt to get it.
fn fetched(pin: &Pin, directory: &std::path::Path) -> bool {
    let here = || shelf::find(directory, &shelf::cache(), pin).ok().flatten().is_some();
    here() || {
        let again = git::fetch(&pin.git, None, Some(&pin.commit));
        again.is_ok_and(|(found, files)| found.tree == pin.tree && shelf::put(&shelf::cache(), pin, &files).is_ok())
    }
}

fn exit(result: Result<(), Exit>) -> Exit {
    result.err().unwrap_or(Exit::Ok)
}

fn failed(error: ModuleError) -> Exit {
    project::print_error(&error);
    Exit::Failed
}

/// The lock with every module that the file, and its modules, use from repositories, and every model of the hub, all of them
/// fetched. `anew`: tags and revisions are looked up even when they are locked.
fn resolve(arguments: &FileArguments, source: &Source, lock: Lock, anew: bool) -> Result<Lock, Exit> {
    let world = FileWorld::new(project::directory(arguments));
    let mut world = Recorder::new(FileWorld { lock: Some(lock), ..world });
    let mut done: Vec<ModuleRequest> = vec![];
    loop {
        lang::visit_modules(source, &world);
        let asked = world.modules.take();
        let Some(request) = asked.iter().find(|request| !done.contains(request)).cloned() else {
            let mut lock = world.world.lock.take().unwrap_or_default();
            // What nobody uses any more is no longer locked.
            lock.modules.retain(|pin| asked.iter().any(|request| is_of(request, pin)));
            let mentioned = source.text.contains(models::REVISION) || world.mentioned.get();
            if mentioned {
                world.world.lock = Some(lock.clone());
                // What is wrong with the file is said when it is checked.
                let _ = lang::check(source, methods::registry(), &world, &arguments.set);
                models::resolve(&world.models.take(), &mut lock, &world.world.directory, anew)?;
            } else if anew {
                lock.models.clear();
            }
            return Ok(lock);
        };
        if let ModuleRequest::Git { url, tag, commit, .. } = &request {
            let mut lock = world.world.lock.take().unwrap_or_default();
            let locked = lock.find(url, tag.as_deref(), commit.as_deref()).cloned();
            let here = match &locked {
                Some(pin) => shelf::find(&world.world.directory, &shelf::cache(), pin).map_err(failed)?.is_some(),
                None => false,
            };
            if !here || (anew && tag.is_some()) {
                let (pin, files) = git::fetch(url, tag.as_deref(), commit.as_deref()).map_err(failed)?;
                if let Some(locked) = locked.filter(|_| !anew) {
                    check(&locked, &pin).map_err(failed)?;
                }
                shelf::put(&shelf::cache(), &pin, &files).map_err(failed)?;
                lock.put(pin);
            }
            world.world.lock = Some(lock);
        }
        done.push(request);
    }
}

/// What was fetched must be what was locked.
fn check(locked: &Pin, found: &Pin) -> Result<(), ModuleError> {
    let url = locked.git.clone();
    if locked.commit != found.commit {
        let tag = locked.tag.clone().unwrap_or_default();
        let (locked, found) = (locked.commit[..12].to_owned(), found.commit[..12].to_owned());
        return Err(ModuleError::MovedTag { url, tag, locked, found });
    }
    if locked.tree != found.tree {
        return Err(ModuleError::ChangedTree { url, commit: locked.commit[..12].to_owned() });
    }
    Ok(())
}

fn is_of(request: &ModuleRequest, pin: &Pin) -> bool {
    match request {
        ModuleRequest::Git { url, tag, commit, .. } => {
            pin.git == *url && pin.tag == *tag && commit.as_ref().is_none_or(|commit| *commit == pin.commit)
        }
        ModuleRequest::File { .. } => false,
    }
}

/// A world that remembers which modules of repositories, and which models of the hub, it was asked for. It knows nothing
/// of files.
struct Recorder {
    world: FileWorld,
    modules: RefCell<Vec<ModuleRequest>>,
    models: RefCell<Vec<HubModel>>,
    /// Whether a module may name a model of the hub.
    mentioned: Cell<bool>,
}

impl Recorder {
    fn new(world: FileWorld) -> Self {
        Self { world, modules: RefCell::default(), models: RefCell::default(), mentioned: Cell::default() }
    }
}

impl World for Recorder {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        let mut models = self.models.borrow_mut();
        let new = HubModel::asked(request).filter(|model| !models.contains(model));
        models.extend(new);
        Ok(SourceFacts::default())
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        if matches!(request, ModuleRequest::Git { .. }) && !self.modules.borrow().contains(request) {
            self.modules.borrow_mut().push(request.clone());
        }
        let found = self.world.module(request)?;
        self.mentioned.set(self.mentioned.get() || found.text.contains(models::REVISION));
        Ok(found)
    }
}
