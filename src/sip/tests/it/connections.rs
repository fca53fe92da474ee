//! What TCP and TLS change: which connection a message goes by, what happens when one breaks, and large requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{
    Endpoint, EndpointConfig, Event, Input, Invite, Output, Party, Peer, PeerId, Registration, SessionId,
    Transport,
};

use crate::net::{PEER, SDP_A, SDP_B, address, header, in_dialog, kind, request, response};

const LOCAL: &str = "127.0.1.1:5060";
const TARGET: &str = "127.0.1.2:5060";
/// Where the peer's own connections come from.
const FLOW: &str = "127.0.1.2:41000";

/// What was to be sent.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    to: SocketAddr,
    transport: Transport,
    peer: Option<PeerId>,
    connection: Option<SocketAddr>,
    text: String,
}

struct Side {
    endpoint: Endpoint,
    now: Instant,
    sent: Vec<Sent>,
    events: Vec<Event>,
}

impl Side {
    fn new(transport: Transport, large_by_tcp: bool) -> Self {
        let mut side = Self {
            endpoint: Endpoint::new(EndpointConfig::default(), [7; 32]),
            now: Instant::now(),
            sent: Vec::new(),
            events: Vec::new(),
        };
        side.endpoint.set_peer(Peer {
            transport,
            large_by_tcp,
            ..Peer::new(PEER, address(LOCAL), vec![address(TARGET)])
        });
        side
    }

    fn drain(&mut self) {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit {
                    destination,
                    transport,
                    peer,
                    connection,
                    bytes,
                    ..
                } => self.sent.push(Sent {
                    to: destination,
                    transport,
                    peer,
                    connection,
                    text: String::from_utf8(bytes).unwrap(),
                }),
                Output::Event(event) => self.events.push(event),
                _ => return,
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.endpoint.handle_input(self.now, input);
        self.drain();
    }

