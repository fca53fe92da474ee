//! Tells each key press of a peer once, whatever was lost, doubled or reordered on the way.

use std::time::{Duration, Instant};

use super::{Digit, EventPayload};

/// Repeats of a press are known for this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// An event without an end is over after this long without packets (three packets, at least 100 ms).
const CLOSED_AFTER: Duration = Duration::from_millis(100);
/// Ticks between two packets of one event that still belong together: twice 20 ms.
const SEGMENT_GAP: i32 = 320;
/// Presses remembered; more than fit in five seconds only push out the oldest.
const KEYS: usize = 8;

/// One telephone-event packet as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub at: Instant,
    pub ssrc: u32,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: EventPayload,
}

/// What one stream's presses look like so far.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
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
    seen: Instant,
}

impl Receiver {
    /// Takes one packet; returns the digit when it is the first of a new press. The marker bit is never required.
    pub fn receive(&mut self, arrival: Arrival) -> Option<Digit> {
        let digit = Digit::from_event(arrival.payload.event)?;
        self.forget(arrival.at);
        if self.is_known(&arrival) || self.is_too_old(&arrival) {
            return None;
        }
        let continues = self.continues(&arrival);
        self.remember(&arrival);
        (!continues).then_some(digit)
    }

    /// Audio came again: an event whose end was lost is over.
    pub fn close(&mut self) {
        if let Some(press) = &mut self.recent[0] {
            press.ended = true;
        }
    }

    fn forget(&mut self, now: Instant) {
        for slot in &mut self.recent {
            if slot.is_some_and(|press| now.saturating_duration_since(press.seen) > REMEMBERED) {
                *slot = None;
            }
        }
    }

    /// Looks for a press of this very key and, if there is one, brings it up to date.
    fn is_known(&mut self, arrival: &Arrival) -> bool {
        let same = |press: &&mut Press| {
            press.ssrc == arrival.ssrc
                && press.event == arrival.payload.event
                && press.timestamp == arrival.timestamp
        };
        let Some(press) = self.recent.iter_mut().flatten().find(same) else {
            return false;
        };
        press.seen = arrival.at;
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
    fn continues(&self, arrival: &Arrival) -> bool {
        let Some(press) = self.recent[0] else { return false };
        if press.ssrc != arrival.ssrc || press.event != arrival.payload.event {
            return false;
        }
        let since_start = arrival.timestamp.wrapping_sub(press.timestamp) as i32;
        let since_end = since_start - i32::from(press.duration);
        let overlaps = since_start > 0 && since_end < 0;
        let fresh = arrival.at.saturating_duration_since(press.seen) <= CLOSED_AFTER;
        let adjoins = (0..SEGMENT_GAP).contains(&since_end) && !press.ended && !arrival.marker;
        fresh && (overlaps || adjoins)
    }

    fn remember(&mut self, arrival: &Arrival) {
        self.recent.rotate_right(1);
        self.recent[0] = Some(Press {
            ssrc: arrival.ssrc,
            timestamp: arrival.timestamp,
            event: arrival.payload.event,
            ended: arrival.payload.end,
            duration: arrival.payload.duration,
            seen: arrival.at,
        });
    }
}
