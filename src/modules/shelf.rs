//! Where fetched modules and models lie: each repository's `.ftp` files, and each model's, in a directory named by their
//! digest, in the user's cache or, vendored, beside the file that uses them.

use std::path::{Component, Path, PathBuf};

use super::{ModelPin, ModuleError, Pin};

/// Name of the directory of vendored modules and models, beside the `.ftp` file.
pub const VENDOR: &str = "vendor";

/// The file that says where a directory's content is from.
pub const SOURCE: &str = "SOURCE";

/// A module's files: path with `/`, and content.
pub type Files = Vec<(String, Vec<u8>)>;

/// BLAKE3 over the files in the order of their paths, each path and content with its length before it; hexadecimal.
pub fn digest(files: &Files) -> String {
    let mut sorted: Vec<&(String, Vec<u8>)> = files.iter().collect();
    sorted.sort();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"ftp module tree");
    for (path, content) in sorted {
        for part in [path.as_bytes(), content] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The same over a model's files: names and BLAKE3 digests (hexadecimal), in any order.
pub fn model_digest<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut sorted: Vec<(&str, &str)> = files.into_iter().collect();
    sorted.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"ftp model files");
    for part in sorted.iter().flat_map(|(name, digest)| [name, digest]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The user's cache of modules.
pub fn cache() -> PathBuf {
    user_cache().join("modules")
}

/// The user's cache of models.
pub fn model_cache() -> PathBuf {
    user_cache().join("models")
}

fn user_cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("ftp")
}

/// Where a pinned model lies: vendored in the project, else in the cache. Its files are not looked at.
pub fn find_model(project: &Path, pin: &ModelPin) -> Option<PathBuf> {
    let places = [project.join(VENDOR), model_cache()].map(|root| root.join(model_name(&pin.hub, &pin.commit)));
    places.into_iter().find(|place| place.join(SOURCE).is_file())
}

/// The name of a model's directory. It is complete when [`SOURCE`] is in it.
pub fn model_name(hub: &str, commit: &str) -> String {
    let named = blake3::hash(format!("{hub}\0{commit}").as_bytes()).to_hex();
    name(&named).to_owned()
}

/// Says that a directory is complete.
pub fn complete(directory: &Path, from: &str, commit: &str) -> std::io::Result<()> {
    std::fs::write(directory.join(SOURCE), format!("{from} {commit}\n"))
}

/// Where a pinned module lies: vendored in the project, else in the cache. Its files are verified.
///
/// # Errors
/// When they are there but not what was locked.
pub fn find(project: &Path, cache: &Path, pin: &Pin) -> Result<Option<PathBuf>, ModuleError> {
    for root in [project.join(VENDOR), cache.to_path_buf()] {
        let directory = root.join(name(&pin.tree));
        if !directory.is_dir() {
            continue;
        }
        let files = read(&directory).map_err(|source| ModuleError::Unwritable { path: directory.clone(), source })?;
        if digest(&files) != pin.tree {
            return Err(ModuleError::ChangedTree { url: pin.git.clone(), commit: pin.commit.clone() });
        }
        return Ok(Some(directory));
    }
    Ok(None)
}

/// The directory of the pinned module that a path leads into, if it does: as [`find`] gives it, but absolute.
pub fn root_of(project: &Path, cache: &Path, path: &Path) -> Option<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (vendored, path) = (absolute(&project.join(VENDOR)), absolute(path));
    [vendored, absolute(cache)].into_iter().find_map(|root| {
        let first = path.strip_prefix(&root).ok()?.components().next()?;
        Some(root.join(first))
    })
}

/// Puts a module's files below `root`, whole or not at all; nothing happens when they are there.
pub fn put(root: &Path, pin: &Pin, files: &Files) -> Result<PathBuf, ModuleError> {
    let directory = root.join(name(&pin.tree));
    let write = || {
        if read(&directory).is_ok_and(|there| digest(&there) == pin.tree) {
            return Ok(());
        }
        std::fs::create_dir_all(root)?;
        let new = tempfile::tempdir_in(root)?;
        for (path, content) in files {
            let path = new.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::write(path, content)?;
        }
        complete(new.path(), &pin.git, &pin.commit)?;
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::rename(new.path(), &directory)
    };
    write().map_err(|source| ModuleError::Unwritable { path: directory.clone(), source })?;
    Ok(directory)
}

/// The `.ftp` files below a directory.
pub fn read(directory: &Path) -> std::io::Result<Files> {
    let mut files = vec![];
    let mut open = vec![directory.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if is_module(&path) {
                let name = path.strip_prefix(directory).unwrap_or(&path);
                let parts: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy()).collect();
                files.push((parts.join("/"), std::fs::read(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a path of a repository is that of a module, and stays within the directory it is written to.
pub fn is_module(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "ftp")
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir | Component::CurDir))
}

/// The name of its directory: enough of the digest to be unique, short enough for a path.
pub fn name(tree: &str) -> &str {
    tree.get(..32).unwrap_or(tree)
}
