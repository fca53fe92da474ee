//! RTCP (RFC 3550 §6): sender and receiver reports of one stream, written and read.

use std::time::{Duration, Instant};

use crate::statistics::ReceptionReport;

/// The longest report we write, in bytes.
pub const MAX_REPORT: usize = 28 + 24 + 20;

const INTERVAL: Duration = Duration::from_secs(5);
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BLOCK_BYTES: usize = 24;
/// Packets read from one compound.
const MAX_PACKETS: usize = 8;

/// Reports of one stream in both directions. Its clock is the time since the stream opened, which RFC 3550 §6.4.1
/// allows in place of wall time.
#[derive(Debug, Clone)]
pub struct Reporter {
    opened: Instant,
    due: Instant,
    packets: u32,
    octets: u32,
    /// The middle of the last sender report's NTP time, and when it came.
    last_sender_report: Option<(u32, Instant)>,
    peer_lost: Option<u8>,
    round_trip: Option<Duration>,
}

impl Reporter {
    pub fn new(now: Instant) -> Self {
        Self {
            opened: now,
            due: now + INTERVAL,
            packets: 0,
            octets: 0,
            last_sender_report: None,
            peer_lost: None,
            round_trip: None,
        }
    }

    /// Counts a packet we sent with this many bytes of payload.
    pub fn count_sent(&mut self, payload: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
    }

    /// Whether a report is to be sent now.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// The share of our packets that the peer lost lately, of 256.
    pub const fn peer_lost(&self) -> Option<u8> {
        self.peer_lost
    }

    /// The network's round trip by the peer's last report.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Writes a compound of a sender report, or a receiver report if we sent nothing, and our CNAME.
    pub fn write<'a>(
        &mut self,
        now: Instant,
        ssrc: u32,
        timestamp: u32,
        reception: Option<ReceptionReport>,
        buffer: &'a mut [u8; MAX_REPORT],
    ) -> &'a [u8] {
        self.due = now + INTERVAL;
        let mut writer = Writer { buffer, length: 0 };
        let blocks = u8::from(reception.is_some());
        let words = u16::from(blocks) * 6;
        if self.packets > 0 {
            writer.head(blocks, SENDER_REPORT, 6 + words);
            writer.word(ssrc);
            let ntp = self.ntp(now);
            writer.word((ntp >> 32) as u32);
            writer.word(ntp as u32);
            writer.word(timestamp);
            writer.word(self.packets);
            writer.word(self.octets);
        } else {
            writer.head(blocks, RECEIVER_REPORT, 1 + words);
            writer.word(ssrc);
        }
        if let Some(report) = reception {
            self.write_block(now, &report, &mut writer);
        }
        write_name(ssrc, &mut writer);
        let length = writer.length;
        &buffer[..length]
    }

    /// Reads a compound from our peer, whose SSRC is `theirs`; what is about other sources is ignored. Tells whether a
    /// report of that source was in it.
    pub fn receive(&mut self, now: Instant, ours: u32, theirs: Option<u32>, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut reported = false;
        for _ in 0..MAX_PACKETS {
            let Some(&[first, kind, high, low]) = rest.first_chunk::<4>() else {
                return reported;
            };
            let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
            let Some(packet) = rest.get(..length).filter(|_| first >> 6 == 2) else {
                return reported;
            };
            rest = &rest[length..];
            if word(packet, 4) != theirs || theirs.is_none() {
                continue;
            }
            let blocks = match kind {
                SENDER_REPORT => {
                    let middle = word(packet, 8)
                        .zip(word(packet, 12))
                        .map(|(high, low)| high << 16 | low >> 16);
                    self.last_sender_report = middle.map(|middle| (middle, now));
                    28
                }
                RECEIVER_REPORT => 8,
                _ => continue,
            };
            reported = true;
            for block in packet
                .get(blocks..)
                .unwrap_or_default()
                .chunks_exact(BLOCK_BYTES)
                .take(usize::from(first & 31))
            {
                if word(block, 0) == Some(ours) {
                    self.read_block(now, block);
                }
            }
        }
        reported
    }

    fn read_block(&mut self, now: Instant, block: &[u8]) {
        self.peer_lost = block.get(4).copied();
        let (Some(last), Some(delay)) = (word(block, 16), word(block, 20)) else {
            return;
        };
        let middle = (self.ntp(now) >> 16) as u32;
        let trip = middle.wrapping_sub(last).wrapping_sub(delay);
        // The peer's numbers are its own; what cannot be is not believed.
        if last != 0 && trip < 60 << 16 {
            self.round_trip = Some(Duration::from_micros((u64::from(trip) * 1_000_000) >> 16));
        }
    }

    fn write_block(&self, now: Instant, report: &ReceptionReport, writer: &mut Writer<'_>) {
        writer.word(report.ssrc);
        writer.word(u32::from(report.fraction_lost) << 24 | report.lost & 0x7f_ffff);
        writer.word(report.highest);
        writer.word(report.jitter);
        let (last, delay) = self.last_sender_report.map_or((0, 0), |(middle, at)| {
            let micros = now.saturating_duration_since(at).as_micros();
            (middle, ((micros << 16) / 1_000_000) as u32)
        });
        writer.word(last);
        writer.word(delay);
    }

    /// Time since the stream opened as a 32.32 fixed-point number of seconds; never 0, which means "no time".
    fn ntp(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.opened).as_micros() + 1_000_000;
        ((micros << 32) / 1_000_000) as u64
    }
}

