//! Sessions: one INVITE, the dialogs it made, and what was agreed in them (RFC 3261 §13 to §15).
//!
//! In: commands of the owner, requests and responses of the dialog, time. Out: messages by [`Wire`], events for the
//! owner. Exactly one last event is told. One file per concern: `client` and `server` (the INVITE), `exchange`
//! (re-INVITE and UPDATE, RFC 3264, 3311), `refresh` (RFC 4028), `reliable` (RFC 3262), `extensions` (which of
//! them a peer gets), `info` (digits), `release`
//! (CANCEL and BYE). It must never send BYE before the ACK of its own 2xx (RFC 3261 §15), nor leave a 2xx without ACK.

mod acceptable;
mod client;
mod exchange;
mod extensions;
mod failover;
mod info;
mod refresh;
mod release;
mod reliable;
mod server;

use std::net::SocketAddr;
use std::time::Instant;

use crate::deadlines::Waiting;
use crate::dialog::Dialog;
use crate::digest::{Authenticator, MAX_ATTEMPTS, Unanswerable};
use crate::event::{Ended, Event, Failure, Reason, SessionId, Sighting};
use crate::message::{BuildError, Message, Method, Name, Writer};
use crate::peer::PeerId;
use crate::reply::Response;
use crate::slab::Key;
use crate::transaction::Tell;
use crate::wire::{Owner, Path, Purpose, Report, Wire};

pub(crate) use acceptable::{has_contact, takes_sdp, unsupported};
use exchange::Exchange;
pub use extensions::{Extensions, ReliableProvisional};
use failover::Change;
use refresh::Refresh;
pub(crate) use refresh::is_too_brief;
use reliable::Reliable;
use server::Repeat;
pub(crate) use server::peer_values;

/// Most dialogs of one INVITE.
const MAX_DIALOGS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Our INVITE waits for its final response.
    Calling,
    /// Our INVITE is unwanted: CANCEL was sent or waits for a 1xx; a 2xx gets ACK and BYE.
    Cancelling,
    /// A peer's INVITE waits for our final response.
    Incoming,
    /// Our 2xx waits for its ACK.
    Answering,
    Confirmed,
    /// The last event was told; transactions may still run.
    Over,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub id: SessionId,
    pub peer: PeerId,
    extensions: Extensions,
    /// We sent the INVITE and so chose the Call-ID.
    caller: bool,
    /// The secret in our tag.
    pub nonce: u64,
    tag: String,
    pub call_id: Box<[u8]>,
    /// Our name-addr and the peer's, without tags.
    local: Box<[u8]>,
    remote: Box<[u8]>,
    contact: String,
    pub state: State,
    told: bool,
    /// Early dialogs of our INVITE, or the one dialog of a peer's.
    dialogs: Vec<Dialog>,
    /// The confirmed dialog's place in `dialogs`.
    current: usize,
    /// Our last CSeq.
    cseq: u32,
    /// Client transactions that still run.
    live: u32,
    /// The INVITE that made the session: ours or the peer's.
    invite: Option<Key>,
    /// The CSeq of a peer's INVITE, which the ACK of our 2xx carries.
    invite_cseq: u32,
    auth: Authenticator,
    /// Credentials of our INVITE, repeated in its ACK (RFC 3261 §22.1).
    invite_credentials: Vec<u8>,
    /// How often our first INVITE was sent again with credentials.
    invite_attempts: u8,
    /// Which of the peer's targets our INVITE went to, the latest last.
    tried: Vec<SocketAddr>,
    /// Another peer could carry the call: see [`crate::Endpoint::hurry`].
    hurried: bool,
    /// Requests within the call that were sent another way since the last answer.
    detours: u8,
    rang: bool,
    repeat: Option<Repeat>,
    reliable: Reliable,
    exchange: Exchange,
    refresh: Refresh,
    /// Our latest SDP, and whether it was an answer.
    local_sdp: Vec<u8>,
    local_is_answer: bool,
    /// The peer's latest SDP, hashed.
    remote_sdp: Option<u64>,
    /// BYE is wanted once the ACK came; with these lines.
    release: Option<Vec<u8>>,
    /// When to try the next target, and when to give up on the INVITE.
    target_at: Option<Instant>,
    give_up_at: Option<Instant>,
    /// The status of a peer's INVITE that nobody answered.
    gives_up: u16,
    queued: Option<Instant>,
}

