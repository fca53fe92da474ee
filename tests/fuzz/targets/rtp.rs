//! Packets of several sources to two bridged streams, with time and commands between them.
//!
//! The bytes are records: what happens (one byte), how long its packet is (one byte), the packet. Nothing may be sent
//! but to where a description or a learned source said, and never more than a packet for each that came and for each
//! frame that passed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::sdp::Negotiated;
use media::{
    Clip, Codec, Command, Content, DigitSet, Law, PayloadTypes, Plane, PlaneConfig, PlayId, SourceRule,
    Start, StreamConfig, StreamId,
};

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);
/// Most records of one input that count.
const MOST_RECORDS: usize = 64;

pub fn run(data: &[u8]) {
    let mut bench = Bench::new();
    let mut rest = data;
    for _ in 0..MOST_RECORDS {
        let [what, length, after @ ..] = rest else { break };
        let length = usize::from(*length).min(after.len());
        bench.happens(*what, &after[..length]);
        rest = &after[length..];
    }
    bench.pass(Duration::from_secs(1));
}

struct Bench {
    plane: Plane,
    now: Instant,
    sources: [SocketAddr; 4],
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let sources = [1u8, 2, 3, 4].map(|last| SocketAddr::from(([192, 0, 2, last], 4000)));
        let mut plane = Plane::new(now, PlaneConfig::default());
        for (stream, remote, law) in [(A, sources[0], Law::Mu), (B, sources[1], Law::A)] {
            let config = config(remote, law, stream.0);
            plane.command(now, Command::Open { stream, config });
        }
        plane.command(now, bridge());
        Self { plane, now, sources }
    }

    /// Bits 0 and 1: the source; 2: the stream; 3 and 4: the time before; 5 to 7: a command instead of a packet.
    fn happens(&mut self, what: u8, packet: &[u8]) {
        let source = self.sources[usize::from(what & 3)];
        let stream = if what & 4 == 0 { A } else { B };
        self.pass(Duration::from_millis(
            [0, 20, 120, 2100][usize::from(what >> 3 & 3)],
        ));
        match what >> 5 {
            1 => self.plane.command(self.now, Command::Unbridge { stream }),
            2 => self.plane.command(self.now, bridge()),
            3 => self.play(stream),
            4 => self.plane.command(self.now, Command::Echo { stream }),
            5 => {
                let config = config(source, Law::A, 7);
                self.plane.command(self.now, Command::Update { stream, config });
            }
            _ => self.receive(stream, source, packet),
        }
        while self.plane.poll_event().is_some() {}
    }

    fn receive(&mut self, stream: StreamId, source: SocketAddr, packet: &[u8]) {
        let mut buffer = packet.to_vec();
        if let Some(forward) = self.plane.receive(self.now, stream, source, &mut buffer) {
            assert!(forward.range.end <= buffer.len() && forward.range.len() >= media::rtp::HEADER_BYTES);
            assert!(self.sources.contains(&forward.destination));
            assert!(media::rtp::Packet::parse(&buffer[forward.range]).is_some());
        }
        assert_eq!(buffer.len(), packet.len());
    }

    fn play(&mut self, stream: StreamId) {
        let clips = vec![Clip::from_samples(&[1000; 400])];
        let (play, repeat) = (PlayId(1), false);
        self.plane.command(
            self.now,
            Command::Play {
                stream,
                play,
                clips,
                repeat,
            },
        );
    }

    fn pass(&mut self, time: Duration) {
        let (end, mut sent) = (self.now + time, 0u128);
        while self.now < end {
            self.now += Duration::from_millis(10);
            self.plane.tick(self.now, &mut |_, destination, bytes| {
                sent += 1;
                assert!(self.sources.contains(&destination));
                assert!(bytes.len() <= 12 + 480);
            });
        }
        // Two streams, a frame each 20 ms, a key's three last packets, a report each 5 s.
        assert!(
            sent <= 2 * (time.as_millis() / 20 + 2) * 3 + 4,
            "{sent} packets in {time:?}"
        );
    }
}

fn bridge() -> Command {
    Command::Bridge {
        a: A,
        b: B,
        withhold: DigitSet::NONE,
    }
}

fn config(remote: SocketAddr, law: Law, ssrc: u32) -> StreamConfig {
    StreamConfig {
        agreed: Negotiated {
            receive: {
                let mut receive = PayloadTypes::plain(law.into(), Some(101));
                receive.allow(8, Content::Audio(Codec::G711(Law::A)));
                receive.allow(0, Content::Audio(Codec::G711(Law::Mu)));
                receive.allow(96, Content::Event { kilohertz: 8 });
                receive
            },
            rtcp_mux: true,
            ..Negotiated::plain(law.into(), Some(remote))
        },
        source: SourceRule::default(),
        start: Start {
            ssrc,
            sequence: 65_530,
            timestamp: u32::MAX - 1000,
        },
        silence_after: Some(Duration::from_secs(3)),
        fill_silence: true,
    }
}
