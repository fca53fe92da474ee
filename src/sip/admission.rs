//! Requests outside dialogs: who may ask for what (RFC 3261 §8.2).
//!
//! In: a request that belongs to no transaction and no dialog. Out: a new session, or a response that leaves no state.
//! A stranger gets nothing at all: no response, no memory. Checks run cheapest first.

use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::event::{Event, SessionId, Sighting};
use crate::message::{Message, Method, Name, Start, Uri, decimal};
use crate::peer::PeerId;
use crate::reply::{Lines, Response, write_once};
use crate::session::{Extensions, Session, has_contact, is_too_brief, peer_values, takes_sdp, unsupported};
use crate::slab::Key;
use crate::verifier::{Verdict, Verifier};
use crate::wire::{Owner, Path, Purpose, parse_slot};

/// What tools that look for switches call themselves, in small letters.
const SCANNERS: [&str; 10] = [
    "friendly-scanner",
    "sipvicious",
    "sipcli",
    "sundayddr",
    "sip-scan",
    "sipscan",
    "pplsip",
    "vaxsipuseragent",
    "sivus",
    "iwar",
];
/// Bytes of a User-Agent that are looked at.
const AGENT_LOOKED_AT: usize = 128;

/// What a request of no peer is seen as.
fn stranger(request: &Message<'_>) -> Sighting {
    let agent = request.header(Name::UserAgent).unwrap_or_default();
    let agent = &agent[..agent.len().min(AGENT_LOOKED_AT)];
    let names = |scanner: &&str| {
        let mut parts = agent.windows(scanner.len());
        parts.any(|part| part.eq_ignore_ascii_case(scanner.as_bytes()))
    };
    match request.cseq.method {
        _ if SCANNERS.iter().any(names) => Sighting::Scanner,
        Method::Invite => Sighting::StrangerInvite,
        _ => Sighting::Stranger,
    }
}

impl Endpoint {
    /// Whether a request overtook the response that makes its dialog: it is repeated, and found then.
    pub(crate) fn is_ahead(&self, request: &Message<'_>) -> bool {
        let slot = request.to.tag().and_then(parse_slot);
        let found = slot.and_then(|(index, nonce)| {
            let session = self.sessions.get(self.sessions.key_at(index)?)?;
            (session.nonce == nonce && *session.call_id == *request.call_id).then_some(session)
        });
        found.is_some_and(Session::awaits_answer)
    }

    /// CANCEL gets its own answer; the INVITE it means is ended by its session (RFC 3261 §9.2).
    pub(crate) fn on_cancel(&mut self, now: Instant, request: &Message<'_>, path: Path) {
        let Some((invite, owner)) = self.wire.cancelled(request, path) else {
            return self.refuse_unknown(request, path);
        };
        let session = match owner {
            Owner::Session(id, _) => Some(id),
            _ => None,
        };
        // The tag of the answer to the INVITE (RFC 3261 §9.2), also when its session is gone.
        let tag = session
            .and_then(|id| self.sessions.get(Key(id.0)))
            .map(|session| session.tag().to_owned())
            .or_else(|| self.wire.tag_of_response(invite))
            .unwrap_or_else(|| self.wire.stateless_tag(request).as_str().to_owned());
        let response = Response {
            status: 200,
            tag: &tag,
            ..Response::default()
        };
        // Before the 487 to the INVITE: some peers end on whichever comes first.
        self.wire.respond_stateless(request, path, &response);
        if let Some(id) = session {
            self.with_session(id, |session, wire| session.on_cancel(wire, now, request));
        }
    }

