//! What is dropped or refused costs no memory: nothing is allocated for it but the bytes of an answer.

use std::time::Instant;

use allocation_counter::measure;
use sip::{Endpoint, EndpointConfig, Event, Input, Output, Peer, SessionId, Transport};

use crate::net::{PEER, SDP_A, SDP_B, address, request, response};

const LOCAL: &str = "127.0.1.1:5060";
const REMOTE: &str = "127.0.1.2:5060";
const STRANGER: &str = "198.51.100.66:5060";

struct Stand {
    endpoint: Endpoint,
    now: Instant,
}

impl Stand {
    fn new(config: EndpointConfig) -> Self {
        let mut endpoint = Endpoint::new(config, [3; 32]);
        endpoint.set_peer(Peer::new(PEER, address(LOCAL), vec![address(REMOTE)]));
        let mut stand = Self {
            endpoint,
            now: Instant::now(),
        };
        // What is kept for all messages grows once: a folded message, one with many headers, a few outputs.
        let lines = "X-Folded: a\r\n b\r\n".repeat(100);
        for number in 0..40 {
            let text = request("OPTIONS", &number.to_string(), &lines, "");
            stand.hear(REMOTE, &text);
            stand.hear(STRANGER, &text);
        }
        stand
    }

    /// Allocations of one datagram, until all it brought about is fetched; and the session and answers it brought.
    fn hear(&mut self, source: &str, text: &str) -> (u64, Option<SessionId>, Vec<Vec<u8>>) {
        let input = Input::Received {
            local: address(LOCAL),
            source: address(source),
            transport: Transport::Udp,
            bytes: text.as_bytes(),
        };
        let (now, endpoint) = (self.now, &mut self.endpoint);
        let (mut session, mut sent) = (None, Vec::with_capacity(8));
        let cost = measure(|| {
            endpoint.handle_input(now, input);
            loop {
                match endpoint.poll_output() {
                    Output::Transmit { bytes, .. } => sent.push(bytes),
                    Output::Event(Event::Incoming { session: id, .. }) => session = Some(id),
                    Output::Wait(_) => break,
                    _ => {}
                }
            }
        });
        (cost.count_total, session, sent)
    }
}

fn folded(text: &str) -> String {
    text.replace("Max-Forwards: 70", "X-Folded: a\r\n b\r\nMax-Forwards:\r\n 70")
}

#[test]
fn strangers_and_what_is_not_sip_cost_no_allocation() {
    let mut stand = Stand::new(EndpointConfig::default());
    let sdp = std::str::from_utf8(SDP_A).unwrap();
    let tagged = |text: String| {
        text.replace(
            "To: <sip:5550100@127.0.1.1>",
            "To: <sip:5550100@127.0.1.1>;tag=0.00000000000000aa",
        )
    };
    let mut texts: Vec<String> = [
        "INVITE",
        "REGISTER",
        "OPTIONS",
        "MESSAGE",
        "SUBSCRIBE",
        "XYZZY",
        "BYE",
        "ACK",
        "CANCEL",
    ]
    .iter()
    .flat_map(|method| {
        let text = request(method, method, "User-Agent: friendly-scanner\r\n", sdp);
        [text.clone(), tagged(text.clone()), folded(&text)]
    })
    .collect();
    texts.extend(["junk".to_owned(), "\r\n\r\n".to_owned(), "\0".repeat(1000)]);
    let invite = request("INVITE", "m", "", sdp);
    for (from, to) in [
        ("SIP/2.0\r\n", "SIP/7.0\r\n"),
        ("CSeq: 1", "CSeq: 99999999999"),
        ("To: <", "To: \""),
        ("Via: SIP", "Via: XIP"),
        ("Max-Forwards: 70", "Max-Forwards 70"),
        ("Content-Length: ", "Content-Length: 9"),
    ] {
        assert!(invite.contains(from));
        texts.push(invite.replacen(from, to, 1));
    }
    for text in &texts {
        for _ in 0..2 {
            let (count, _, sent) = stand.hear(STRANGER, text);
            assert_eq!((count, sent.len()), (0, 0), "{text}");
        }
    }
}

#[test]
fn responses_that_nobody_waits_for_cost_no_allocation() {
    let mut stand = Stand::new(EndpointConfig::default());
    let invite = request("INVITE", "1.00000000000000aa", "", "");
    for status in [
        "100 Trying",
        "183 Progress",
        "200 OK",
        "401 Unauthorized",
        "503 Unavailable",
    ] {
        let text = response(
            &invite,
            status,
            "t",
            "WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n",
            "",
        );
        for source in [REMOTE, STRANGER] {
            assert_eq!(stand.hear(source, &text).0, 0, "{status} from {source}");
        }
    }
}

