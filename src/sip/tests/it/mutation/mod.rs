//! Half a million broken messages, mutated from good ones: read, looked at from every side, compared with another
//! parser, and given to an endpoint as a peer's and as a stranger's, within bounds of memory and work.
//!
//! A message that breaks a rule is printed with its number; run it alone with `SIP_MUTATION=number`.

mod corpus;
mod mutator;
mod oracle;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use sip::message::{
    Address, CSeq, MAX_HEADERS, Message, Name, SessionExpires, Start, Uri, Via, frame_length, is_clean,
    lossy, tokens, unquote,
};
use sip::{Endpoint, EndpointConfig, Event, Input, Invite, Output, Party, Peer, SessionId, Transport};

use crate::net::{PEER, SDP_A, SDP_B, address};
use mutator::{Dice, mutate};

/// How many mutated messages one run tries.
const ROUNDS: u64 = 500_000;
/// Bytes that reading a message may allocate beside its own length: the index of 128 headers, grown by doubling.
const MOST_FOR_READING: u64 = 24 * 1024;
/// Bytes that a message may make an endpoint allocate, beside so many times its length: a session with its dialog,
/// transaction and first responses is the most that one message can bring about.
const MOST_FOR_ACTING: (u64, u64) = (32 * 1024, 24);
/// Messages and events that one message may bring about at once.
const MOST_OUTPUTS: usize = 6;

/// Rounds between two endpoints: what is replayed begins with a new one.
const BLOCK: u64 = 1000;

/// The round that the environment names.
fn replayed() -> Option<u64> {
    std::env::var("SIP_MUTATION")
        .ok()
        .and_then(|text| text.parse().ok())
}

/// Calls `check` with the message of every round; of a block's up to the one replayed, if one is.
fn each(mut check: impl FnMut(u64, &[u8])) {
    let corpus = corpus::corpus();
    for round in replayed().map_or(0..ROUNDS, |only| only / BLOCK * BLOCK..only + 1) {
        let bytes = mutate(&mut Dice::new(round), &corpus);
        if catch_unwind(AssertUnwindSafe(|| check(round, &bytes))).is_err() {
            panic!(
                "round {round} failed; run it alone with SIP_MUTATION={round}\n{}",
                bytes.escape_ascii()
            );
        }
    }
}

/// Looks at a message through every typed view that the package has.
fn look_at(message: &Message<'_>) {
    assert!(message.headers().len() <= MAX_HEADERS);
    for header in message.headers() {
        assert!(is_clean(header.value) && !header.name_text.is_empty());
        let value = header.value;
        let _ = Via::parse(value).map(|via| (via.rport(), via.received(), via.wants_rport(), via.branch()));
        let _ = Address::parse(value)
            .map(|address| (address.display_text(), address.tag(), address.parsed_uri()));
        let _ = Uri::parse(value).map(|uri| (uri.user_text(), uri.address(), uri.is_loose()));
        let _ = (
            CSeq::parse(value),
            SessionExpires::parse(value),
            unquote(value),
            lossy(value),
        );
        assert!(tokens(value).all(|token| !token.is_empty()));
    }
    for name in [Name::Via, Name::Contact, Name::Route, Name::Require] {
        assert!(message.values(name).all(|value| !value.is_empty()));
    }
    let _ = (
        message.seconds(Name::MaxForwards),
        message.lists(Name::Supported, "timer"),
    );
    if let Start::Request { uri, .. } = message.start {
        let _ = Uri::parse(uri).map(|uri| uri.user_text());
    }
}

