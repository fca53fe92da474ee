//! When something must happen next, for everything that waits.
//!
//! Each waiting thing has at most one entry that counts: it remembers for when it is queued, and is queued again only
//! for an earlier time. Entries that no longer count are skipped when they come up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::peer::PeerId;
use crate::slab::Key;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiting {
    Transaction(Key),
    Session(Key),
    Peer(PeerId),
}

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, Waiting)>>,
}

impl Deadlines {
    /// Makes sure that `who` comes up at `wanted`. `queued` is what `who` remembers.
    pub fn arm(&mut self, queued: &mut Option<Instant>, wanted: Option<Instant>, who: Waiting) {
        if let Some(wanted) = wanted
            && queued.is_none_or(|at| wanted < at)
        {
            *queued = Some(wanted);
            self.heap.push(Reverse((wanted, who)));
        }
    }

    /// Takes the next entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Waiting)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
