//! When something must happen next, for everything that waits.
//!
//! Each waiting thing has at most one entry: it remembers for when it is queued, is queued again only for an earlier
//! time, and takes its entry along when it ends. So what is queued is never more than what exists.

use std::collections::BTreeSet;
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
    queue: BTreeSet<(Instant, Waiting)>,
}

impl Deadlines {
    /// Makes sure that `who` comes up at `wanted`. `queued` is what `who` remembers.
    pub fn arm(&mut self, queued: &mut Option<Instant>, wanted: Option<Instant>, who: Waiting) {
        if let Some(wanted) = wanted
            && queued.is_none_or(|at| wanted < at)
        {
            self.forget(*queued, who);
            *queued = Some(wanted);
            self.queue.insert((wanted, who));
        }
    }

    /// Takes the entry of something that ends.
    pub fn forget(&mut self, queued: Option<Instant>, who: Waiting) {
        if let Some(at) = queued {
            self.queue.remove(&(at, who));
        }
    }

    /// Takes the next entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Waiting)> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first()
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Entries that are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn something_queued_for_an_earlier_time_leaves_no_later_entry() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let (mut deadlines, mut queued) = (Deadlines::default(), None);
        let who = Waiting::Session(Key(7));
        for seconds in [180, 90, 120, 3] {
            deadlines.arm(&mut queued, Some(after(seconds)), who);
        }
        assert_eq!((deadlines.len(), queued), (1, Some(after(3))));
        assert_eq!(deadlines.pop_due(after(2)), None);
        assert_eq!(deadlines.pop_due(after(3)), Some((after(3), who)));
        assert_eq!(deadlines.next(), None);
        deadlines.arm(&mut None, Some(after(9)), who);
        deadlines.forget(Some(after(9)), who);
        assert_eq!(deadlines.len(), 0);
    }
}
