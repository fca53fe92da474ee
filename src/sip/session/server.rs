//! A peer's INVITE: ringing, early media, answering, refusing (RFC 3261 §13.3).

use std::time::{Duration, Instant};

use super::{ReliableProvisional, Session, State, sdp_hash};
use crate::dialog::Dialog;
use crate::event::{Ended, Event, Reason, SessionId};
use crate::message::{Message, Name, Writer};
use crate::peer::PeerId;
use crate::peers::PeerEntry;
use crate::slab::Key;
use crate::wire::{Path, Wire, slot_text};

/// How often a ringing call tells proxies on its way that it still rings (RFC 3261 §13.3.1.1).
const KEEP_RINGING: Duration = Duration::from_secs(60);

/// A 2xx to INVITE, repeated until its ACK comes (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) bytes: Vec<u8>,
    pub(super) path: Path,
    pub(super) cseq: u32,
    pub(super) at: Instant,
    pub(super) interval: Duration,
    pub(super) until: Instant,
    /// The 2xx carried our offer; its ACK carries the answer.
    pub(super) late: bool,
}

impl Session {
    /// Takes an INVITE that begins a session. `slot` is where the session will stand, `invite` its transaction.
    pub fn incoming(
        wire: &mut Wire,
        now: Instant,
        slot: Key,
        invite: Key,
        request: &Message<'_>,
        (path, sdp): (Path, Option<&[u8]>),
        (peer, contact): (PeerId, String),
    ) -> Self {
        let nonce = wire.random();
        let mut session = Self::new(
            SessionId(slot.0),
            peer,
            false,
            nonce,
            slot_text(slot.index(), nonce),
        );
        session.call_id = request.call_id.into();
        session.local = [b"<", request.to.uri, b">"].concat().into();
        session.remote = remote_name(request);
        session.contact = contact;
        session.dialogs.reserve_exact(1);
        session.dialogs.push(Dialog::from_request(request, path));
        session.invite = Some(invite);
        session.invite_cseq = request.cseq.number;
        session.remote_sdp = sdp.map(sdp_hash);
        session.local_is_answer = sdp.is_some();
        if let Some(entry) = wire.peers.get(peer) {
            session.extend(entry.peer.extensions);
        }
        let always = session.extensions.reliable == ReliableProvisional::Required;
        session.reliable.required =
            request.lists(Name::Require, "100rel") || (always && request.lists(Name::Supported, "100rel"));
        session.note_refresh_of_request(wire, now, request);
        let ring_limit = wire.config.ring_limit;
        // RFC 3261 §13.3.1: an INVITE may itself say how long it waits.
        let asked = request.seconds(Name::Expires).map(u64::from);
        let asked = asked.map(Duration::from_secs).filter(|asked| *asked < ring_limit);
        session.gives_up = if asked.is_some() { 487 } else { 480 };
        session.give_up_at = Some(now + asked.unwrap_or(ring_limit));
        session.respond(wire, now, invite, 100, &[], b"");
        session
    }

    /// Sends 180, or 183 with SDP.
    pub fn provisional(&mut self, wire: &mut Wire, now: Instant, status: u16, sdp: &[u8]) {
        if self.state != State::Incoming {
            return;
        }
        let Some(key) = self.invite else { return };
        if self.reliable.required {
            return self.send_reliably(wire, now, key, status, sdp);
        }
        let lines = self.dialog_lines();
        self.respond(wire, now, key, status, &lines, sdp);
        self.reliable.keep_ringing(now + KEEP_RINGING, status, sdp);
    }

    /// Contact and Allow, as every response that makes a dialog has them.
    pub(super) fn dialog_lines(&self) -> Vec<u8> {
        let mut writer = Writer::fragment();
        writer.header_fmt("Contact", format_args!("<{}>", self.contact));
        writer.header("Allow", self.extensions.allow().as_bytes());
        writer.into_lines().unwrap_or_default()
    }

    /// Sends 200 with SDP, once no reliable provisional response with SDP is open (RFC 3262 §3).
    pub fn answer(&mut self, wire: &mut Wire, now: Instant, sdp: Vec<u8>) {
        if self.state != State::Incoming || self.reliable.holds_answer(&sdp) {
            return;
        }
        let Some(key) = self.invite else { return };
        self.reliable.stop();
        self.give_up_at = None;
        if !self.reliable.agreed {
            self.local_sdp = sdp;
        }
        self.state = State::Answering;
        let cseq = self.invite_cseq;
        self.send_success(wire, now, key, cseq);
    }

