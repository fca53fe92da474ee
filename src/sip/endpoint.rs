//! The SIP core of one switch: the one public state machine of this package.

//!
//! In: datagrams, time, commands. Out: datagrams, events, the next deadline. This file routes between the owner, the
//! transactions and the sessions; `admission` decides about requests that belong to nothing yet.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::deadlines::Waiting;
use crate::event::{Cause, Event, Input, Invite, InviteError, Output, SessionId, Sighting};
use crate::message::{Buffers, Message, Method, ParseError, refusal};
use crate::peer::{Peer, PeerId};
use crate::registration::{Binding, Registration, is_valid};
use crate::reply::Response;
use crate::session::Session;
use crate::slab::{Key, Slab};
use crate::verifier::Verifier;
use crate::wire::{Owner, Path, Report, Wire, parse_slot};

/// Limits and times of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// Text of the Server and User-Agent headers; none when `None`.
    pub agent: Option<String>,
    /// Round-trip estimate (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
    /// How long one of several targets may stay silent before the next is tried.
    pub target_timeout: Duration,
    /// How long an outgoing call may ring without any response (Timer C, RFC 3261 §16.6), and an incoming one without
    /// an answer of ours.
    pub ring_limit: Duration,
    /// Session-Expires asked for, in seconds (RFC 4028).
    pub session_expires: u32,
    /// Smallest Session-Expires accepted, in seconds.
    pub min_session_expires: u32,
    /// Most sessions that have not ended.
    pub max_sessions: usize,
    pub max_transactions: usize,
    /// Retry-After of 503 when draining or full, in seconds.
    pub retry_after: u32,
    /// The realm in which peers that are known by credentials prove themselves.
    pub realm: String,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            agent: Some("Trunkline".to_owned()),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            target_timeout: Duration::from_secs(4),
            ring_limit: Duration::from_secs(180),
            session_expires: 1800,
            min_session_expires: 90,
            max_sessions: 100_000,
            max_transactions: 500_000,
            retry_after: 30,
            realm: "trunkline".to_owned(),
        }
    }
}

/// What an endpoint has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub received: u64,
    pub transmitted: u64,
    pub retransmitted: u64,
    pub malformed: u64,
    pub strangers: u64,
    pub refused: u64,
    pub timeouts: u64,
    /// Requests over UDP longer than 1300 bytes (RFC 3261 §18.1.1).
    pub oversized: u64,
    /// Sessions that have not ended.
    pub active: usize,
    /// Sessions and transactions that exist now, also those that only wait for late messages.
    pub sessions: usize,
    pub transactions: usize,
    /// Deadlines queued now: at most one for each of these, and for each registration.
    pub deadlines: usize,
}

/// The SIP core. No sockets, no clock: see [`Endpoint::handle_input`], [`Endpoint::handle_timeout`] and
/// [`Endpoint::poll_output`].
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) wire: Wire,
    pub(crate) verifier: Verifier,
    pub(crate) sessions: Slab<Session>,
    /// Sessions whose last event was not told yet; others only linger for late messages.
    pub(crate) active: usize,
    /// OPTIONS pings on their way.
    pub(crate) probes: Vec<(Key, Instant)>,
    buffers: Buffers,
}