impl Session {
    fn new(id: SessionId, peer: PeerId, caller: bool, nonce: u64, tag: String) -> Self {
        Self {
            id,
            peer,
            extensions: Extensions::default(),
            caller,
            nonce,
            tag,
            call_id: Box::default(),
            local: Box::default(),
            remote: Box::default(),
            contact: String::new(),
            state: if caller { State::Calling } else { State::Incoming },
            told: false,
            dialogs: Vec::new(),
            current: 0,
            cseq: 0,
            live: 0,
            invite: None,
            invite_cseq: 0,
            auth: Authenticator::default(),
            invite_credentials: Vec::new(),
            invite_attempts: 0,
            tried: Vec::new(),
            hurried: false,
            detours: 0,
            rang: false,
            repeat: None,
            reliable: Reliable::default(),
            exchange: Exchange::default(),
            refresh: Refresh::default(),
            local_sdp: Vec::new(),
            local_is_answer: false,
            remote_sdp: None,
            release: None,
            target_at: None,
            give_up_at: None,
            gives_up: 480,
            queued: None,
        }
    }

    /// Whether nothing is left to do or absorb.
    pub fn is_done(&self) -> bool {
        self.state == State::Over && self.live == 0 && self.repeat.is_none() && !self.reliable.expects_prack()
    }

    /// Whether the peer may not have heard our 2xx, which is without its ACK; BYE waits for that.
    pub fn is_unheard(&self) -> bool {
        self.state == State::Answering && self.repeat.is_some()
    }

    /// Whether the last event was told.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether our INVITE may yet make a dialog that we keep.
    pub fn awaits_answer(&self) -> bool {
        self.state == State::Calling
    }

    /// Finds the dialog of a request from the peer by its From tag.
    pub fn dialog_of(&self, request: &Message<'_>) -> Option<usize> {
        let tag = request.from.tag().unwrap_or_default();
        self.dialogs.iter().position(|dialog| *dialog.remote_tag == *tag)
    }

    /// Whether a request comes from where its dialog was last heard.
    pub fn is_heard_from(&self, request: &Message<'_>, path: Path) -> bool {
        let dialog = self.dialog_of(request).and_then(|index| self.dialogs.get(index));
        dialog.is_some_and(|dialog| {
            dialog.path.remote == path.remote && dialog.path.transport == path.transport
        })
    }

    // Time.

