//! What the stages of one process have in common: read, tokenised or computed by the first that needs it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::spec::StageFailure;
use crate::train::Turns;

/// What the stages of one process have in common; of a stage alone, nothing is kept.
#[derive(Default)]
pub struct Shared {
    company: Option<Company>,
}

struct Company {
    turns: Turns,
    /// Of all cores, for what the others wait for.
    pool: Option<rayon::ThreadPool>,
    kept: Mutex<HashMap<String, Arc<Place>>>,
}

/// Held while it is made: who comes second waits.
type Place = Mutex<Option<Arc<dyn Any + Send + Sync>>>;

impl Shared {
    /// For stages that train together on this many cores, `threads` each.
    pub fn among(cores: usize, threads: usize) -> Self {
        let company = Company {
            turns: Turns::new(cores / threads.max(1)),
            // Without one, the stage's own threads do the work.
            pool: rayon::ThreadPoolBuilder::new().num_threads(cores).build().ok(),
            kept: Mutex::default(),
        };
        Self { company: Some(company) }
    }

    /// When it is whose turn to compute a step.
    pub(super) fn turns(&self) -> Option<&Turns> {
        self.company.as_ref().map(|company| &company.turns)
    }

    /// What `make` makes, once for all that ask under this name: it names the kind of thing and everything the thing depends
    /// on. A failure is not kept: the next that asks tries again.
    pub(super) fn once<T, E>(
        &self,
        name: String,
        make: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<Arc<T>, StageFailure>
    where
        T: Send + Sync + 'static,
        E: Into<StageFailure> + Send,
    {
        let Some(company) = &self.company else { return make().map(Arc::new).map_err(Into::into) };
        let place = {
            let mut kept = company.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.entry(name).or_default().clone()
        };
        // Where another stage panicked while it made this, there is nothing yet.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = place.clone().and_then(|made| made.downcast().ok()) {
            return Ok(made);
        }
        let made = match &company.pool {
            Some(pool) => pool.install(make),
            None => make(),
        };
        let made = Arc::new(made.map_err(Into::into)?);
        *place = Some(made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_thing_is_made_once_by_stages_together_and_by_each_that_is_alone() {
        for (shared, expected) in [(Shared::among(2, 1), 1), (Shared::default(), 8)] {
            let made = AtomicUsize::new(0);
            let make = || Ok::<_, StageFailure>(made.fetch_add(1, Ordering::SeqCst));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| shared.once("a number".into(), make).unwrap());
                }
            });
            assert_eq!(made.load(Ordering::SeqCst), expected);
        }
    }

    #[test]
    fn what_failed_or_panicked_is_tried_again_by_the_next() {
        let shared = Shared::among(1, 1);
        let fails = || Err::<u8, _>(StageFailure::new("ftp::stage::failed", "no"));
        assert!(shared.once("a".into(), fails).is_err());
        let panics = || shared.once::<u8, StageFailure>("a".into(), || panic!("a fault"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(*shared.once("a".into(), || Ok::<_, StageFailure>(3_u8)).unwrap(), 3);
        assert_eq!(*shared.once("b".into(), || Ok::<_, StageFailure>("another kind")).unwrap(), "another kind");
    }
}