#[test]
fn a_refusal_costs_the_one_allocation_of_its_answer() {
    let mut stand = Stand::new(EndpointConfig::default());
    let sdp = std::str::from_utf8(SDP_A).unwrap();
    let invite = |branch: &str, lines: &str| request("INVITE", branch, lines, sdp);
    let cases = [
        ("481", request("BYE", "1", "", "")),
        ("481", request("CANCEL", "2", "", "")),
        ("405", request("REGISTER", "3", "", "")),
        ("405", request("SUBSCRIBE", "4", "", "")),
        ("501", request("XYZZY", "5", "", "")),
        ("200", request("OPTIONS", "6", "", "")),
        ("400", invite("7", "").replace("Contact:", "X-Contact:")),
        ("416", invite("8", "").replace("INVITE sip:", "INVITE http:")),
        (
            "483",
            invite("9", "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        ),
        (
            "415",
            invite("10", "").replace("application/sdp", "application/pidf+xml"),
        ),
        ("481", request("INFO", "11", "", "")),
    ];
    for (status, text) in cases {
        for text in [text.clone(), folded(&text)] {
            let (count, _, sent) = stand.hear(REMOTE, &text);
            assert_eq!(&sent[0][8..11], status.as_bytes(), "{text}");
            assert_eq!(count, 1, "{text}");
        }
    }
    // Many Vias, and long ones, are one allocation too.
    let vias =
        "Via: SIP/2.0/UDP a-rather-long-name.of-a-proxy.example.com;branch=z9hG4bK0123456789abcdef\r\n"
            .repeat(12);
    assert_eq!(stand.hear(REMOTE, &request("REGISTER", "12", &vias, "")).0, 1);
}

#[test]
fn a_call_refused_for_want_of_room_or_while_draining_costs_the_one_allocation_of_its_503() {
    let config = EndpointConfig {
        max_sessions: 0,
        ..EndpointConfig::default()
    };
    let mut full = Stand::new(config);
    let mut draining = Stand::new(EndpointConfig::default());
    draining.endpoint.set_draining(true);
    for stand in [&mut full, &mut draining] {
        let (count, session, sent) = stand.hear(REMOTE, &request("INVITE", "1", "", "v=0\r\n"));
        assert_eq!((count, session), (1, None));
        assert!(sent[0].starts_with(b"SIP/2.0 503 "));
    }
}

#[test]
fn a_repeated_request_costs_no_more_than_its_repeated_answer() {
    let mut stand = Stand::new(EndpointConfig::default());
    let sdp = std::str::from_utf8(SDP_A).unwrap();
    let invite = request("INVITE", "1", "", sdp);
    let session = stand.hear(REMOTE, &invite).1.unwrap();
    let repeated = stand.hear(REMOTE, &invite);
    assert_eq!((repeated.0, repeated.2.len()), (1, 1), "the 100 is sent again");
    assert_eq!(
        stand.hear(REMOTE, &invite.replace("z9hG4bK1", "z9hG4bKother")).0,
        1,
        "a merged request: 482"
    );
    stand.endpoint.reject(stand.now, session, 486, None);
    while !matches!(stand.endpoint.poll_output(), Output::Wait(_)) {}
    let repeated = stand.hear(REMOTE, &invite);
    assert_eq!((repeated.0, repeated.2.len()), (1, 1), "the 486 is sent again");
    let ack = request("ACK", "1", "", "");
    assert_eq!(stand.hear(REMOTE, &ack).0, 0, "its ACK");
    assert_eq!(stand.hear(REMOTE, &ack).0, 0, "its ACK again");
    assert_eq!(stand.hear(REMOTE, &invite).0, 0, "absorbed after the ACK");
    // After a 2xx the transaction absorbs in silence: its session repeats the answer.
    let second = request("INVITE", "2", "", sdp).replace("call-1@", "call-2@");
    let session = stand.hear(REMOTE, &second).1.unwrap();
    stand.endpoint.answer(stand.now, session, SDP_B.to_vec());
    while !matches!(stand.endpoint.poll_output(), Output::Wait(_)) {}
    let repeated = stand.hear(REMOTE, &second);
    assert_eq!((repeated.0, repeated.2.len()), (0, 0));
}
