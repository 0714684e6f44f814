//! What commands take that look for results on a remote, and the end of a run that did.

use std::collections::BTreeSet;
#[cfg(feature = "train")]
use std::sync::Arc;
#[cfg(feature = "train")]
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use super::{Exit, project};
#[cfg(feature = "train")]
use crate::event::Event;
use crate::lang::world::Digest;
use crate::remote::{Remote, RemoteError, SigningKey, Trusted};
#[cfg(feature = "train")]
use crate::remote::{Session, Summary};
#[cfg(feature = "train")]
use crate::report::text;

/// A remote to look at.
#[derive(Args)]
pub(super) struct RemoteArgument {
    /// Look for results there, too: a directory, s3://bucket/prefix, or https://host/prefix [default: $FTP_REMOTE]
    #[arg(long, value_name = "ADDRESS", env = "FTP_REMOTE", hide_env = true)]
    remote: Option<String>,
}

/// What a run does with a remote.
#[cfg(feature = "train")]
#[derive(Args)]
pub(super) struct RemoteArguments {
    #[command(flatten)]
    remote: RemoteArgument,
    /// Give the remote what is computed, signed with your key (`ftp key new`)
    #[arg(long)]
    push: bool,
    /// Take results of whoever made them, signed or not; and push without a key
    #[arg(long)]
    allow_unsigned: bool,
}

impl RemoteArgument {
    /// Nothing is asked of it yet.
    pub fn open(&self) -> Result<Option<Remote>, Exit> {
        let address = self.remote.as_deref().filter(|address| !address.is_empty());
        address.map(open).transpose()
    }
}

#[cfg(feature = "train")]
impl RemoteArguments {
    pub fn session(&self) -> Result<Option<Arc<Session>>, Exit> {
        let Some(remote) = self.remote.open()? else {
            if self.push {
                eprintln!("error: --push needs a remote to push to");
                eprintln!("  help: name it with --remote, or in $FTP_REMOTE");
                return Err(Exit::Usage);
            }
            return Ok(None);
        };
        let (trusted, key) = signatures(self.allow_unsigned, self.push)?;
        if self.push
            && let Err(error @ RemoteError::ReadOnly { .. }) = remote.prepare()
        {
            return Err(wrong(&error));
        }
        Ok(Some(Arc::new(Session::new(remote, trusted, key, self.push))))
    }
}

/// Waits until all is pushed, and says what came of it.
#[cfg(feature = "train")]
pub(super) fn conclude(session: &Session, cancel: &AtomicBool, json: bool, sink: &dyn Fn(Event)) {
    let Summary { pulled, pushed, notices } = session.finish(&|| cancel.load(Ordering::Relaxed));
    for notice in notices {
        sink(Event::Notice { stage: "remote".into(), notice });
    }
    for (word, tally) in [("pulled from", pulled), ("pushed to", pushed)] {
        if tally.results > 0 && !json {
            println!("{} results {word} {}, {}", tally.results, session.remote().name(), text::bytes(tally.bytes));
        }
    }
}

/// Which results of those that would be computed the remote has, by key; said, and nothing, when it can't be reached.
pub(super) fn had(remote: &Remote, keys: &[Digest]) -> BTreeSet<Digest> {
    match remote.has(keys) {
        Ok(has) => keys.iter().zip(has).filter(|(_, has)| *has).map(|(key, _)| key.clone()).collect(),
        Err(error) => {
            project::print_error(&error);
            BTreeSet::new()
        }
    }
}

/// Says that a result was not pushed because there is another one.
pub(super) fn divergent(remote: &Remote, label: &str) {
    eprintln!("{}", crate::remote::divergent(remote, label).message);
}

/// Opens a remote, or says why its address is none.
pub(super) fn open(address: &str) -> Result<Remote, Exit> {
    Remote::open(address).map_err(|error| wrong(&error))
}

/// Whom to trust, and the key to sign with, which must be there to push unless that may be without.
pub(super) fn signatures(allow_unsigned: bool, push: bool) -> Result<(Trusted, Option<SigningKey>), Exit> {
    let key = match push && !allow_unsigned {
        true => SigningKey::load().map(Some),
        false => SigningKey::load_if_any(),
    };
    let key = key.map_err(|error| wrong(&error))?;
    let trusted = Trusted::load(key.as_ref()).map_err(|error| wrong(&error))?;
    Ok((Trusted { anyone: allow_unsigned, ..trusted }, key))
}

fn wrong(error: &RemoteError) -> Exit {
    project::print_error(error);
    Exit::Usage
}
