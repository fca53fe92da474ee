//! Captures, read back by a reader that knows nothing of the writer.

use super::*;
use crate::call::record::LegNumber;

/// One packet as a reader sees it.
#[derive(Debug, PartialEq)]
struct Read {
    micros: u64,
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
    /// Sequence and acknowledgement, over TCP.
    numbers: Option<(u32, u32)>,
    payload: Vec<u8>,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The one's complement sum, which is all ones over anything that holds its own checksum.
fn sum(bytes: &[u8]) -> u16 {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(2), 0);
    let total: u32 = (0..padded.len() / 2)
        .map(|at| u32::from(word(&padded, at * 2)))
        .sum();
    let folded = (total & 0xffff) + (total >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

fn read(capture: &[u8]) -> Vec<Read> {
    assert_eq!(&capture[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    assert_eq!(&capture[4..8], [2, 0, 4, 0]);
    assert_eq!(&capture[20..24], [101, 0, 0, 0]);
    let mut rest = &capture[24..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let field = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (seconds, micros, kept, length) = (field(0), field(4), field(8) as usize, field(12) as usize);
        assert_eq!(kept, length);
        packets.push(read_packet(
            u64::from(seconds) * 1_000_000 + u64::from(micros),
            &rest[16..16 + kept],
        ));
        rest = &rest[16 + kept..];
    }
    packets
}

fn read_packet(micros: u64, packet: &[u8]) -> Read {
    let (protocol, addresses, segment): (u8, Vec<IpAddr>, &[u8]) = match packet[0] >> 4 {
        4 => {
            assert_eq!(usize::from(word(packet, 2)), packet.len());
            assert_eq!(sum(&packet[..20]), 0xffff, "IP checksum");
            let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            (packet[9], vec![address(12), address(16)], &packet[20..])
        }
        _ => {
            assert_eq!(usize::from(word(packet, 4)), packet.len() - 40);
            let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            (packet[6], vec![address(8), address(24)], &packet[40..])
        }
    };
    let mut pseudo = Vec::new();
    for address in &addresses {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend([0, protocol]);
    pseudo.extend(u16::try_from(segment.len()).unwrap().to_be_bytes());
    assert_eq!(
        sum(&[&pseudo[..], segment].concat()),
        0xffff,
        "checksum of the segment"
    );
    let (numbers, payload) = if protocol == 17 {
        assert_eq!(usize::from(word(segment, 4)), segment.len());
        (None, &segment[8..])
    } else {
        (
            Some((long(segment, 4), long(segment, 8))),
            &segment[usize::from(segment[12] >> 4) * 4..],
        )
    };
    Read {
        micros,
        protocol,
        source: SocketAddr::new(addresses[0], word(segment, 0)),
        destination: SocketAddr::new(addresses[1], word(segment, 2)),
        numbers,
        payload: payload.to_vec(),
    }
}

fn message(at: i64, sent: bool, transport: Transport, remote: &str, text: &str) -> TracedMessage {
    let local = if remote.starts_with('[') {
        "[2001:db8::1]:5060"
    } else {
        "192.0.2.1:5061"
    };
    TracedMessage {
        at: UtcMicros(at),
        leg: LegNumber(0),
        sent,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        transport,
        copies: Vec::new(),
        length: 1,
        text: text.as_bytes().to_vec(),
    }
}

#[test]
fn capture_reads_back_with_its_addresses_times_and_checksums() {
    let begun = 1_790_000_000_250_000;
    let invite = TracedMessage {
        copies: vec![UtcMicros(begun + 500_000), UtcMicros(begun + 1_500_000)],
        ..message(begun, false, Transport::Udp, "198.51.100.7:5060", "INVITE odd")
    };
    let other = message(
        begun + 600_000,
        true,
        Transport::Udp,
        "[2001:db8::7]:5080",
        "SIP/2.0 100 Trying",
    );
    let trace = Trace {
        messages: vec![invite, other],
        ..Trace::default()
    };
    let packets = read(&capture(&trace));
    let begun = u64::try_from(begun).unwrap();
    let times: Vec<u64> = packets.iter().map(|packet| packet.micros - begun).collect();
    assert_eq!(times, [0, 500_000, 600_000, 1_500_000]);
    assert_eq!(packets[0].source, "198.51.100.7:5060".parse().unwrap());
    assert_eq!(packets[0].destination, "192.0.2.1:5061".parse().unwrap());
    assert_eq!(
        (packets[0].protocol, packets[0].payload.as_slice()),
        (17, &b"INVITE odd"[..])
    );
    assert_eq!(packets[2].source, "[2001:db8::1]:5060".parse().unwrap());
    assert_eq!(packets[2].destination, "[2001:db8::7]:5080".parse().unwrap());
    assert_eq!(packets[3].payload, packets[0].payload);
}

#[test]
fn streams_count_their_bytes_and_tls_is_shown_open() {
    let peer = "198.51.100.7:40000";
    let trace = Trace {
        messages: vec![
            message(1, false, Transport::Tls, peer, "12345"),
            message(2, true, Transport::Tls, peer, "abc"),
            message(3, false, Transport::Tls, peer, "6"),
            message(4, true, Transport::Tcp, "198.51.100.8:5060", ""),
        ],
        ..Trace::default()
    };
    let packets = read(&capture(&trace));
    let numbers: Vec<_> = packets.iter().map(|packet| packet.numbers.unwrap()).collect();
    assert_eq!(numbers, [(1, 1), (1, 6), (6, 4), (1, 1)]);
    assert_eq!(packets[0].destination, "192.0.2.1:5060".parse().unwrap());
    assert_eq!(packets[3].source, "192.0.2.1:5061".parse().unwrap());
}
