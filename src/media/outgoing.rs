//! The one RTP source a peer hears from us: SSRC, sequence numbers and timestamps go on without a break while prompts,
//! digits and relayed packets take turns.

use std::time::{Duration, Instant};

use crate::codec::{CLOCK_RATE, FRAME_TICKS};
use crate::rtp::{Header, later_timestamp, sequence_distance, timestamp_distance};

/// A relayed sender whose clock leaves ours by more than this in one step is taken up anew.
const CLOCK_STEP: i64 = 2 * CLOCK_RATE as i64;
/// A relayed sender whose sequence numbers jump by more than this is taken up anew.
const SEQUENCE_STEP: i16 = 1000;

/// Our own feed was silent when its next timestamp lies further back than this.
const OWN_LAG: i32 = 4 * FRAME_TICKS as i32;

/// Where the numbers of a stream start. All three should be random (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Start {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
}

/// A packet to relay, reduced to what numbering needs.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    pub header: Header,
    /// From the packet's timestamp to its end: its samples, or the duration of its event so far.
    pub ticks: u32,
}

/// Numbers the packets of one stream.
#[derive(Debug, Clone)]
pub struct Outgoing {
    ssrc: u32,
    opened: Instant,
    first_timestamp: u32,
    /// The sequence number of the next packet that is not relayed.
    sequence: u16,
    /// One past the last tick sent.
    end: u32,
    feed: Feed,
}

/// Who fills the stream at present.
#[derive(Debug, Clone, Copy)]
enum Feed {
    Nobody,
    /// Ourselves; `next` is the timestamp of the next frame.
    Own {
        next: u32,
        marker: bool,
    },
    Relay(Anchor),
}

/// How the numbers of a relayed sender become ours.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    ssrc: u32,
    /// The sender's sequence number at which it was taken up. Earlier packets are too late.
    first: u16,
    highest: u16,
    sequence_offset: u16,
    timestamp_offset: u32,
    /// When its newest packet came, and the timestamp of its end.
    newest: (Instant, u32),
}

impl Outgoing {
    /// `now` is when the first timestamp is current.
    pub fn new(now: Instant, start: Start) -> Self {
        Self {
            ssrc: start.ssrc,
            opened: now,
            first_timestamp: start.timestamp,
            sequence: start.sequence,
            end: start.timestamp,
            feed: Feed::Nobody,
        }
    }

