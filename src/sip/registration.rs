//! Keeps one REGISTER binding per peer alive (RFC 3261 §10).
//!
//! In: the wish to be registered, responses, time. Out: REGISTER requests and events. The registrar's granted expiry
//! counts, not the one asked for. It must never remove bindings of others (`Contact: *`) nor hammer a registrar.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::deadlines::Waiting;
use crate::digest::{Authenticator, Unanswerable};
use crate::event::{Event, Sighting};
use crate::message::{Address, Message, Method, Name, Params, Uri, Writer, decimal, is_clean, lossy};
use crate::peer::PeerId;
use crate::reason::retry_after;
use crate::slab::Key;
use crate::transaction::Tell;
use crate::wire::{Owner, Report, Wire};

/// A binding to keep at a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub peer: PeerId,
    /// The Request-URI: `sip:registrar.example.com`.
    pub registrar: String,
    /// The address of record put in To and From: `sip:account@example.com`.
    pub aor: String,
    /// The expiry to ask for, in seconds; what is granted counts.
    pub expires: u32,
}

/// First and longest wait after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Wait after 403 and 404: a person has to look.
const SLOW_LANE: Duration = Duration::from_secs(600);
/// The most that a Retry-After makes of it.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);
/// After its connection broke a binding is renewed this soon or up to five times later, and at most so often.
const RENEW_AFTER: Duration = Duration::from_secs(1);
const RENEW_PAUSE: Duration = Duration::from_secs(60);
/// Most Service-Route values kept.
const MAX_ROUTES: usize = 8;
/// Most former Contacts that are still to be removed.
const MAX_FORMER: usize = 4;
/// Longest expiry taken from a 423, in seconds.
const MAX_EXPIRES: u32 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Registering,
    Registered,
    /// Waits to try again.
    Failed,
    Deregistering,
}

#[derive(Debug)]
pub(crate) struct Binding {
    registration: Registration,
    state: State,
    call_id: String,
    tag: String,
    cseq: u32,
    auth: Authenticator,
    transaction: Option<Key>,
    /// The Contact last asked for.
    contact: String,
    /// Contacts asked for before, which the registrar may still hold: each REGISTER also removes them.
    former: Vec<String>,
    /// Where the last REGISTER went; the next goes there too while that target is one and does not rest.
    target: Option<SocketAddr>,
    /// Targets that failed since the last success.
    tried: Vec<SocketAddr>,
    failures: u32,
    raised: bool,
    due_at: Option<Instant>,
    /// Until then the registrar keeps what it granted last, whatever came after.
    registered_until: Option<Instant>,
    /// When it was last renewed before its time: a connection was lost, or the registrar moved.
    renewed_at: Option<Instant>,
    queued: Option<Instant>,
}

impl Binding {
    pub fn new(wire: &mut Wire, registration: Registration) -> Self {
        Self {
            registration,
            state: State::Registering,
            call_id: format!("{:016x}{:016x}", wire.random(), wire.random()),
            tag: format!("{:016x}", wire.random()),
            cseq: 0,
            auth: Authenticator::default(),
            transaction: None,
            contact: String::new(),
            former: Vec::new(),
            target: None,
            tried: Vec::new(),
            failures: 0,
            raised: false,
            due_at: None,
            registered_until: None,
            renewed_at: None,
            queued: None,
        }
    }

    /// Registers now, with what may have changed.
    pub fn register(&mut self, wire: &mut Wire, now: Instant, registration: Registration) {
        self.registration = registration;
        self.state = State::Registering;
        self.restart(wire, now);
    }

    /// Removes the binding. `true` when there is nothing to remove.
    pub fn deregister(&mut self, wire: &mut Wire, now: Instant) -> bool {
        let is_held = self.registered_until.is_some_and(|until| now < until);
        if self.state == State::Failed && self.transaction.is_none() && !is_held {
            return true;
        }
        self.state = State::Deregistering;
        self.restart(wire, now);
        self.transaction.is_none()
    }

    /// The registrar has other addresses: registers at once if it is no longer where we registered, though not for
    /// every turn of names that change all the time.
    pub fn on_new_targets(&mut self, wire: &mut Wire, now: Instant) {
        let Some((entry, target)) = wire.peers.get(self.registration.peer).zip(self.target) else {
            return;
        };
        let (known, is_there) = (
            !entry.registrars().is_empty(),
            entry.registrars().contains(&target),
        );
        if self.state == State::Registered && self.transaction.is_none() && known && !is_there {
            self.renew(now);
        }
    }

