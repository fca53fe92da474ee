//! Tells each key press of a peer once, whatever was lost, doubled or reordered on the way.

use std::time::Instant;

use super::{Digit, EventPayload};

/// Repeats of a press are known for this many milliseconds.
const REMEMBERED: u32 = 5000;
/// An event without an end is over after this many milliseconds without packets (three packets, at least 100 ms).
const CLOSED_AFTER: u32 = 100;
/// Milliseconds between two packets of one event that still belong together: twice 20.
const SEGMENT_GAP: i32 = 40;
/// Presses remembered; more than fit in five seconds only push out the oldest.
const KEYS: usize = 8;

/// One telephone-event packet as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub at: Instant,
    pub ssrc: u32,
    pub timestamp: u32,
    pub marker: bool,
    /// Ticks in a millisecond, of timestamp and duration.
    pub kilohertz: u8,
    pub payload: EventPayload,
}

/// What one stream's presses look like so far.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    /// When the first packet came; times are in milliseconds since then, to be small.
    opened: Option<Instant>,
    /// Newest first.
    recent: [Option<Press>; KEYS],
}

/// One press: its key (SSRC, event, timestamp) and how far it came.
#[derive(Debug, Clone, Copy)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    ended: bool,
    duration: u16,
    seen: u32,
}

impl Receiver {
    /// Takes one packet; returns the digit when it is the first of a new press. The marker bit is never required.
    pub fn receive(&mut self, arrival: Arrival) -> Option<Digit> {
        let digit = Digit::from_event(arrival.payload.event)?;
        let opened = *self.opened.get_or_insert(arrival.at);
        let now = arrival.at.saturating_duration_since(opened).as_millis() as u32;
        self.forget(now);
        if self.is_known(now, &arrival) || self.is_too_old(&arrival) {
            return None;
        }
        let continues = self.continues(now, &arrival);
        self.remember(now, &arrival);
        (!continues).then_some(digit)
    }

    /// Audio came again: an event whose end was lost is over.
    pub fn close(&mut self) {
        if let Some(press) = &mut self.recent[0] {
            press.ended = true;
        }
    }

    fn forget(&mut self, now: u32) {
        for slot in &mut self.recent {
            if slot.is_some_and(|press| now.wrapping_sub(press.seen) > REMEMBERED) {
                *slot = None;
            }
        }
    }

    /// Looks for a press of this very key and, if there is one, brings it up to date.
    fn is_known(&mut self, now: u32, arrival: &Arrival) -> bool {
        let same = |press: &&mut Press| {
            press.ssrc == arrival.ssrc
                && press.event == arrival.payload.event
                && press.timestamp == arrival.timestamp
        };
        let Some(press) = self.recent.iter_mut().flatten().find(same) else {
            return false;
        };
        press.seen = now;
        press.duration = press.duration.max(arrival.payload.duration);
        press.ended |= arrival.payload.end;
        true
    }

    /// A straggler from before everything we remember is a repeat of a press that fell out of memory.
    fn is_too_old(&self, arrival: &Arrival) -> bool {
        let full = self
            .recent
            .iter()
            .all(|slot| slot.is_some_and(|press| press.ssrc == arrival.ssrc));
        full && self
            .recent
            .iter()
            .flatten()
            .all(|press| (arrival.timestamp.wrapping_sub(press.timestamp) as i32) < 0)
    }

    /// Whether a new timestamp still belongs to the newest press: the next segment of a long one (RFC 4733 §2.5.1.3),
    /// or a relay that moves the timestamp inside one press. A new press starts at least 60 ms after the last one;
    /// what starts earlier than that, or before its end, is none.
    fn continues(&self, now: u32, arrival: &Arrival) -> bool {
        let Some(press) = self.recent[0] else { return false };
        if press.ssrc != arrival.ssrc || press.event != arrival.payload.event {
            return false;
        }
        let since_start = arrival.timestamp.wrapping_sub(press.timestamp) as i32;
        let since_end = since_start.saturating_sub(i32::from(press.duration));
        let overlaps = since_start > 0 && since_end < 0;
        let fresh = now.wrapping_sub(press.seen) <= CLOSED_AFTER;
        let adjoins = (0..SEGMENT_GAP * i32::from(arrival.kilohertz)).contains(&since_end)
            && !press.ended
            && !arrival.marker;
        fresh && (overlaps || adjoins)
    }

