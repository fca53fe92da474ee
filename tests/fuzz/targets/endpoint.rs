//! A conversation with the SIP core: datagrams of its peer and of a stranger, with commands and time between them.
//!
//! The bytes are acts, parted by a line of `%%`. The first letter of an act says what it is (see `Stand::act`); the rest
//! is a datagram, in which `$V $F $T $C $Q` stand for Via, From, To, Call-ID and CSeq of what was sent last, so that
//! answers and later requests fit. Every message sent must be one, a stranger must get none, and after all is hung up
//! and the timers have run out nothing may be left.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::message::{Message, Name, ParseError, frame_length};
use sip::{
    Endpoint, EndpointConfig, Event, Input, Invite, Output, Party, Peer, PeerId, SessionId, Transport,
};

const MOST_ACTS: usize = 24;
const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

pub fn run(data: &[u8]) {
    let mut stand = Stand::new();
    for act in acts(data).take(MOST_ACTS) {
        stand.act(act);
    }
    stand.end();
}

fn acts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        let mark = text.windows(4).position(|window| window == b"\n%%\n");
        rest = mark.map(|at| &text[at + 4..]);
        Some(&text[..mark.unwrap_or(text.len())])
    })
}

struct Stand {
    endpoint: Endpoint,
    now: Instant,
    local: SocketAddr,
    peer: SocketAddr,
    stranger: SocketAddr,
    /// Whether a message of the peer's call named the stranger's address, so that we speak to it.
    acquainted: bool,
    open: Vec<SessionId>,
    last_sent: Vec<u8>,
    /// The tags we gave.
    tags: Vec<Vec<u8>>,
}

impl Stand {
    fn new() -> Self {
        let [local, peer] = [1u8, 2].map(|last| SocketAddr::from(([192, 0, 2, last], 5060)));
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [7; 32]);
        endpoint.set_peer(Peer::new(PeerId(1), local, vec![peer]));
        Self {
            endpoint,
            now: Instant::now(),
            local,
            peer,
            stranger: SocketAddr::from(([198, 51, 100, 66], 5060)),
            acquainted: false,
            open: Vec::new(),
            last_sent: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// P: the peer sends; S: a stranger sends; C: we call; A: answer, R: ring, E: early media, H: hang up, O: offer
    /// again, Y: accept an offer, N: refuse one, D: send a digit; T: a second passes, L: forty pass.
    fn act(&mut self, act: &[u8]) {
        let (what, text) = act
            .split_first()
            .map_or((b'T', act), |(what, text)| (*what, text));
        let session = self.open.last().copied();
        let (now, endpoint) = (self.now, &mut self.endpoint);
        match (what, session) {
            (b'S', _) => self.hear(self.stranger, &self.filled(text)),
            (b'C', _) if self.open.len() < 4 => {
                self.open.extend(endpoint.invite(now, invite(self.peer)).ok());
            }
            (b'A', Some(session)) => endpoint.answer(now, session, SDP.to_vec()),
            (b'R', Some(session)) => endpoint.ring(now, session),
            (b'E', Some(session)) => endpoint.progress(now, session, SDP.to_vec()),
            (b'H', Some(session)) => endpoint.hangup(now, session, None),
            (b'O', Some(session)) => endpoint.reoffer(now, session, SDP.to_vec()),
            (b'Y', Some(session)) => endpoint.accept_offer(now, session, SDP.to_vec()),
            (b'N', Some(session)) => endpoint.refuse_offer(now, session, 488),
            (b'D', Some(session)) => endpoint.send_digit_info(now, session, '5', Duration::from_millis(100)),
            (b'T', _) => self.pass(Duration::from_secs(1)),
            (b'L', _) => self.pass(Duration::from_secs(40)),
            (b'P', _) => self.hear(self.peer, &self.filled(text)),
            _ => {}
        }
        self.drain(true);
    }

    fn hear(&mut self, source: SocketAddr, bytes: &[u8]) {
        let mut scratch = Vec::new();
        let readable = Message::parse(bytes, &mut scratch).is_ok();
        let input = Input::Received {
            local: self.local,
            source,
            transport: Transport::Udp,
            bytes,
        };
        self.endpoint.handle_input(self.now, input);
        let sent = self.drain(readable);
        // Whoever names a tag of ours, which nobody can guess, is in the call wherever it sends from.
        let knows_a_tag = self
            .tags
            .iter()
            .any(|tag| bytes.windows(tag.len()).any(|window| window == tag));
        let is_stranger = source == self.stranger && !self.acquainted && !knows_a_tag;
        assert!(
            !(is_stranger && sent.contains(&source)),
            "a stranger got an answer"
        );
        self.acquainted |= sent.contains(&self.stranger);
    }

    /// The datagram with its placeholders replaced.
    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut scratch = Vec::new();
        let Ok(last) = Message::parse(&self.last_sent, &mut scratch) else {
            return text.to_vec();
        };
        let mut filled = Vec::with_capacity(text.len());
        let mut rest = text;
        while let [first, after @ ..] = rest {
            let name = match rest {
                [b'$', b'V', ..] => Some(Name::Via),
                [b'$', b'F', ..] => Some(Name::From),
                [b'$', b'T', ..] => Some(Name::To),
                [b'$', b'C', ..] => Some(Name::CallId),
                [b'$', b'Q', ..] => Some(Name::CSeq),
                _ => None,
            };
            match name {
                Some(name) => {
                    filled.extend_from_slice(last.header(name).unwrap_or_default());
                    rest = &rest[2..];
                }
                None => {
                    filled.push(*first);
                    rest = after;
                }
            }
        }
        filled.truncate(sip::message::MAX_MESSAGE);
        filled
    }