    fn deadline(&self) -> Option<Instant> {
        [
            self.repeat.as_ref().map(|repeat| repeat.at.min(repeat.until)),
            self.reliable.next_timeout(),
            self.exchange.retry_at,
            self.refresh.next_timeout(),
            self.target_at,
            self.give_up_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn arm(&mut self, wire: &mut Wire) {
        let (deadline, who) = (self.deadline(), Waiting::Session(Key(self.id.0)));
        wire.deadlines.arm(&mut self.queued, deadline, who);
    }

    /// Takes back what [`Session::arm`] asked for; the session is over.
    pub fn disarm(&self, wire: &mut Wire) {
        wire.deadlines
            .forget(self.queued, Waiting::Session(Key(self.id.0)));
    }

    /// Does what is due. `due` is the queue entry that came up.
    pub fn on_due(&mut self, wire: &mut Wire, now: Instant, due: Instant) {
        if self.queued != Some(due) {
            return;
        }
        self.queued = None;
        self.repeat_success(wire, now);
        self.repeat_provisional(wire, now);
        self.retry_offer(wire, now);
        self.keep_fresh(wire, now);
        self.give_up_target(wire, now);
        self.give_up_invite(wire, now);
        if self.deadline().is_some_and(|at| at <= now) {
            debug_assert!(false, "a timer of {:?} was not handled", self.state);
            self.drop_timers();
        }
    }

    /// A timer that nobody handles must not keep the endpoint busy.
    fn drop_timers(&mut self) {
        self.reliable.forget();
        self.refresh.stop();
        self.exchange.retry_at = None;
        (self.repeat, self.target_at, self.give_up_at) = (None, None, None);
    }

    // Requests of ours.

    fn path(&self, wire: &Wire, dialog: usize) -> Option<Path> {
        let peer = wire.peers.get(self.peer).map(|entry| &entry.peer);
        let path = self.dialogs.get(dialog)?.next_hop(peer);
        // A Contact or Route that names ourselves leads nowhere but here.
        match wire.peers.is_ours(path.remote) {
            true => Some(self.dialogs.get(dialog)?.heard_from(peer)),
            false => Some(path),
        }
    }

    /// Sends a request within a dialog (RFC 3261 §12.2.1.1).
    fn send_in(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        dialog: usize,
        purpose: Purpose,
        lines: &[u8],
        body: (&str, &[u8]),
    ) -> Option<Key> {
        let method = method_of(purpose);
        let path = self.way_round(wire, now, self.path(wire, dialog)?);
        self.cseq += 1;
        self.auth.restart();
        let agent = wire.config.agent.clone();
        let owner = Owner::Session(self.id, purpose);
        let built = wire.request(now, path, owner, method, |via| {
            let mut writer = self.begin(method.as_str(), dialog, via)?;
            writer.header("Contact", format!("<{}>", self.contact).as_bytes());
            writer.lines(lines);
            if let Some(agent) = &agent {
                writer.header("User-Agent", agent.as_bytes());
            }
            writer.finish(Some(body.0), body.1)
        });
        let key = built.ok()?;
        self.live += 1;
        Some(key)
    }

    /// Starts a message of a dialog: everything up to CSeq.
    fn begin(&self, method: &str, dialog: usize, via: &[u8]) -> Result<Writer, BuildError> {
        let dialog = self.dialogs.get(dialog).ok_or(BuildError::Name)?;
        let (uri, routes) = dialog.addressing();
        let mut writer = Writer::request(method, &uri);
        writer.header("Via", via);
        writer.lines(&routes);
        writer.header("Max-Forwards", b"70");
        writer.header("From", &[&self.local[..], b";tag=", self.tag.as_bytes()].concat());
        match &*dialog.remote_tag {
            [] => writer.header("To", &self.remote),
            tag => writer.header("To", &[&self.remote[..], b";tag=", tag].concat()),
        };
        writer.header("Call-ID", &self.call_id);
        writer.header_fmt("CSeq", format_args!("{} {method}", self.cseq));
        Ok(writer)
    }

    /// Answers a 401 or 407 by sending the request again; `None` when that must not or cannot be.
    fn authenticate(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        response: &Message<'_>,
    ) -> Option<Key> {
        // Requests in between (PRACK) start the authenticator's own count again.
        if purpose == Purpose::Invite && self.invite_attempts >= MAX_ATTEMPTS {
            return None;
        }
        let entry = wire.peers.get(self.peer)?;
        let credentials = entry.peer.credentials.clone()?;
        let (bytes, path) = wire.request_of(key)?;
        if !entry.peer.owns(path.remote.ip()) {
            wire.sighted(path, Sighting::ForeignChallenge);
            return None;
        }
        let mut scratch = Vec::new();
        let request = Message::parse(bytes, &mut scratch).ok()?;
        let crate::message::Start::Request { uri, method, .. } = request.start else {
            return None;
        };
        let (uri, peer) = (uri.to_vec(), self.peer);
        let realms = &mut wire.peers.get_mut(peer)?.call_realms;
        match self.auth.take(response, &credentials, realms) {
            Ok(()) => {}
            Err(Unanswerable::ForeignRealm(realm)) => {
                if let Some(realm) = realms.news(&realm) {
                    wire.tell(Event::ForeignRealm { peer, realm });
                }
                wire.sighted(path, Sighting::ForeignChallenge);
                return None;
            }
            Err(Unanswerable::Unusable | Unanswerable::Refused) => return None,
        }
        self.invite_attempts += u8::from(purpose == Purpose::Invite);
        let cnonce = wire.random();
        let lines = self.auth.lines(&credentials, method.as_str(), &uri, cnonce);
        if method == Method::Invite {
            self.invite_credentials.clone_from(&lines);
        }
        self.resubmit(
            wire,
            now,
            key,
            purpose,
            Change {
                credentials: &lines,
                ..Change::default()
            },
        )
    }

    // Reports.

    /// Takes news of a client transaction of this session.
    pub fn on_report(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        report: Report,
        purpose: Purpose,
        response: Option<(&Message<'_>, SocketAddr)>,
    ) {
        if let Some(tell) = report.tell {
            match purpose {
                Purpose::Invite => self.on_invite_report(wire, now, report.transaction, tell, response),
                Purpose::Reinvite | Purpose::Update => {
                    self.on_offer_report(wire, now, report.transaction, purpose, tell, response);
                }
                Purpose::Bye | Purpose::Prack | Purpose::Info => {
                    self.on_other_report(wire, now, report.transaction, purpose, tell, response);
                }
                Purpose::Cancel => {}
            }
        }
        if report.gone {
            self.live = self.live.saturating_sub(1);
        }
    }

    fn on_other_report(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        purpose: Purpose,
        tell: Tell,
        response: Option<(&Message<'_>, SocketAddr)>,
    ) {
        if self.detour(wire, now, key, purpose, tell).is_some() {
            return;
        }
        let status = match (tell, response) {
            (Tell::Provisional | Tell::Success, _) => return,
            (Tell::Failure, Some((response, _))) => response.status().unwrap_or(500),
            _ => 408,
        };
        if let (401 | 407, Some((response, _))) = (status, response)
            && self.authenticate(wire, now, key, purpose, response).is_some()
        {
            return;
        }
        if purpose == Purpose::Info && matches!(status, 408 | 481) && self.state == State::Confirmed {
            self.lose_dialog(wire, now);
        }
    }

    // Answers to the peer.

    fn respond(
        &self,
        wire: &mut Wire,
        now: Instant,
        key: Key,
        status: u16,
        lines: &[u8],
        body: &[u8],
    ) -> Option<Vec<u8>> {
        let dialog = (101..300).contains(&status);
        wire.respond(
            now,
            key,
            &Response {
                status,
                tag: &self.tag,
                lines,
                body,
                dialog,
            },
        )
    }

    /// Serves a request within the dialog and answers it at once.
    fn answer_request(
        &self,
        wire: &mut Wire,
        now: Instant,
        request: &Message<'_>,
        path: Path,
        status: u16,
        lines: &[u8],
    ) {
        match wire.serve(request, path, Owner::Nobody) {
            Some(key) => {
                self.respond(wire, now, key, status, lines, b"");
            }
            None => wire.respond_stateless(
                request,
                path,
                &Response {
                    status,
                    tag: &self.tag,
                    lines,
                    body: b"",
                    dialog: false,
                },
            ),
        }
    }

    /// Takes a request of the peer within a dialog; ACK and CANCEL come elsewhere.
    pub fn on_request(&mut self, wire: &mut Wire, now: Instant, request: &Message<'_>, path: Path) {
        let Some(index) = self.dialog_of(request) else {
            return self.answer_request(wire, now, request, path, 481, b"");
        };
        let method = request.cseq.method;
        let outlives = method == Method::Bye || (method == Method::Prack && self.reliable.expects_prack());
        if self.state == State::Over && !outlives {
            return self.answer_request(wire, now, request, path, 481, b"");
        }
        let dialog = &mut self.dialogs[index];
        match dialog.remote_cseq {
            Some(last) if request.cseq.number < last => {
                return self.answer_request(wire, now, request, path, 500, b"");
            }
            Some(last) if request.cseq.number == last => {
                return self.answer_request(wire, now, request, path, 482, b"");
            }
            _ => dialog.remote_cseq = Some(request.cseq.number),
        }
        dialog.path = path;
        if let Some(unsupported) = unsupported(request, self.extensions) {
            return self.answer_request(wire, now, request, path, 420, &unsupported);
        }
        let refreshes = matches!(method, Method::Invite | Method::Update);
        if refreshes && request.header(Name::Contact).is_some() && !has_contact(request) {
            return self.answer_request(wire, now, request, path, 400, b"");
        }
        match method {
            Method::Bye => self.on_bye(wire, now, index, request, path),
            Method::Invite => self.on_reinvite(wire, now, request, path),
            Method::Update => self.on_update(wire, now, request, path),
            Method::Prack => self.on_prack(wire, now, request, path),
            Method::Info => self.on_info(wire, now, request, path),
            Method::Options => {
                let lines = self.extensions.lines();
                self.answer_request(wire, now, request, path, 200, lines.as_bytes());
            }
            Method::Refer => self.answer_request(wire, now, request, path, 603, b""),
            Method::Notify => self.answer_request(wire, now, request, path, 481, b""),
            method => {
                let status = if method == Method::Other { 501 } else { 405 };
                let lines = format!("Allow: {}\r\n", self.extensions.allow());
                self.answer_request(wire, now, request, path, status, lines.as_bytes());
            }
        }
    }

    // Last events.

    fn tell_failed(&mut self, wire: &mut Wire, failure: Failure) {
        self.local_sdp = Vec::new();
        if !std::mem::replace(&mut self.told, true) {
            wire.tell(Event::Failed {
                session: self.id,
                failure,
            });
        }
    }

    fn tell_ended(&mut self, wire: &mut Wire, ended: Ended, reason: Reason) {
        self.local_sdp = Vec::new();
        if !std::mem::replace(&mut self.told, true) {
            wire.tell(Event::Ended {
                session: self.id,
                ended,
                reason,
            });
        }
    }

    /// Tells an event of a session that has not ended.
    fn tell(&self, wire: &mut Wire, event: Event) {
        if !self.told {
            wire.tell(event);
        }
    }
}

fn method_of(purpose: Purpose) -> Method {
    match purpose {
        Purpose::Invite | Purpose::Reinvite => Method::Invite,
        Purpose::Update => Method::Update,
        Purpose::Bye => Method::Bye,
        Purpose::Cancel => Method::Cancel,
        Purpose::Prack => Method::Prack,
        Purpose::Info => Method::Info,
    }
}

/// A hash that tells whether SDP changed. Not for security.
fn sdp_hash(sdp: &[u8]) -> u64 {
    sdp.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
