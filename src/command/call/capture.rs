//! A trace as a capture file for Wireshark: pcap with the IP and UDP or TCP headers that the messages had, rebuilt.
//!
//! Form: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>, packets begin with the IP header
//! (LINKTYPE_RAW). Of copies, each stands at its own time. Signalling over TLS is written as what was inside, over TCP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use sip::Transport;

use crate::call::record::UtcMicros;
use crate::call::trace::{Trace, TracedMessage};

const MAGIC: u32 = 0xa1b2_c3d4;
const LINKTYPE_RAW: u32 = 101;
const SNAPSHOT: u32 = 262_144;
const UDP: u8 = 17;
const TCP: u8 = 6;
/// SIP over TLS and over TCP. What was inside TLS is not taken for TLS by a reader when it has the port of TCP.
const SIPS_PORT: u16 = 5061;
const SIP_PORT: u16 = 5060;

/// The capture's bytes.
pub(super) fn capture(trace: &Trace) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(SNAPSHOT.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    let mut passed: Vec<(UtcMicros, &TracedMessage)> = Vec::new();
    for message in &trace.messages {
        passed.push((message.at, message));
        passed.extend(message.copies.iter().map(|at| (*at, message)));
    }
    passed.sort_by_key(|(at, _)| *at);
    let mut streams = HashMap::new();
    for (number, (at, message)) in passed.into_iter().enumerate() {
        let packet = packet(message, u16::try_from(number & 0xffff).unwrap_or(0), &mut streams);
        let (seconds, micros) = (at.0.div_euclid(1_000_000), at.0.rem_euclid(1_000_000));
        out.extend(u32::try_from(seconds).unwrap_or(0).to_le_bytes());
        out.extend(u32::try_from(micros).unwrap_or(0).to_le_bytes());
        let length = u32::try_from(packet.len()).unwrap_or(0).to_le_bytes();
        out.extend(length);
        out.extend(length);
        out.extend(packet);
    }
    out
}

/// Bytes sent so far, by source and destination.
type Streams = HashMap<(SocketAddr, SocketAddr), u32>;

fn packet(message: &TracedMessage, number: u16, streams: &mut Streams) -> Vec<u8> {
    let (source, destination) = match message.transport {
        Transport::Udp | Transport::Tcp => message.path(),
        Transport::Tls => {
            let (source, destination) = message.path();
            (in_clear(source), in_clear(destination))
        }
    };
    let (source, destination) = same_family(source, destination);
    // A packet cannot be longer; no message is that is kept.
    let payload = &message.text[..message.text.len().min(60_000)];
    let (protocol, segment) = match message.transport {
        Transport::Udp => (UDP, udp(source, destination, payload)),
        Transport::Tcp | Transport::Tls => (TCP, tcp(source, destination, payload, streams)),
    };
    let segment = with_checksum(source, destination, protocol, segment);
    let mut packet = ip(source, destination, protocol, segment.len(), number);
    packet.extend(segment);
    packet
}

fn in_clear(address: SocketAddr) -> SocketAddr {
    let port = if address.port() == SIPS_PORT {
        SIP_PORT
    } else {
        address.port()
    };
    SocketAddr::new(address.ip(), port)
}

/// Both addresses as IPv6 where one of them is.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

/// RFC 768; the checksum is still zero.
fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(8 + payload.len());
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(u16::try_from(8 + payload.len()).unwrap_or(0).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    segment
}

/// RFC 9293 §3.1, in the middle of a connection whose sequence numbers began at 1.
fn tcp(source: SocketAddr, destination: SocketAddr, payload: &[u8], streams: &mut Streams) -> Vec<u8> {
    let acknowledged = streams.get(&(destination, source)).copied().unwrap_or(1);
    let sent = streams.entry((source, destination)).or_insert(1);
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(sent.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    // Five words of header, PSH and ACK, a full window.
    segment.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    *sent = sent.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
    segment
}

fn with_checksum(source: SocketAddr, destination: SocketAddr, protocol: u8, mut segment: Vec<u8>) -> Vec<u8> {
    let mut pseudo = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend(u32::try_from(segment.len()).unwrap_or(0).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    let sum = checksum(&[&pseudo, &segment]);
    let (at, sum) = match (protocol, sum) {
        // Over UDP zero would mean that there is none (RFC 768).
        (UDP, 0) => (6, 0xffff),
        (UDP, sum) => (6, sum),
        (_, sum) => (16, sum),
    };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// The internet checksum (RFC 1071) of parts, of which all but the last are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The IP header, RFC 791 or RFC 8200.
fn ip(source: SocketAddr, destination: SocketAddr, protocol: u8, length: usize, number: u16) -> Vec<u8> {
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend(u16::try_from(20 + length).unwrap_or(0).to_be_bytes());
            header.extend(number.to_be_bytes());
            // May not be fragmented; 64 hops; the checksum is still zero.
            header.extend([0x40, 0, 64, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        (source, destination) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            header.extend([protocol, 64]);
            for address in [source, destination] {
                match address {
                    IpAddr::V6(address) => header.extend(address.octets()),
                    IpAddr::V4(address) => header.extend(address.to_ipv6_mapped().octets()),
                }
            }
            header
        }
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
