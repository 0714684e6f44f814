//! `ftp key`: the key that results are signed with, and whose results are taken.

use clap::{Args, Subcommand};

use super::{Exit, project};
use crate::remote::{PublicKey, RemoteError, SigningKey, Trusted};

/// Results that go to a remote are signed, and those that come from one are taken only from who is trusted.
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key pair; the secret half is written where only you can read it ($FTP_SIGNING_KEY, else ~/.config/ftp/signing.key)
    New,
    /// Show your public key and its fingerprint, and whom you trust
    Show,
    /// Take results that are signed with this key
    Trust {
        /// Whose it is
        name: String,
        /// As `ftp key show` prints it for them: ed25519:...
        key: String,
    },
    /// Take no more results of this name
    Distrust { name: String },
}

impl Key {
    pub fn run(self) -> Exit {
        match self.act() {
            Ok(exit) => exit,
            Err(error) => {
                project::print_error(&error);
                Exit::Failed
            }
        }
    }

    fn act(self) -> Result<Exit, RemoteError> {
        match self.action {
            Action::New => {
                let path = SigningKey::place()?;
                let key = SigningKey::create(&path)?.public();
                println!("the secret key is in {}; keep it to yourself", path.display());
                print(&key);
                println!("who is to take your results runs: ftp key trust NAME {key}");
            }
            Action::Show => {
                match SigningKey::load_if_any()? {
                    Some(key) => print(&key.public()),
                    None => println!("no key of your own; `ftp key new` makes one"),
                }
                for (name, key) in Trusted::load(None)?.keys {
                    println!("trusted: {name}");
                    print(&key);
                }
            }
            Action::Trust { name, key } => {
                let key: PublicKey = key.parse()?;
                let path = Trusted::place();
                let new = Trusted::add(&path, &name, key)?;
                let word = if new { "now" } else { "already" };
                println!("{name} ({}) is {word} trusted, in {}", key.fingerprint(), path.display());
            }
            Action::Distrust { name } => {
                let path = Trusted::place();
                if !Trusted::remove(&path, &name)? {
                    eprintln!("error: {name} is not in {}", path.display());
                    eprintln!("  help: `ftp key show` lists whom you trust");
                    return Ok(Exit::Failed);
                }
                println!("{name} is no longer trusted; what was taken before stays in the store");
            }
        }
        Ok(Exit::Ok)
    }
}

fn print(key: &PublicKey) {
    println!("  {key}\n  fingerprint {}", key.fingerprint());
}
