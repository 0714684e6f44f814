//! Trainings that share a process compute in turns: no more at a time than there are cores for, all equally far.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A training keeps its turn for so long at least, and through a whole step in any case: changing over after every step of a small model
/// would cost more than the step.
const LEAST: Duration = Duration::from_millis(20);

/// Hands out turns in the order in which they are asked for. What a step holds in memory is held by those only whose turn it is.
#[derive(Debug)]
pub struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    /// The number of the next one that asks.
    next: u64,
    waiting: VecDeque<u64>,
}

impl Turns {
    /// `at_once` trainings compute at a time; at least one.
    pub fn new(at_once: usize) -> Self {
        let queue = Queue { free: at_once.max(1), next: 0, waiting: VecDeque::new() };
        Self { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A training that panicked gives its turn back all the same.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back(number);
        while queue.free == 0 || queue.waiting.front() != Some(&number) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting.pop_front();
        queue.free -= 1;
        // The next one may find another turn free.
        self.changed.notify_all();
    }

    fn give_back(&self) {
        self.queue().free += 1;
        self.changed.notify_all();
    }

    fn awaited(&self) -> bool {
        !self.queue().waiting.is_empty()
    }
}

/// One training's turn, given back at the latest when dropped.
pub(super) struct Turn<'a> {
    turns: Option<&'a Turns>,
    since: Option<Instant>,
}

impl<'a> Turn<'a> {
    /// Without `turns`, it is always this training's turn.
    pub fn of(turns: Option<&'a Turns>) -> Self {
        Self { turns, since: None }
    }

    /// Waits for the turn, unless it is this training's.
    pub fn begin(&mut self) {
        if let Some(turns) = self.turns.filter(|_| self.since.is_none()) {
            turns.take();
            self.since = Some(Instant::now());
        }
    }

    /// A step is over: lets others go on, if they wait and this one had its time.
    pub fn step_done(&mut self) {
        let over = self.since.is_some_and(|since| since.elapsed() >= LEAST);
        if over && self.turns.is_some_and(Turns::awaited) {
            self.end();
        }
    }

    /// Gives the turn back.
    pub fn end(&mut self) {
        if let (Some(turns), Some(_)) = (self.turns, self.since.take()) {
            turns.give_back();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_so_many_have_a_turn_at_a_time_and_all_come_equally_far() {
        let (turns, now, most) = (Turns::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let steps: Vec<AtomicUsize> = (0..5).map(|_| AtomicUsize::new(0)).collect();
        let spread = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for own in &steps {
                scope.spawn(|| {
                    let mut turn = Turn::of(Some(&turns));
                    for _ in 0..6 {
                        turn.begin();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(LEAST);
                        own.fetch_add(1, Ordering::SeqCst);
                        let all = || steps.iter().map(|steps| steps.load(Ordering::SeqCst));
                        spread.fetch_max(all().max().unwrap() - all().min().unwrap(), Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                        turn.step_done();
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
        // Two are a step ahead while the fifth waits, and one of them may be given the next before another has counted.
        assert!(spread.load(Ordering::SeqCst) <= 3, "{spread:?}");
    }

    #[test]
    fn a_turn_is_given_back_by_a_training_that_panics() {
        let turns = Turns::new(1);
        let panicked = std::thread::scope(|scope| {
            let panics = || {
                let mut turn = Turn::of(Some(&turns));
                turn.begin();
                panic!("a fault");
            };
            scope.spawn(panics).join().is_err()
        });
        assert!(panicked);
        Turn::of(Some(&turns)).begin();
    }
}
