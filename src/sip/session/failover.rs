//! Requests that are sent again: in another form, or to another target of the same peer, because nobody answers the
//! INVITE or the way of a call died (RFC 3263 §4.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Session, State};
use crate::message::{Message, Name, Revision, revise};
use crate::peers::PeerEntry;
use crate::reason::local_failure;
use crate::slab::Key;
use crate::transaction::Tell;
use crate::wire::{Owner, Path, Purpose, Wire};

/// Times that requests of one call are sent another way without an answer in between.
const MOST_DETOURS: u8 = 2;

/// How a request sent again differs.
#[derive(Debug, Default)]
pub(super) struct Change<'a> {
    pub path: Option<Path>,
    pub credentials: &'a [u8],
    pub replace: &'a [(Name, &'static str, String)],
}

impl Session {
    /// Sends the request of `key` again as a new transaction, with credentials and replaced headers.
    pub(super) fn resubmit(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        change: Change<'_>,
    ) -> Option<Key> {
        let (bytes, old_path) = wire.request_of(key).map(|(bytes, path)| (bytes.to_vec(), path))?;
        let path = change.path.unwrap_or(old_path);
        let mut scratch = Vec::new();
        let request = Message::parse(&bytes, &mut scratch).ok()?;
        self.cseq += 1;
        let cseq = self.cseq;
        let owner = Owner::Session(self.id, purpose);
        let sent = wire.request(now, path, owner, request.cseq.method, |via| {
            revise(
                &request,
                &Revision {
                    via,
                    cseq,
                    credentials: change.credentials,
                    replace: change.replace,
                },
            )
        });
        let key = sent.ok()?;
        self.live += 1;
        Some(key)
    }

    fn entry<'a>(&self, wire: &'a Wire) -> Option<&'a PeerEntry> {
        wire.peers.get(self.peer)
    }

    /// The target that our INVITE went to last.
    pub fn target(&self) -> Option<SocketAddr> {
        self.tried.last().copied()
    }

    /// Passes the target over for a while, for this call and all others.
    pub(super) fn rest_target(&self, wire: &mut Wire, now: Instant, asked: Option<Duration>) {
        if let Some(target) = self.target() {
            wire.peers.rest(now, self.peer, target, asked);
        }
    }

    pub(super) fn wake_target(&self, wire: &mut Wire) {
        if let Some(target) = self.target() {
            wire.peers.wake(self.peer, target);
        }
    }

    /// Where the INVITE goes next: with another peer at hand, a target that rests is not worth the time.
    fn next_target(&self, wire: &Wire, now: Instant) -> Option<SocketAddr> {
        self.entry(wire)?.next_target(now, &self.tried, !self.hurried)
    }

    /// An INVITE of the call is on its way: the clocks start.
    pub(super) fn keep_trying(&mut self, wire: &Wire, now: Instant) {
        let impatient = self.hurried || self.next_target(wire, now).is_some();
        self.target_at = impatient.then_some(now + wire.config.target_timeout);
        self.give_up_at = Some(now + wire.config.ring_limit);
    }

    /// Another peer could carry the call.
    pub fn hurry(&mut self, wire: &Wire, now: Instant) {
        self.hurried = true;
        if self.state == State::Calling && self.invite.is_some_and(|key| wire.is_calling(key)) {
            self.target_at.get_or_insert(now + wire.config.target_timeout);
        }
    }

    /// Sends the INVITE to the peer's next target, unless early media was already heard.
    pub(super) fn try_next_target(&mut self, wire: &mut Wire, now: Instant) -> bool {
        let has_media = self.dialogs.iter().any(|dialog| dialog.early_sdp.is_some());
        let random = wire.random();
        let next = self
            .entry(wire)
            .and_then(|entry| entry.draw_target(now, &self.tried, !self.hurried, random));
        let (Some(remote), Some(key), Some(entry), false) = (next, self.invite, self.entry(wire), has_media)
        else {
            return false;
        };
        let change = Change {
            path: Some(entry.path_to(remote)),
            ..Change::default()
        };
        let Some(sent) = self.resubmit(wire, now, key, Purpose::Invite, change) else {
            return false;
        };
        wire.give_up(now, key);
        self.tried.push(remote);
        self.invite = Some(sent);
        self.drop_offer(wire, now);
        self.dialogs.clear();
        self.keep_trying(wire, now);
        true
    }

    /// A target stayed silent for too long. Without another one the call has failed, where it is in a hurry.
    pub(super) fn give_up_target(&mut self, wire: &mut Wire, now: Instant) {
        if self.target_at.is_none_or(|at| at > now) {
            return;
        }
        self.target_at = None;
        let Some(key) = self.invite.filter(|key| wire.is_calling(*key)) else {
            return;
        };
        if self.state != State::Calling {
            return;
        }
        self.rest_target(wire, now, None);
        if !self.try_next_target(wire, now) && self.hurried {
            wire.give_up(now, key);
            self.tell_failed(wire, local_failure(408));
            (self.state, self.give_up_at) = (State::Over, None);
        }
    }

    // Within a dialog.

    /// The way of a request within the call: round a target that rests, where the peer has another.
    pub(super) fn way_round(&self, wire: &Wire, now: Instant, path: Path) -> Path {
        let other = self
            .entry(wire)
            .filter(|entry| entry.is_resting(now, path.remote) && entry.peer.is_target(path.remote))
            .and_then(|entry| entry.next_target(now, &[path.remote], false));
        Path {
            remote: other.unwrap_or(path.remote),
            ..path
        }
    }

    /// Sends a request within the call to another target, because nothing can be sent to this one, or nothing comes.
    /// `None` when there is no other.
    pub(super) fn detour(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        tell: Tell,
    ) -> Option<Key> {
        if !matches!(tell, Tell::Unreachable | Tell::Timeout) {
            self.detours = 0;
            return None;
        }
        let (_, path) = wire.request_of(key)?;
        if self.detours >= MOST_DETOURS || !self.entry(wire)?.peer.is_target(path.remote) {
            return None;
        }
        wire.peers.rest(now, self.peer, path.remote, None);
        let remote = self.entry(wire)?.next_target(now, &[path.remote], false)?;
        self.detours += 1;
        let change = Change {
            path: Some(Path { remote, ..path }),
            ..Change::default()
        };
        self.resubmit(wire, now, key, purpose, change)
    }
}
