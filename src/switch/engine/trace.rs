//! Which messages belong to which call, and which calls' traces leave for the store.
//!
//! Messages are told apart by their Call-ID alone, before they are parsed; a stranger's is only looked at when it is an
//! INVITE with credentials, and never becomes part of another call's trace.
//! They stay as they are while the call runs. Once it ends and its trace is to be kept, it is written without secrets,
//! and again when late messages came: an ACK, the answer to a BYE, copies.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::message::peek_call_id;
use sip::{IncomingInvite, SessionId, Transport};

use super::Now;
use super::admit::user_of;
use super::exchange::Exchange;
use super::routes::Route;
use crate::call::record::{CallOpened, LegNumber, RecordChange, TraceKept, UtcMicros};
use crate::call::trace::{Arrival, Disguise, Keep, Ring};
use crate::units::{CallId, PhoneNumber};

/// How long late messages of a call that ended are awaited.
const LINGER: Duration = Duration::from_secs(5);
/// Memory of all rings together. Beyond it messages are counted, not kept.
const MOST_MEMORY: usize = 128 << 20;
/// Answers to an INVITE before it is a call: 100, or a refusal.
const MOST_ANSWERS: usize = 4;

/// Whose traces are kept, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceRules {
    pub keep: Keep,
    /// Of the calls that end within one second; the last half of them is for those that failed.
    pub most_per_second: u32,
}

/// What became of traces since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct TraceCounters {
    #[serde(rename = "traces_kept")]
    pub kept: u64,
    /// Too many calls ended in the same second.
    #[serde(rename = "traces_left_out")]
    pub left_out: u64,
    /// Memory of all messages that are held now, in bytes.
    #[serde(rename = "traces_memory_bytes")]
    pub memory: usize,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
struct Owner {
    call: CallId,
    leg: LegNumber,
    /// Our address that reaches the trunk, for sockets that listen on every address.
    home: Option<SocketAddr>,
}

#[derive(Debug)]
struct Traced {
    ring: Ring,
    disguise: Disguise,
    call_ids: Vec<Box<[u8]>>,
    /// Something came since it was last written.
    changed: bool,
}

/// A message on its way, as the transports see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passing<'a> {
    pub sent: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub transport: Transport,
    pub bytes: &'a [u8],
}

/// Whether a message may prove to be a peer's that has no address of its own.
fn has_credentials(message: &[u8]) -> bool {
    let mut lines = message.split(|byte| *byte == b'\n');
    lines.any(|line| {
        line.get(..13)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"authorization"))
    })
}

/// An INVITE that is not a call yet, with what was answered: direction, addresses, transport, bytes.
#[derive(Debug, Default)]
struct Knocking {
    messages: Vec<(bool, SocketAddr, SocketAddr, Transport, Vec<u8>)>,
}

/// The traces of all calls.
#[derive(Debug)]
pub(super) struct Tracer {
    rules: TraceRules,
    calls: HashMap<CallId, Traced>,
    owners: HashMap<Box<[u8]>, Owner>,
    knocking: Knocking,
    /// Calls that ended, when, and whose traces are not written yet.
    ended: VecDeque<(Instant, CallId)>,
    /// Calls that ended, and when late messages are no longer awaited.
    lingering: VecDeque<(Instant, CallId)>,
    memory: usize,
    second: i64,
    kept_in_second: u32,
    counters: TraceCounters,
}

impl Default for Tracer {
    fn default() -> Self {
        Self {
            rules: TraceRules {
                keep: Keep::None,
                most_per_second: 0,
            },
            calls: HashMap::new(),
            owners: HashMap::new(),
            knocking: Knocking::default(),
            ended: VecDeque::new(),
            lingering: VecDeque::new(),
            memory: 0,
            second: 0,
            kept_in_second: 0,
            counters: TraceCounters::default(),
        }
    }
}