    pub(crate) fn admit(&mut self, now: Instant, request: &Message<'_>, path: Path) {
        let Start::Request { uri, .. } = request.start else {
            return;
        };
        let uri = Uri::parse(uri);
        let user = uri.map_or(&b""[..], |uri| uri.user);
        let by_address = self.wire.peers.sender(path, user).map(|entry| entry.peer.id);
        let Some(peer) = by_address.or_else(|| self.admit_stranger(now, request, path)) else {
            return;
        };
        let Some(entry) = self.wire.peers.get(peer) else {
            return;
        };
        let extensions = entry.peer.extensions;
        let path = Path {
            advertised: entry.advertised_for(path),
            peer: Some(entry.peer.id),
            ..path
        };
        if request.to.tag().is_some() {
            return self.refuse(request, path, 481, b"");
        }
        let Some(uri) = uri else {
            return self.refuse(request, path, 400, b"");
        };
        let is_ours = ["sip", "sips", "tel"].iter().any(|scheme| uri.has_scheme(scheme));
        if !is_ours && request.cseq.method != Method::Register {
            return self.refuse(request, path, 416, b"");
        }
        if let Some(unsupported) = unsupported(request, extensions) {
            return self.refuse(request, path, 420, &unsupported);
        }
        match request.cseq.method {
            Method::Invite => self.admit_invite(now, request, path),
            Method::Options => self.answer_options(request, path, extensions),
            Method::Register | Method::Message | Method::Subscribe | Method::Publish | Method::Refer => {
                let lines = Lines::new(format_args!("Allow: {}\r\n", extensions.allow()));
                self.refuse(request, path, 405, lines.as_bytes());
            }
            Method::Other => {
                let lines = Lines::new(format_args!("Allow: {}\r\n", extensions.allow()));
                self.refuse(request, path, 501, lines.as_bytes());
            }
            _ => self.refuse(request, path, 481, b""),
        }
    }

    /// A request from the address of no peer. When some peer is known by credentials, one that could be its is
    /// challenged; to all others nothing is said.
    fn admit_stranger(&mut self, now: Instant, request: &Message<'_>, path: Path) -> Option<PeerId> {
        let sighting = stranger(request);
        let may_ask = matches!(request.cseq.method, Method::Invite | Method::Options)
            && request.to.tag().is_none()
            && sighting != Sighting::Scanner
            && self.wire.peers.accepting().next().is_some();
        if !may_ask {
            self.wire.counters.strangers += 1;
            self.wire.sighted(path, sighting);
            return None;
        }
        self.verify(now, request, path, None)
    }

    /// Whether a request within a session is from where its dialog was last heard, or from its peer's own address, or
    /// carries its peer's credentials. A peer that is known by its addresses only is known within a dialog by the
    /// secret in our tag.
    pub(crate) fn is_genuine(
        &mut self,
        now: Instant,
        id: SessionId,
        request: &Message<'_>,
        path: Path,
    ) -> bool {
        let Some(session) = self.sessions.get(Key(id.0)) else {
            return false;
        };
        let peer = session.peer;
        let Some(entry) = self.wire.peers.get(peer) else {
            return true;
        };
        let is_known = entry.peer.accepts.is_none()
            || path.peer == Some(peer)
            || entry.peer.owns(path.remote.ip())
            || session.is_heard_from(request, path);
        is_known || self.verify(now, request, path, Some(peer)).is_some()
    }

    /// Finds whose credentials a request carries, of all peers or of one, or challenges it.
    fn verify(
        &mut self,
        now: Instant,
        request: &Message<'_>,
        path: Path,
        only: Option<PeerId>,
    ) -> Option<PeerId> {
        let source = path.remote.ip();
        let known = self.wire.peers.accepting();
        let known = known.filter(|(peer, _)| only.is_none_or(|only| only == *peer));
        let (sighting, stale) = match self.verifier.verify(now, request, source, known) {
            Verdict::Known(peer) => {
                let (source, transport) = (path.remote, path.transport);
                self.wire.tell(Event::Proved {
                    peer,
                    source,
                    transport,
                });
                return Some(peer);
            }
            Verdict::Stale => (Sighting::Unauthenticated, true),
            Verdict::Missing => (Sighting::Unauthenticated, false),
            Verdict::Wrong => (Sighting::BadCredentials, false),
        };
        self.wire.sighted(path, sighting);
        self.challenge(now, request, path, stale);
        None
    }

