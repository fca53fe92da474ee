//! A flood of junk for load tests: datagrams that no trunk sent, at a steady rate, from many sources.
//!
//! `cargo bench --bench junk -- --to 127.0.10.1:5060 --per-second 50000 --seconds 10 [--sources 64]` sends in turn what
//! scanners send, broken messages and noise, from 127.0.13.1 on, and prints every second how many it sent. Only addresses
//! of this machine are taken.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A datagram goes out in bursts of what is due within this time.
const BURST: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str, default: u32| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(to) = value("--to") else {
        println!("left out: --to says where junk goes");
        return Ok(());
    };
    let to: SocketAddr = to.parse()?;
    if !to.ip().is_loopback() {
        return Err("junk is for this machine only".into());
    }
    let rate = number("--per-second", 50_000);
    let duration = Duration::from_secs(number("--seconds", 10).into());
    let sockets = (1..=number("--sources", 64).min(250))
        .map(|host| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 13, host as u8), 0))?;
            socket.connect(to)?;
            Ok(socket)
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    let datagrams = datagrams();
    let start = Instant::now();
    let (mut sent, mut taken) = (0usize, 0usize);
    let (mut told_at, mut told) = (Duration::ZERO, 0);
    while start.elapsed() < duration {
        let passed = start.elapsed();
        if passed - told_at >= Duration::from_secs(1) {
            let lately = (taken - told) as f64 / (passed - told_at).as_secs_f64();
            println!("{lately:.0} datagrams a second");
            (told_at, told) = (passed, taken);
        }
        let due = (passed.as_secs_f64() * f64::from(rate)) as usize;
        while sent < due {
            // Each source sends each kind: their numbers have no common factor.
            let socket = &sockets[sent % sockets.len()];
            taken += usize::from(socket.send(&datagrams[sent % datagrams.len()]).is_ok());
            sent += 1;
        }
        std::thread::sleep(BURST);
    }
    Ok(())
}

/// Seven kinds: what scanners send, a broken message, a response to nothing, an empty datagram, and noise.
fn datagrams() -> Vec<Vec<u8>> {
    let request = |method: &str, agent: &str| {
        format!(
            "{method} sip:100@127.0.10.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.13.1:5071;branch=z9hG4bK-1;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:100@127.0.13.1>;tag=1\r\nTo: <sip:100@127.0.10.1>\r\nCall-ID: junk\r\n\
             CSeq: 1 {method}\r\nContact: <sip:100@127.0.13.1:5071>\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    };
    let response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.10.1;branch=z9hG4bK0.0123456789abcdef\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: junk\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = (0..900).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    vec![
        request("OPTIONS", "friendly-scanner"),
        request("REGISTER", "softphone"),
        request("INVITE", "softphone"),
        b"INVITE sip: SIP/2.0\r\nVia\r\n\r\n".to_vec(),
        response.to_vec(),
        Vec::new(),
        noise.collect(),
    ]
}
