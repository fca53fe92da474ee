//! What the whole engine does with sources that are no trunk's, by a clock of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use trunkline::switch::engine::{Engine, Input, Now, Output};
use trunkline::switch::simulator::{switch_address, trunk_address};

use crate::support::{Story, WEDNESDAY};

/// An engine with a trunk at [`trunk_address`], and its time.
struct Stand {
    engine: Engine,
    now: Now,
}

impl Stand {
    fn new() -> Self {
        let wall: Timestamp = WEDNESDAY.parse().unwrap();
        let monotonic = Instant::now();
        let engine = Story::default().simulator(monotonic).engine;
        let mut stand = Self {
            engine,
            now: Now { monotonic, wall },
        };
        stand.outputs();
        stand
    }

    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        loop {
            match self.engine.poll_output() {
                Output::Wait(_) => return outputs,
                output => outputs.push(output),
            }
        }
    }

    fn hear(&mut self, source: &str, bytes: &str) -> Vec<Output> {
        let input = sip::Input::Received {
            local: switch_address(),
            source: source.parse().unwrap(),
            transport: sip::Transport::Udp,
            bytes: bytes.as_bytes(),
        };
        self.engine.handle_input(self.now, Input::Sip(input));
        self.outputs()
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
    }

    fn looked_at(&self) -> u64 {
        self.engine.sip_counters().received
    }
}

fn request(method: &str, source: &str, number: usize) -> String {
    format!(
        "{method} sip:5550100@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@{source}>;tag=a\r\nTo: <sip:5550100@127.0.10.1>\r\nCall-ID: {number}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:a@{source}>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn ban_of(outputs: &[Output]) -> Option<(IpAddr, Duration)> {
    outputs.iter().find_map(|output| match output {
        Output::Banned { source, length } => Some((*source, *length)),
        _ => None,
    })
}

const STRANGER: &str = "198.51.100.66:5060";

#[test]
fn a_stranger_that_asks_for_calls_is_banned_unanswered_and_heard_again_after_it() {
    let mut stand = Stand::new();
    assert_eq!(
        ban_of(&stand.hear(STRANGER, &request("INVITE", STRANGER, 1))),
        None
    );
    let second = stand.hear(STRANGER, &request("INVITE", STRANGER, 2));
    let source: SocketAddr = STRANGER.parse().unwrap();
    assert_eq!(ban_of(&second), Some((source.ip(), Duration::from_secs(900))));
    assert!(
        !second
            .iter()
            .any(|output| matches!(output, Output::Transmit { .. }))
    );
    let looked_at = stand.looked_at();
    assert!(stand.hear(STRANGER, &request("OPTIONS", STRANGER, 3)).is_empty());
    assert_eq!(stand.looked_at(), looked_at);
    assert_eq!(stand.engine.guard_counters().banned, 1);
    stand.pass(Duration::from_secs(900));
    stand.hear(STRANGER, &request("OPTIONS", STRANGER, 4));
    assert_eq!(stand.looked_at(), looked_at + 1);
}

#[test]
fn a_flood_of_one_stranger_is_dropped_unread_and_the_trunk_is_still_served() {
    let mut stand = Stand::new();
    let before = stand.looked_at();
    for _ in 0..1000 {
        stand.hear(STRANGER, "\r\n\r\n");
    }
    assert_eq!(stand.looked_at() - before, 40);
    assert_eq!(stand.engine.guard_counters().throttled, 960);
    let trunk = trunk_address().to_string();
    for number in 0..1000 {
        let answered = stand.hear(&trunk, &request("OPTIONS", &trunk, number));
        assert!(
            matches!(answered.as_slice(), [Output::Transmit { .. }]),
            "{answered:?}"
        );
    }
}

#[test]
fn a_trunk_is_never_banned_whatever_it_sends() {
    let mut stand = Stand::new();
    let trunk = trunk_address().to_string();
    for _ in 0..100 {
        assert_eq!(ban_of(&stand.hear(&trunk, "no SIP at all\r\n\r\n")), None);
    }
    let answered = stand.hear(&trunk, &request("OPTIONS", &trunk, 1));
    assert!(
        matches!(answered.as_slice(), [Output::Transmit { .. }]),
        "{answered:?}"
    );
    assert_eq!(stand.engine.guard_counters().bans, 0);
}
