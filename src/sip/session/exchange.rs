//! Offers within a confirmed session: re-INVITE and UPDATE in both directions (RFC 3264, 3311, 6337; RFC 3261 §14).
//!
//! One exchange runs at a time. Wishes of the owner wait behind it, the latest counts. A refused offer changes nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::refresh::Refresh;
use super::{Session, State, refresh, sdp_hash};
use crate::event::Event;
use crate::message::{Message, Method};
use crate::reason::retry_after;
use crate::slab::Key;
use crate::transaction::Tell;
use crate::wire::{Owner, Path, Purpose, Wire};

/// Times one offer of ours is tried again after 491 or 500.
const MAX_RETRIES: u8 = 3;

/// An offer of ours on its way.
#[derive(Debug)]
struct Offering {
    transaction: Key,
    /// `None` for a refresh, which repeats the SDP or has none.
    sdp: Option<Vec<u8>>,
}

/// An offer of the peer that the owner has to answer.
#[derive(Debug)]
struct Offered {
    transaction: Key,
    cseq: u32,
    is_invite: bool,
    /// The peer asked for our offer.
    late: bool,
    remote_sdp: Option<u64>,
    /// The session timer and, by dialog, the remote target as they were: a refused offer changes neither
    /// (RFC 4028 §10, RFC 6141 §4).
    before: (Refresh, usize, Box<[u8]>),
}

#[derive(Debug, Default)]
pub(super) struct Exchange {
    offering: Option<Offering>,
    offered: Option<Offered>,
    /// What the owner wants to offer next.
    wish: Option<Vec<u8>>,
    retries: u8,
    pub retry_at: Option<Instant>,
}

impl Exchange {
    /// The transaction of our offer on its way.
    pub fn offering_key(&self) -> Option<Key> {
        self.offering.as_ref().map(|offering| offering.transaction)
    }

    pub fn take_offered(&mut self) -> Option<Key> {
        self.offered.take().map(|offered| offered.transaction)
    }
}

impl Session {
    fn is_stable(&self) -> bool {
        self.state == State::Confirmed
            && self.repeat.is_none()
            && self.exchange.offering.is_none()
            && self.exchange.offered.is_none()
    }

    /// Offers again, now or when the exchange in progress is over.
    pub fn reoffer(&mut self, wire: &mut Wire, now: Instant, sdp: Vec<u8>) {
        if matches!(self.state, State::Over | State::Cancelling) {
            return;
        }
        self.exchange.wish = Some(sdp);
        self.exchange.retries = 0;
        self.next_wish(wire, now);
    }

    /// Sends the waiting offer when nothing is in its way.
    pub(super) fn next_wish(&mut self, wire: &mut Wire, now: Instant) {
        if !self.is_stable() || self.exchange.retry_at.is_some() {
            return;
        }
        if let Some(sdp) = self.exchange.wish.take() {
            self.send_offer(wire, now, Some(sdp));
        }
    }

    pub(super) fn retry_offer(&mut self, wire: &mut Wire, now: Instant) {
        if self.exchange.retry_at.is_some_and(|at| at <= now) {
            self.exchange.retry_at = None;
            self.next_wish(wire, now);
        }
    }

    /// Sends a re-INVITE: with a new offer, or with our SDP as it was.
    fn send_offer(&mut self, wire: &mut Wire, now: Instant, sdp: Option<Vec<u8>>) {
        let mut lines = self.extensions.lines().into_bytes();
        lines.extend_from_slice(&self.refresh.request_lines(wire.config.min_session_expires));
        let body = sdp.clone().unwrap_or_else(|| self.local_sdp.clone());
        let body = ("application/sdp", body.as_slice());
        let sent = self.send_in(wire, now, self.current, Purpose::Reinvite, &lines, body);
        self.exchange.offering = sent.map(|transaction| Offering { transaction, sdp });
    }