/// A source description with a CNAME made of the SSRC: unique, and it tells nobody anything.
fn write_name(ssrc: u32, writer: &mut Writer<'_>) {
    writer.head(1, SOURCE_DESCRIPTION, 4);
    writer.word(ssrc);
    let mut item = [0u8; 12];
    item[0] = 1;
    item[1] = 8;
    for (index, digit) in item[2..10].iter_mut().enumerate() {
        let nibble = (ssrc >> (28 - 4 * index) & 15) as u8;
        *digit = if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        };
    }
    writer.bytes(&item);
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk::<4>()
        .map(|chunk| u32::from_be_bytes(*chunk))
}

struct Writer<'a> {
    buffer: &'a mut [u8; MAX_REPORT],
    length: usize,
}

impl Writer<'_> {
    fn head(&mut self, count: u8, kind: u8, words: u16) {
        let [high, low] = words.to_be_bytes();
        self.bytes(&[0x80 | count, kind, high, low]);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loss_and_round_trip_come_back_in_the_peers_report() {
        let start = Instant::now();
        let (mut ours, mut theirs) = (
            Reporter::new(start),
            Reporter::new(start + Duration::from_secs(77)),
        );
        ours.count_sent(160);
        theirs.count_sent(160);
        let mut buffer = [0; MAX_REPORT];
        let sent = start + Duration::from_secs(100);
        let bytes = ours.write(sent, 1, 0, None, &mut buffer).to_vec();
        theirs.receive(sent + Duration::from_millis(30), 2, Some(1), &bytes);

        let reception = ReceptionReport {
            ssrc: 1,
            fraction_lost: 13,
            lost: 4,
            highest: 90,
            jitter: 3,
        };
        let answered = sent + Duration::from_secs(2);
        let bytes = theirs
            .write(answered, 2, 0, Some(reception), &mut buffer)
            .to_vec();
        assert_eq!(bytes.len(), MAX_REPORT);
        ours.receive(answered + Duration::from_millis(40), 1, Some(2), &bytes);
        assert_eq!(ours.peer_lost(), Some(13));
        let trip = ours.round_trip().unwrap().as_millis();
        assert!((69..=71).contains(&trip), "{trip} ms");
    }

    #[test]
    fn reports_about_or_from_others_are_ignored() {
        let start = Instant::now();
        let mut ours = Reporter::new(start);
        let mut theirs = Reporter::new(start);
        let mut buffer = [0; MAX_REPORT];
        let reception = ReceptionReport {
            ssrc: 9,
            fraction_lost: 200,
            lost: 4,
            highest: 90,
            jitter: 3,
        };
        let about_another = theirs.write(start, 2, 0, Some(reception), &mut buffer).to_vec();
        ours.receive(start, 1, Some(2), &about_another);
        let about_us = theirs
            .write(
                start,
                2,
                0,
                Some(ReceptionReport { ssrc: 1, ..reception }),
                &mut buffer,
            )
            .to_vec();
        ours.receive(start, 1, Some(3), &about_us);
        ours.receive(start, 1, None, &about_us);
        assert_eq!(ours.peer_lost(), None);
        ours.receive(start, 1, Some(2), &about_us);
        assert_eq!(ours.peer_lost(), Some(200));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 199..204u8) {
            let now = Instant::now();
            let mut bytes = bytes;
            if let [first, second, ..] = bytes.as_mut_slice() {
                (*first, *second) = (0x80 | *first & 31, kind);
            }
            Reporter::new(now).receive(now, 1, Some(2), &bytes);
        }
    }
}
