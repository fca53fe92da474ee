//! What calls leave behind in memory, and what strangers take of it, counted at the allocator.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it cannot read"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use jiff::Timestamp;
use media::{Plane, PlaneConfig};
use sip::{Endpoint, EndpointConfig, Event, Invite, Party, Peer, PeerId, Transport};
use trunkline::call::leg::Seat;
use trunkline::config::Config;
use trunkline::directory::Directory;
use trunkline::switch::engine::{Engine, Input, Now, Output};
use trunkline::switch::prompt_library::PromptLibrary;
use trunkline::switch::simulator::{switch_address, trunk_address};
use trunkline::switch::{campaigns_of, plan_of, simulation_settings};
use trunkline::units::{Language, TrunkName};

const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.11.1\r\ns=-\r\nc=IN IP4 127.0.11.1\r\nt=0 0\r\n\
m=audio 20000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";

/// The engine with its media, and one SIP core that is caller and office.
struct Stand {
    engine: Engine,
    plane: Plane,
    phones: Endpoint,
    now: Now,
    next_stream: u32,
    flying: VecDeque<(SocketAddr, Vec<u8>)>,
    closed: usize,
}

impl Stand {
    fn new() -> Self {
        let text = "[[number]]\npattern = \"+12025550100\"\nflow = \"hold\"\n\
            [[number]]\npattern = \"+12025550101\"\nflow = \"route\"\n[prompts]\nlanguages = [\"en\"]\n";
        let config = Config::parse(text, "memory.toml".as_ref()).unwrap();
        let routes = plan_of(&config, &campaigns_of(&config, None).unwrap()).unwrap();
        let library = Arc::new(PromptLibrary::open(None, Language::ENGLISH).unwrap());
        let trunk = TrunkName::new("trunk");
        let directory = Directory::bundled().unwrap();
        let mut settings = simulation_settings(&config, routes, directory, library, &trunk);
        settings.tell_speech = false;
        let monotonic = Instant::now();
        let wall: Timestamp = "2026-09-16T17:00:00Z".parse().unwrap();
        let mut phones = Endpoint::new(EndpointConfig::default(), [2; 32]);
        phones.set_peer(Peer::new(PeerId(0), trunk_address(), vec![switch_address()]));
        let mut stand = Self {
            engine: Engine::new(settings, [1; 32]),
            plane: Plane::new(
                monotonic,
                PlaneConfig {
                    tick: Duration::from_millis(10),
                },
            ),
            phones,
            now: Now { monotonic, wall },
            next_stream: 1,
            flying: VecDeque::new(),
            closed: 0,
        };
        let found = Input::TrunkResolved {
            trunk,
            targets: vec![trunk_address()],
            local: switch_address(),
        };
        stand.engine.handle_input(stand.now, found);
        stand.settle();
        stand
    }

    /// A hundred calls a second, half of them with an office, each hung up as soon as it is answered.
    fn call(&mut self, count: usize) {
        for index in 0..count {
            self.pass(Duration::from_millis(10));
            let uri = format!("sip:+1202555010{}@127.0.10.1", index % 2);
            let invite = Invite {
                peer: PeerId(0),
                uri: uri.clone(),
                to: uri,
                from: Party::new("sip:+12025550123@127.0.11.1"),
                headers: Vec::new(),
                max_forwards: None,
                sdp: SDP.to_vec(),
            };
            self.phones.invite(self.now.monotonic, invite).unwrap();
            self.settle();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += time;
        self.engine.handle_timeout(self.now);
        self.phones.handle_timeout(self.now.monotonic);
        self.settle();
    }

    /// Carries messages until everybody is quiet.
    fn settle(&mut self) {
        loop {
            self.serve();
            self.answer();
            let Some((to, bytes)) = self.flying.pop_front() else {
                return;
            };
            if to == switch_address() {
                self.hear(trunk_address(), &bytes);
            } else {
                let input = received(to, switch_address(), &bytes);
                self.phones.handle_input(self.now.monotonic, input);
            }
        }
    }

    fn hear(&mut self, source: SocketAddr, bytes: &[u8]) {
        let input = Input::Sip(received(switch_address(), source, bytes));
        self.engine.handle_input(self.now, input);
    }

    fn serve(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Transmit {
                    destination, bytes, ..
                } => self.flying.push_back((destination, bytes)),
                Output::Media { command, .. } => self.plane.command(self.now.monotonic, command),
                Output::NeedStreams(count) => {
                    for _ in 0..count {
                        let stream = media::StreamId(self.next_stream);
                        self.next_stream += 1;
                        let port = 10_000 + (self.next_stream % 20_000) as u16 * 2;
                        let address = SocketAddr::new(switch_address().ip(), port);
                        let seat = Seat { stream, address };
                        self.engine.handle_input(self.now, Input::StreamReady(seat));
                    }
                }
                Output::Records(changes) => {
                    let is_end =
                        |change: &&_| matches!(change, trunkline::call::record::RecordChange::CallClosed(_));
                    self.closed += changes.iter().filter(is_end).count();
                }
                Output::Wait(_) => match self.plane.poll_event() {
                    Some(event) => self.engine.handle_input(self.now, Input::Media(event)),
                    None => return,
                },
                _ => {}
            }
        }
    }

    /// Offices answer at once, callers hang up as soon as they are connected.
    fn answer(&mut self) {
        let now = self.now.monotonic;
        loop {
            match self.phones.poll_output() {
                sip::Output::Transmit {
                    destination, bytes, ..
                } => {
                    self.flying.push_back((destination, bytes));
                }
                sip::Output::Event(Event::Incoming { session, .. }) => {
                    self.phones.answer(now, session, SDP.to_vec());
                }
                sip::Output::Event(Event::Answered { session, .. }) => self.phones.hangup(now, session, None),
                sip::Output::Event(_) => {}
                _ => return,
            }
        }
    }
}

