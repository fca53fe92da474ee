//! Provisional responses: reliable ones both ways (RFC 3262), and the reminder that a call still rings.

use std::time::{Duration, Instant};

use super::{Session, State, sdp_hash};
use crate::event::{Ended, Event, Reason};
use crate::message::{Message, Name, decimal};
use crate::slab::Key;
use crate::wire::{Path, Purpose, Wire};

/// A reliable provisional response that waits for its PRACK.
#[derive(Debug)]
struct Open {
    rseq: u32,
    status: u16,
    sdp: Vec<u8>,
    at: Instant,
    interval: Duration,
    until: Instant,
}

/// Provisional responses of a peer's INVITE.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// The INVITE requires 100rel.
    pub required: bool,
    /// Number and patience of one that a final response overtook: not repeated any more, its PRACK still gets 200.
    overtaken: Option<(u32, Instant)>,
    /// The SDP was agreed before the 2xx, by a PRACK or an UPDATE: the 2xx has none.
    pub agreed: bool,
    /// An offer and its answer went in the INVITE, a reliable response and its PRACK: UPDATE may offer again.
    pub settled: bool,
    rseq: u32,
    open: Option<Open>,
    /// What to send once the open one is acknowledged: the latest wish counts.
    next: Option<(u16, Vec<u8>)>,
    answer: Option<Vec<u8>>,
    /// When to repeat an unreliable one, and which.
    reminder: Option<(Instant, u16, Vec<u8>)>,
}

impl Reliable {
    pub fn next_timeout(&self) -> Option<Instant> {
        let open = self.open.as_ref().map(|open| open.at.min(open.until));
        let reminder = self.reminder.as_ref().map(|(at, ..)| *at);
        let overtaken = self.overtaken.map(|(_, until)| until);
        open.into_iter().chain(reminder).chain(overtaken).min()
    }

    /// A final response goes out. RFC 3262 §3: an open response is not repeated any more, but its PRACK is expected.
    pub fn stop(&mut self) {
        self.overtaken = match self.open.take() {
            Some(open) => Some((open.rseq, open.until)),
            None => self.overtaken,
        };
        (self.next, self.answer, self.reminder) = (None, None, None);
    }

    /// Ends all timers.
    pub fn forget(&mut self) {
        self.stop();
        self.overtaken = None;
    }

    /// Whether a PRACK may still come for a response that a final one overtook.
    pub fn expects_prack(&self) -> bool {
        self.overtaken.is_some()
    }

    /// Takes the PRACK number `rseq`: whether it acknowledges something, and the SDP of that response.
    fn acknowledge(&mut self, rseq: u32) -> Option<Vec<u8>> {
        if self.overtaken.take_if(|(number, _)| *number == rseq).is_some() {
            return Some(Vec::new());
        }
        let open = self.open.take_if(|open| open.rseq == rseq)?;
        Some(open.sdp)
    }

    pub fn keep_ringing(&mut self, at: Instant, status: u16, sdp: &[u8]) {
        self.reminder = Some((at, status, sdp.to_vec()));
    }

    /// Whether the answer has to wait for a PRACK; it is kept then.
    pub fn holds_answer(&mut self, sdp: &[u8]) -> bool {
        let holds = self.open.as_ref().is_some_and(|open| !open.sdp.is_empty());
        if holds {
            self.answer = Some(sdp.to_vec());
        }
        holds
    }
}

impl Session {
    pub(super) fn send_reliably(&mut self, wire: &mut Wire, now: Instant, key: Key, status: u16, sdp: &[u8]) {
        if self.reliable.open.is_some() {
            self.reliable.next = Some((status, sdp.to_vec()));
            return;
        }
        if self.reliable.rseq == 0 {
            self.reliable.rseq = (wire.random() as u32 >> 2).max(1);
        } else {
            self.reliable.rseq += 1;
        }
        let (t1, rseq) = (wire.config.t1, self.reliable.rseq);
        self.reliable.open = Some(Open {
            rseq,
            status,
            sdp: sdp.to_vec(),
            at: now + t1,
            interval: t1,
            until: now + t1 * 64,
        });
        self.transmit_open(wire, now, key);
    }