#[test]
fn half_a_million_mutated_messages_are_read_within_bounds_and_as_rsip_reads_them() {
    let mut used = vec![0u32; oracle::KNOWN.len()];
    let (mut read, mut compared) = (0u64, 0u64);
    each(|_, bytes| {
        let mut scratch = Vec::new();
        let mut parsed = None;
        let cost = measure(|| parsed = Message::parse(bytes, &mut scratch).ok());
        let length = bytes.len() as u64;
        assert!(
            cost.bytes_total <= MOST_FOR_READING + length,
            "{cost:?} for {length} bytes"
        );
        let Some(message) = parsed else { return };
        read += 1;
        let views = measure(|| look_at(&message));
        assert!(
            views.bytes_total <= 1024 + 12 * length,
            "{views:?} for {length} bytes"
        );
        if let Some(unknown) = oracle::compare(&message, bytes, &mut used) {
            compared += 1;
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    });
    if replayed().is_none() {
        assert!(
            read > ROUNDS / 6 && compared > ROUNDS / 8,
            "only {read} were readable and {compared} to both: the mutations are too wild to test much"
        );
        for (known, count) in oracle::KNOWN.iter().zip(&used) {
            assert!(
                *count > 0,
                "no message shows {:?} any more ({})",
                known.name,
                known.reason
            );
        }
    }
}

/// An endpoint with a call in progress each way and one ringing, so that messages find something.
struct Stand {
    endpoint: Endpoint,
    now: Instant,
    open: Vec<SessionId>,
}

const LOCAL: &str = "127.0.1.1:5060";
const REMOTE: &str = "127.0.1.2:5060";
const STRANGER: &str = "198.51.100.1:5060";

impl Stand {
    fn new() -> Self {
        let config = EndpointConfig {
            max_sessions: 64,
            max_transactions: 256,
            ..EndpointConfig::default()
        };
        let mut endpoint = Endpoint::new(config, [9; 32]);
        endpoint.set_peer(Peer::new(PEER, address(LOCAL), vec![address(REMOTE)]));
        Self {
            endpoint,
            now: Instant::now(),
            open: Vec::new(),
        }
    }

    fn call(&mut self) {
        let invite = Invite {
            peer: PEER,
            uri: format!("sip:5550100@{REMOTE}"),
            to: format!("sip:5550100@{REMOTE}"),
            from: Party::new("sip:5550101@127.0.1.1"),
            headers: Vec::new(),
            max_forwards: None,
            sdp: SDP_A.to_vec(),
        };
        self.open.extend(self.endpoint.invite(self.now, invite).ok());
    }

    fn hear(&mut self, source: &str, bytes: &[u8]) -> usize {
        let input = Input::Received {
            local: address(LOCAL),
            source: address(source),
            transport: Transport::Udp,
            bytes,
        };
        let length = bytes.len() as u64;
        let (now, endpoint) = (self.now, &mut self.endpoint);
        let cost = measure(|| endpoint.handle_input(now, input));
        let (fixed, times) = MOST_FOR_ACTING;
        assert!(
            cost.bytes_total <= fixed + times * length,
            "{cost:?} for {length} bytes"
        );
        self.drain(address(source))
    }

    /// Takes all outputs; tells how many messages went to `watched`.
    fn drain(&mut self, watched: std::net::SocketAddr) -> usize {
        let (mut outputs, mut sent) = (0, 0);
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit {
                    destination, bytes, ..
                } => {
                    assert_eq!(frame_length(&bytes), Ok(Some(bytes.len())));
                    sent += usize::from(destination == watched);
                }
                Output::Event(Event::Incoming { session, .. }) => self.open.push(session),
                Output::Event(Event::Ended { session, .. } | Event::Failed { session, .. }) => {
                    assert!(self.open.contains(&session), "a session ended twice");
                    self.open.retain(|open| *open != session);
                }
                Output::Wait(_) => break,
                _ => {}
            }
            outputs += 1;
        }
        assert!(outputs <= MOST_OUTPUTS, "{outputs} outputs for one message");
        sent
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Output::Wait(Some(next)) = self.endpoint.poll_output() {
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            while let output @ (Output::Transmit { .. } | Output::Event(_)) = self.endpoint.poll_output() {
                if let Output::Event(Event::Ended { session, .. } | Event::Failed { session, .. }) = output {
                    self.open.retain(|open| *open != session);
                }
            }
        }
        self.now = end;
    }

    /// Hangs up, lets every timer run out, and looks for what is left.
    fn end(mut self) {
        for session in self.open.clone() {
            self.endpoint.hangup(self.now, session, None);
            self.drain(address(STRANGER));
        }
        self.pass(Duration::from_secs(300));
        let counters = self.endpoint.counters();
        let left = (counters.active, counters.sessions, counters.transactions);
        assert_eq!(left, (0, 0, 0), "{counters:?}");
    }

    /// Does with the open sessions what an owner might do.
    fn act(&mut self, dice: &mut Dice) {
        if self.open.len() < 3 {
            self.call();
        }
        let session = self.open[dice.pick(self.open.len())];
        match dice.pick(8) {
            0 => self.endpoint.ring(self.now, session),
            1 => self.endpoint.progress(self.now, session, SDP_B.to_vec()),
            2 => self.endpoint.answer(self.now, session, SDP_B.to_vec()),
            3 => self.endpoint.reject(self.now, session, 486, None),
            4 => self.endpoint.hangup(self.now, session, None),
            5 => self.endpoint.accept_offer(self.now, session, SDP_B.to_vec()),
            6 => self.endpoint.refuse_offer(self.now, session, 488),
            _ => self.endpoint.reoffer(self.now, session, SDP_A.to_vec()),
        }
        self.drain(address(STRANGER));
    }
}

#[test]
fn half_a_million_mutated_messages_of_a_peer_and_of_a_stranger_cost_an_endpoint_little_and_leave_nothing() {
    let (mut stand, mut dice, mut held) = (Stand::new(), Dice::new(0), 0);
    each(|round, bytes| {
        if round % BLOCK == 0 {
            std::mem::replace(&mut stand, Stand::new()).end();
            dice = Dice::new(round);
        }
        // A stranger is seen at most.
        let before = stand.endpoint.counters();
        assert_eq!(stand.hear(STRANGER, bytes), 0, "a stranger got an answer");
        let after = stand.endpoint.counters();
        assert_eq!(
            (before.active, before.transactions),
            (after.active, after.transactions)
        );
        stand.hear(REMOTE, bytes);
        if round % 16 == 0 {
            stand.act(&mut dice);
        }
        if round % 64 == 0 {
            stand.pass(Duration::from_millis(100));
        }
        held = held.max(stand.endpoint.counters().sessions);
    });
    stand.end();
    assert!(
        replayed().is_some() || held > 8,
        "only {held} sessions were held at once"
    );
}