    fn hear(&mut self, transport: Transport, source: &str, text: &str) {
        self.input(Input::Received {
            local: address(LOCAL),
            source: address(source),
            transport,
            bytes: text.as_bytes(),
        });
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = match self.endpoint.poll_output() {
                Output::Wait(Some(at)) if at <= end => at,
                _ => break,
            };
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn call(&mut self, sdp: &[u8]) -> SessionId {
        let invite = Invite {
            peer: PEER,
            uri: format!("sip:5550100@{TARGET}"),
            to: format!("sip:5550100@{TARGET}"),
            from: Party::new("sip:5550101@127.0.1.1"),
            headers: Vec::new(),
            max_forwards: None,
            sdp: sdp.to_vec(),
        };
        let session = self.endpoint.invite(self.now, invite).unwrap();
        self.drain();
        session
    }

    /// What was sent since the last look.
    fn taken(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    fn last(&mut self, wanted: &str) -> Sent {
        let found = self.sent.iter().rev().find(|sent| kind(&sent.text) == wanted);
        found
            .unwrap_or_else(|| panic!("no {wanted} in {:?}", self.sent))
            .clone()
    }

    /// A call that the peer makes over its own connection, answered and acknowledged. Returns our 200.
    fn answered(&mut self, transport: Transport, contact: &str) -> (SessionId, String) {
        let lines = format!("Contact: <{contact}>\r\n");
        let text = by(transport, &request("INVITE", "i1", "", "v=0\r\n"));
        let text = text.replace("Contact: <sip:bob@127.0.1.2:5060>\r\n", &lines);
        self.hear(transport, FLOW, &text);
        let session = self.events.iter().find_map(|event| match event {
            Event::Incoming { session, .. } => Some(*session),
            _ => None,
        });
        let session = session.expect("a call came in");
        self.endpoint.answer(self.now, session, SDP_B.to_vec());
        self.drain();
        let ok = self.last("200 INVITE").text;
        let ack = by(transport, &in_dialog(&ok, "ACK", 1, "ack", "", ""));
        self.hear(transport, FLOW, &ack);
        (session, ok)
    }
}

fn by(transport: Transport, text: &str) -> String {
    let name = match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    };
    text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{name}"))
}

#[test]
fn responses_go_by_the_connection_of_the_request_and_else_to_the_port_of_its_via() {
    let mut side = Side::new(Transport::Tcp, false);
    side.hear(
        Transport::Tcp,
        FLOW,
        &by(Transport::Tcp, &request("OPTIONS", "o", "", "")),
    );
    let answer = side.last("200 OPTIONS");
    assert_eq!(answer.connection, Some(address(FLOW)));
    assert_eq!((answer.to, answer.peer), (address(TARGET), Some(PEER)));
    assert!(
        header(&answer.text, "Via").contains("rport=41000"),
        "{}",
        answer.text
    );
}

#[test]
fn bye_prefers_the_peers_own_connection_and_goes_to_its_contact_when_that_is_gone() {
    let mut side = Side::new(Transport::Tcp, false);
    let (session, _) = side.answered(Transport::Tcp, "sip:bob@127.0.1.2:5066;transport=tcp");
    side.endpoint.hangup(side.now, session, None);
    side.drain();
    let bye = side.last("BYE");
    assert_eq!(bye.connection, Some(address(FLOW)), "while it is open");
    assert_eq!(
        (bye.to, bye.peer),
        (address("127.0.1.2:5066"), Some(PEER)),
        "once it is not"
    );
}

#[test]
fn race_29_a_connection_that_breaks_ends_no_call_and_what_it_may_have_lost_is_sent_once_more() {
    let mut side = Side::new(Transport::Tcp, false);
    let (session, ok) = side.answered(Transport::Tcp, "sip:bob@127.0.1.2:5066");
    let lost = |remote: &str| Input::ConnectionLost {
        peer: None,
        remote: address(remote),
        transport: Transport::Tcp,
    };
    side.input(lost(FLOW));
    assert_eq!(side.endpoint.counters().active, 1);
    side.endpoint.hangup(side.now, session, None);
    side.drain();
    let bye = side.last("BYE");
    side.taken();
    side.input(lost("127.0.1.9:5066"));
    assert_eq!(side.taken(), [], "another connection");
    side.input(lost("127.0.1.2:5066"));
    assert_eq!(
        side.taken(),
        std::slice::from_ref(&bye),
        "the same bytes, by a new connection"
    );
    // The peer's BYE crosses ours on yet another connection.
    side.hear(
        Transport::Tcp,
        "127.0.1.2:41002",
        &by(Transport::Tcp, &in_dialog(&ok, "BYE", 2, "bye", "", "")),
    );
    assert_eq!(side.last("200 BYE").connection, Some(address("127.0.1.2:41002")));
    side.taken();
    side.input(lost("127.0.1.2:5066"));
    assert_eq!(side.taken(), [], "once");
    side.wait(Duration::from_secs(70));
    let counters = side.endpoint.counters();
    assert_eq!((counters.sessions, counters.transactions), (0, 0));
}

#[test]
fn what_one_peer_lacks_fails_no_request_of_another_at_the_same_address() {
    let mut side = Side::new(Transport::Tls, false);
    side.call(SDP_A);
    let invite = side.taken();
    let (remote, transport) = (address(TARGET), Transport::Tls);
    let other = Some(PeerId(99));
    side.input(Input::ConnectionLost {
        peer: other,
        remote,
        transport,
    });
    side.input(Input::Unreachable {
        peer: other,
        remote,
        transport,
    });
    assert_eq!((side.taken(), side.events.len()), (vec![], 0));
    side.input(Input::ConnectionLost {
        peer: Some(PEER),
        remote,
        transport,
    });
    assert_eq!(side.taken(), invite);
    side.input(Input::Unreachable {
        peer: Some(PEER),
        remote,
        transport,
    });
    assert!(matches!(side.events[..], [Event::Failed { .. }]));
}

#[test]
fn ringing_call_outlives_its_connection_and_is_answered_over_another() {
    let mut side = Side::new(Transport::Tcp, false);
    let session = side.call(SDP_A);
    let invite = side.last("INVITE");
    assert_eq!((invite.transport, invite.connection), (Transport::Tcp, None));
    assert!(
        header(&invite.text, "Via").starts_with("SIP/2.0/TCP"),
        "{}",
        invite.text
    );
    side.hear(
        Transport::Tcp,
        TARGET,
        &response(&invite.text, "180 Ringing", "b", "", ""),
    );
    side.taken();
    side.input(Input::ConnectionLost {
        peer: None,
        remote: address(TARGET),
        transport: Transport::Tcp,
    });
    assert_eq!(side.taken(), []);
    let contact = "Contact: <sip:b@127.0.1.2:5060;transport=tcp>\r\n";
    let ok = response(&invite.text, "200 OK", "b", contact, "v=0\r\n");
    side.hear(Transport::Tcp, "127.0.1.2:41003", &ok);
    assert!(
        side.events
            .iter()
            .any(|event| matches!(event, Event::Answered { .. }))
    );
    let ack = side.last("ACK");
    assert_eq!((ack.to, ack.peer), (address(TARGET), Some(PEER)));
    side.endpoint.hangup(side.now, session, None);
    side.drain();
    assert_eq!(side.last("BYE").transport, Transport::Tcp);
}

#[test]
fn a_peer_on_tls_is_not_heard_over_what_anybody_can_forge() {
    let mut side = Side::new(Transport::Tls, false);
    for transport in [Transport::Udp, Transport::Tcp] {
        side.hear(
            transport,
            TARGET,
            &by(transport, &request("INVITE", "i", "", "v=0\r\n")),
        );
    }
    assert_eq!(side.taken(), []);
    assert_eq!(side.endpoint.counters().strangers, 2);
    side.hear(
        Transport::Tls,
        FLOW,
        &by(Transport::Tls, &request("OPTIONS", "o", "", "")),
    );
    assert_eq!(side.last("200 OPTIONS").connection, Some(address(FLOW)));
}

#[test]
fn a_peer_on_tcp_is_heard_over_connections_and_not_by_datagrams() {
    let mut side = Side::new(Transport::Tcp, false);
    side.hear(Transport::Udp, TARGET, &request("INVITE", "i", "", "v=0\r\n"));
    assert_eq!((side.taken(), side.endpoint.counters().strangers), (vec![], 1));
    for transport in [Transport::Tcp, Transport::Tls] {
        side.hear(transport, FLOW, &by(transport, &request("OPTIONS", "o", "", "")));
        assert_eq!(side.last("200 OPTIONS").connection, Some(address(FLOW)));
        side.taken();
    }
}

#[test]
fn contact_names_the_transport_that_the_call_came_by() {
    let mut side = Side::new(Transport::Udp, false);
    let (session, ok) = side.answered(Transport::Tcp, "sip:bob@127.0.1.2:5066;transport=tcp");
    let contact = header(&ok, "Contact");
    assert!(contact.ends_with("@127.0.1.1:5060;transport=tcp>"), "{contact}");
    side.endpoint.hangup(side.now, session, None);
    side.drain();
    assert_eq!(side.last("BYE").transport, Transport::Tcp);
}

#[test]
fn whom_a_certificate_names_is_the_peer_from_any_address() {
    let mut side = Side::new(Transport::Tls, false);
    let text = by(Transport::Tls, &request("INVITE", "i", "", "v=0\r\n"));
    side.input(Input::ReceivedFrom {
        peer: PEER,
        local: address(LOCAL),
        source: address("203.0.113.9:40000"),
        transport: Transport::Tls,
        bytes: text.as_bytes(),
    });
    let is_peers = |event: &Event| matches!(event, Event::Incoming { peer: PEER, .. });
    assert!(side.events.iter().any(is_peers), "{:?}", side.events);
}

/// An offer that makes any INVITE too large for one datagram.
fn large() -> Vec<u8> {
    [b"v=0\r\n".repeat(300), SDP_A.to_vec()].concat()
}

#[test]
fn large_request_goes_by_tcp_and_says_so_and_a_small_one_by_udp() {
    let mut side = Side::new(Transport::Udp, true);
    side.call(&large());
    let invite = side.last("INVITE");
    assert_eq!(invite.transport, Transport::Tcp);
    assert!(
        header(&invite.text, "Via").starts_with("SIP/2.0/TCP "),
        "{}",
        invite.text
    );
    side.wait(Duration::from_secs(3));
    assert_eq!(side.taken().len(), 1, "TCP repeats it itself");
    side.call(SDP_A);
    assert_eq!(side.last("INVITE").transport, Transport::Udp);
    let mut side = Side::new(Transport::Udp, false);
    side.call(&large());
    assert_eq!(side.last("INVITE").transport, Transport::Udp);
    assert_eq!(side.endpoint.counters().oversized, 1);
}

#[test]
fn large_request_falls_back_to_udp_where_there_is_no_tcp_and_stays_there_for_a_while() {
    let mut side = Side::new(Transport::Udp, true);
    side.call(&large());
    let first = side.last("INVITE").text;
    side.input(Input::Unreachable {
        peer: None,
        remote: address(TARGET),
        transport: Transport::Tcp,
    });
    let second = side.last("INVITE");
    assert_eq!(second.transport, Transport::Udp);
    assert_eq!(
        second.text,
        first.replace("SIP/2.0/TCP", "SIP/2.0/UDP"),
        "the same branch"
    );
    assert!(
        matches!(side.events[..], [Event::LargeByUdp { peer: PEER }]),
        "{:?}",
        side.events
    );
    side.taken();
    side.wait(Duration::from_millis(600));
    assert_eq!(side.taken().len(), 1, "UDP is repeated by timer A");
    side.hear(
        Transport::Udp,
        TARGET,
        &response(&second.text, "486 Busy Here", "b", "", ""),
    );
    assert_eq!(side.last("ACK").transport, Transport::Udp);
    side.call(&large());
    assert_eq!(side.last("INVITE").transport, Transport::Udp);
    side.wait(Duration::from_secs(301));
    side.call(&large());
    assert_eq!(side.last("INVITE").transport, Transport::Tcp);
}

#[test]
fn a_registration_is_renewed_when_its_connection_breaks_though_not_for_every_time() {
    let mut side = Side::new(Transport::Tcp, false);
    let registration = Registration {
        peer: PEER,
        registrar: "sip:127.0.1.2".into(),
        aor: "sip:account@127.0.1.2".into(),
        expires: 3600,
    };
    side.endpoint.register(side.now, registration);
    side.drain();
    let answer = |side: &mut Side| {
        let register = side.last("REGISTER").text;
        let lines = format!("Contact: {};expires=3600\r\n", header(&register, "Contact"));
        side.hear(
            Transport::Tcp,
            TARGET,
            &response(&register, "200 OK", "r", &lines, ""),
        );
        side.taken();
    };
    answer(&mut side);
    let lost = Input::ConnectionLost {
        peer: None,
        remote: address(TARGET),
        transport: Transport::Tcp,
    };
    side.input(lost);
    side.wait(Duration::from_secs(5));
    assert_eq!(side.taken().len(), 1);
    // A registrar that closes its connection after each answer is not hammered.
    side.input(lost);
    let repeated = side.taken();
    assert_eq!(repeated.len(), 1, "what went unheard: {repeated:?}");
    side.sent = repeated;
    answer(&mut side);
    for _ in 0..10 {
        side.input(lost);
    }
    side.wait(Duration::from_secs(50));
    assert_eq!(side.taken(), []);
    side.wait(Duration::from_secs(20));
    assert_eq!(side.taken().len(), 1);
}

#[test]
fn a_request_ahead_of_its_dialog_is_answered_over_a_stream_for_it_would_not_come_again() {
    let mut side = Side::new(Transport::Tcp, false);
    side.call(SDP_A);
    let invite = side.last("INVITE").text;
    let pretended = format!("SIP/2.0 200 OK\r\nTo: {}\r\n\r\n", header(&invite, "From"));
    let bye = in_dialog(&pretended, "BYE", 1, "ahead", "", "");
    let bye = bye.replace("call-1@bob", &header(&invite, "Call-ID"));
    side.hear(Transport::Tcp, TARGET, &by(Transport::Tcp, &bye));
    assert_eq!(side.last("481 BYE").connection, Some(address(TARGET)));
}