    fn renew(&mut self, soon: Instant) {
        let due = self.renewed_at.map_or(soon, |at| soon.max(at + RENEW_PAUSE));
        if self.due_at.is_none_or(|at| due < at) {
            (self.due_at, self.renewed_at) = (Some(due), Some(due));
        }
    }

    /// The connection broke by which the registrar may reach us: registers again soon, though not for every loss.
    pub fn on_connection_lost(&mut self, wire: &mut Wire, now: Instant) {
        if self.state != State::Registered || self.transaction.is_some() {
            return;
        }
        let soon = now + RENEW_AFTER + wire.random_below(RENEW_AFTER * 4);
        self.renew(soon);
    }

    fn restart(&mut self, wire: &mut Wire, now: Instant) {
        if let Some(key) = self.transaction.take() {
            wire.abandon(key);
        }
        self.due_at = None;
        self.auth.restart();
        self.send(wire, now);
    }

    pub fn arm(&mut self, wire: &mut Wire) {
        wire.deadlines.arm(
            &mut self.queued,
            self.due_at,
            Waiting::Peer(self.registration.peer),
        );
    }

    pub fn on_due(&mut self, wire: &mut Wire, now: Instant, due: Instant) {
        if self.queued != Some(due) {
            return;
        }
        self.queued = None;
        if self.due_at.is_some_and(|at| at <= now) {
            if self.transaction.is_some() {
                return self.on_silence(wire, now, 408);
            }
            if self.state == State::Failed {
                self.state = State::Registering;
            }
            self.restart(wire, now);
        }
    }

    fn expires(&self) -> u32 {
        if self.state == State::Deregistering {
            0
        } else {
            self.registration.expires
        }
    }

    fn send(&mut self, wire: &mut Wire, now: Instant) {
        let Some(entry) = wire.peers.get(self.registration.peer) else {
            return;
        };
        let kept = self
            .target
            .filter(|target| entry.registrars().contains(target) && !self.tried.contains(target))
            .filter(|target| !entry.is_resting(now, *target));
        let Some(remote) = kept.or_else(|| entry.next_registrar(now, &self.tried)) else {
            return self.fail(wire, now, 503, None);
        };
        let path = entry.path_to(remote);
        let mut others = self.tried.clone();
        others.push(remote);
        let has_more = entry.next_registrar(now, &others).is_some();
        self.target = Some(remote);
        let contact = entry.contact();
        // The registrar's own Service-Route is not for REGISTER (RFC 3608 §5).
        let route = entry.peer.route.clone();
        let credentials = entry.peer.credentials.clone().filter(|_| self.auth.is_ready());
        let cnonce = wire.random();
        self.note_contact(contact);
        let registrar = self.registration.registrar.as_bytes();
        let lines = credentials.map(|found| self.auth.lines(&found, "REGISTER", registrar, cnonce));
        self.cseq += 1;
        let (agent, expires) = (wire.config.agent.clone(), self.expires());
        let owner = Owner::Register(self.registration.peer);
        let sent = wire.request(now, path, owner, Method::Register, |via| {
            let mut writer = Writer::request("REGISTER", registrar);
            writer.header("Via", via);
            if let Some(route) = &route {
                writer.header("Route", route.as_bytes());
            }
            writer.header("Max-Forwards", b"70");
            writer.header_fmt(
                "From",
                format_args!("<{}>;tag={}", self.registration.aor, self.tag),
            );
            writer.header_fmt("To", format_args!("<{}>", self.registration.aor));
            writer.header("Call-ID", self.call_id.as_bytes());
            writer.header_fmt("CSeq", format_args!("{} REGISTER", self.cseq));
            writer.header_fmt("Contact", format_args!("<{}>;expires={expires}", self.contact));
            for former in &self.former {
                writer.header_fmt("Contact", format_args!("<{former}>;expires=0"));
            }
            writer.header_fmt("Expires", format_args!("{expires}"));
            if let Some(agent) = &agent {
                writer.header("User-Agent", agent.as_bytes());
            }
            writer.lines(lines.as_deref().unwrap_or_default());
            writer.finish(None, b"")
        });
        match sent {
            Ok(key) => {
                self.transaction = Some(key);
                self.due_at = has_more.then_some(now + wire.config.target_timeout);
            }
            Err(_) => self.fail(wire, now, 400, None),
        }
    }

