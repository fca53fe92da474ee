//! Where sound is sent to: a description cannot make the switch send packets to whoever it names.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use media::{Plane, PlaneConfig, StreamId};
use trunkline::call::leg::Seat;
use trunkline::switch::engine::{Engine, Input, Now, Output};
use trunkline::switch::simulator::{switch_address, trunk_address};
use trunkline::units::TrunkName;

use crate::support::{HOTLINE, Story, WEDNESDAY};

/// The engine and its media, with a trunk at some address that calls once.
struct Stand {
    engine: Engine,
    plane: Plane,
    now: Now,
    trunk: SocketAddr,
    streams: u32,
    /// When packets of sound were sent, and to where.
    sent: Vec<(Duration, SocketAddr)>,
    to_tag: String,
    begun: Instant,
}

impl Stand {
    fn new(trunk: SocketAddr) -> Self {
        let (begun, wall): (_, Timestamp) = (Instant::now(), WEDNESDAY.parse().unwrap());
        let mut stand = Self {
            engine: Story::default().simulator(begun).engine,
            plane: Plane::new(begun, PlaneConfig::default()),
            now: Now {
                monotonic: begun,
                wall,
            },
            trunk,
            streams: 0,
            sent: Vec::new(),
            to_tag: String::new(),
            begun,
        };
        let resolved = Input::TrunkResolved {
            trunk: TrunkName::new("trunk"),
            targets: vec![trunk],
            local: switch_address(),
        };
        stand.engine.handle_input(stand.now, resolved);
        // Sockets of the simulator's making are on no plane of ours, but a plane needs none.
        stand.pump();
        stand
    }

    fn hear(&mut self, text: &str) {
        let input = sip::Input::Received {
            local: switch_address(),
            source: self.trunk,
            transport: sip::Transport::Udp,
            bytes: text.as_bytes(),
        };
        self.engine.handle_input(self.now, Input::Sip(input));
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Wait(_) => return,
                Output::Media { command, .. } => self.plane.command(self.now.monotonic, command),
                Output::NeedStreams(count) => (0..count).for_each(|_| self.add_stream()),
                Output::Transmit { bytes, .. } => {
                    let text = String::from_utf8_lossy(&bytes);
                    if text.starts_with("SIP/2.0 200 ") {
                        let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
                        self.to_tag = to.to_owned();
                    }
                }
                _ => {}
            }
        }
    }

    fn add_stream(&mut self) {
        self.streams += 1;
        let stream = StreamId(1_000_000 + self.streams);
        let address = SocketAddr::new(
            switch_address().ip(),
            10_000 + 2 * u16::try_from(self.streams).unwrap(),
        );
        self.engine
            .handle_input(self.now, Input::StreamReady(Seat { stream, address }));
    }

    /// A call of the trunk whose description names `media`, acknowledged, and half a minute of it.
    fn call(&mut self, media: &str) -> &[(Duration, SocketAddr)] {
        let media: SocketAddr = media.parse().unwrap();
        let family = if media.is_ipv4() { "IP4" } else { "IP6" };
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN {family} {}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\na=rtcp-mux\r\n",
            media.ip(),
            media.port()
        );
        let trunk = self.trunk;
        let head = |method: &str, to: &str| {
            format!(
                "{method} sip:{HOTLINE}@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n\
                 From: <sip:+12025550123@example.com>;tag=a\r\n{to}\r\nCall-ID: one\r\nCSeq: 1 {method}\r\nContact: <sip:a@{}>\r\n",
                trunk, trunk
            )
        };
        let to = format!("To: <sip:{HOTLINE}@127.0.10.1>");
        let invite = format!(
            "{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            head("INVITE", &to),
            body.len()
        );
        self.hear(&invite);
        self.run(Duration::from_secs(2));
        assert!(!self.to_tag.is_empty(), "the call is answered");
        self.hear(&format!("{}\r\n", head("ACK", &self.to_tag)));
        self.run(Duration::from_secs(28));
        &self.sent
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.now.monotonic += Duration::from_millis(10);
            let at = self.now.monotonic - self.begun;
            let sent = &mut self.sent;
            self.plane
                .tick(self.now.monotonic, &mut |_, to, _| sent.push((at, to)));
            while let Some(event) = self.plane.poll_event() {
                self.engine.handle_input(self.now, Input::Media(event));
            }
            self.engine.handle_timeout(self.now);
            self.pump();
        }
    }
}

const PUBLIC_TRUNK: &str = "54.172.60.1:5060";

#[test]
fn no_packet_goes_where_a_description_must_not_point() {
    let near = trunk_address();
    let private: SocketAddr = "10.1.2.3:5060".parse().unwrap();
    let public: SocketAddr = PUBLIC_TRUNK.parse().unwrap();
    let everywhere = [
        "127.0.0.1:22",
        "127.0.0.1:5060",
        "127.0.10.1:5060",
        "169.254.169.254:80",
        "169.254.169.254:9000",
        "224.0.0.1:9000",
        "239.255.255.250:1900",
        "255.255.255.255:9000",
        "54.172.60.9:53",
        "54.172.60.9:11211",
        "[fe80::1]:9000",
        "[fd00:ec2::254]:9000",
        "[ff02::1]:9000",
        "[::ffff:169.254.169.254]:9000",
    ];
    for trunk in [near, private, public] {
        for media in everywhere {
            assert_eq!(
                Stand::new(trunk).call(media),
                [],
                "trunk {trunk}, sound to {media}"
            );
        }
    }
    for media in ["127.0.0.1:9000", "[::1]:9000"] {
        for trunk in [private, public] {
            assert_eq!(
                Stand::new(trunk).call(media),
                [],
                "trunk {trunk}, sound to {media}"
            );
        }
    }
    for media in [
        "10.0.0.1:9000",
        "192.168.1.1:9000",
        "100.64.0.1:9000",
        "172.16.0.1:9000",
    ] {
        assert_eq!(Stand::new(public).call(media), [], "sound to {media}");
    }
}

#[test]
fn a_trunk_on_a_private_network_may_have_its_sound_there() {
    for (trunk, media) in [
        (trunk_address().to_string().as_str(), "127.0.11.1:9000"),
        ("10.1.2.3:5060", "10.1.2.4:9000"),
        ("10.1.2.3:5060", "54.172.60.9:9000"),
    ] {
        let mut stand = Stand::new(trunk.parse().unwrap());
        let sent = stand.call(media);
        assert!(sent.len() > 200, "{} packets from {trunk} to {media}", sent.len());
        assert!(sent.iter().all(|(_, to)| to.to_string() == media));
    }
}

#[test]
fn a_public_address_that_never_answers_gets_fifty_packets_a_second_for_five_seconds() {
    let mut stand = Stand::new(PUBLIC_TRUNK.parse().unwrap());
    let sent = stand.call("54.172.60.9:9000");
    let (first, last) = (sent[0].0, sent.last().unwrap().0);
    assert!(last - first <= Duration::from_secs(5), "{:?}", last - first);
    assert!((100..=260).contains(&sent.len()), "{}", sent.len());
}
