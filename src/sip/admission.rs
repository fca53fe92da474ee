//! Requests outside dialogs: who may ask for what (RFC 3261 §8.2).
//!
//! In: a request that belongs to no transaction and no dialog. Out: a new session, or a response that leaves no state.
//! A stranger gets nothing at all: no response, no memory. Checks run cheapest first.

use std::time::Instant;

use crate::endpoint::{Endpoint, allow_line};
use crate::event::{Event, SessionId, Sighting};
use crate::message::{Message, Method, Name, Start, Uri, decimal};
use crate::session::{SUPPORTED, Session, has_contact, is_too_brief, peer_values, unsupported};
use crate::wire::{Owner, Path, Purpose};

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
    pub(crate) fn admit(&mut self, now: Instant, request: &Message<'_>, path: Path) {
        let Start::Request { uri, .. } = request.start else {
            return;
        };
        let uri = Uri::parse(uri);
        let user = uri.map_or(&b""[..], |uri| uri.user);
        let Some(entry) = self.wire.peers.sender(path, user) else {
            self.wire.counters.strangers += 1;
            return self.wire.sighted(now, path.remote, stranger(request));
        };
        let path = Path {
            advertised: entry.peer.advertised(),
            peer: Some(entry.peer.id),
            ..path
        };
        if request.to.tag().is_some() {
            return self.refuse(request, path, 481, b"");
        }
        if let Some(unsupported) = unsupported(request) {
            return self.refuse(request, path, 420, &unsupported);
        }
        match request.cseq.method {
            Method::Invite => self.admit_invite(now, request, path, uri),
            Method::Options => self.answer_options(request, path),
            Method::Register | Method::Message | Method::Subscribe | Method::Publish | Method::Refer => {
                self.refuse(request, path, 405, allow_line().as_bytes());
            }
            Method::Other => self.refuse(request, path, 501, allow_line().as_bytes()),
            _ => self.refuse(request, path, 481, b""),
        }
    }

    fn answer_options(&mut self, request: &Message<'_>, path: Path) {
        if self.wire.draining {
            return self.refuse_for_now(request, path);
        }
        let lines = format!(
            "{}Supported: {SUPPORTED}\r\nAccept: application/sdp\r\n",
            allow_line()
        );
        self.refuse(request, path, 200, lines.as_bytes());
    }

    fn refuse_for_now(&mut self, request: &Message<'_>, path: Path) {
        let lines = format!("Retry-After: {}\r\n", self.wire.config.retry_after);
        self.refuse(request, path, 503, lines.as_bytes());
    }

    fn admit_invite(&mut self, now: Instant, request: &Message<'_>, path: Path, uri: Option<Uri<'_>>) {
        if self.wire.is_merged(request) {
            return self.refuse(request, path, 482, b"");
        }
        if self.wire.draining || self.active >= self.wire.config.max_sessions {
            return self.refuse_for_now(request, path);
        }
        if let Some((status, lines)) = self.objection(request, uri) {
            return self.refuse(request, path, status, lines.as_bytes());
        }
        let Ok(sdp) = crate::body::sdp(request) else {
            return self.refuse(request, path, 415, b"Accept: application/sdp\r\n");
        };
        let Some(entry) = path.peer.and_then(|id| self.wire.peers.get(id)) else {
            return;
        };
        let invite = crate::identity::incoming(request, sdp, &entry.contact_user, path.remote);
        let values = peer_values(entry);
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
    fn objection(&self, request: &Message<'_>, uri: Option<Uri<'_>>) -> Option<(u16, String)> {
        let Some(uri) = uri else {
            return Some((400, String::new()));
        };
        if !["sip", "sips", "tel"].iter().any(|scheme| uri.has_scheme(scheme)) {
            return Some((416, String::new()));
        }
        if !has_contact(request) {
            return Some((400, String::new()));
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