    /// Takes the Contact of the next REGISTER; one that it replaces is removed by it (RFC 3261 §10.2.2).
    fn note_contact(&mut self, contact: String) {
        if contact == self.contact {
            return;
        }
        let replaced = std::mem::replace(&mut self.contact, contact);
        self.former.retain(|former| *former != self.contact);
        if !replaced.is_empty() {
            if self.former.len() >= MAX_FORMER {
                self.former.remove(0);
            }
            self.former.push(replaced);
        }
    }

    pub fn on_report(
        &mut self,
        wire: &mut Wire,
        now: Instant,
        report: Report,
        response: Option<&Message<'_>>,
    ) {
        let Some(tell) = report
            .tell
            .filter(|_| self.transaction == Some(report.transaction))
        else {
            return;
        };
        match (tell, response) {
            (Tell::Provisional, _) => self.due_at = None,
            (Tell::Success, Some(response)) => self.on_success(wire, now, response),
            (Tell::Failure, Some(response)) => self.on_failure(wire, now, response),
            (Tell::Unreachable, _) => self.on_silence(wire, now, 503),
            _ => self.on_silence(wire, now, 408),
        }
    }

    fn on_success(&mut self, wire: &mut Wire, now: Instant, response: &Message<'_>) {
        self.transaction = None;
        let peer = self.registration.peer;
        if self.state == State::Deregistering {
            return self.finish(wire);
        }
        let Some(entry) = wire.peers.get(peer) else { return };
        let granted = granted(response, &self.contact).unwrap_or(self.registration.expires);
        self.former.clear();
        self.registered_until = Some(now + Duration::from_secs(u64::from(granted)));
        if granted == 0 {
            return self.fail(wire, now, 500, None);
        }
        if let Some(address) = entry.seen_elsewhere(response) {
            wire.tell(Event::PublicAddress { peer, address });
        }
        self.tried.clear();
        if let Some(target) = self.target {
            wire.peers.wake(peer, target);
        }
        let service_route = response
            .values(Name::ServiceRoute)
            .take(MAX_ROUTES)
            .map(|value| lossy(value).into_owned());
        let service_route = service_route.collect();
        if let Some(entry) = wire.peers.get_mut(peer) {
            entry.service_route = service_route;
        }
        (self.state, self.failures, self.raised) = (State::Registered, 0, false);
        self.due_at = Some(now + refresh_after(granted, wire.random()));
        wire.tell(Event::Registered {
            peer,
            expires: Duration::from_secs(u64::from(granted)),
        });
    }

    fn on_failure(&mut self, wire: &mut Wire, now: Instant, response: &Message<'_>) {
        let status = response.status().unwrap_or(500);
        let peer = self.registration.peer;
        match status {
            401 | 407 => {
                let auth = &mut self.auth;
                let taken = wire.peers.get_mut(peer).and_then(|entry| {
                    let credentials = entry.peer.credentials.as_ref()?;
                    Some(auth.take(response, credentials, &mut entry.register_realms))
                });
                match taken {
                    Some(Ok(())) => return self.send(wire, now),
                    Some(Err(Unanswerable::ForeignRealm(realm))) => {
                        let news = wire.peers.get_mut(peer);
                        if let Some(realm) = news.and_then(|entry| entry.register_realms.news(&realm)) {
                            wire.tell(Event::ForeignRealm { peer, realm });
                        }
                        let key = self.transaction.unwrap_or(Key(u64::MAX));
                        if let Some((_, path)) = wire.request_of(key) {
                            wire.sighted(path, Sighting::ForeignChallenge);
                        }
                    }
                    _ => {}
                }
            }
            423 if !self.raised => {
                if let Some(min) = response
                    .seconds(Name::MinExpires)
                    .filter(|min| *min <= MAX_EXPIRES)
                {
                    self.raised = true;
                    self.registration.expires = self.registration.expires.max(min);
                    return self.send(wire, now);
                }
            }
            408 | 500..=599 => return self.on_silence_with(wire, now, status, retry_after(response)),
            _ => {}
        }
        self.fail(wire, now, status, retry_after(response));
    }

    fn on_silence(&mut self, wire: &mut Wire, now: Instant, status: u16) {
        self.on_silence_with(wire, now, status, None);
    }

    /// Tries the peer's next target at once, and backs off when all were tried.
    fn on_silence_with(&mut self, wire: &mut Wire, now: Instant, status: u16, asked: Option<Duration>) {
        let peer = self.registration.peer;
        if let Some(target) = self.target {
            wire.peers.rest(now, peer, target, asked);
            self.tried.push(target);
        }
        let next = wire
            .peers
            .get(peer)
            .and_then(|entry| entry.next_registrar(now, &self.tried));
        if next.is_some() && self.state != State::Deregistering {
            if let Some(key) = self.transaction.take() {
                wire.abandon(key);
            }
            self.due_at = None;
            self.auth.restart();
            return self.send(wire, now);
        }
        self.tried.clear();
        self.fail(wire, now, status, asked);
    }