fn received(local: SocketAddr, source: SocketAddr, bytes: &[u8]) -> sip::Input<'_> {
    sip::Input::Received {
        local,
        source,
        transport: Transport::Udp,
        bytes,
    }
}

#[test]
fn memory_is_flat_while_thousands_of_calls_come_and_go() {
    let mut stand = Stand::new();
    // Tables take their last size once all that is kept of ended calls has been replaced a few times.
    stand.call(8_000);
    let (mut grown, mut most) = (0, 0);
    for _ in 0..6 {
        grown += measure(|| stand.call(2_000)).bytes_current;
        most = most.max(grown);
    }
    assert_eq!(stand.closed, 20_000);
    assert!(most < 64 * 1024, "{most} bytes were kept of 12,000 calls");
    stand.pass(Duration::from_secs(70));
    let counters = stand.engine.sip_counters();
    assert_eq!(stand.engine.calls(), 0);
    assert_eq!(
        (counters.sessions, counters.transactions, counters.deadlines),
        (0, 0, 0)
    );
}

#[test]
fn what_strangers_send_takes_no_memory_but_for_the_tables_that_tell_them_apart() {
    let mut stand = Stand::new();
    let request = |method: &str| {
        format!(
            "{method} sip:+12025550100@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.66.1:5071;branch=z9hG4bK-7\r\n\
             Max-Forwards: 70\r\nFrom: <sip:100@127.0.66.1>;tag=1\r\nTo: <sip:+12025550100@127.0.10.1>\r\n\
             Call-ID: junk\r\nCSeq: 1 {method}\r\nContact: <sip:100@127.0.66.1:5071>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let junk: Vec<Vec<u8>> = ["OPTIONS", "REGISTER", "INVITE", "BYE", "ACK"]
        .iter()
        .map(|method| request(method).into_bytes())
        .chain([b"INVITE sip: SIP/2.0\r\nVia\r\n\r\n".to_vec(), vec![0xff; 900]])
        .collect();
    let mut told = 0;
    // The first rounds make room for what is known of each source, and more of them are banned in each.
    for round in 0..4 {
        let mut taken = 0;
        for host in 1..=200u8 {
            let source = SocketAddr::from(([127, 0, 66, host], 5071));
            for bytes in &junk {
                taken += measure(|| stand.hear(source, bytes)).count_total;
                loop {
                    match stand.engine.poll_output() {
                        Output::Wait(_) => break,
                        Output::Transmit { bytes, .. } => panic!("{}", String::from_utf8_lossy(&bytes)),
                        _ => told += 1,
                    }
                }
            }
        }
        // A table may grow once more, for bans are still added.
        assert!(round < 3 || taken <= 2, "{taken} allocations in the last round");
        stand.now.monotonic += Duration::from_secs(2);
    }
    assert!(told > 0, "nothing was told of any stranger");
}