impl Endpoint {
    /// Makes an endpoint whose tags, branches, Call-IDs and cnonces come from `seed`, which must be secret and fresh.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut wire = Wire::new(config, seed);
        Self {
            verifier: Verifier::new(wire.secret(), &wire.config.realm),
            wire,
            sessions: Slab::new(),
            active: 0,
            probes: Vec::new(),
            buffers: Buffers::default(),
        }
    }

    /// Takes what came from the network.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Received {
                local,
                source,
                transport,
                bytes,
            } => {
                self.wire.counters.received += 1;
                self.on_bytes(now, Path::back(local, source, transport), bytes);
            }
            Input::ReceivedFrom {
                peer,
                local,
                source,
                transport,
                bytes,
            } => {
                self.wire.counters.received += 1;
                let path = Path {
                    peer: Some(peer),
                    ..Path::back(local, source, transport)
                };
                self.on_bytes(now, path, bytes);
            }
            Input::ConnectionLost {
                peer,
                remote,
                transport,
            } => {
                let mut reached = self.wire.peers.reached_at(remote, transport);
                reached.retain(|reached| peer.is_none_or(|peer| peer == *reached));
                for peer in reached {
                    self.with_binding(peer, |binding, wire| binding.on_connection_lost(wire, now));
                }
                for report in self.wire.on_connection_lost(now, peer, remote, transport) {
                    self.on_report(now, report, None);
                }
            }
            Input::Unreachable {
                peer,
                remote,
                transport,
            } => {
                for report in self.wire.on_unreachable(now, peer, remote, transport) {
                    self.on_report(now, report, None);
                }
            }
        }
    }

    /// Lets time pass. Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, waiting)) = self.wire.deadlines.pop_due(now) {
            match waiting {
                Waiting::Transaction(key) => {
                    if let Some(report) = self.wire.on_due(now, key, due) {
                        self.on_report(now, report, None);
                    }
                }
                Waiting::Session(key) => {
                    self.with_session(SessionId(key.0), |session, wire| session.on_due(wire, now, due));
                }
                Waiting::Peer(peer) => {
                    self.with_binding(peer, |binding, wire| binding.on_due(wire, now, due))
                }
            }
        }
    }

    /// Gives the next output; call until it says `Wait`.
    pub fn poll_output(&mut self) -> Output {
        let next = self.wire.next_output();
        next.unwrap_or_else(|| Output::Wait(self.wire.deadlines.next()))
    }

    /// Adds a peer, or replaces the one with its id. Calls in progress keep what they have.
    pub fn set_peer(&mut self, peer: Peer) {
        let contact_user = format!("{:016x}", self.wire.random());
        self.wire.peers.set(peer, contact_user);
    }

    /// Lets another peer at the same addresses take the requests that begin something new. Calls in progress and the
    /// registration go on as they are.
    pub fn retire_peer(&mut self, peer: PeerId) {
        if let Some(entry) = self.wire.peers.get_mut(peer) {
            entry.retired = true;
        }
    }

    /// Forgets a peer: its requests become a stranger's. Calls in progress go on.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.wire.peers.remove(peer);
    }

    /// Registers with a peer's registrar and keeps the binding alive until [`Endpoint::deregister`].
    ///
    /// A registration whose URIs are not URIs fails at once with status 400 and is not tried again.
    pub fn register(&mut self, now: Instant, registration: Registration) {
        let peer = registration.peer;
        if !is_valid(&registration) {
            let retry_in = Duration::MAX;
            return self.wire.tell(Event::RegistrationFailed {
                peer,
                status: 400,
                retry_in,
            });
        }
        let has_binding = self
            .wire
            .peers
            .get(peer)
            .is_some_and(|entry| entry.binding.is_some());
        if !has_binding {
            let binding = Box::new(Binding::new(&mut self.wire, registration.clone()));
            if let Some(entry) = self.wire.peers.get_mut(peer) {
                entry.binding = Some(binding);
            }
        }
        self.with_binding(peer, |binding, wire| binding.register(wire, now, registration));
    }

    /// Registers again at once where the address that the binding was made at is none of the registrar's any more.
    pub fn follow_registrar(&mut self, now: Instant, peer: PeerId) {
        self.with_binding(peer, |binding, wire| binding.on_new_targets(wire, now));
    }

    /// Removes our binding at the peer's registrar; `Deregistered` follows, also when nothing is heard.
    pub fn deregister(&mut self, now: Instant, peer: PeerId) {
        let mut is_over = true;
        self.with_binding(peer, |binding, wire| is_over = binding.deregister(wire, now));
        if is_over {
            if let Some(entry) = self.wire.peers.get_mut(peer) {
                entry.binding = None;
            }
            self.wire.tell(Event::Deregistered { peer });
        }
    }

    /// Whether requests from this address would be a peer's.
    pub fn is_peer(&self, source: IpAddr) -> bool {
        self.wire.peers.owns(source)
    }

    /// Whether some peer may prove itself by credentials.
    pub fn accepts_credentials(&self) -> bool {
        self.wire.peers.accepting().next().is_some()
    }

    /// The Call-ID of a session that has not ended.
    pub fn call_id(&self, session: SessionId) -> Option<&[u8]> {
        self.sessions.get(Key(session.0)).map(|session| &*session.call_id)
    }

    /// The user part of our Contact towards a peer, which its calls to us name when we are registered.
    pub fn contact_user(&self, peer: PeerId) -> Option<&str> {
        self.wire.peers.get(peer).map(|entry| entry.contact_user.as_str())
    }

    /// Starts an outgoing call.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<SessionId, InviteError> {
        if self.active >= self.wire.config.max_sessions || self.wire.is_full() {
            return Err(InviteError::TooManySessions);
        }
        let key = self.sessions.next_key();
        let mut session = Session::call(&mut self.wire, now, key, invite)?;
        session.arm(&mut self.wire);
        let id = session.id;
        self.sessions.insert(session);
        self.active += 1;
        Ok(id)
    }

    /// Says that another peer could carry an outgoing call: a last target that stays silent is given up as soon as one
    /// of several would be, and one that failed a moment ago is not tried.
    pub fn hurry(&mut self, now: Instant, session: SessionId) {
        self.with_session(session, |session, wire| session.hurry(wire, now));
    }

    /// The target that an outgoing call went to last.
    pub fn target_of(&self, session: SessionId) -> Option<SocketAddr> {
        self.sessions.get(Key(session.0))?.target()
    }

    /// Sends 180 for an incoming call.
    pub fn ring(&mut self, now: Instant, session: SessionId) {
        self.with_session(session, |session, wire| session.provisional(wire, now, 180, &[]));
    }

    /// Sends 183 with SDP for an incoming call: early media.
    pub fn progress(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        self.with_session(session, |session, wire| session.provisional(wire, now, 183, &sdp));
    }

    /// Answers an incoming call with 200, repeated until its ACK comes (`Confirmed`).
    pub fn answer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        self.with_session(session, |session, wire| session.answer(wire, now, sdp));
    }

    /// Refuses an incoming call with a final status of 300 to 699.
    pub fn reject(&mut self, now: Instant, session: SessionId, status: u16, retry_after: Option<Duration>) {
        self.with_session(session, |session, wire| {
            session.reject(wire, now, status, retry_after)
        });
    }

    /// Ends a session in whatever state it is: CANCEL (once a 1xx came), BYE (once the ACK came), or 603.
    pub fn hangup(&mut self, now: Instant, session: SessionId, cause: Option<Cause>) {
        self.with_session(session, |session, wire| session.hangup(wire, now, cause));
    }

    /// Answers an `Offered` event: with the answer, or with our offer when it had none.
    pub fn accept_offer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        self.with_session(session, |session, wire| session.accept_offer(wire, now, sdp));
    }

    /// Refuses an `Offered` event, usually with 488; the session goes on as it was.
    pub fn refuse_offer(&mut self, now: Instant, session: SessionId, status: u16) {
        self.with_session(session, |session, wire| session.refuse_offer(wire, now, status));
    }

    /// Offers again within the session (hold, another address). `OfferAnswered` or `OfferRefused` follows; waits its
    /// turn behind an exchange in progress, and the latest wish counts.
    pub fn reoffer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        self.with_session(session, |session, wire| session.reoffer(wire, now, sdp));
    }

    /// Sends a digit as SIP INFO (application/dtmf-relay).
    pub fn send_digit_info(&mut self, now: Instant, session: SessionId, digit: char, duration: Duration) {
        self.with_session(session, |session, wire| {
            session.send_digit(wire, now, digit, duration)
        });
    }

    /// While draining, new calls and OPTIONS are answered 503.
    pub fn set_draining(&mut self, draining: bool) {
        self.wire.draining = draining;
    }

    /// Whether some peer may not have heard yet how a call ended: a request of a session is without its final response,
    /// or a final response to an INVITE without its ACK. Looks at all there is.
    pub fn has_to_say(&self) -> bool {
        self.wire.is_unheard() || self.sessions.values().any(Session::is_unheard)
    }

    pub fn counters(&self) -> Counters {
        Counters {
            active: self.active,
            ..self.wire.counters(self.sessions.len())
        }
    }

    // Inside.

    fn on_bytes(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let source = path.remote;
        let mut text = std::mem::take(&mut self.buffers.text);
        let mut headers = self.buffers.headers();
        match Message::parse_into(bytes, &mut text, &mut headers) {
            Ok(message) if message.status().is_some() => {
                if let Some(report) = self.wire.on_response(now, &message) {
                    self.on_report(now, report, Some((&message, source)));
                }
                headers = message.into_headers();
            }
            Ok(message) => {
                self.on_request(now, &message, path);
                headers = message.into_headers();
            }
            Err(ParseError::Empty) => {
                // A keep-alive; over a stream a double line end is answered (RFC 5626 §4.4.1).
                if path.transport.is_reliable() && bytes == b"\r\n\r\n" {
                    self.wire.send(path, b"\r\n".to_vec());
                }
            }
            Err(error) => {
                self.wire.counters.malformed += 1;
                self.wire.sighted(path, Sighting::Malformed);
                let is_peer = self.wire.peers.sender(path, b"").is_some();
                if let Some(bytes) = is_peer.then(|| refusal(bytes, error, source)).flatten() {
                    self.wire.send(path, bytes);
                }
            }
        }
        self.buffers.keep(headers);
        self.buffers.text = text;
    }

    fn on_report(&mut self, now: Instant, report: Report, response: Option<(&Message<'_>, SocketAddr)>) {
        match report.owner {
            Owner::Session(id, purpose) => {
                self.with_session(id, |session, wire| {
                    session.on_report(wire, now, report, purpose, response)
                });
            }
            Owner::Register(peer) => {
                let response = response.map(|(response, _)| response);
                self.with_binding(peer, |binding, wire| {
                    binding.on_report(wire, now, report, response)
                });
            }
            Owner::Probe(peer) => self.on_probe_report(now, report, peer, response),
            Owner::Nobody => {}
        }
        if report.gone {
            self.wire.remove(report.transaction);
        }
    }

    fn on_request(&mut self, now: Instant, request: &Message<'_>, path: Path) {
        let method = request.cseq.method;
        if method == Method::Ack {
            if !self.wire.absorb_ack(now, request)
                && let Some(id) = self.session_of(request)
            {
                self.with_session(id, |session, wire| session.on_ack(wire, now, request));
            }
            return;
        }
        if self.wire.absorb(request) {
            return;
        }
        if method == Method::Cancel {
            return self.on_cancel(now, request, path);
        }
        match self.session_of(request) {
            // A stream repeats nothing.
            None if !path.transport.is_reliable() && self.is_ahead(request) => {}
            Some(id) => {
                if !self.is_genuine(now, id, request, path) {
                    return;
                }
                let path = self.path_of(id, path);
                self.with_session(id, |session, wire| session.on_request(wire, now, request, path));
            }
            None => self.admit(now, request, path),
        }
    }

    /// The session whose tag stands in To, when its Call-ID fits too.
    fn session_of(&self, request: &Message<'_>) -> Option<SessionId> {
        let (index, nonce) = parse_slot(request.to.tag()?)?;
        let key = self.sessions.key_at(index)?;
        let session = self.sessions.get(key)?;
        let fits = session.nonce == nonce && *session.call_id == *request.call_id;
        (fits && session.dialog_of(request).is_some()).then_some(session.id)
    }

    /// The way back to a session's peer.
    fn path_of(&self, id: SessionId, path: Path) -> Path {
        let session = self.sessions.get(Key(id.0));
        let entry = session.and_then(|session| self.wire.peers.get(session.peer));
        match entry {
            Some(entry) => Path {
                advertised: entry.advertised_for(path),
                peer: Some(entry.peer.id),
                ..path
            },
            None => Path { peer: None, ..path },
        }
    }

    /// Lets a session act, then arms its timers or removes it when it is over.
    pub(crate) fn with_session(&mut self, id: SessionId, act: impl FnOnce(&mut Session, &mut Wire)) {
        let key = Key(id.0);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let was_active = !session.is_told();
        act(session, &mut self.wire);
        if was_active && session.is_told() {
            self.active -= 1;
        }
        if session.is_done() {
            session.disarm(&mut self.wire);
            self.sessions.remove(key);
        } else {
            session.arm(&mut self.wire);
        }
    }

    fn with_binding(&mut self, peer: PeerId, act: impl FnOnce(&mut Binding, &mut Wire)) {
        let Some(mut binding) = self
            .wire
            .peers
            .get_mut(peer)
            .and_then(|entry| entry.binding.take())
        else {
            return;
        };
        act(&mut binding, &mut self.wire);
        binding.arm(&mut self.wire);
        if let Some(entry) = self.wire.peers.get_mut(peer) {
            entry.binding = Some(binding);
        }
    }

    /// Answers a request that belongs to nothing, when it is a peer's.
    pub(crate) fn refuse_unknown(&mut self, request: &Message<'_>, path: Path) {
        if self.wire.peers.sender(path, b"").is_none() {
            self.wire.counters.strangers += 1;
            return self.wire.sighted(path, Sighting::Stranger);
        }
        self.refuse(request, path, 481, b"");
    }

    /// Answers without state; every copy of the request gets the same.
    pub(crate) fn refuse(&mut self, request: &Message<'_>, path: Path, status: u16, lines: &[u8]) {
        self.wire.counters.refused += u64::from(status >= 300);
        let tag = self.wire.stateless_tag(request);
        let response = Response {
            status,
            tag: tag.as_str(),
            lines,
            ..Response::default()
        };
        self.wire.respond_stateless(request, path, &response);
    }
}
