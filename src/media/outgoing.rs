//! The one RTP source a peer hears from us: SSRC, sequence numbers and timestamps go on without a break while prompts,
//! digits and relayed packets take turns.

use std::time::{Duration, Instant};

use crate::rtp::{Header, later_timestamp, sequence_distance, timestamp_distance};

/// A relayed sender whose clock leaves ours by more than these seconds in one step is taken up anew.
const CLOCK_STEP: i64 = 2;
/// A relayed sender whose sequence numbers jump by more than this is taken up anew.
const SEQUENCE_STEP: i16 = 1000;

/// So many packets in a row from the past mean that the sender counts anew.
const RESTART: u8 = 4;
/// Our own feed was silent when its next timestamp lies further back than this many frames.
const OWN_LAG: i32 = 4;

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
    /// Ticks a second.
    clock_rate: u32,
    /// When `first_timestamp` was current.
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
    /// Packets in a row that lay behind the newest one, and the sequence number that would continue them.
    late: u8,
    late_next: u16,
}

impl Outgoing {
    /// `now` is when the first timestamp is current.
    pub fn new(now: Instant, start: Start, clock_rate: u32) -> Self {
        Self {
            ssrc: start.ssrc,
            clock_rate,
            opened: now,
            first_timestamp: start.timestamp,
            sequence: start.sequence,
            end: start.timestamp,
            feed: Feed::Nobody,
        }
    }

