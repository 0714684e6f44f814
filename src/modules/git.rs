//! Repositories, by way of the `git` program: its credentials, its proxies, its ssh.

use std::path::Path;
use std::process::{Command, Stdio};

use super::shelf::{self, Files};
use super::{ModuleError, Pin};

/// Fetches a repository at a tag, or at a commit where there is none, without its history.
///
/// # Errors
/// When there is no such repository, tag or commit, or git can't reach it.
pub fn fetch(url: &str, tag: Option<&str>, commit: Option<&str>) -> Result<(Pin, Files), ModuleError> {
    address(url)?;
    let directory =
        tempfile::tempdir().map_err(|source| ModuleError::Unwritable { path: std::env::temp_dir(), source })?;
    let at = directory.path();
    git(at, url, "prepare", &["init", "--quiet", "--bare", "."])?;
    let wanted = match (tag, commit) {
        (Some(tag), _) => format!("refs/tags/{tag}"),
        (None, commit) => commit.unwrap_or("HEAD").to_owned(),
    };
    let shallow = git(at, url, "fetch", &["fetch", "--quiet", "--depth", "1", "--no-tags", "--", url, &wanted]);
    if let Err(error) = shallow {
        match tag {
            Some(tag) if said(&error, "couldn't find remote ref") => {
                return Err(ModuleError::NoTag { url: url.to_owned(), tag: tag.to_owned() });
            }
            Some(_) => return Err(error),
            // Some servers hand out only what a name points to; then everything is fetched.
            None => git(at, url, "fetch", &["fetch", "--quiet", "--", url, "+refs/*:refs/*"])?,
        };
    }
    let named = match (tag, commit) {
        (None, Some(commit)) => format!("{commit}^{{commit}}"),
        _ => "FETCH_HEAD^{commit}".to_owned(),
    };
    let commit = text(&git(at, url, "find the commit of", &["rev-parse", "--verify", &named])?);
    let names = git(at, url, "list", &["ls-tree", "-r", "-z", "--name-only", &commit])?;
    let mut files = vec![];
    for name in names.split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if shelf::is_module(Path::new(name)) {
            files.push((name.to_owned(), git(at, url, "read", &["cat-file", "blob", &format!("{commit}:{name}")])?));
        }
    }
    files.sort();
    let tree = shelf::digest(&files);
    Ok((Pin { git: url.to_owned(), tag: tag.map(str::to_owned), commit, tree }, files))
}

/// Refuses what is no address of a repository, and addresses with secrets in them.
///
/// # Errors
/// [`ModuleError::BadAddress`] and [`ModuleError::Credentials`]; the latter does not repeat them.
pub fn address(url: &str) -> Result<(), ModuleError> {
    let known = ["https://", "ssh://", "file:///"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let short = url.strip_prefix("git@").filter(|rest| rest.contains(':'));
    let Some(rest) = known.or(short) else { return Err(ModuleError::BadAddress { url: url.to_owned() }) };
    let host = rest.split('/').next().unwrap_or(rest);
    match host.rsplit_once('@') {
        // A user's name alone is what ssh needs.
        Some((user, _)) if !url.starts_with("ssh://") || user.contains(':') => {
            Err(ModuleError::Credentials { shown: url.replace(user, "..") })
        }
        _ => Ok(()),
    }
}

fn git(directory: &Path, url: &str, doing: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ModuleError> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "https:ssh:file")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ModuleError::NoGit { source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Err(ModuleError::GitFailed { doing, url: url.to_owned(), said })
}

fn said(error: &ModuleError, part: &str) -> bool {
    matches!(error, ModuleError::GitFailed { said, .. } if said.contains(part))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_secrets_and_other_programs_are_refused() {
        for good in ["https://example.org/a/b", "ssh://git@example.org/a", "git@example.org:a/b.git", "file:///srv/a"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for secret in
            ["https://me:secret@example.org/a", "https://token@example.org/a", "ssh://me:secret@example.org/a"]
        {
            let error = address(secret).unwrap_err();
            assert!(matches!(error, ModuleError::Credentials { .. }), "{secret}");
            assert!(!error.to_string().contains("secret") && !error.to_string().contains("token"), "{error}");
        }
        for odd in ["ext::sh -c id", "--upload-pack=id", "/srv/a", "http://example.org/a"] {
            assert!(matches!(address(odd), Err(ModuleError::BadAddress { .. })), "{odd}");
        }
    }
}