    /// Our SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timestamp that is current now, for sender reports.
    pub fn timestamp_at(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.opened).as_micros();
        let ticks = elapsed * u128::from(CLOCK_RATE) / 1_000_000;
        self.first_timestamp.wrapping_add(ticks as u32)
    }

    /// The timestamp of our own next frame. Takes the stream over from a relayed sender.
    pub fn own_timestamp(&mut self, now: Instant) -> u32 {
        let clock = self.timestamp_at(now);
        match self.feed {
            Feed::Own { next, .. } if timestamp_distance(clock, next) <= OWN_LAG => next,
            _ => {
                let next = later_timestamp(self.end, clock);
                self.feed = Feed::Own { next, marker: true };
                next
            }
        }
    }

    /// Lets time pass in our own feed without a packet for it; the next packet carries the marker.
    pub fn skip(&mut self, now: Instant, ticks: u32) {
        let next = self.own_timestamp(now).wrapping_add(ticks);
        self.feed = Feed::Own { next, marker: true };
    }

    /// Numbers our own next packet of audio.
    pub fn own_audio(&mut self, now: Instant, payload_type: u8, ticks: u32) -> Header {
        let timestamp = self.own_timestamp(now);
        let marker = matches!(self.feed, Feed::Own { marker: true, .. });
        let next = timestamp.wrapping_add(ticks);
        self.feed = Feed::Own { next, marker: false };
        self.end = next;
        self.number(marker, payload_type, timestamp)
    }

    /// Numbers one packet of our own telephone event, which started at `timestamp`.
    pub fn own_event(&mut self, marker: bool, payload_type: u8, timestamp: u32) -> Header {
        self.number(marker, payload_type, timestamp)
    }

    /// A frame of our own telephone event has passed; audio after it starts with the marker.
    pub fn pass_event_frame(&mut self, now: Instant) {
        self.skip(now, FRAME_TICKS as u32);
        self.end = self.own_timestamp(now);
    }

    /// Numbers a relayed packet. None for one from before the sender was taken up.
    pub fn relay(&mut self, now: Instant, incoming: &Incoming, payload_type: u8) -> Option<Header> {
        let header = &incoming.header;
        let (mut anchor, marker) = match self.feed {
            Feed::Relay(anchor) if anchor.fits(now, incoming) => (anchor, false),
            _ => (self.take_up(now, incoming), true),
        };
        if sequence_distance(header.sequence, anchor.first) < 0 {
            return None;
        }
        anchor.advance(now, incoming);
        self.feed = Feed::Relay(anchor);
        let sequence = header.sequence.wrapping_add(anchor.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(anchor.timestamp_offset);
        if sequence_distance(sequence, self.sequence) >= 0 {
            self.sequence = sequence.wrapping_add(1);
        }
        self.end = later_timestamp(self.end, timestamp.wrapping_add(incoming.ticks));
        Some(Header {
            marker: marker || header.marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
        })
    }

    /// A packet of the relayed sender is kept from the peer; no hole shall show in our sequence numbers.
    pub fn withhold(&mut self, now: Instant, incoming: &Incoming) {
        if let Feed::Relay(anchor) = &mut self.feed
            && anchor.fits(now, incoming)
            && sequence_distance(incoming.header.sequence, anchor.highest) > 0
        {
            anchor.advance(now, incoming);
            anchor.sequence_offset = anchor.sequence_offset.wrapping_sub(1);
        }
    }

    fn take_up(&self, now: Instant, incoming: &Incoming) -> Anchor {
        let header = &incoming.header;
        let sender_now = header.timestamp.wrapping_add(incoming.ticks);
        // An event is taken up at its start, which may lie before what we sent last; its end may not.
        let start = later_timestamp(self.end, self.timestamp_at(now));
        let shift = if incoming.ticks > FRAME_TICKS as u32 * 4 {
            incoming.ticks
        } else {
            0
        };
        Anchor {
            ssrc: header.ssrc,
            first: header.sequence,
            highest: header.sequence,
            sequence_offset: self.sequence.wrapping_sub(header.sequence),
            timestamp_offset: start.wrapping_sub(shift).wrapping_sub(header.timestamp),
            newest: (now, sender_now),
        }
    }

    fn number(&mut self, marker: bool, payload_type: u8, timestamp: u32) -> Header {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Header {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
        }
    }
}

impl Anchor {
    /// Whether a packet goes on where this sender was.
    fn fits(&self, now: Instant, incoming: &Incoming) -> bool {
        let header = &incoming.header;
        let distance = sequence_distance(header.sequence, self.highest);
        let (before, end) = self.newest;
        let spoken = i64::from(timestamp_distance(
            header.timestamp.wrapping_add(incoming.ticks),
            end,
        ));
        let elapsed = milliseconds_since(now, before) * i64::from(CLOCK_RATE) / 1000;
        header.ssrc == self.ssrc
            && (-SEQUENCE_STEP..=SEQUENCE_STEP).contains(&distance)
            && (spoken - elapsed).abs() <= CLOCK_STEP
    }

    fn advance(&mut self, now: Instant, incoming: &Incoming) {
        if sequence_distance(incoming.header.sequence, self.highest) >= 0 {
            self.highest = incoming.header.sequence;
            self.newest = (now, incoming.header.timestamp.wrapping_add(incoming.ticks));
            // `first` follows at a distance so that its comparison never wraps.
            if sequence_distance(self.highest, self.first) > 2 * SEQUENCE_STEP {
                self.first = self.highest.wrapping_sub(SEQUENCE_STEP as u16);
            }
        }
    }
}

fn milliseconds_since(now: Instant, before: Instant) -> i64 {
    now.saturating_duration_since(before)
        .min(Duration::from_secs(1 << 30))
        .as_millis() as i64
}