    /// Sends 401 without keeping anything. Over UDP it is no longer than the request, so that nobody can use us
    /// against another: it offers fewer algorithms then, or is not sent at all.
    fn challenge(&mut self, now: Instant, request: &Message<'_>, path: Path, stale: bool) {
        let salt = (self.wire.random() >> 32) as u32;
        let tag = self.wire.stateless_tag(request);
        for algorithms in (1..=Verifier::offered()).rev() {
            let lines = self
                .verifier
                .challenge(now, path.remote.ip(), salt, stale, algorithms);
            let response = Response {
                status: 401,
                tag: tag.as_str().get(..8).unwrap_or_default(),
                lines: &lines,
                ..Response::default()
            };
            let Ok(bytes) = write_once(request, path.remote, &response, None) else {
                return;
            };
            if path.transport.is_reliable() || bytes.len() <= request.length {
                self.wire.counters.refused += 1;
                return self.wire.send(path, bytes);
            }
        }
    }

    fn answer_options(&mut self, request: &Message<'_>, path: Path, extensions: Extensions) {
        if self.wire.draining {
            return self.refuse_for_now(request, path);
        }
        let lines = Lines::new(format_args!(
            "Allow: {}\r\nSupported: {}\r\nAccept: application/sdp\r\n",
            extensions.allow(),
            extensions.supported()
        ));
        self.refuse(request, path, 200, lines.as_bytes());
    }

    fn refuse_for_now(&mut self, request: &Message<'_>, path: Path) {
        let lines = Lines::new(format_args!("Retry-After: {}\r\n", self.wire.config.retry_after));
        self.refuse(request, path, 503, lines.as_bytes());
    }

    fn admit_invite(&mut self, now: Instant, request: &Message<'_>, path: Path) {
        if self.wire.is_merged(request) {
            return self.refuse(request, path, 482, b"");
        }
        if self.wire.draining || self.active >= self.wire.config.max_sessions {
            return self.refuse_for_now(request, path);
        }
        if let Some((status, lines)) = self.objection(request) {
            return self.refuse(request, path, status, lines.as_bytes());
        }
        let Ok(sdp) = crate::body::sdp(request) else {
            return self.refuse(request, path, 415, crate::body::READABLE);
        };
        let Some(entry) = path.peer.and_then(|id| self.wire.peers.get(id)) else {
            return;
        };
        let invite = crate::identity::incoming(request, sdp, &entry.contact_user, path.remote);
        let values = peer_values(entry, path);
        let peer = values.0;
        let Some(transaction) = self.wire.serve(request, path, Owner::Nobody) else {
            return self.refuse_for_now(request, path);
        };
        let slot = self.sessions.next_key();
        let id = SessionId(slot.0);
        self.wire
            .set_owner(transaction, Owner::Session(id, Purpose::Invite));
        let mut session = Session::incoming(
            &mut self.wire,
            now,
            slot,
            transaction,
            request,
            (path, sdp),
            values,
        );
        session.arm(&mut self.wire);
        self.sessions.insert(session);
        self.active += 1;
        self.wire.tell(Event::Incoming {
            session: id,
            peer,
            invite: Box::new(invite),
        });
    }

    /// Why an INVITE cannot be taken, as a status and header lines.
    fn objection(&self, request: &Message<'_>) -> Option<(u16, String)> {
        if !has_contact(request) {
            return Some((400, String::new()));
        }
        if !takes_sdp(request) {
            return Some((406, "Accept: application/sdp\r\n".to_owned()));
        }
        match request.header(Name::MaxForwards).map(decimal) {
            Some(Some(0)) => return Some((483, String::new())),
            Some(Some(256..) | None) => return Some((400, String::new())),
            Some(Some(_)) | None => {}
        }
        let min = self.wire.config.min_session_expires;
        is_too_brief(request, min).then(|| (422, format!("Min-SE: {min}\r\n")))
    }
}
