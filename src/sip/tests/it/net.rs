//! The simulated network: endpoints and scripted peers by address, one clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{
    Endpoint, EndpointConfig, Event, Input, Invite, Network, Output, Party, Peer, PeerId, SessionId,
    Transport,
};

pub const SDP_A: &[u8] = b"v=0\r\no=a 1 1 IN IP4 127.0.1.1\r\n";
pub const SDP_B: &[u8] = b"v=0\r\no=b 1 1 IN IP4 127.0.1.2\r\n";
pub const PEER: PeerId = PeerId(1);

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One endpoint with what it told.
pub struct Node {
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    pub events: Vec<Event>,
}

/// A message as it went over the network.
#[derive(Clone)]
pub struct Sent {
    pub at: Duration,
    pub to: SocketAddr,
    pub text: String,
    pub lost: bool,
}

impl Sent {
    /// `INVITE` or `200 INVITE`.
    pub fn kind(&self) -> String {
        kind(&self.text)
    }
}

pub fn kind(text: &str) -> String {
    let first = text.split("\r\n").next().unwrap_or("");
    match first.strip_prefix("SIP/2.0 ") {
        Some(rest) => {
            let method = header(text, "CSeq")
                .split_whitespace()
                .nth(1)
                .unwrap_or("")
                .to_owned();
            format!("{} {method}", &rest[..3])
        }
        None => first.split(' ').next().unwrap_or("").to_owned(),
    }
}

/// The value of the first header called `name`, or nothing.
pub fn header(text: &str, name: &str) -> String {
    let prefix = format!("{}:", name.to_ascii_lowercase());
    let line = text
        .split("\r\n")
        .find(|line| line.to_ascii_lowercase().starts_with(&prefix));
    line.map(|line| line[prefix.len()..].trim().to_owned())
        .unwrap_or_default()
}

/// Arrival, order, from, to, bytes.
type Flying = (Instant, u64, SocketAddr, SocketAddr, Vec<u8>);

/// Decides whether a message is lost.
type Filter = Box<dyn FnMut(&Sent) -> bool>;

pub struct Net {
    start: Instant,
    pub now: Instant,
    pub nodes: Vec<Node>,
    flying: BinaryHeap<Reverse<Flying>>,
    sequence: u64,
    pub log: Vec<Sent>,
    pub lose: Filter,
    pub delay: Duration,
    /// Messages to addresses without an endpoint.
    pub inbox: Vec<Sent>,
    random: u64,
    /// Chances in 1000 that a datagram is lost, or repeated.
    pub loss: u64,
    pub repeat: u64,
    pub jitter: Duration,
    /// An address that the others see as another: a NAT.
    pub nat: Option<(SocketAddr, SocketAddr)>,
}

