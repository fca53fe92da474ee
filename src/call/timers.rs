//! Deadlines of many calls, each with a name of its own within its call.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::time::Instant;

/// Names one call within this process.
pub type CallKey = u64;

/// All deadlines, the next one first. Setting a name anew replaces its deadline; nothing is left of a cancelled one.
#[derive(Debug)]
pub struct Timers<Name> {
    due: BTreeSet<(Instant, CallKey, Name)>,
    by_name: BTreeMap<(CallKey, Name), Instant>,
}

impl<Name: Copy + Ord + Hash> Default for Timers<Name> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            by_name: BTreeMap::new(),
        }
    }
}

impl<Name: Copy + Ord + Hash> Timers<Name> {
    pub fn set(&mut self, call: CallKey, name: Name, at: Instant) {
        self.cancel(call, name);
        self.due.insert((at, call, name));
        self.by_name.insert((call, name), at);
    }

    pub fn cancel(&mut self, call: CallKey, name: Name) {
        if let Some(at) = self.by_name.remove(&(call, name)) {
            self.due.remove(&(at, call, name));
        }
    }

    /// Forgets every deadline of a call; `names` are all that it may have.
    pub fn forget(&mut self, call: CallKey, names: &[Name]) {
        for &name in names {
            self.cancel(call, name);
        }
    }

    /// When the next timer fires.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Takes a timer that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(CallKey, Name)> {
        let &(at, call, name) = self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(call, name);
        Some((call, name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timer_set_again_fires_once_at_its_new_time() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(1, 'a', now + Duration::from_secs(1));
        timers.set(1, 'a', now + Duration::from_secs(3));
        timers.set(2, 'a', now + Duration::from_secs(2));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(2)));
        assert_eq!(timers.pop(now + Duration::from_secs(1)), None);
        assert_eq!(timers.pop(now + Duration::from_secs(9)), Some((2, 'a')));
        assert_eq!(timers.pop(now + Duration::from_secs(9)), Some((1, 'a')));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn nothing_is_left_of_a_forgotten_call() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(7, 'a', now);
        timers.set(7, 'b', now);
        timers.forget(7, &['a', 'b']);
        assert_eq!((timers.next(), timers.by_name.len()), (None, 0));
    }
}
