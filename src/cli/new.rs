//! `ftp new`.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Exit, project};

#[derive(Args)]
pub(super) struct New {
    /// The directory to begin in; made if it is not there
    #[arg(default_value = ".")]
    directory: PathBuf,
}

/// What a project begins with.
const FILES: [(&str, &str); 6] = [
    ("main.ftp", include_str!("starter/main.ftp")),
    ("data/corpus.txt", include_str!("starter/corpus.txt")),
    ("data/train.jsonl", include_str!("starter/train.jsonl")),
    ("data/dev.jsonl", include_str!("starter/dev.jsonl")),
    ("data/test.jsonl", include_str!("starter/test.jsonl")),
    (".gitignore", "/out/\n/models/\n"),
];

impl New {
    pub fn run(self) -> Exit {
        // Nothing is written when anything would be in the way.
        if let Some((taken, _)) = FILES.iter().find(|(path, _)| self.directory.join(path).exists()) {
            eprintln!("error: {} is there already", self.directory.join(taken).display());
            eprintln!("  help: choose another directory: ftp new my-project");
            return Exit::Usage;
        }
        for (path, text) in FILES {
            let file = self.directory.join(path);
            let written = fs::create_dir_all(file.parent().unwrap_or(&self.directory)).and_then(|()| {
                fs::OpenOptions::new().write(true).create_new(true).open(&file)?.write_all(text.as_bytes())
            });
            match written {
                Ok(()) => println!("  {}", file.display()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    eprintln!("error: {} is there already", file.display());
                    return Exit::Usage;
                }
                Err(error) => {
                    eprintln!("error: can't write {}: {}", file.display(), project::reason(&error));
                    return Exit::Failed;
                }
            }
        }
        println!("\nNext: ftp check {}", self.directory.join(FILES[0].0).display());
        Exit::Ok
    }
}
