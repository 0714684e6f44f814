//! A remote beside a run: asked before anything is computed, told what was. Nothing that goes wrong with it ends the run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miette::Diagnostic;

use super::push::Terms;
use super::{Remote, RemoteError, SigningKey, Trusted};
use crate::event::Notice;
use crate::lang::world::Digest;
use crate::store::{Elsewhere, Store};

/// For how long a remote that can't be reached is not asked again.
const PAUSE: Duration = Duration::from_secs(60);

/// How often the end of a run that waits for its last results asks whether it is to.
const TICK: Duration = Duration::from_millis(50);

/// Results on their way, and the thread that pushes them.
type Pushing = (Sender<(Store, Digest)>, JoinHandle<()>);

/// What a run does with a remote.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    /// What is to be pushed, and the thread that does it beside the next stages; none when nothing is.
    pushing: Mutex<Option<Pushing>>,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    trusted: Trusted,
    key: Option<SigningKey>,
    /// Set when the run is cancelled: what is not pushed by then is left.
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it could not be reached, to pull and to push.
    out_of_reach: [Option<Instant>; 2],
    /// Of which failures a person has been told, and how many more there were.
    told: BTreeMap<String, Counted>,
    /// From the thread that pushes.
    notices: Vec<Notice>,
    pulled: Tally,
    pushed: Tally,
    /// Results that were not looked for, and not pushed, while it was out of reach.
    skipped: [usize; 2],
    /// Results that were not pushed because the run was stopped.
    unpushed: usize,
}

#[derive(Debug, Clone)]
struct Counted {
    code: String,
    more: usize,
}

/// Which way results go.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pull,
    Push,
}

/// Results and bytes that were moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub results: usize,
    pub bytes: u64,
}

/// What came of a session.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub pulled: Tally,
    pub pushed: Tally,
    pub notices: Vec<Notice>,
}

impl Session {
    /// `push`: gives what the run computes to the remote, signed with the key if there is one.
    pub fn new(remote: Remote, trusted: Trusted, key: Option<SigningKey>, push: bool) -> Self {
        let shared = Shared { remote, trusted, key, stopped: AtomicBool::new(false), state: Mutex::default() };
        let shared = Arc::new(shared);
        let pushing = push.then(|| {
            let (sender, receiver) = mpsc::channel();
            let shared = shared.clone();
            (sender, std::thread::spawn(move || shared.push_all(&receiver)))
        });
        Self { shared, pushing: Mutex::new(pushing) }
    }

    pub fn remote(&self) -> &Remote {
        &self.shared.remote
    }

    /// Waits until all is pushed, or the run is `cancelled`, and says what came of it.
    pub fn finish(&self, cancelled: &dyn Fn() -> bool) -> Summary {
        let pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = pushing {
            drop(sender);
            while !thread.is_finished() {
                self.shared.stopped.store(cancelled(), Ordering::Relaxed);
                std::thread::sleep(TICK);
            }
            // A panic there has been shown; what it did not push is not there.
            let _ = thread.join();
        }
        let remote = self.shared.remote.name();
        let mut state = self.shared.state();
        let mut notices = std::mem::take(&mut state.notices);
        for Counted { code, more } in state.told.values().filter(|counted| counted.more > 0) {
            notices.push(Notice::new(
                code.clone(),
                format!("{more} more results were not taken from {remote}, or not given to it, for that reason"),
            ));
        }
        let [unasked, unpushed] = state.skipped;
        for (count, what) in [(unasked, "looked for in"), (unpushed, "pushed to")] {
            if count > 0 {
                let message = format!("{count} results were not {what} {remote} meanwhile");
                notices.push(Notice::new("ftp::remote::unreachable", message));
            }
        }
        if state.unpushed > 0 {
            let message = format!("{} results were not pushed to {remote}: the run was stopped", state.unpushed);
            notices.push(Notice::new("ftp::remote::interrupted", message));
        }
        Summary { pulled: state.pulled, pushed: state.pushed, notices }
    }
}

impl Elsewhere for Session {
    fn fetch(&self, store: &Store, key: &Digest, goes_on: &mut dyn FnMut() -> bool, tell: &dyn Fn(Notice)) {
        let shared = &self.shared;
        if shared.is_out_of_reach(Way::Pull) {
            return;
        }
        match shared.remote.pull(store, key, &shared.trusted, goes_on) {
            Ok(Some(pulled)) => {
                let mut state = shared.state();
                state.pulled.results += 1;
                state.pulled.bytes += pulled.bytes;
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(notice) = shared.failed(&error, Way::Pull) {
                    tell(notice);
                }
            }
        }
    }

    fn offer(&self, store: &Store, key: &Digest) {
        if let Some((sender, _)) = &*self.pushing.lock().unwrap_or_else(PoisonError::into_inner) {
            // The thread listens until the session ends.
            let _ = sender.send((store.clone(), key.clone()));
        }
    }
}

impl Shared {
    fn push_all(&self, receiver: &Receiver<(Store, Digest)>) {
        let terms = Terms { trusted: &self.trusted, key: self.key.as_ref(), replace: false };
        for (store, key) in receiver {
            let stopped = || self.stopped.load(Ordering::Relaxed);
            if stopped() {
                self.state().unpushed += 1;
                continue;
            }
            if self.is_out_of_reach(Way::Push) {
                continue;
            }
            let pushed = self.remote.push(&store, &[key], terms, &mut || !stopped());
            let notice = match &pushed {
                Ok(pushed) => {
                    let mut state = self.state();
                    state.pushed.results += pushed.new;
                    state.pushed.bytes += pushed.bytes;
                    let label = pushed.divergent.first();
                    label.map(|label| divergent(&self.remote, label))
                }
                Err(RemoteError::Interrupted) => {
                    self.state().unpushed += 1;
                    None
                }
                Err(error) => self.failed(error, Way::Push),
            };
            self.state().notices.extend(notice);
        }
    }

    /// What to tell of a failure: the first of its kind in full, others are counted. What is damaged or missing is always
    /// told: each time something else is.
    fn failed(&self, error: &RemoteError, way: Way) -> Option<Notice> {
        let code = error.code().map_or_else(String::new, |code| code.to_string());
        let kind = match error {
            RemoteError::Interrupted => return None,
            RemoteError::Unreachable { .. } => {
                self.state().out_of_reach[way as usize] = Some(Instant::now());
                None
            }
            RemoteError::Untrusted { signer, .. } => Some(format!("{code} {signer}")),
            RemoteError::Unsigned { .. } | RemoteError::ReadOnly { .. } => Some(code.clone()),
            RemoteError::Refused { .. } => Some(format!("{code} {way:?}")),
            _ => None,
        };
        if let Some(kind) = kind {
            let mut state = self.state();
            if let Some(counted) = state.told.get_mut(&kind) {
                counted.more += 1;
                return None;
            }
            state.told.insert(kind, Counted { code: code.clone(), more: 0 });
        }
        let help = error.help().map_or_else(String::new, |help| format!("; {help}"));
        Some(Notice::new(code, format!("{error}{help}")))
    }

    /// Whether it was out of reach just now; the result that is asked for counts as not looked for then.
    fn is_out_of_reach(&self, way: Way) -> bool {
        let mut state = self.state();
        let now = state.out_of_reach[way as usize].is_some_and(|since| since.elapsed() < PAUSE);
        state.skipped[way as usize] += usize::from(now);
        now
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another result of the same key was pushed before.
pub fn divergent(remote: &Remote, label: &str) -> Notice {
    let message =
        format!("{} has a different result of {label} already, which stays; this one was not pushed", remote.name());
    Notice::new("ftp::remote::divergent", message)
}