    /// Sends the 2xx of an INVITE, initial or not, with our latest SDP, and repeats it until its ACK comes.
    /// `cseq` is that of the INVITE, which its ACK carries: requests may have come since.
    pub(super) fn send_success(&mut self, wire: &mut Wire, now: Instant, key: Key, cseq: u32) {
        self.refresh.restart(now);
        let mut lines = self.dialog_lines();
        lines.extend_from_slice(format!("Supported: {}\r\n", self.extensions.supported()).as_bytes());
        lines.extend_from_slice(&self.refresh.response_lines());
        let sdp = std::mem::take(&mut self.local_sdp);
        let agreed = std::mem::take(&mut self.reliable.agreed);
        let body: &[u8] = if agreed { b"" } else { &sdp };
        let sent = self.respond(wire, now, key, 200, &lines, body);
        self.local_sdp = sdp;
        let of_dialog = self.dialogs[self.current].path;
        if let Some(bytes) = sent {
            let t1 = wire.config.t1;
            self.repeat = Some(Repeat {
                bytes,
                path: wire.request_of(key).map_or(of_dialog, |(_, path)| path),
                cseq,
                at: now + t1,
                interval: t1,
                until: now + t1 * 64,
                late: !self.local_is_answer && !agreed,
            });
        }
    }

    /// Repeats our 2xx, or gives up on its ACK: then BYE (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_success(&mut self, wire: &mut Wire, now: Instant) {
        let t2 = wire.config.t2;
        let Some(repeat) = self
            .repeat
            .as_mut()
            .filter(|repeat| repeat.at <= now || repeat.until <= now)
        else {
            return;
        };
        if repeat.until > now {
            repeat.interval = (repeat.interval * 2).min(t2);
            repeat.at = now + repeat.interval;
            let (path, bytes) = (repeat.path, repeat.bytes.clone());
            wire.counters.retransmitted += 1;
            return wire.send(path, bytes);
        }
        self.repeat = None;
        let lines = self.release.take().unwrap_or_default();
        self.release_dialog(wire, now, self.current, &lines);
        self.finish_exchange(wire, now);
        self.state = State::Over;
        self.tell_ended(wire, Ended::NoAck, Reason::default());
    }

    /// The ACK of our 2xx.
    pub fn on_ack(&mut self, wire: &mut Wire, now: Instant, ack: &Message<'_>) {
        let Some(repeat) = self.repeat.take_if(|repeat| repeat.cseq == ack.cseq.number) else {
            return;
        };
        let was_answering = self.state == State::Answering;
        if was_answering {
            self.state = State::Confirmed;
        }
        if let Some(lines) = self.release.take() {
            self.release_dialog(wire, now, self.current, &lines);
            self.finish_exchange(wire, now);
            self.state = State::Over;
            return;
        }
        if repeat.late {
            match crate::body::sdp(ack) {
                Ok(Some(sdp)) => {
                    self.remote_sdp = Some(sdp_hash(sdp));
                    self.tell(
                        wire,
                        Event::OfferAnswered {
                            session: self.id,
                            sdp: sdp.to_vec(),
                        },
                    );
                }
                _ if was_answering => {
                    self.release_dialog(wire, now, self.current, &[]);
                    self.state = State::Over;
                    return self.tell_ended(wire, Ended::NoSdp, Reason::default());
                }
                _ => {}
            }
        }
        if was_answering {
            self.tell(wire, Event::Confirmed { session: self.id });
        }
        self.next_wish(wire, now);
    }

    /// Refuses the INVITE and tells the end.
    pub fn reject(&mut self, wire: &mut Wire, now: Instant, status: u16, retry_after: Option<Duration>) {
        if self.state != State::Incoming {
            return;
        }
        let lines = retry_after
            .map(|after| format!("Retry-After: {}\r\n", after.as_secs()))
            .unwrap_or_default();
        self.refuse(wire, now, status.clamp(300, 699), lines.as_bytes());
        self.tell_ended(wire, Ended::ByUs, Reason::default());
    }

    pub(super) fn refuse(&mut self, wire: &mut Wire, now: Instant, status: u16, lines: &[u8]) {
        if let Some(key) = self.invite {
            self.respond(wire, now, key, status, lines, b"");
        }
        self.drop_offer(wire, now);
        self.reliable.stop();
        self.state = State::Over;
    }
}

/// The peer's name-addr from its From, without the tag.
fn remote_name(request: &Message<'_>) -> Box<[u8]> {
    let mut name = Vec::with_capacity(request.from.uri.len() + request.from.display.len() + 3);
    if !request.from.display.is_empty() {
        name.extend_from_slice(request.from.display);
        name.push(b' ');
    }
    name.push(b'<');
    name.extend_from_slice(request.from.uri);
    name.push(b'>');
    name.into()
}

/// What a new session keeps of its peer.
pub(crate) fn peer_values(entry: &PeerEntry, path: Path) -> (PeerId, String) {
    (entry.peer.id, entry.contact_for(path))
}
