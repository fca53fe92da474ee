//! The SIP core of one switch: the one public state machine of this package.

use std::time::{Duration, Instant};

use crate::event::{Cause, Input, Invite, InviteError, Output, SessionId};
use crate::peer::{Peer, PeerId};
use crate::registration::Registration;

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
    /// How long an outgoing call may ring without any response (Timer C, RFC 3261 §16.6).
    pub ring_limit: Duration,
    /// Session-Expires asked for, in seconds (RFC 4028).
    pub session_expires: u32,
    /// Smallest Session-Expires accepted, in seconds.
    pub min_session_expires: u32,
    pub max_sessions: usize,
    pub max_transactions: usize,
    /// Retry-After of 503 when draining or full, in seconds.
    pub retry_after: u32,
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
    /// Sessions and transactions that exist now.
    pub sessions: usize,
    pub transactions: usize,
}

/// The SIP core. No sockets, no clock: see [`Endpoint::handle_input`], [`Endpoint::handle_timeout`] and
/// [`Endpoint::poll_output`].
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
}

impl Endpoint {
    /// Makes an endpoint whose tags, branches, Call-IDs and cnonces come from `seed`, which must be secret and fresh.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let _ = seed;
        Self { config }
    }

    /// Takes what came from the network.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let _ = (now, input);
    }

    /// Lets time pass. Early or repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Gives the next output; call until it says `Wait`.
    pub fn poll_output(&mut self) -> Output {
        Output::Wait(None)
    }

    /// Adds a peer, or replaces the one with its id. Calls in progress keep what they have.
    pub fn set_peer(&mut self, peer: Peer) {
        let _ = peer;
    }

    /// Forgets a peer: its requests become a stranger's. Calls in progress go on.
    pub fn remove_peer(&mut self, peer: PeerId) {
        let _ = peer;
    }

    /// Registers with a peer's registrar and keeps the binding alive until [`Endpoint::deregister`].
    pub fn register(&mut self, now: Instant, registration: Registration) {
        let _ = (now, registration);
    }

    /// Removes our binding at the peer's registrar; `Deregistered` follows, also when nothing is heard.
    pub fn deregister(&mut self, now: Instant, peer: PeerId) {
        let _ = (now, peer);
    }

    /// Sends OPTIONS to the peer's first target; `Probed` follows.
    pub fn probe(&mut self, now: Instant, peer: PeerId) {
        let _ = (now, peer);
    }

    /// Starts an outgoing call.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<SessionId, InviteError> {
        let _ = (now, invite, &self.config);
        Err(InviteError::UnknownPeer)
    }

    /// Sends 180 for an incoming call.
    pub fn ring(&mut self, now: Instant, session: SessionId) {
        let _ = (now, session);
    }

    /// Sends 183 with SDP for an incoming call: early media.
    pub fn progress(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        let _ = (now, session, sdp);
    }

    /// Answers an incoming call with 200, repeated until its ACK comes (`Confirmed`).
    pub fn answer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        let _ = (now, session, sdp);
    }

    /// Refuses an incoming call with a final status of 300 to 699.
    pub fn reject(&mut self, now: Instant, session: SessionId, status: u16, retry_after: Option<Duration>) {
        let _ = (now, session, status, retry_after);
    }

    /// Ends a session in whatever state it is: CANCEL (once a 1xx came), BYE (once the ACK came), or 603.
    pub fn hangup(&mut self, now: Instant, session: SessionId, cause: Option<Cause>) {
        let _ = (now, session, cause);
    }

    /// Answers an `Offered` event: with the answer, or with our offer when it had none.
    pub fn accept_offer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        let _ = (now, session, sdp);
    }

    /// Refuses an `Offered` event, usually with 488; the session goes on as it was.
    pub fn refuse_offer(&mut self, now: Instant, session: SessionId, status: u16) {
        let _ = (now, session, status);
    }

    /// Offers again within the session (hold, another address). `OfferAnswered` or `OfferRefused` follows; waits its
    /// turn behind an exchange in progress, and the latest wish counts.
    pub fn reoffer(&mut self, now: Instant, session: SessionId, sdp: Vec<u8>) {
        let _ = (now, session, sdp);
    }

    /// Sends a digit as SIP INFO (application/dtmf-relay).
    pub fn send_digit_info(&mut self, now: Instant, session: SessionId, digit: char, duration: Duration) {
        let _ = (now, session, digit, duration);
    }

    /// While draining, new calls and OPTIONS are answered 503.
    pub fn set_draining(&mut self, draining: bool) {
        let _ = draining;
    }

    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