    fn remember(&mut self, now: u32, arrival: &Arrival) {
        self.recent.rotate_right(1);
        self.recent[0] = Some(Press {
            ssrc: arrival.ssrc,
            timestamp: arrival.timestamp,
            event: arrival.payload.event,
            ended: arrival.payload.end,
            duration: arrival.payload.duration,
            seen: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SSRC: u32 = 7;

    /// A packet in the 20 ms beat of a press.
    #[derive(Debug, Clone, Copy)]
    struct Sent {
        key: usize,
        at: u64,
        timestamp: u32,
        marker: bool,
        payload: EventPayload,
    }

    /// The packets of presses, each `on` ms long with `gap` ms between, as a correct sender makes them.
    fn presses(keys: &[u8], on: u64, gap: u64) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (key, event) in keys.iter().enumerate() {
            let start = key as u64 * (on + gap);
            let timestamp = 1000 + start as u32 * 8;
            for at in (20..=on).step_by(20) {
                let end = at == on;
                let copies = if end { 3 } else { 1 };
                for _ in 0..copies {
                    let payload = EventPayload {
                        event: *event,
                        end,
                        duration: at as u16 * 8,
                    };
                    sent.push(Sent {
                        key,
                        at: start + at,
                        timestamp,
                        marker: at == 20,
                        payload,
                    });
                }
            }
        }
        sent
    }

    fn told(packets: impl IntoIterator<Item = Sent>) -> String {
        let start = Instant::now();
        let mut receiver = Receiver::default();
        let mut digits = String::new();
        for packet in packets {
            let arrival = Arrival {
                at: start + Duration::from_millis(packet.at),
                ssrc: SSRC,
                timestamp: packet.timestamp,
                marker: packet.marker,
                kilohertz: 8,
                payload: packet.payload,
            };
            digits.extend(receiver.receive(arrival).map(char::from));
        }
        digits
    }

    #[test]
    fn each_press_is_told_once_when_it_begins() {
        assert_eq!(told(presses(&[9, 4, 1, 1, 0], 100, 60)), "94110");
        let first = presses(&[5], 100, 60)[0];
        assert_eq!(told([first]), "5");
    }

    #[test]
    fn markers_are_not_needed() {
        let unmarked = presses(&[1, 1, 1], 80, 60).into_iter().map(|packet| Sent {
            marker: false,
            ..packet
        });
        assert_eq!(told(unmarked), "111");
    }

    #[test]
    fn a_lost_end_neither_joins_nor_doubles_presses() {
        let endless = presses(&[1, 1, 2], 100, 60)
            .into_iter()
            .filter(|packet| !packet.payload.end);
        assert_eq!(told(endless.clone()), "112");
        assert_eq!(
            told(endless.map(|packet| Sent {
                marker: false,
                ..packet
            })),
            "112"
        );
    }

    #[test]
    fn a_lone_end_is_a_whole_press() {
        let ends = presses(&[1, 1, 2], 100, 60)
            .into_iter()
            .filter(|packet| packet.payload.end);
        assert_eq!(told(ends), "112");
    }

    #[test]
    fn a_press_of_thirty_seconds_in_segments_is_one() {
        let mut packets = Vec::new();
        // 65535 ticks are 8191.875 ms; then a new timestamp, without a marker, for the same press.
        for step in 0..1500u64 {
            let ticks = (step + 1) * 160;
            let segment = (ticks - 1) / 65_535;
            packets.push(Sent {
                key: 0,
                at: step * 20,
                timestamp: (1000 + segment * 65_535) as u32,
                marker: step == 0,
                payload: EventPayload {
                    event: 3,
                    end: step == 1499,
                    duration: (ticks - segment * 65_535) as u16,
                },
            });
        }
        assert_eq!(told(packets.clone()), "3");
        // One packet lost at each border changes nothing.
        assert_eq!(
            told(
                packets
                    .into_iter()
                    .filter(|packet| packet.payload.duration < 65_400)
            ),
            "3"
        );
    }

    #[test]
    fn a_relay_that_moves_the_timestamp_inside_a_press_does_not_double_it() {
        let moved = presses(&[6, 6], 200, 100).into_iter().map(|packet| Sent {
            timestamp: packet.timestamp + u32::from(packet.payload.duration) - 160,
            ..packet
        });
        assert_eq!(told(moved), "66");
    }

    #[test]
    fn repeats_are_known_for_five_seconds_and_no_longer() {
        let end = *presses(&[8], 100, 60).last().unwrap();
        let later = |seconds: u64| Sent {
            at: end.at + seconds * 1000,
            ..end
        };
        assert_eq!(told([end, later(4)]), "8");
        assert_eq!(told([end, later(6)]), "88");
    }

    #[test]
    fn a_new_source_with_the_same_timestamp_is_a_new_press() {
        let packets = presses(&[8], 100, 60);
        let start = Instant::now();
        let mut receiver = Receiver::default();
        let arrival = |ssrc| Arrival {
            at: start,
            ssrc,
            timestamp: packets[0].timestamp,
            marker: true,
            kilohertz: 8,
            payload: packets[0].payload,
        };
        assert!(receiver.receive(arrival(1)).is_some());
        assert!(receiver.receive(arrival(2)).is_some());
        assert!(receiver.receive(arrival(1)).is_none());
    }

    #[test]
    fn events_that_are_no_keys_are_not_told() {
        let flash = presses(&[16], 100, 60);
        assert_eq!(told(flash), "");
    }

    #[test]
    fn audio_between_ends_a_press_whose_end_was_lost() {
        let start = Instant::now();
        let mut receiver = Receiver::default();
        let arrival = |milliseconds, timestamp| Arrival {
            at: start + Duration::from_millis(milliseconds),
            ssrc: SSRC,
            timestamp,
            marker: false,
            kilohertz: 8,
            payload: EventPayload {
                event: 1,
                end: false,
                duration: 480,
            },
        };
        assert!(receiver.receive(arrival(0, 1000)).is_some());
        receiver.close();
        // Only 30 ms later, which alone would look like the same press going on.
        assert!(receiver.receive(arrival(30, 1000 + 480 + 240)).is_some());
    }

    proptest! {
        /// Any loss that leaves at least one packet of each press, any doubling, and delays that reorder packets by
        /// up to 50 ms: every press once, in order of first arrival.
        #[test]
        fn every_press_of_which_a_packet_arrives_is_told_once(
            keys in prop::collection::vec(0..12u8, 1..12),
            on in 3..15u64,
            gap in 3..20u64,
            fate in prop::collection::vec((0..10u8, 0..3usize, 0..50u64), 400),
            markers in any::<bool>(),
        ) {
            let sent = presses(&keys, on * 20, gap * 20);
            let mut arriving = Vec::new();
            let mut survivor = vec![false; keys.len()];
            for (index, packet) in sent.iter().enumerate() {
                let (loss, copies, delay) = fate[index % fate.len()];
                let last_chance = sent[index + 1..].iter().all(|later| later.key != packet.key);
                if loss < 4 && (!last_chance || survivor[packet.key]) {
                    continue;
                }
                survivor[packet.key] = true;
                for copy in 0..=copies as u64 {
                    arriving.push(Sent { at: packet.at + delay + copy * 7, marker: packet.marker && markers, ..*packet });
                }
            }
            arriving.sort_by_key(|packet| packet.at);
            let mut order: Vec<usize> = Vec::new();
            for packet in &arriving {
                if !order.contains(&packet.key) {
                    order.push(packet.key);
                }
            }
            let expected: String =
                order.iter().map(|key| char::from(Digit::from_event(keys[*key]).unwrap())).collect();
            prop_assert_eq!(told(arriving), expected);
        }
    }
}