    fn transmit_open(&mut self, wire: &mut Wire, now: Instant, key: Key) {
        let Some(open) = &self.reliable.open else { return };
        let mut lines = self.dialog_lines();
        lines.extend_from_slice(format!("Require: 100rel\r\nRSeq: {}\r\n", open.rseq).as_bytes());
        self.respond(wire, now, key, open.status, &lines, &open.sdp);
    }

    /// Repeats the open reliable response; without PRACK for 64*T1 the INVITE fails (RFC 3262 §3).
    pub(super) fn repeat_provisional(&mut self, wire: &mut Wire, now: Instant) {
        self.reliable.overtaken.take_if(|(_, until)| *until <= now);
        let Some(key) = self.invite.filter(|_| self.state == State::Incoming) else {
            return;
        };
        if let Some((at, status, sdp)) = self.reliable.reminder.take_if(|(at, ..)| *at <= now) {
            let _ = at;
            self.provisional(wire, now, status, &sdp);
        }
        let Some(open) = &mut self.reliable.open else {
            return;
        };
        if open.until <= now {
            self.reliable.open = None;
            self.refuse(wire, now, 504, &[]);
            return self.tell_ended(wire, Ended::NoAck, Reason::default());
        }
        if open.at <= now {
            open.interval *= 2;
            open.at = now + open.interval;
            wire.counters.retransmitted += 1;
            self.transmit_open(wire, now, key);
        }
    }

    /// A PRACK of the peer.
    pub(super) fn on_prack(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        let rack = request.header(Name::RAck).and_then(parse_rack);
        let rack = rack.filter(|(_, cseq)| *cseq == self.invite_cseq);
        let Some(sdp) = rack.and_then(|(rseq, _)| self.reliable.acknowledge(rseq)) else {
            return self.answer_request(wire, now, request, path, 481, b"");
        };
        self.reliable.settled |= !sdp.is_empty();
        let offered = !sdp.is_empty() && !self.local_is_answer;
        match crate::body::sdp(request) {
            Ok(Some(answer)) if offered => {
                self.reliable.agreed = true;
                self.remote_sdp = Some(sdp_hash(answer));
                self.local_sdp = sdp;
                self.answer_request(wire, now, request, path, 200, b"");
                let (session, sdp) = (self.id, answer.to_vec());
                self.tell(wire, Event::OfferAnswered { session, sdp });
            }
            Ok(None) => self.answer_request(wire, now, request, path, 200, b""),
            // Another offer, or a body that is none.
            _ => self.answer_request(wire, now, request, path, 488, b""),
        }
        if let Some(sdp) = self.reliable.answer.take() {
            return self.answer(wire, now, sdp);
        }
        if let (Some((status, sdp)), Some(key)) = (self.reliable.next.take(), self.invite) {
            self.send_reliably(wire, now, key, status, &sdp);
        }
    }

    /// Sends PRACK for a reliable provisional response to our INVITE. `false` when the response is a repeated one or
    /// out of order and must be ignored (RFC 3262 §4).
    pub(super) fn acknowledge_provisional(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        index: usize,
        response: &Message<'_>,
    ) -> bool {
        let rseq = response.header(Name::RSeq).and_then(decimal);
        let Some(rseq) = rseq.filter(|_| response.lists(Name::Require, "100rel")) else {
            return true;
        };
        let dialog = &mut self.dialogs[index];
        if dialog.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        dialog.rseq = Some(rseq);
        let lines = format!("RAck: {rseq} {} INVITE\r\n", response.cseq.number);
        self.send_in(wire, now, index, Purpose::Prack, lines.as_bytes(), ("", b""));
        true
    }
}

/// Reads the response number and the CSeq number of an RAck for INVITE (RFC 3262 §7.2).
fn parse_rack(value: &[u8]) -> Option<(u32, u32)> {
    let mut words = value
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    let (rseq, cseq, method) = (words.next()?, words.next()?, words.next()?);
    let is_invite = method == b"INVITE" && words.next().is_none();
    is_invite.then_some(())?;
    Some((decimal(rseq)?, decimal(cseq)?))
}
