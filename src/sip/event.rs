//! What the endpoint takes and gives: inputs, outputs, events and the values in them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::peer::{PeerId, Transport};

/// Names one session: an INVITE and the dialog it made. Never used twice within one endpoint's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

/// Something that happened outside.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// One datagram, or one framed message of a stream, that came to our address `local`.
    Received {
        local: SocketAddr,
        source: SocketAddr,
        transport: Transport,
        bytes: &'a [u8],
    },
    /// One framed message of a connection whose far end proved by a certificate that it is this peer.
    ReceivedFrom {
        peer: PeerId,
        local: SocketAddr,
        source: SocketAddr,
        transport: Transport,
        bytes: &'a [u8],
    },
    /// An open connection broke. Requests sent over it that nothing was heard about are sent once more, over a new
    /// connection; calls go on.
    ConnectionLost {
        /// The only peer that it served; `None` where it served whoever is at this address.
        peer: Option<PeerId>,
        remote: SocketAddr,
        transport: Transport,
    },
    /// Nothing can be sent there: no route, a refused or broken connection. Who drives the endpoint may not hear of ICMP
    /// port unreachable (an unconnected UDP socket does not); a silent target is left after `target_timeout` all the same.
    Unreachable {
        /// The only peer that is meant, whose certificate was wrong; `None` where nobody is reached there.
        peer: Option<PeerId>,
        remote: SocketAddr,
        transport: Transport,
    },
}

/// What the owner must do next. Drain until `Wait`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send these bytes from our address `local`.
    ///
    /// Over TCP and TLS: by the connection whose far end is `connection`, while it is open; else by an open one to
    /// `destination` that proved to be `peer`'s, else by a new one. Without `peer` no connection is opened.
    Transmit {
        local: SocketAddr,
        destination: SocketAddr,
        transport: Transport,
        peer: Option<PeerId>,
        connection: Option<SocketAddr>,
        bytes: Vec<u8>,
    },
    Event(Event),
    /// Nothing now; call `handle_timeout` at this time, or never.
    Wait(Option<Instant>),
}

/// A name and address in From, To or an identity header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    pub display: Option<String>,
    /// `sip:user@host` or `tel:+15550100`, as on the wire.
    pub uri: String,
}

impl Party {
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            display: None,
            uri: uri.into(),
        }
    }
}

/// An outgoing call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub peer: PeerId,
    /// The Request-URI.
    pub uri: String,
    /// The To URI; usually the same as `uri`.
    pub to: String,
    pub from: Party,
    /// Identity and other header lines as name and value: P-Asserted-Identity, Privacy, Diversion, X-….
    /// Headers that make the dialog (Via, From, To, Call-ID, CSeq, Contact, Route, …) are refused.
    pub headers: Vec<(String, String)>,
    /// Max-Forwards of the call this one continues, less one; 70 when it continues none.
    pub max_forwards: Option<u8>,
    /// Our offer; not empty.
    pub sdp: Vec<u8>,
}

/// Why an outgoing call could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    #[error("no such peer")]
    UnknownPeer,
    #[error("the peer has no address to send to")]
    NoTarget,
    #[error("a URI, name or header holds bytes that may not stand there, or the offer is empty")]
    InvalidValue,
    #[error("too many sessions")]
    TooManySessions,
}

/// An incoming call, as its INVITE says. Texts are lossy UTF-8 and come from the peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncomingInvite {
    /// The Request-URI's user (number or account) and host; `uri` is the whole.
    pub user: String,
    pub host: String,
    pub uri: String,
    /// The Request-URI user is the unguessable Contact user of our registration with this peer, so the dialled
    /// number is to be taken from `to`.
    pub to_registration: bool,
    pub to: Party,
    pub from: Party,
    /// P-Asserted-Identity values, or Remote-Party-ID / P-Preferred-Identity when there are none.
    pub asserted: Vec<Party>,
    /// The caller asked not to be known: Privacy id, user or header; an anonymous From; RPID privacy.
    pub withheld: bool,
    /// `verstat` of the caller's number: the trunk's STIR/SHAKEN result, e.g. `TN-Validation-Passed`.
    pub verstat: Option<String>,
    /// Diversion URIs, latest first.
    pub diversion: Vec<Party>,
    pub call_id: String,
    pub max_forwards: u8,
    pub user_agent: Option<String>,
    pub source: Option<SocketAddr>,
    /// The offer; `None` means that our answer to the INVITE carries the offer (late offer).
    pub sdp: Option<Vec<u8>>,
}

/// A Q.850 cause for the Reason header (RFC 3326).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause(pub u8);

/// What Reason headers of a request or response said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason {
    /// The Q.850 cause.
    pub cause: Option<u16>,
    /// The SIP status; 200 in a CANCEL when another phone took the call.
    pub status: Option<u16>,
    /// All Reason values as written, joined by ", ".
    pub text: Option<String>,
}