/// Who sent a message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A trunk, by its address or by its certificate.
    Peer,
    /// Somebody that a trunk's call leads to.
    Acquaintance,
    Stranger,
}

impl Tracer {
    pub fn set_rules(&mut self, rules: TraceRules) {
        self.rules = rules;
    }

    pub fn counters(&self) -> TraceCounters {
        TraceCounters {
            memory: self.memory,
            ..self.counters
        }
    }

    /// When something is to be written: at once where a call ended, later for the late messages of others.
    pub fn deadline(&self) -> Option<Instant> {
        let next = self.ended.front().or(self.lingering.front());
        next.map(|(due, _)| *due)
    }

    /// Whether no call that ended is still to be written for the first time.
    pub fn is_written(&self) -> bool {
        self.ended.is_empty()
    }

    fn is_on(&self) -> bool {
        self.rules.keep != Keep::None || !self.calls.is_empty()
    }

    /// Takes note of a message from this sender, or of one of ours.
    pub fn pass(&mut self, now: Now, passing: Passing<'_>, sender: Sender) {
        // A call's trace is no place for what anybody may write who knows its Call-ID.
        let is_invite = passing.bytes.starts_with(b"INVITE ");
        let proves = sender == Sender::Peer || is_invite && has_credentials(passing.bytes);
        if !self.is_on() || !passing.sent && sender == Sender::Stranger && !proves {
            return;
        }
        let Some(call_id) = peek_call_id(passing.bytes) else {
            return;
        };
        if let Some(&owner) = self.owners.get(call_id) {
            if passing.sent || sender != Sender::Stranger {
                self.push(now, owner, passing);
            }
        } else if passing.sent {
            let first = self.knocking.messages.first();
            let same = first.is_some_and(|(.., invite)| peek_call_id(invite) == Some(call_id));
            if same && self.knocking.messages.len() <= MOST_ANSWERS {
                self.knock(passing);
            }
        } else if is_invite && proves {
            self.knocking.messages.clear();
            self.knock(passing);
        }
    }

    /// What came last did not become a call.
    pub fn forget_knocking(&mut self) {
        self.knocking.messages.clear();
    }

    fn knock(&mut self, passing: Passing<'_>) {
        let Passing {
            sent,
            local,
            remote,
            transport,
            bytes,
        } = passing;
        self.knocking
            .messages
            .push((sent, local, remote, transport, bytes.to_vec()));
    }

    fn push(&mut self, now: Now, owner: Owner, passing: Passing<'_>) {
        let Some(traced) = self.calls.get_mut(&owner.call) else {
            return;
        };
        traced.changed = true;
        if self.memory > MOST_MEMORY {
            return traced.ring.pass_over(passing.bytes);
        }
        let local = match owner.home {
            Some(home) if passing.local.ip().is_unspecified() => {
                SocketAddr::new(home.ip(), passing.local.port())
            }
            _ => passing.local,
        };
        let before = traced.ring.memory();
        let arrival = Arrival {
            at: UtcMicros::from(now.wall),
            leg: owner.leg,
            sent: passing.sent,
            local,
            remote: passing.remote,
            transport: passing.transport,
        };
        traced.ring.push(arrival, passing.bytes);
        self.memory = self.memory.saturating_sub(before) + traced.ring.memory();
    }

    /// Begins a call's trace with the INVITE that came last.
    fn begin(&mut self, now: Now, owner: Owner, call_id: &[u8], disguise: Disguise) {
        let traced = Traced {
            ring: Ring::default(),
            disguise,
            call_ids: Vec::new(),
            changed: false,
        };
        self.calls.insert(owner.call, traced);
        self.add_leg(owner, call_id);
        for (sent, local, remote, transport, bytes) in std::mem::take(&mut self.knocking.messages) {
            let passing = Passing {
                sent,
                local,
                remote,
                transport,
                bytes: &bytes,
            };
            self.push(now, owner, passing);
        }
    }

