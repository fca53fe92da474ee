//! RTP packets (RFC 3550 §5.1): read in place, headers written in place.

use std::ops::Range;

use rtp_rs::RtpReader;

/// Bytes of a header without contributing sources or extension.
pub const HEADER_BYTES: usize = 12;

/// The header fields that matter to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    /// The header's bytes: version 2, no padding, no extension, no contributing sources.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// Where things are in a received packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub header: Header,
    /// The payload without padding. At least [`HEADER_BYTES`] precede it, so that a new header fits before it.
    pub payload: Range<usize>,
}

impl Packet {
    /// Reads a packet; None for what is not RTP version 2 or contradicts its own lengths.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let reader = RtpReader::new(bytes).ok()?;
        let start = reader.payload_offset();
        let padding = usize::from(reader.padding().unwrap_or(0));
        let end = bytes.len().checked_sub(padding)?;
        if start > end || start < HEADER_BYTES {
            return None;
        }
        let header = Header {
            marker: reader.mark(),
            payload_type: reader.payload_type(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
        };
        Some(Self {
            header,
            payload: start..end,
        })
    }
}

/// Whether bytes on a shared port are RTCP (RFC 5761 §4).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..] if first >> 6 == 2 && (192..=223).contains(second))
}

/// `a - b` on sequence numbers that wrap.
pub const fn sequence_distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b) as i16
}

/// `a - b` on timestamps that wrap.
pub const fn timestamp_distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// The later of two timestamps that wrap.
pub const fn later_timestamp(a: u32, b: u32) -> u32 {
    if timestamp_distance(a, b) >= 0 { a } else { b }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = Header> {
        (any::<bool>(), 0..128u8, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
            |(marker, payload_type, sequence, timestamp, ssrc)| Header {
                marker,
                payload_type,
                sequence,
                timestamp,
                ssrc,
            },
        )
    }

    proptest! {
        #[test]
        fn written_headers_are_read_back(header in header(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = header.bytes().to_vec();
            bytes.extend(&payload);
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(packet.header, header);
            prop_assert_eq!(&bytes[packet.payload], payload.as_slice());
        }

        #[test]
        fn any_bytes_give_a_payload_inside_them_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            for first in [0x80, 0xa0, 0x90, 0xbf] {
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                if let Some(packet) = Packet::parse(&bytes) {
                    prop_assert!(packet.payload.start >= HEADER_BYTES);
                    prop_assert!(packet.payload.end <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn extension_sources_and_padding_are_not_payload() {
        let mut bytes = vec![0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend([9, 9, 9, 9]); // one contributing source
        bytes.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]); // extension of one word
        bytes.extend([7, 7, 7, 0, 0, 3]); // payload and three bytes of padding
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(&bytes[packet.payload], [7, 7, 7]);
    }

    #[test]
    fn rtcp_is_told_apart_by_its_packet_type() {
        assert!(is_rtcp(&[0x80, 200, 0, 6]));
        assert!(!is_rtcp(&[0x80, 0x80, 0, 6]));
        assert!(!is_rtcp(&[0x80, 101, 0, 6]));
    }
}