impl Reason {
    /// Whether the Q.850 cause is one of who is called: no such number, busy, no answer, declined, moved. Such a failure
    /// says nothing about whoever sent it.
    pub(crate) fn is_callees(&self) -> bool {
        matches!(self.cause, Some(1 | 17..=22 | 28))
    }
}

/// Why an outgoing call did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The final status; 408 when nothing was heard, 503 when nothing could be sent.
    pub status: u16,
    pub phrase: String,
    /// Whether the peer sent that status, not we.
    pub from_peer: bool,
    pub reason: Reason,
    /// What a provider says beside the status, with the header's name: `X-Twilio-Error: …`, `Warning: …`.
    pub detail: Option<String>,
    pub retry_after: Option<Duration>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// We ended or rejected it.
    ByUs,
    /// The peer sent BYE.
    ByPeer,
    /// The caller sent CANCEL before our answer.
    CancelledByPeer,
    /// Our answer was never acknowledged within 64*T1.
    NoAck,
    /// The session was not refreshed in time (RFC 4028 §10), or an incoming call was not answered within the ring limit.
    Expired,
    /// A request within the dialog was answered 408 or 481, or not at all.
    DialogLost,
    /// The ACK of our answer lacked the SDP that our late offer needed, so the call was released.
    NoSdp,
}

/// A sighting that a ban list may count. Every one is told, so that noise hides nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// A request from an address of no peer; it was not answered.
    Stranger,
    /// The same, and it asked for a call.
    StrangerInvite,
    /// The same, and it named itself as one of the tools that look for switches to abuse.
    Scanner,
    /// Bytes that were not SIP.
    Malformed,
    /// A request that could be a known user's, without credentials; it was challenged.
    Unauthenticated,
    /// Credentials of no user, or with a wrong password.
    BadCredentials,
    /// A challenge for a realm, or from an address, that our credentials are not meant for.
    ForeignChallenge,
}

/// Something the owner of the endpoint wants to know.
///
/// A session gets exactly one last event: `Failed` or `Ended`. After `hangup` or `reject` that is `Ended::ByUs`, at
/// once; what remains to be said on the wire goes on unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    Incoming {
        session: SessionId,
        peer: PeerId,
        invite: Box<IncomingInvite>,
    },
    /// 180, or 181/182/183 without SDP, on our call.
    Ringing {
        session: SessionId,
    },
    /// A provisional response with SDP (also 180): early media. Told again when the SDP or the branch of a fork changes.
    Progress {
        session: SessionId,
        sdp: Vec<u8>,
    },
    /// Our call was answered.
    Answered {
        session: SessionId,
        sdp: Vec<u8>,
    },
    /// The ACK for our answer came.
    Confirmed {
        session: SessionId,
    },
    /// The peer offers again (re-INVITE, UPDATE); `None` asks for our offer. Answer with `accept_offer` or
    /// `refuse_offer`.
    Offered {
        session: SessionId,
        sdp: Option<Vec<u8>>,
    },
    /// The answer to an offer of ours: to `reoffer`, or to an offer that went in our 200.
    OfferAnswered {
        session: SessionId,
        sdp: Vec<u8>,
    },
    /// `reoffer` failed; the session goes on as it was.
    OfferRefused {
        session: SessionId,
        status: u16,
    },
    /// A digit by SIP INFO.
    DigitPressed {
        session: SessionId,
        digit: char,
        duration: Duration,
    },
    Failed {
        session: SessionId,
        failure: Failure,
    },
    Ended {
        session: SessionId,
        ended: Ended,
        reason: Reason,
    },
    Registered {
        peer: PeerId,
        expires: Duration,
    },
    RegistrationFailed {
        peer: PeerId,
        status: u16,
        retry_in: Duration,
    },
    Deregistered {
        peer: PeerId,
    },
    /// A request carried a peer's credentials in answer to our challenge.
    Proved {
        peer: PeerId,
        source: SocketAddr,
        transport: Transport,
    },
    /// An OPTIONS ping was answered (`status`), or not (408).
    Probed {
        peer: PeerId,
        status: u16,
        after: Duration,
    },
    /// A request too large for any path went over UDP all the same, for there was no TCP to this peer.
    LargeByUdp {
        peer: PeerId,
    },
    /// The peer challenged for a realm that is not the configured one, or not the one that it challenged for first; no
    /// credentials were given.
    ForeignRealm {
        peer: PeerId,
        realm: String,
    },
    /// The peer sees us at this address, which is not the one we advertise. To use it: `set_peer` with it as `public`,
    /// then `register` again.
    PublicAddress {
        peer: PeerId,
        address: SocketAddr,
    },
    Security {
        source: IpAddr,
        /// The source of a datagram may be forged.
        transport: Transport,
        sighting: Sighting,
    },
}