impl Net {
    pub fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            nodes: Vec::new(),
            flying: BinaryHeap::new(),
            sequence: 0,
            log: Vec::new(),
            lose: Box::new(|_| false),
            delay: Duration::from_millis(10),
            inbox: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            loss: 0,
            repeat: 0,
            jitter: Duration::ZERO,
            nat: None,
        }
    }

    pub fn seeded(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            ..Self::new()
        }
    }

    pub fn roll(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Adds an endpoint whose only peer is at `peer`.
    pub fn add(&mut self, local: &str, peer: &str) -> usize {
        self.add_with(local, EndpointConfig::default(), vec![address(peer)])
    }

    pub fn add_with(&mut self, local: &str, config: EndpointConfig, targets: Vec<SocketAddr>) -> usize {
        let local = address(local);
        let seed = [u8::try_from(self.nodes.len() + 1).unwrap(); 32];
        let mut endpoint = Endpoint::new(config, seed);
        let mut peer = Peer::new(PEER, local, targets);
        peer.networks.push(Network {
            address: "127.0.1.0".parse().unwrap(),
            prefix: 24,
        });
        endpoint.set_peer(peer);
        self.nodes.push(Node {
            address: local,
            endpoint,
            events: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// Two endpoints that are each other's peer.
    pub fn pair() -> Self {
        let mut net = Self::new();
        net.add("127.0.1.1:5060", "127.0.1.2:5060");
        net.add("127.0.1.2:5060", "127.0.1.1:5060");
        net
    }

    /// One endpoint at 127.0.1.1, whose peer at 127.0.1.2 is scripted.
    pub fn scripted() -> Self {
        let mut net = Self::new();
        net.add("127.0.1.1:5060", "127.0.1.2:5060");
        net
    }

    pub fn endpoint(&mut self, node: usize) -> &mut Endpoint {
        &mut self.nodes[node].endpoint
    }

    /// Lets a command act on an endpoint at the present time.
    pub fn act<T>(&mut self, node: usize, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let result = act(&mut self.nodes[node].endpoint, self.now);
        self.drain(node);
        result
    }

    pub fn call(&mut self, node: usize) -> SessionId {
        let target = self
            .nodes
            .get(1 - node)
            .map_or(address("127.0.1.2:5060"), |other| other.address);
        self.act(node, |endpoint, now| {
            endpoint
                .invite(
                    now,
                    Invite {
                        peer: PEER,
                        uri: format!("sip:5550100@{target}"),
                        to: format!("sip:5550100@{target}"),
                        from: Party {
                            display: Some("A \"B\"".into()),
                            uri: "sip:5550101@127.0.1.1".into(),
                        },
                        headers: vec![("P-Asserted-Identity".into(), "<sip:5550101@127.0.1.1>".into())],
                        max_forwards: None,
                        sdp: SDP_A.to_vec(),
                    },
                )
                .unwrap()
        })
    }

    /// Calls from node 0 to node 1 until both are confirmed.
    pub fn connect(&mut self) -> (SessionId, SessionId) {
        let caller = self.call(0);
        self.run(Duration::from_millis(50));
        let callee = self.incoming(1);
        self.act(1, |endpoint, now| endpoint.answer(now, callee, SDP_B.to_vec()));
        self.run(Duration::from_millis(100));
        (caller, callee)
    }

    /// The session of the latest incoming call.
    pub fn incoming(&self, node: usize) -> SessionId {
        let session = self.nodes[node]
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Incoming { session, .. } => Some(*session),
                _ => None,
            });
        session.expect("a call came in")
    }

    /// Short names of the events of a node, in order, forgetting them.
    pub fn take_events(&mut self, node: usize) -> Vec<Event> {
        std::mem::take(&mut self.nodes[node].events)
    }

    pub fn names(&self, node: usize) -> Vec<String> {
        self.nodes[node].events.iter().map(name).collect()
    }

    fn drain(&mut self, node: usize) {
        loop {
            match self.nodes[node].endpoint.poll_output() {
                Output::Transmit {
                    local,
                    destination,
                    bytes,
                    ..
                } => self.fly(local, destination, bytes),
                Output::Event(event) => self.nodes[node].events.push(event),
                _ => return,
            }
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let (from, to) = match self.nat {
            Some((inside, outside)) if from == inside => (outside, to),
            Some((inside, outside)) if to == outside => (from, inside),
            _ => (from, to),
        };
        let mut sent = Sent {
            at: self.elapsed(),
            to,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            lost: false,
        };
        sent.lost = self.roll() % 1000 < self.loss || (self.lose)(&sent);
        let copies = if sent.lost {
            0
        } else {
            1 + u64::from(self.roll() % 1000 < self.repeat)
        };
        self.log.push(sent);
        for _ in 0..copies {
            let late = self.jitter.mul_f64((self.roll() % 1000) as f64 / 1000.0);
            self.sequence += 1;
            self.flying.push(Reverse((
                self.now + self.delay + late,
                self.sequence,
                from,
                to,
                bytes.clone(),
            )));
        }
    }

    /// Sends text from a scripted peer to node 0; it arrives at once.
    pub fn script(&mut self, text: &str) {
        self.script_from("127.0.1.2:5060", text);
    }

    /// The scripted peer sends over another transport than UDP.
    pub fn script_on(&mut self, transport: Transport, text: &str) {
        let (now, remote, local) = (self.now, address("127.0.1.2:5060"), self.nodes[0].address);
        let input = Input::Received {
            local,
            source: remote,
            transport,
            bytes: text.as_bytes(),
        };
        self.nodes[0].endpoint.handle_input(now, input);
        self.drain(0);
    }

    pub fn script_from(&mut self, from: &str, text: &str) {
        self.deliver(address(from), self.nodes[0].address, text.as_bytes());
    }

    pub fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(node) = self.nodes.iter().position(|node| node.address == to) else {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.inbox.push(Sent {
                at: self.elapsed(),
                to,
                text,
                lost: false,
            });
            return;
        };
        let now = self.now;
        let input = Input::Received {
            local: to,
            source: from,
            transport: Transport::Udp,
            bytes,
        };
        self.nodes[node].endpoint.handle_input(now, input);
        self.drain(node);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        (0..self.nodes.len()).for_each(|node| self.drain(node));
        loop {
            let packet = self.flying.peek().map(|Reverse(packet)| packet.0);
            let deadline = self
                .nodes
                .iter_mut()
                .filter_map(|node| match node.endpoint.poll_output() {
                    Output::Wait(at) => at,
                    _ => None,
                });
            let next = deadline.chain(packet).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            while let Some(Reverse(packet)) = self.flying.peek() {
                if packet.0 > self.now {
                    break;
                }
                if let Some(Reverse((_, _, from, to, bytes))) = self.flying.pop() {
                    self.deliver(from, to, &bytes);
                }
            }
            for node in 0..self.nodes.len() {
                let now = self.now;
                self.nodes[node].endpoint.handle_timeout(now);
                self.drain(node);
            }
        }
        self.now = end;
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// How often a kind of message was sent.
    pub fn count(&self, wanted: &str) -> usize {
        self.log.iter().filter(|sent| sent.kind() == wanted).count()
    }

    /// How many different messages of a kind were sent: repetitions count once.
    pub fn distinct(&self, wanted: &str) -> usize {
        let mut texts: Vec<&str> = self
            .log
            .iter()
            .filter(|sent| sent.kind() == wanted)
            .map(|sent| sent.text.as_str())
            .collect();
        texts.sort_unstable();
        texts.dedup();
        texts.len()
    }

    /// When messages of a kind were sent, in milliseconds since the start.
    pub fn times(&self, wanted: &str) -> Vec<u128> {
        self.log
            .iter()
            .filter(|sent| sent.kind() == wanted)
            .map(|sent| sent.at.as_millis())
            .collect()
    }

    /// The last message of a kind.
    pub fn last(&self, wanted: &str) -> String {
        let found = self.log.iter().rev().find(|sent| sent.kind() == wanted);
        found
            .unwrap_or_else(|| panic!("no {wanted} was sent"))
            .text
            .clone()
    }

    /// Asserts that nothing is left behind, after all timers have run out.
    pub fn assert_clean(&mut self) {
        self.seconds(70);
        for node in &self.nodes {
            let counters = node.endpoint.counters();
            assert_eq!(
                (counters.sessions, counters.transactions, counters.deadlines),
                (0, 0, 0),
                "left behind at {}",
                node.address
            );
            let mut begun: Vec<SessionId> = Vec::new();
            let mut ended: Vec<SessionId> = Vec::new();
            for event in &node.events {
                match event {
                    Event::Incoming { session, .. } => begun.push(*session),
                    Event::Ended { session, .. } | Event::Failed { session, .. } => ended.push(*session),
                    _ => {}
                }
            }
            let mut unique = ended.clone();
            unique.dedup();
            assert_eq!(unique, ended, "a session ended twice");
            assert!(
                begun.iter().all(|session| ended.contains(session)),
                "a session never ended"
            );
        }
    }

    /// A response of the scripted peer to a request it got, with a To tag and further lines.
    pub fn reply(&mut self, request: &str, status: &str, tag: &str, lines: &str, body: &str) {
        let text = response(request, status, tag, lines, body);
        self.script(&text);
    }

    /// The last request of a method that reached the scripted peer.
    pub fn got(&self, method: &str) -> String {
        let found = self.inbox.iter().rev().find(|sent| sent.kind() == method);
        found
            .unwrap_or_else(|| panic!("no {method} arrived"))
            .text
            .clone()
    }
}

pub fn response(request: &str, status: &str, tag: &str, lines: &str, body: &str) -> String {
    let to = header(request, "To");
    let to = if tag.is_empty() || to.contains(";tag=") {
        to
    } else {
        format!("{to};tag={tag}")
    };
    let sdp = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{lines}{sdp}\
         Content-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    )
}

/// A request of the scripted peer outside dialogs.
pub fn request(method: &str, branch: &str, lines: &str, body: &str) -> String {
    let sdp = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:5550100@127.0.1.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.1.2:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Bob\" <sip:5550102@127.0.1.2>;tag=bobtag\r\nTo: <sip:5550100@127.0.1.1>\r\n\
         Call-ID: call-1@bob\r\nCSeq: 1 {method}\r\nContact: <sip:bob@127.0.1.2:5060>\r\n{lines}{sdp}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request of the scripted peer in the dialog that `response` (a 1xx or 2xx of ours) made.
pub fn in_dialog(response: &str, method: &str, cseq: u32, branch: &str, lines: &str, body: &str) -> String {
    let text = request(method, branch, lines, body);
    let to = header(response, "To");
    text.replace("To: <sip:5550100@127.0.1.1>", &format!("To: {to}"))
        .replace(&format!("CSeq: 1 {method}"), &format!("CSeq: {cseq} {method}"))
}

fn name(event: &Event) -> String {
    match event {
        Event::Ended { ended, .. } => format!("Ended({ended:?})"),
        Event::Failed { failure, .. } => format!("Failed({})", failure.status),
        other => format!("{other:?}")
            .split([' ', '{', '('])
            .next()
            .unwrap_or("")
            .to_owned(),
    }
}
