//! Ending: CANCEL, BYE, and what crosses them on the way (RFC 3261 §9, §15).

use std::time::Instant;

use super::{Exchange, Session, State};
use crate::event::{Cause, Ended, Reason};
use crate::message::Message;
use crate::reason::{cause_line, local_failure, reason};
use crate::slab::Key;
use crate::wire::{Path, Purpose, Wire};

impl Session {
    /// Ends the session in whatever state it is; its last event is told at once.
    pub fn hangup(&mut self, wire: &mut Wire, now: Instant, cause: Option<Cause>) {
        let lines = cause_line(cause);
        match self.state {
            State::Calling => self.cancel_invite(wire, now, lines),
            State::Incoming => {
                self.refuse(wire, now, 603, &lines);
            }
            State::Answering => self.release = Some(lines),
            State::Confirmed => {
                self.release_dialog(wire, now, self.current, &lines);
                self.finish_exchange(wire, now);
                self.state = State::Over;
            }
            State::Cancelling | State::Over => {}
        }
        self.tell_ended(wire, Ended::ByUs, Reason::default());
    }

    /// Sends CANCEL, or remembers to when the first 1xx comes (RFC 3261 §9.1). What the INVITE brings is then only
    /// cleaned up.
    pub(super) fn cancel_invite(&mut self, wire: &mut Wire, now: Instant, lines: Vec<u8>) {
        self.state = State::Cancelling;
        self.drop_offer(wire, now);
        (self.target_at, self.give_up_at) = (None, None);
        let Some(key) = self.invite else { return };
        if wire.is_calling(key) {
            self.release = Some(lines);
        } else {
            self.send_cancel(wire, now, key, &lines);
        }
    }

    /// Sends CANCEL once; the transaction waits for a final response 64*T1 at most.
    pub(super) fn send_cancel(&mut self, wire: &mut Wire, now: Instant, key: Key, lines: &[u8]) {
        if wire.cancel(now, key, self.id, lines).is_some() {
            self.live += 1;
        }
    }

    /// Timer C, or a peer's INVITE that nobody answered.
    pub(super) fn give_up_invite(&mut self, wire: &mut Wire, now: Instant) {
        if self.give_up_at.is_none_or(|at| at > now) {
            return;
        }
        self.give_up_at = None;
        match self.state {
            State::Calling => {
                self.tell_failed(wire, local_failure(408));
                self.cancel_invite(wire, now, Vec::new());
            }
            State::Incoming => {
                self.refuse(wire, now, self.gives_up, &[]);
                self.tell_ended(wire, Ended::Expired, Reason::default());
            }
            _ => {}
        }
    }

    /// Sends BYE in one dialog.
    pub(super) fn release_dialog(&mut self, wire: &mut Wire, now: Instant, dialog: usize, lines: &[u8]) {
        self.send_in(wire, now, dialog, Purpose::Bye, lines, ("", b""));
    }

    /// Answers whatever offer of the peer is open when the session ends.
    pub(super) fn finish_exchange(&mut self, wire: &mut Wire, now: Instant) {
        self.drop_offer(wire, now);
        if let Some(key) = self.exchange.offering_key() {
            wire.hurry(now, key);
        }
        self.exchange = Exchange::default();
        self.refresh.stop();
        self.repeat = None;
    }

    /// Answers an offer of the peer that nobody will: the session ends, in an early dialog too.
    pub(super) fn drop_offer(&mut self, wire: &mut Wire, now: Instant) {
        if let Some(key) = self.exchange.take_offered() {
            self.respond(wire, now, key, 487, &[], b"");
        }
    }

    /// The dialog is gone at the other side: BYE for good measure, and the end.
    pub(super) fn lose_dialog(&mut self, wire: &mut Wire, now: Instant) {
        self.release_dialog(wire, now, self.current, &[]);
        self.finish_exchange(wire, now);
        self.state = State::Over;
        self.tell_ended(wire, Ended::DialogLost, Reason::default());
    }

    pub(super) fn on_bye(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        dialog: usize,
        request: &Message<'_>,
        path: Path,
    ) {
        self.answer_request(wire, now, request, path, 200, b"");
        match self.state {
            State::Calling => {
                // The callee ends an early dialog; other branches of the INVITE end with it.
                let mut failure = local_failure(480);
                (failure.from_peer, failure.reason) = (true, reason(request));
                self.tell_failed(wire, failure);
                self.cancel_invite(wire, now, Vec::new());
            }
            State::Incoming => {
                if let Some(key) = self.invite {
                    self.respond(wire, now, key, 487, &[], b"");
                }
                self.drop_offer(wire, now);
                self.state = State::Over;
                self.reliable.stop();
                self.tell_ended(wire, Ended::ByPeer, reason(request));
            }
            State::Answering | State::Confirmed if dialog == self.current => {
                self.finish_exchange(wire, now);
                self.state = State::Over;
                self.tell_ended(wire, Ended::ByPeer, reason(request));
            }
            _ => {}
        }
    }

    /// CANCEL of a peer's INVITE; it means nothing once that was answered (RFC 3261 §9.2).
    pub fn on_cancel(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>) {
        if self.state != State::Incoming {
            return;
        }
        if let Some(key) = self.invite {
            self.respond(wire, now, key, 487, &[], b"");
        }
        self.drop_offer(wire, now);
        self.state = State::Over;
        self.reliable.stop();
        self.tell_ended(wire, Ended::CancelledByPeer, reason(request));
    }

    /// Our tag, for the answer to a CANCEL.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}