    fn add_leg(&mut self, owner: Owner, call_id: &[u8]) {
        if let Some(traced) = self.calls.get_mut(&owner.call) {
            traced.call_ids.push(call_id.into());
            self.owners.insert(call_id.into(), owner);
        }
    }

    /// The call ended: its trace is kept, or forgotten.
    pub fn end(&mut self, now: Now, call: CallId, failed: bool) {
        let Some(traced) = self.calls.get(&call) else {
            return;
        };
        let failed = failed || traced.ring.has_failure();
        if self.wants(failed) && self.has_room(now, failed) {
            self.counters.kept += 1;
            self.ended.push_back((now.monotonic, call));
            self.lingering.push_back((now.monotonic + LINGER, call));
        } else {
            self.forget(call);
        }
    }

    fn wants(&self, failed: bool) -> bool {
        match self.rules.keep {
            Keep::All => true,
            Keep::Failed => failed,
            Keep::None => false,
        }
    }

    /// Whether one more may be kept in this second. Calls that failed may take all of it, others the first half.
    fn has_room(&mut self, now: Now, failed: bool) -> bool {
        let second = now.wall.as_second();
        if self.second != second {
            (self.second, self.kept_in_second) = (second, 0);
        }
        let most = self.rules.most_per_second;
        let room = if failed { most } else { most.div_ceil(2) };
        let kept = self.kept_in_second < room;
        if kept {
            self.kept_in_second += 1;
        } else {
            self.counters.left_out += 1;
        }
        kept
    }

    pub fn forget(&mut self, call: CallId) {
        let Some(traced) = self.calls.remove(&call) else {
            return;
        };
        self.memory = self.memory.saturating_sub(traced.ring.memory());
        for call_id in &traced.call_ids {
            if self.owners.get(call_id).is_some_and(|owner| owner.call == call) {
                self.owners.remove(call_id);
            }
        }
    }
}

impl Exchange {
    /// Begins the trace of a call that is being opened, whatever becomes of it.
    pub(super) fn trace_call(
        &mut self,
        now: Now,
        opened: &CallOpened,
        route: &Route,
        trunk: usize,
        invite: &IncomingInvite,
    ) {
        if self.trace.rules.keep == Keep::None || !self.records_accepted {
            return;
        }
        let pseudonym = opened.caller.as_ref().and_then(|hmac| hmac.as_str().get(..8));
        let name = pseudonym.map_or_else(|| "caller".to_owned(), |start| format!("caller-{start}"));
        let mut disguise = Disguise::new(name);
        for party in invite.asserted.iter().chain([&invite.from]) {
            disguise.hide_caller(user_of(&party.uri));
        }
        let pattern = route.pattern.to_string();
        if !pattern.contains(['X', '*']) {
            disguise.show(&pattern);
        }
        let owner = Owner {
            call: opened.call,
            leg: LegNumber(0),
            home: self.lines[trunk].local,
        };
        self.trace.begin(now, owner, invite.call_id.as_bytes(), disguise);
    }

    /// A dialled leg belongs to a call. `shown` is its number, where that is an office's.
    pub(super) fn trace_leg(
        &mut self,
        call: CallId,
        leg: LegNumber,
        session: SessionId,
        trunk: usize,
        shown: Option<&PhoneNumber>,
    ) {
        let Some(traced) = self.trace.calls.get_mut(&call) else {
            return;
        };
        if let Some(number) = shown {
            traced.disguise.show(number.as_str());
        }
        let owner = Owner {
            call,
            leg,
            home: self.lines[trunk].local,
        };
        if let Some(call_id) = self.endpoint.call_id(session) {
            self.trace.add_leg(owner, call_id);
        }
    }

