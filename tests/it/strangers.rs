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
        self.hear_by(sip::Transport::Udp, source, bytes)
    }

    fn hear_by(&mut self, transport: sip::Transport, source: &str, bytes: &str) -> Vec<Output> {
        let input = sip::Input::Received {
            local: switch_address(),
            source: source.parse().unwrap(),
            transport,
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
        Output::Banned { source, length, .. } => Some((*source, *length)),
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
fn noise_of_others_hides_nobody_from_a_ban_and_fills_no_log() {
    let mut stand = Stand::new();
    let mut logged = 0;
    let mut hear = |stand: &mut Stand, source: &str, number: usize| {
        let outputs = stand.hear(source, &request("INVITE", source, number));
        let told = |output: &&Output| matches!(output, Output::Sighting { .. });
        logged += outputs.iter().filter(told).count();
        ban_of(&outputs).is_some()
    };
    for number in 0..200 {
        hear(&mut stand, &format!("203.0.113.{number}:5060"), number);
    }
    assert!(!hear(&mut stand, STRANGER, 1000));
    assert!(hear(&mut stand, STRANGER, 1001));
    assert_eq!(logged, 20);
}

#[test]
fn datagrams_which_may_be_forged_ban_no_connection_and_connections_ban_themselves() {
    let mut stand = Stand::new();
    let by_tcp = sip::Transport::Tcp;
    let scan = probe("OPTIONS", STRANGER, 1, "User-Agent: friendly-scanner\r\n");
    assert!(ban_of(&stand.hear(STRANGER, &scan)).is_some());
    let source: SocketAddr = STRANGER.parse().unwrap();
    assert!(stand.engine.admits(stand.now, source.ip()), "a connection");
    let before = stand.looked_at();
    assert!(stand.hear(STRANGER, &scan).is_empty());
    assert_eq!(stand.looked_at(), before);
    assert!(ban_of(&stand.hear_by(by_tcp, STRANGER, &scan)).is_some());
    assert!(!stand.engine.admits(stand.now, source.ip()));
    assert_eq!(stand.engine.guard_counters().bans, 2);
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

/// What a sweep brought: bytes sent to anybody, and sources banned.
#[derive(Default)]
struct Swept {
    answered: usize,
    bans: Vec<Duration>,
}

impl Stand {
    fn sweep(&mut self, texts: impl IntoIterator<Item = (String, String)>, pause: Duration) -> Swept {
        let mut swept = Swept::default();
        for (source, text) in texts {
            for output in self.hear(&source, &text) {
                match output {
                    Output::Transmit { bytes, .. } => swept.answered += bytes.len(),
                    Output::Banned { length, .. } => swept.bans.push(length),
                    _ => {}
                }
            }
            self.pass(pause);
        }
        swept
    }

    /// Whether the trunk is answered.
    fn serves_the_trunk(&mut self) -> bool {
        let trunk = trunk_address().to_string();
        let outputs = self.hear(&trunk, &request("OPTIONS", &trunk, 7));
        matches!(outputs.as_slice(), [Output::Transmit { bytes, .. }] if bytes.starts_with(b"SIP/2.0 200 "))
    }
}

/// A request of a tool that tries extensions or passwords.
fn probe(method: &str, source: &str, extension: usize, lines: &str) -> String {
    request(method, source, extension)
        .replace("sip:5550100@127.0.10.1", &format!("sip:{extension}@127.0.10.1"))
        .replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\n{lines}"))
}

const CREDENTIALS: &str = "Authorization: Digest username=\"100\", realm=\"asterisk\", nonce=\"1\", uri=\"sip:127.0.10.1\", \
    response=\"00000000000000000000000000000000\", algorithm=MD5\r\n";

#[test]
fn sweeps_of_one_source_get_no_byte_and_a_ban_that_ends() {
    let minute = Duration::from_millis(50);
    for (method, lines, heard) in [
        ("OPTIONS", "User-Agent: friendly-scanner\r\n", 1),
        ("OPTIONS", "", 4),
        ("REGISTER", "", 4),
        ("REGISTER", CREDENTIALS, 4),
        ("INVITE", "", 2),
        ("SUBSCRIBE", "", 4),
    ] {
        let mut stand = Stand::new();
        let before = stand.looked_at();
        let texts = (100..600).map(|number| (STRANGER.to_owned(), probe(method, STRANGER, number, lines)));
        let swept = stand.sweep(texts, minute);
        assert_eq!((swept.answered, swept.bans.len()), (0, 1), "{method} {lines}");
        assert_eq!(stand.looked_at() - before, heard, "{method} {lines}");
        assert!(stand.serves_the_trunk());
        stand.pass(swept.bans[0]);
        let before = stand.looked_at();
        stand.hear(STRANGER, &probe(method, STRANGER, 601, lines));
        assert_eq!(stand.looked_at() - before, 1, "the ban is over");
    }
}

#[test]
fn a_sweep_from_many_sources_gets_no_byte_and_bans_each() {
    let mut stand = Stand::new();
    let texts = (0..3000usize).map(|number| {
        let source = format!("198.51.{}.{}:5060", number % 4, number / 4 % 200);
        let text = probe("INVITE", &source, number, "");
        (source, text)
    });
    let swept = stand.sweep(texts, Duration::from_millis(60));
    assert_eq!(swept.answered, 0);
    assert_eq!(swept.bans.len(), 800);
    assert!(stand.serves_the_trunk());
}

#[test]
fn a_sweep_in_the_trunks_name_never_bans_it() {
    let mut stand = Stand::new();
    let trunk = trunk_address().to_string();
    let texts = (0..500usize).map(|number| {
        let method = ["REGISTER", "OPTIONS", "MESSAGE", "XYZZY"][number % 4];
        (
            trunk.clone(),
            probe(method, &trunk, number, "User-Agent: friendly-scanner\r\n"),
        )
    });
    let swept = stand.sweep(texts, Duration::ZERO);
    assert!(swept.bans.is_empty() && swept.answered > 0);
    assert!(stand.serves_the_trunk());
}

/// Requests in which one element is broken in one of many ways.
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn broken(source: &str) -> Vec<String> {
    let good = format!(
        "INVITE sip:+12025550100@127.0.10.1;user=phone SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bKp;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"A\" <sip:a@{source}>;tag=a\r\nTo: <sip:+12025550100@127.0.10.1>\r\nCall-ID: p\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:a@{source}>\r\nContent-Type: application/sdp\r\nContent-Length: 60\r\n\r\n\
         v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 x"
    );
    let elements = [
        "INVITE",
        "sip:+12025550100@127.0.10.1;user=phone",
        "SIP/2.0",
        "UDP",
        "z9hG4bKp",
        "rport",
        "70",
        "\"A\"",
        "sip:a",
        "tag=a",
        "Call-ID",
        ": p",
        "1 INVITE",
        "<",
        ">",
        "application/sdp",
        "60",
        "v=0",
        "m=audio",
        "4000",
        "RTP/AVP",
        "1.2.3.4",
        ";",
        "@",
        "\r\n",
        "\r\n\r\n",
        ":",
    ];
    let anomalies: Vec<String> = [
        "a",
        "%s%n",
        "\\",
        "\"",
        "<",
        "@",
        ";",
        ",",
        " ",
        "\t",
        "\r\n ",
        "\u{fffd}",
        "\0",
        "\u{1b}[2J",
    ]
    .iter()
    .flat_map(|piece| [1, 2, 127, 1023, 8190].map(|count| piece.repeat(count)))
    .chain(
        [
            "",
            "-1",
            "0",
            "4294967295",
            "4294967296",
            "99999999999999999999999",
            "%00",
            "0x7f",
            "1e9",
        ]
        .map(str::to_owned),
    )
    .collect();
    let mut texts = Vec::new();
    for element in elements {
        for anomaly in &anomalies {
            texts.push(good.replacen(element, anomaly, 1));
            if anomaly.len() < 200 {
                texts.push(good.replace(element, anomaly));
            }
        }
    }
    texts
}

#[test]
fn broken_requests_of_a_stranger_get_no_byte_and_of_the_trunk_no_more_than_it_sent() {
    let mut stand = Stand::new();
    let texts = broken(STRANGER);
    assert!(texts.len() > 3000, "{}", texts.len());
    for (number, text) in texts.iter().enumerate() {
        let source = format!("198.51.{}.{}:5060", number / 200, number % 200);
        let swept = stand.sweep([(source, text.clone())], Duration::ZERO);
        assert_eq!(swept.answered, 0, "{text}");
    }
    let trunk = trunk_address().to_string();
    let mut refused = 0;
    for (number, text) in broken(&trunk).into_iter().enumerate() {
        // A call of its own each time, so that none is a copy of another.
        let text = text
            .replace("z9hG4bKp", &format!("z9hG4bKp{number}"))
            .replace(": p\r", &format!(": p{number}\r"));
        let outputs = stand.hear(&trunk, &text);
        let sent = outputs.iter().filter_map(|output| match output {
            Output::Transmit { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        let (count, bytes) = sent.fold((0, 0), |(count, sum), length| (count + 1, sum + length));
        assert!(
            count <= 3 && bytes <= count * (text.len() + 600),
            "{count} messages, {bytes} bytes for {}",
            text.len()
        );
        refused += usize::from(count == 1);
    }
    assert!(refused > 1000, "only {refused} were refused at once");
    assert!(stand.serves_the_trunk());
    stand.engine.handle_input(stand.now, Input::EndAll);
    for _ in 0..100 {
        stand.pass(Duration::from_secs(1));
        stand.engine.handle_timeout(stand.now);
        stand.outputs();
    }
    assert_eq!(stand.engine.calls(), 0);
    let counters = stand.engine.sip_counters();
    assert_eq!((counters.sessions, counters.transactions), (0, 0));
}

#[test]
fn fifty_thousand_junk_datagrams_leave_memory_as_it_was() {
    let mut stand = Stand::new();
    let junk = |stand: &mut Stand, first: u32| {
        for number in first..first + 50_000 {
            let source = SocketAddr::from(((0x2d00_0000 + number % 20_000).to_be_bytes(), 5060));
            let text = match number % 4 {
                0 => "junk\r\n\r\n",
                1 => "OPTIONS sip:100@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP 1.1.1.1\r\n\r\n",
                2 => "\r\n\r\n",
                _ => "\0\u{1}\u{2}",
            };
            let input = sip::Input::Received {
                local: switch_address(),
                source,
                transport: sip::Transport::Udp,
                bytes: text.as_bytes(),
            };
            stand.engine.handle_input(stand.now, Input::Sip(input));
            while !matches!(stand.engine.poll_output(), Output::Wait(_)) {}
            stand.pass(Duration::from_millis(1));
        }
    };
    // Tables of what was seen lately fill up to their limit.
    junk(&mut stand, 0);
    junk(&mut stand, 50_000);
    let cost = allocation_counter::measure(|| junk(&mut stand, 100_000));
    assert_eq!((cost.count_total, cost.bytes_current), (0, 0), "{cost:?}");
    assert_eq!(stand.engine.calls(), 0);
    assert!(stand.serves_the_trunk());
}
