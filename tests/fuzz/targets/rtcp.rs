//! A control packet from the peer of a stream, then what we report ourselves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::sdp::Negotiated;
use media::{
    Command, Event, Law, PayloadTypes, Plane, PlaneConfig, SourceRule, Start, StreamConfig, StreamId,
};

const OURS: u32 = 0x0a0b_0c0d;
const THEIRS: u32 = 0x0102_0304;

pub fn run(data: &[u8]) {
    let now = Instant::now();
    let peer = SocketAddr::from(([192, 0, 2, 9], 4000));
    let stream = StreamId(1);
    let mut plane = Plane::new(now, PlaneConfig::default());
    plane.command(
        now,
        Command::Open {
            stream,
            config: config(peer),
        },
    );
    let mut first = [
        &[0x80, 0, 0, 1, 0, 0, 0, 1][..],
        &THEIRS.to_be_bytes(),
        &[0xff; 160],
    ]
    .concat();
    plane.receive(now, stream, peer, &mut first);
    let mut at = now;
    let (mut sent, mut reports) = (0, 0);
    let mut run_to = |plane: &mut Plane, until: Instant| {
        while at < until {
            at += Duration::from_millis(20);
            plane.tick(at, &mut |_, destination, bytes| {
                assert_eq!(destination, peer);
                sent += 1;
                if media::rtp::is_rtcp(bytes) {
                    reports += 1;
                    assert_whole(bytes);
                }
            });
        }
    };
    run_to(&mut plane, now + Duration::from_millis(100));
    let mut packet = data.to_vec();
    assert_eq!(
        plane.receive(now + Duration::from_secs(1), stream, peer, &mut packet),
        None
    );
    run_to(&mut plane, now + Duration::from_secs(6));
    plane.command(now + Duration::from_secs(6), Command::Close { stream });
    assert_eq!(reports, 1);
    assert!(sent > 200, "{sent}");
    let closed = std::iter::from_fn(|| plane.poll_event()).find_map(|event| match event {
        Event::Closed { statistics, .. } => Some(statistics),
        _ => None,
    });
    let trip = closed.and_then(|statistics| statistics.round_trip);
    assert!(trip.is_none_or(|trip| trip < Duration::from_secs(60)));
}

/// The packets of a compound fill it exactly.
fn assert_whole(mut bytes: &[u8]) {
    while let [first, _, high, low, ..] = bytes {
        assert_eq!(first >> 6, 2);
        let length = 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
        assert!(length <= bytes.len());
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty());
}

fn config(remote: SocketAddr) -> StreamConfig {
    StreamConfig {
        agreed: Negotiated {
            receive: PayloadTypes::plain(Law::Mu.into(), Some(101)),
            rtcp_mux: true,
            ..Negotiated::plain(Law::Mu.into(), Some(remote))
        },
        source: SourceRule::default(),
        start: Start {
            ssrc: OURS,
            sequence: 65_530,
            timestamp: u32::MAX - 100,
        },
        silence_after: Some(Duration::from_secs(30)),
        fill_silence: true,
    }
}