    /// Writes the trace of a call that ended, or again one to which late messages came. One at a time: it takes a tenth
    /// of a millisecond, in which calls would wait.
    pub(super) fn settle_traces(&mut self, now: Now) {
        if let Some((_, call)) = self.trace.ended.pop_front() {
            self.write_trace(now, call);
            return;
        }
        while let Some((due, call)) = self.trace.lingering.front().copied() {
            if due > now.monotonic {
                return;
            }
            self.trace.lingering.pop_front();
            let written = self.write_trace(now, call);
            self.trace.forget(call);
            if written {
                return;
            }
        }
    }

    /// Tells whether there was something to write.
    fn write_trace(&mut self, now: Now, call: CallId) -> bool {
        let Some(traced) = self.trace.calls.get_mut(&call) else {
            return false;
        };
        if !std::mem::take(&mut traced.changed) || !self.records_accepted {
            return false;
        }
        let mut disguise = traced.disguise.clone();
        for (index, trunk) in self.settings.trunks.iter().enumerate() {
            if let Some(number) = &trunk.caller_id {
                disguise.show(number.as_str());
            }
            if let Some(credentials) = &trunk.credentials {
                disguise.hide_account(&credentials.username);
            }
            if let Some(contact) = self.endpoint.contact_user(Self::peer_id(index)) {
                disguise.show(contact);
            }
        }
        self.changes.push(RecordChange::Traced(Box::new(TraceKept {
            call,
            at: UtcMicros::from(now.wall),
            trace: traced.ring.trace(&disguise).encode(),
        })));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now {
            monotonic: Instant::now(),
            wall: "2026-09-16T17:00:00Z".parse().unwrap(),
        }
    }

    /// Of calls that end in one second, some failed: how many of the others and of these are kept.
    fn kept(rules: TraceRules, ends: &[bool]) -> (usize, TraceCounters) {
        let mut tracer = Tracer::default();
        tracer.set_rules(rules);
        for (number, failed) in ends.iter().enumerate() {
            let call = CallId::new(number as u64, 0);
            let owner = Owner {
                call,
                leg: LegNumber(0),
                home: None,
            };
            let call_id = number.to_string();
            tracer.begin(now(), owner, call_id.as_bytes(), Disguise::default());
            tracer.end(now(), call, *failed);
        }
        assert_eq!(
            tracer.calls.len(),
            tracer.owners.len(),
            "what is not kept is forgotten"
        );
        (tracer.calls.len(), tracer.counters())
    }

    #[test]
    fn failed_calls_find_room_when_too_many_end_at_once() {
        let rules = TraceRules {
            keep: Keep::All,
            most_per_second: 10,
        };
        let mut ends = vec![false; 1000];
        assert_eq!(kept(rules, &ends).0, 5);
        ends.extend([true; 100]);
        let counters = TraceCounters {
            kept: 10,
            left_out: 1090,
            memory: 0,
        };
        assert_eq!(kept(rules, &ends), (10, counters));
        let rules = TraceRules {
            keep: Keep::Failed,
            most_per_second: 200,
        };
        assert_eq!(kept(rules, &ends).0, 100);
    }

    #[test]
    fn nothing_is_looked_at_while_no_trace_is_kept_and_no_stranger_leaves_a_mark() {
        let invite = b"INVITE sip:a@h SIP/2.0\r\nCall-ID: x\r\n\r\n";
        let passing = Passing {
            sent: false,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "198.51.100.66:5060".parse().unwrap(),
            transport: Transport::Udp,
            bytes: invite,
        };
        let mut tracer = Tracer::default();
        tracer.pass(now(), passing, Sender::Peer);
        assert!(tracer.knocking.messages.is_empty());
        tracer.set_rules(TraceRules {
            keep: Keep::All,
            most_per_second: 1,
        });
        for sender in [Sender::Stranger, Sender::Acquaintance] {
            tracer.pass(now(), passing, sender);
            assert!(tracer.knocking.messages.is_empty());
        }
        tracer.pass(now(), passing, Sender::Peer);
        assert_eq!(tracer.knocking.messages.len(), 1);
    }
}