    /// Counts in another clock from now on, without going back.
    pub fn set_clock_rate(&mut self, now: Instant, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            self.end = later_timestamp(self.end, self.timestamp_at(now));
            (self.opened, self.first_timestamp) = (now, self.end);
            (self.clock_rate, self.feed) = (clock_rate, Feed::Nobody);
        }
    }

    /// Ticks in 20 ms.
    const fn frame(&self) -> u32 {
        self.clock_rate / 50
    }

    /// Our SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timestamp that is current now, for sender reports.
    pub fn timestamp_at(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.opened).as_micros();
        let ticks = elapsed * u128::from(self.clock_rate) / 1_000_000;
        self.first_timestamp.wrapping_add(ticks as u32)
    }

    /// The timestamp of our own next frame. Takes the stream over from a relayed sender.
    pub fn own_timestamp(&mut self, now: Instant) -> u32 {
        let clock = self.timestamp_at(now);
        let lag = OWN_LAG * self.frame() as i32;
        match self.feed {
            Feed::Own { next, .. } if timestamp_distance(clock, next) <= lag => next,
            _ => {
                let next = later_timestamp(self.end, clock);
                self.feed = Feed::Own { next, marker: true };
                next
            }
        }
    }

    /// Lets time pass in our own feed without a packet for it; the next packet carries the marker.
    pub fn skip(&mut self, ticks: u32) {
        if let Feed::Own { next, marker } = &mut self.feed {
            (*next, *marker) = (next.wrapping_add(ticks), true);
        }
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

    /// Our own audio goes on while nothing may be sent: time passes, and no number is left out.
    pub fn pass_audio(&mut self, now: Instant, ticks: u32) {
        let timestamp = self.own_timestamp(now);
        self.skip(ticks);
        self.end = later_timestamp(self.end, timestamp.wrapping_add(ticks));
    }

    /// Numbers one packet of our own telephone event, which started at `timestamp`.
    pub fn own_event(&mut self, marker: bool, payload_type: u8, timestamp: u32) -> Header {
        self.number(marker, payload_type, timestamp)
    }

    /// A frame of our own telephone event has passed; audio after it starts with the marker.
    pub fn pass_event_frame(&mut self) {
        self.skip(self.frame());
        if let Feed::Own { next, .. } = self.feed {
            self.end = later_timestamp(self.end, next);
        }
    }

    /// Numbers a relayed packet. None for one from before the sender was taken up.
    pub fn relay(&mut self, now: Instant, incoming: &Incoming, payload_type: u8) -> Option<Header> {
        let header = &incoming.header;
        let clock_rate = self.clock_rate;
        let known = match &mut self.feed {
            Feed::Relay(anchor) if anchor.fits(now, incoming, clock_rate) => {
                (!anchor.restarts(header)).then_some(*anchor)
            }
            _ => None,
        };
        let marker = known.is_none();
        let mut anchor = known.unwrap_or_else(|| self.take_up(now, incoming));
        anchor.advance(now, incoming);
        self.feed = Feed::Relay(anchor);
        if sequence_distance(header.sequence, anchor.first) < 0 {
            return None;
        }
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
            && anchor.fits(now, incoming, self.clock_rate)
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
        let shift = if incoming.ticks > self.frame() * 4 {
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
            late: 0,
            late_next: 0,
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
    fn fits(&self, now: Instant, incoming: &Incoming, clock_rate: u32) -> bool {
        let rate = i64::from(clock_rate);
        let header = &incoming.header;
        let distance = sequence_distance(header.sequence, self.highest);
        let (before, end) = self.newest;
        let spoken = i64::from(timestamp_distance(
            header.timestamp.wrapping_add(incoming.ticks),
            end,
        ));
        let elapsed = milliseconds_since(now, before) * rate / 1000;
        header.ssrc == self.ssrc
            && (-SEQUENCE_STEP..=SEQUENCE_STEP).contains(&distance)
            && (spoken - elapsed).abs() <= CLOCK_STEP * rate
    }

    /// Whether a sender counts anew from a little before where it was: several packets in a row, all behind the
    /// newest one, are no reordering. Some senders do this after a hold.
    fn restarts(&mut self, header: &Header) -> bool {
        let late = sequence_distance(header.sequence, self.highest) < 0;
        self.late = match late {
            true if header.sequence == self.late_next => self.late.saturating_add(1),
            true => 1,
            false => 0,
        };
        self.late_next = header.sequence.wrapping_add(1);
        self.late >= RESTART
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Start = Start {
        ssrc: 5,
        sequence: 65_530,
        timestamp: 0xffff_ff00,
    };

    fn incoming(sequence: u16, timestamp: u32, ssrc: u32) -> Incoming {
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc,
        };
        Incoming { header, ticks: 160 }
    }

    fn frames(count: u32) -> Duration {
        Duration::from_millis(20) * count
    }

    #[test]
    fn prompt_relay_prompt_is_one_continuous_source() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        let mut sent = Vec::new();
        for frame in 0..10 {
            sent.push(outgoing.own_audio(start + frames(frame), 0, 160));
        }
        for frame in 10..20 {
            let packet = incoming(40_000 + frame as u16, 777 + frame * 160, 99);
            sent.push(outgoing.relay(start + frames(frame), &packet, 0).unwrap());
        }
        for frame in 20..30 {
            sent.push(outgoing.own_audio(start + frames(frame), 0, 160));
        }
        for (index, header) in sent.iter().enumerate() {
            assert_eq!(header.ssrc, START.ssrc);
            assert_eq!(header.sequence, START.sequence.wrapping_add(index as u16));
            assert_eq!(header.timestamp, START.timestamp.wrapping_add(index as u32 * 160));
            assert_eq!(header.marker, [0, 10, 20].contains(&index), "packet {index}");
        }
    }

    #[test]
    fn silence_between_prompts_moves_the_timestamp_and_not_the_sequence() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        let first = outgoing.own_audio(start, 0, 160);
        let second = outgoing.own_audio(start + Duration::from_secs(3), 0, 160);
        assert_eq!(second.sequence, first.sequence.wrapping_add(1));
        assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 24_000);
        assert!(second.marker);
    }

    #[test]
    fn a_sender_that_restarts_or_jumps_is_taken_up_where_we_are() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        let strange = [
            incoming(1, 1000, 1),
            incoming(2, 1160, 1),
            incoming(30_000, 1320, 1),        // sequence jump
            incoming(30_001, 0x8000_0000, 1), // timestamp jump of 2^31
            incoming(30_002, 0x8000_00a0, 2), // new SSRC
        ];
        let mut before: Option<Header> = None;
        for (frame, packet) in strange.iter().enumerate() {
            let header = outgoing.relay(start + frames(frame as u32), packet, 0).unwrap();
            if let Some(before) = before {
                assert_eq!(header.sequence, before.sequence.wrapping_add(1));
                assert_eq!(header.timestamp.wrapping_sub(before.timestamp), 160);
            }
            assert_eq!(header.marker, frame != 1, "packet {frame}");
            before = Some(header);
        }
    }

    #[test]
    fn packets_from_before_a_sender_was_taken_up_are_too_late() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        outgoing.own_audio(start, 0, 160);
        assert!(outgoing.relay(start, &incoming(10, 1600, 1), 0).is_some());
        assert!(outgoing.relay(start, &incoming(9, 1440, 1), 0).is_none());
        assert!(outgoing.relay(start, &incoming(11, 1760, 1), 0).is_some());
    }

    #[test]
    fn a_sender_that_counts_anew_after_a_hold_is_heard_again_within_four_packets() {
        for (talked, taken_up_at) in [(20, 0), (500, 0), (60, 17), (3000, 0)] {
            let start = Instant::now();
            let mut outgoing = Outgoing::new(start, START, 8000);
            let mut newest = 0;
            for frame in taken_up_at..talked {
                let now = start + frames(u32::from(frame));
                newest = outgoing
                    .relay(now, &incoming(frame, u32::from(frame) * 160, 1), 0)
                    .unwrap()
                    .sequence;
            }
            let resumed = start + frames(u32::from(talked) + 50);
            let heard = (0..50u16).filter(|frame| {
                let now = resumed + frames(u32::from(*frame));
                let header = outgoing.relay(now, &incoming(*frame, u32::from(*frame) * 160, 1), 0);
                header.is_some_and(|header| sequence_distance(header.sequence, newest) > 0)
            });
            assert!(heard.count() >= 47, "after {talked} packets");
        }
    }

    #[test]
    fn withheld_packets_leave_no_hole() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        let mut sequences = Vec::new();
        for frame in 0..30u16 {
            let now = start + frames(u32::from(frame));
            let packet = incoming(frame, u32::from(frame) * 160, 1);
            if (10..20).contains(&frame) {
                outgoing.withhold(now, &packet);
            } else {
                sequences.push(outgoing.relay(now, &packet, 0).unwrap().sequence);
            }
        }
        assert!(
            sequences
                .windows(2)
                .all(|pair| pair[1] == pair[0].wrapping_add(1)),
            "{sequences:?}"
        );
    }

    #[test]
    fn an_event_keeps_its_timestamp_through_the_press() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, START, 8000);
        outgoing.relay(start, &incoming(1, 160, 1), 0);
        let mut seen = Vec::new();
        for frame in 1..8u32 {
            let mut event = incoming(1 + frame as u16, 320, 1);
            event.ticks = frame * 160;
            seen.push(outgoing.relay(start + frames(frame), &event, 101).unwrap());
        }
        assert!(
            seen.iter()
                .all(|header| header.timestamp == seen[0].timestamp && !header.marker)
        );
        let audio = outgoing
            .relay(start + frames(8), &incoming(9, 320 + 7 * 160, 1), 0)
            .unwrap();
        assert_eq!(audio.timestamp.wrapping_sub(seen[0].timestamp), 7 * 160);
    }

    proptest! {
        /// Loss, doubling and reordering on the way in look the same on the way out: the same differences between
        /// sequence numbers and between timestamps.
        #[test]
        fn relaying_keeps_every_difference(
            first in any::<u16>(),
            base in any::<u32>(),
            fate in prop::collection::vec((0..10u8, 0..2u64, 0..60u64), 1..300),
        ) {
            let start = Instant::now();
            let mut outgoing = Outgoing::new(start, START, 8000);
            let out = outgoing.relay(start, &incoming(first, base, 1), 0).unwrap();
            let mut arrivals: Vec<(u64, u16)> = Vec::new();
            for (index, (loss, copies, delay)) in fate.into_iter().enumerate().filter(|(_, fate)| fate.0 > 1) {
                let sent = (index as u64 + 1) * 20;
                arrivals.extend((0..=copies).map(|copy| (sent + delay + copy * u64::from(loss), index as u16 + 1)));
            }
            arrivals.sort_unstable();
            for (milliseconds, offset) in arrivals {
                let now = start + Duration::from_millis(milliseconds);
                let packet = incoming(first.wrapping_add(offset), base.wrapping_add(u32::from(offset) * 160), 1);
                let header = outgoing.relay(now, &packet, 0).unwrap();
                prop_assert_eq!(header.sequence.wrapping_sub(out.sequence), offset);
                prop_assert_eq!(header.timestamp.wrapping_sub(out.timestamp), u32::from(offset) * 160);
                prop_assert_eq!(header.ssrc, START.ssrc);
            }
        }

        /// Whatever arrives, our own packets afterwards go on after everything sent.
        #[test]
        fn our_own_packets_always_follow(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0..3u32, 0..200u64), 0..50),
        ) {
            let start = Instant::now();
            let mut outgoing = Outgoing::new(start, START, 8000);
            let mut now = start;
            let mut sent = vec![outgoing.own_audio(now, 0, 160)];
            for (sequence, timestamp, ssrc, milliseconds) in packets {
                now += Duration::from_millis(milliseconds);
                sent.extend(outgoing.relay(now, &incoming(sequence, timestamp, ssrc), 0));
            }
            let own = outgoing.own_audio(now, 0, 160);
            for header in sent {
                prop_assert!(sequence_distance(own.sequence, header.sequence) > 0);
                prop_assert!(timestamp_distance(own.timestamp, header.timestamp) >= 160);
            }
        }
    }
}
