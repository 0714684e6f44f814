//! Where results may be besides a store.

use std::fmt::Debug;

use super::Store;
use crate::event::Notice;
use crate::lang::world::Digest;

/// Another place for results, which a run asks before it computes and tells what it has computed. It is never needed: what it can't
/// do is a notice.
pub trait Elsewhere: Debug + Send + Sync {
    /// Brings the result of a key into the store, if it is there, whole, and may be used; otherwise the result is
    /// computed. `goes_on` is asked often; when it says no, this ends soon.
    fn fetch(&self, store: &Store, key: &Digest, goes_on: &mut dyn FnMut() -> bool, tell: &dyn Fn(Notice));

    /// Says that the result of a key was computed and is in the store. Does not wait.
    fn offer(&self, store: &Store, key: &Digest);
}
