//! Measures how many answered calls two endpoints make with each other in one thread: set-up, ACK and BYE.
//!
//! `cargo run --release -p sip --example call_rate [CALLS]`. Halve the time for one side.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{Endpoint, EndpointConfig, Event, Input, Invite, Output, Party, Peer, PeerId, Transport};

const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n";

fn main() {
    let calls: u32 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let addresses = [
        SocketAddr::from(([127, 0, 0, 1], 5060)),
        SocketAddr::from(([127, 0, 0, 2], 5060)),
    ];
    let mut ends = [0u8, 1].map(|end| {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [end + 1; 32]);
        let (local, remote) = (addresses[usize::from(end)], addresses[usize::from(1 - end)]);
        endpoint.set_peer(Peer::new(PeerId(1), local, vec![remote]));
        endpoint
    });
    let start = Instant::now();
    let mut now = start;
    let (mut ended, mut most) = (0u32, 0);
    for _ in 0..calls {
        // 5,000 calls in each virtual second, so that all timers of 32 s are in play.
        now += Duration::from_micros(200);
        let invite = Invite {
            peer: PeerId(1),
            uri: "sip:+15550100@127.0.0.2".into(),
            to: "sip:+15550100@127.0.0.2".into(),
            from: Party::new("sip:+15550101@127.0.0.1"),
            headers: Vec::new(),
            max_forwards: None,
            sdp: SDP.to_vec(),
        };
        if ends[0].invite(now, invite).is_err() {
            eprintln!("a call was refused");
            return;
        }
        settle(&mut ends, now, addresses, &mut ended);
        for end in &mut ends {
            end.handle_timeout(now);
        }
        most = most.max(ends[1].counters().transactions);
    }
    let took = start.elapsed();
    let each = took / calls.max(1);
    println!(
        "{calls} calls, {ended} ended, {took:?}: {each:?} each for both sides; most transactions {most}"
    );
    println!("{:?}", ends[1].counters());
}

/// Carries messages until both are quiet. The callee answers at once, the caller hangs up when confirmed.
fn settle(ends: &mut [Endpoint; 2], now: Instant, addresses: [SocketAddr; 2], ended: &mut u32) {
    let mut flying = VecDeque::new();
    loop {
        for (index, end) in ends.iter_mut().enumerate() {
            loop {
                match end.poll_output() {
                    Output::Transmit { bytes, .. } => flying.push_back((1 - index, bytes)),
                    Output::Event(Event::Incoming { session, .. }) => {
                        end.ring(now, session);
                        end.answer(now, session, SDP.to_vec());
                    }
                    Output::Event(Event::Answered { session, .. }) => end.hangup(now, session, None),
                    Output::Event(Event::Ended { .. }) => *ended += 1,
                    Output::Event(_) => {}
                    _ => break,
                }
            }
        }
        let Some((to, bytes)) = flying.pop_front() else {
            return;
        };
        let (local, source) = (addresses[to], addresses[1 - to]);
        ends[to].handle_input(
            now,
            Input::Received {
                local,
                source,
                transport: Transport::Udp,
                bytes: &bytes,
            },
        );
    }
}