    /// Refreshes the session; `false` when an exchange is in the way.
    pub(super) fn send_refresh(&mut self, wire: &mut Wire, now: Instant) -> bool {
        if !self.is_stable() || self.exchange.retry_at.is_some() {
            return false;
        }
        if !self.refresh.by_update() {
            self.send_offer(wire, now, None);
            return true;
        }
        let mut lines = self.extensions.lines().into_bytes();
        lines.extend_from_slice(&self.refresh.request_lines(wire.config.min_session_expires));
        let sent = self.send_in(wire, now, self.current, Purpose::Update, &lines, ("", b""));
        self.exchange.offering = sent.map(|transaction| Offering {
            transaction,
            sdp: None,
        });
        true
    }

    pub(super) fn on_offer_report(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        tell: Tell,
        response: Option<(&Message<'_>, SocketAddr)>,
    ) {
        if self.is_offering(key)
            && let Some(sent) = self.detour(wire, now, key, purpose, tell)
        {
            if let Some(offering) = &mut self.exchange.offering {
                offering.transaction = sent;
            }
            return;
        }
        match (tell, response) {
            (Tell::Provisional, _) => {}
            (Tell::Success, Some((response, _))) => self.on_offer_success(wire, now, key, purpose, response),
            (Tell::Failure, Some((response, _))) => self.on_offer_failure(wire, now, key, purpose, response),
            // Some peers take UPDATE by their word only: the dialog counts as lost when re-INVITE fails too.
            (Tell::Timeout, _) if purpose == Purpose::Update && self.is_offering(key) => {
                self.exchange.offering = None;
                self.refresh.give_up_update();
                if self.state == State::Confirmed {
                    self.send_offer(wire, now, None);
                }
            }
            _ if self.is_offering(key) => self.lose_dialog(wire, now),
            _ => {}
        }
    }

    fn is_offering(&self, key: Key) -> bool {
        self.exchange
            .offering
            .as_ref()
            .is_some_and(|offering| offering.transaction == key)
    }

    fn on_offer_success(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        response: &Message<'_>,
    ) {
        let index = self.current;
        if purpose == Purpose::Reinvite {
            let cseq = response.cseq.number;
            if let Some(ack) = self.dialogs[index].ack(cseq).cloned() {
                return wire.send(ack.path, ack.bytes);
            }
            self.dialogs[index].refresh_target(response);
            self.acknowledge(wire, index, cseq, &[]);
        } else {
            self.dialogs[index].refresh_target(response);
        }
        let Some(offering) = self
            .exchange
            .offering
            .take_if(|offering| offering.transaction == key)
        else {
            return;
        };
        if self.state != State::Confirmed {
            return;
        }
        self.exchange.retries = 0;
        self.note_refresh_of_response(now, response);
        let answer = crate::body::sdp(response).ok().flatten();
        match (offering.sdp, answer) {
            (Some(sdp), Some(answer)) => {
                self.local_sdp = sdp;
                self.local_is_answer = false;
                self.remote_sdp = Some(sdp_hash(answer));
                self.tell(
                    wire,
                    Event::OfferAnswered {
                        session: self.id,
                        sdp: answer.to_vec(),
                    },
                );
            }
            (Some(_), None) => self.tell(
                wire,
                Event::OfferRefused {
                    session: self.id,
                    status: 488,
                },
            ),
            (None, Some(answer)) if self.remote_sdp != Some(sdp_hash(answer)) => {
                self.remote_sdp = Some(sdp_hash(answer));
                self.tell(
                    wire,
                    Event::OfferAnswered {
                        session: self.id,
                        sdp: answer.to_vec(),
                    },
                );
            }
            (None, _) => {}
        }
        self.next_wish(wire, now);
    }

    fn on_offer_failure(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        response: &Message<'_>,
    ) {
        if !self.is_offering(key) || self.state != State::Confirmed {
            return;
        }
        let status = response.status().unwrap_or(500);
        let again = match status {
            401 | 407 => self.authenticate(wire, now, key, purpose, response),
            422 => self.raise_expires(wire, now, key, purpose, response),
            _ => None,
        };
        if let (Some(transaction), Some(offering)) = (again, &mut self.exchange.offering) {
            offering.transaction = transaction;
            return;
        }
        let Some(offering) = self.exchange.offering.take() else {
            return;
        };
        match (status, offering.sdp) {
            (408 | 481, _) => return self.lose_dialog(wire, now),
            (405 | 501, None) if purpose == Purpose::Update => {
                self.refresh.give_up_update();
                return self.send_offer(wire, now, None);
            }
            (491 | 500, sdp) if self.exchange.retries < MAX_RETRIES => {
                self.back_off(wire, now, retry_after(response).filter(|_| status == 500));
                match sdp {
                    Some(sdp) => _ = self.exchange.wish.get_or_insert(sdp),
                    None => self.refresh.again_at(self.exchange.retry_at),
                }
                return;
            }
            (_, Some(_)) => self.tell(
                wire,
                Event::OfferRefused {
                    session: self.id,
                    status,
                },
            ),
            // A refused refresh leaves the session as it was (RFC 4028 §10): another way, then again later.
            (_, None) if purpose == Purpose::Update => {
                self.exchange.retries = 0;
                self.refresh.give_up_update();
                return self.send_offer(wire, now, None);
            }
            (_, None) => {
                self.exchange.retries = 0;
                self.refresh.try_again(now);
            }
        }
        self.next_wish(wire, now);
    }

    /// Waits after a glare: the side that chose the Call-ID longer (RFC 3261 §14.1).
    fn back_off(&mut self, wire: &mut Wire, now: Instant, asked: Option<Duration>) {
        self.exchange.retries += 1;
        let wait = match asked {
            Some(asked) => asked.min(Duration::from_secs(10)),
            None if self.caller => {
                Duration::from_millis(2100) + wire.random_below(Duration::from_millis(1910))
            }
            None => wire.random_below(Duration::from_millis(2010)),
        };
        self.exchange.retry_at = Some(now + wait);
    }

    // The peer offers.

    pub(super) fn on_reinvite(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        if self.exchange.offering.is_some() || self.state == State::Calling {
            return self.answer_request(wire, now, request, path, 491, b"");
        }
        if !self.is_stable() {
            return self.ask_to_retry(wire, now, request, path);
        }
        self.on_offer(wire, now, request, path);
    }

    pub(super) fn on_update(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        let has_offer = match crate::body::sdp(request) {
            Ok(offer) => offer.is_some(),
            Err(_) => {
                return self.answer_request(wire, now, request, path, 415, crate::body::READABLE);
            }
        };
        if has_offer && self.may_update_early() {
            return self.on_offer(wire, now, request, path);
        }
        if has_offer && (self.exchange.offering.is_some() || self.state == State::Calling) {
            return self.answer_request(wire, now, request, path, 491, b"");
        }
        if has_offer && !self.is_stable() {
            return self.ask_to_retry(wire, now, request, path);
        }
        if has_offer {
            return self.on_offer(wire, now, request, path);
        }
        if let Some(lines) = self.too_brief(wire, request) {
            return self.answer_request(wire, now, request, path, 422, &lines);
        }
        self.take_target(request);
        let mut lines = self.dialog_lines();
        if self.state == State::Confirmed {
            self.note_refresh_of_request(wire, now, request);
            lines.extend_from_slice(&self.refresh.response_lines());
        }
        self.answer_request(wire, now, request, path, 200, &lines);
    }

    /// Whether an UPDATE may offer before the INVITE is answered: its offer was answered reliably (RFC 3311 §5.2).
    fn may_update_early(&self) -> bool {
        let settled = match self.state {
            State::Incoming => self.reliable.settled,
            State::Calling => {
                let dialog = self.dialogs.get(self.current);
                dialog.is_some_and(|dialog| dialog.rseq.is_some() && dialog.early_sdp.is_some())
            }
            _ => false,
        };
        settled && self.exchange.offering.is_none() && self.exchange.offered.is_none()
    }

    fn too_brief(&self, wire: &Wire, request: &Message<'_>) -> Option<Vec<u8>> {
        let min = wire.config.min_session_expires;
        refresh::is_too_brief(request, min).then(|| format!("Min-SE: {min}\r\n").into_bytes())
    }

    fn take_target(&mut self, request: &Message<'_>) {
        if let Some(index) = self.dialog_of(request) {
            self.dialogs[index].refresh_target(request);
        }
    }

    fn ask_to_retry(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        let seconds = wire.random() % 11;
        self.answer_request(
            wire,
            now,
            request,
            path,
            500,
            format!("Retry-After: {seconds}\r\n").as_bytes(),
        );
    }

    fn on_offer(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        if let Some(lines) = self.too_brief(wire, request) {
            return self.answer_request(wire, now, request, path, 422, &lines);
        }
        let Ok(sdp) = crate::body::sdp(request) else {
            return self.answer_request(wire, now, request, path, 415, crate::body::READABLE);
        };
        let Some(transaction) = wire.serve(request, path, Owner::Nobody) else {
            let lines = format!("Retry-After: {}\r\n", wire.config.retry_after);
            return self.answer_request(wire, now, request, path, 503, lines.as_bytes());
        };
        let index = self.dialog_of(request).unwrap_or(self.current);
        let before = (self.refresh, index, self.dialogs[index].target.clone());
        self.take_target(request);
        self.note_refresh_of_request(wire, now, request);
        let remote_sdp = sdp.map(sdp_hash);
        let unchanged = remote_sdp.is_some() && remote_sdp == self.remote_sdp && self.local_is_answer;
        let is_invite = request.cseq.method == Method::Invite;
        if let (State::Calling, Some(index), Some(sdp)) = (self.state, self.dialog_of(request), sdp) {
            self.dialogs[index].early_sdp = Some(sdp.to_vec());
        }
        self.exchange.offered = Some(Offered {
            transaction,
            cseq: request.cseq.number,
            is_invite,
            late: sdp.is_none(),
            remote_sdp,
            before,
        });
        if unchanged {
            let sdp = self.local_sdp.clone();
            return self.accept_offer(wire, now, sdp);
        }
        self.tell(
            wire,
            Event::Offered {
                session: self.id,
                sdp: sdp.map(<[u8]>::to_vec),
            },
        );
    }

    pub fn accept_offer(&mut self, wire: &mut Wire, now: Instant, sdp: Vec<u8>) {
        let Some(offered) = self.exchange.offered.take() else {
            return;
        };
        self.local_sdp = sdp;
        self.local_is_answer = !offered.late;
        if !offered.late {
            self.remote_sdp = offered.remote_sdp;
        }
        if offered.is_invite {
            return self.send_success(wire, now, offered.transaction, offered.cseq);
        }
        self.reliable.agreed |= self.state == State::Incoming;
        let mut lines = self.dialog_lines();
        lines.extend_from_slice(&self.refresh.response_lines());
        self.respond(wire, now, offered.transaction, 200, &lines, &self.local_sdp);
        self.next_wish(wire, now);
    }

    pub fn refuse_offer(&mut self, wire: &mut Wire, now: Instant, status: u16) {
        let Some(offered) = self.exchange.offered.take() else {
            return;
        };
        let (refresh, index, target) = offered.before;
        self.refresh = refresh;
        if let Some(dialog) = self.dialogs.get_mut(index) {
            dialog.target = target;
        }
        self.respond(wire, now, offered.transaction, status.clamp(400, 699), &[], b"");
        self.next_wish(wire, now);
    }
}