    fn fail(&mut self, wire: &mut Wire, now: Instant, status: u16, asked: Option<Duration>) {
        if let Some(key) = self.transaction.take() {
            wire.abandon(key);
        }
        if self.state == State::Deregistering {
            return self.finish(wire);
        }
        self.state = State::Failed;
        self.auth = Authenticator::default();
        let usual = match status {
            403 | 404 => SLOW_LANE,
            _ => (BACK_OFF.0 * 2u32.saturating_pow(self.failures.min(10))).min(BACK_OFF.1),
        };
        self.failures += 1;
        let retry_in = asked.map_or(usual, |asked| asked.clamp(BACK_OFF.0, LONGEST_RETRY));
        let retry_in = retry_in + wire.random_below(retry_in / 10);
        self.due_at = Some(now + retry_in);
        wire.tell(Event::RegistrationFailed {
            peer: self.registration.peer,
            status,
            retry_in,
        });
    }

    fn finish(&mut self, wire: &mut Wire) {
        self.due_at = None;
        wire.tell(Event::Deregistered {
            peer: self.registration.peer,
        });
    }
}

/// Whether the texts of a registration may stand in a request.
pub(crate) fn is_valid(registration: &Registration) -> bool {
    [&registration.registrar, &registration.aor]
        .into_iter()
        .all(|text| is_clean(text.as_bytes()) && Uri::parse(text.as_bytes()).is_some())
}

/// The expiry that the registrar granted to our Contact, else to one with its user (the registrar may have written
/// another address into it), else to all (RFC 3261 §10.2.4).
fn granted(response: &Message<'_>, contact: &str) -> Option<u32> {
    let told = Uri::parse(contact.as_bytes())?;
    let is_like = |contact: &Address<'_>, exact: bool| {
        contact.parsed_uri().is_some_and(|uri| {
            let same_place = uri.host.eq_ignore_ascii_case(told.host) && uri.port == told.port;
            uri.user == told.user && (same_place || !exact)
        })
    };
    let of = |exact| {
        let mut contacts = response.values(Name::Contact).filter_map(Address::parse);
        contacts.find(|contact| is_like(contact, exact))
    };
    let ours = of(true).or_else(|| of(false));
    let by_contact = ours.and_then(|contact| {
        // Without brackets the parameter may have been meant for the header all the same.
        let in_uri = || {
            contact
                .parsed_uri()
                .and_then(|uri| Params(uri.params.0).get("expires"))
        };
        contact.params.get("expires").or_else(in_uri)
    });
    by_contact
        .and_then(decimal)
        .or_else(|| response.seconds(Name::Expires))
}

/// When to refresh: at 90 % or 30 s before the end, whichever is sooner, give or take 10 %.
fn refresh_after(granted: u32, random: u64) -> Duration {
    let granted = u64::from(granted) * 1000;
    let usual = if granted > 60_000 {
        (granted * 9 / 10).min(granted - 30_000)
    } else {
        granted / 2
    };
    let jittered = usual * 9 / 10 + random % (usual / 5).max(1);
    Duration::from_millis(jittered.min(granted * 95 / 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_comes_before_the_end_whatever_was_granted() {
        for granted in [1u32, 10, 60, 61, 90, 300, 3600, 86_400] {
            for random in [0u64, 7, 12_345, u64::MAX] {
                let after = refresh_after(granted, random);
                assert!(
                    after < Duration::from_secs(granted.into()),
                    "{granted}: {after:?}"
                );
                assert!(
                    after >= Duration::from_millis(u64::from(granted) * 350),
                    "{granted}: {after:?}"
                );
            }
        }
    }

    #[test]
    fn the_expiry_of_our_own_contact_counts_before_the_header() {
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:other@h>;expires=10, <sip:k9@h:5060>;q=1;expires=120\r\nExpires: 3600\r\n\r\n";
        let mut scratch = Vec::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        assert_eq!(granted(&message, "sip:k9@192.0.2.1:5060"), Some(120));
        assert_eq!(granted(&message, "sip:absent@h"), Some(3600));
        assert_eq!(granted(&message, "sip:other@h;transport=tcp"), Some(10));
    }
}