    /// Takes all outputs; tells where messages went. `readable`: what we answer was a whole message.
    fn drain(&mut self, readable: bool) -> Vec<SocketAddr> {
        let mut sent = Vec::new();
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit {
                    destination, bytes, ..
                } => {
                    assert_eq!(frame_length(&bytes), Ok(Some(bytes.len())));
                    let mut scratch = Vec::new();
                    match Message::parse(&bytes, &mut scratch) {
                        Ok(message) => {
                            let party = if message.status().is_some() {
                                message.to
                            } else {
                                message.from
                            };
                            if let Some(tag) = party
                                .tag()
                                .filter(|tag| !self.tags.iter().any(|known| known == tag))
                            {
                                self.tags.push(tag.to_vec());
                            }
                        }
                        Err(
                            ParseError::TooLarge { .. } | ParseError::TooMany(_) | ParseError::LineTooLong(_),
                        ) => {}
                        Err(error) => assert!(!readable, "{error}: {}", String::from_utf8_lossy(&bytes)),
                    }
                    sent.push(destination);
                    self.last_sent = bytes;
                }
                Output::Event(Event::Incoming { session, .. }) => self.open.push(session),
                Output::Event(Event::Ended { session, .. } | Event::Failed { session, .. }) => {
                    let before = self.open.len();
                    self.open.retain(|open| *open != session);
                    assert_eq!(self.open.len() + 1, before, "a session ended twice");
                }
                Output::Event(_) => {}
                _ => return sent,
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            self.drain(true);
            let Output::Wait(next) = self.endpoint.poll_output() else {
                continue;
            };
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
        }
        panic!("time does not pass");
    }

    /// Hangs up; then every timer runs out.
    fn end(&mut self) {
        for session in self.open.clone() {
            self.endpoint.hangup(self.now, session, None);
        }
        self.drain(true);
        self.pass(Duration::from_secs(300));
        let counters = self.endpoint.counters();
        let left = (counters.active, counters.sessions, counters.transactions);
        assert_eq!(left, (0, 0, 0), "{counters:?}");
        assert!(self.open.is_empty());
    }
}

fn invite(peer: SocketAddr) -> Invite {
    Invite {
        peer: PeerId(1),
        uri: format!("sip:5550100@{peer}"),
        to: format!("sip:5550100@{peer}"),
        from: Party::new("sip:5550101@192.0.2.1"),
        headers: Vec::new(),
        max_forwards: None,
        sdp: SDP.to_vec(),
    }
}
