//! A jitter buffer: packets in any order in, one after the other out, late enough that most have come and as early as
//! the network allows.
//!
//! It holds audio that is to be decoded; relayed audio never passes here. It has no clock: it is asked for 20 ms each
//! 20 ms. The delay adapts by itself: when nothing is there, time is filled without going on, so that the delay grows
//! by what was missing; when more than enough was there for two seconds, 20 ms are left out. It stays between 20 and
//! 200 ms, whatever comes, and however the sender's clock runs against ours.

use std::collections::VecDeque;

use crate::rtp::{sequence_distance, timestamp_distance};

/// The most audio that waits, in milliseconds.
pub const MAX_DELAY: u32 = 200;
/// What waits before the first is taken, in milliseconds.
const FIRST_DELAY: u32 = 40;
/// So much in all of [`WINDOW`] is more than enough, in milliseconds.
const SPARE: u32 = 60;
/// Frames that are looked at before the delay shrinks: two seconds.
const WINDOW: u32 = 100;
/// Packets that wait at most: 200 ms of the shortest.
const MAX_PACKETS: usize = 80;
/// A timestamp this many seconds away is another clock's.
const JUMP: i64 = 2;
/// So many packets in a row from the past mean that the sender counts anew.
const RESTART: u8 = 4;

/// A packet that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffered {
    pub sequence: u16,
    pub timestamp: u32,
    /// Zero for comfort noise.
    pub ticks: u32,
    pub payload: Vec<u8>,
}

/// What is to be heard next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Packet(Buffered),
    /// So many ticks never came, or did not come in time.
    Missing(u32),
    /// Nobody speaks for 20 ms.
    Pause,
}

/// The packets of one sender.
#[derive(Debug, Clone)]
pub struct JitterBuffer {
    /// Ticks in 20 ms.
    frame: u32,
    ssrc: Option<u32>,
    /// In the order of their timestamps.
    packets: VecDeque<Buffered>,
    /// What is heard next. None while the first packets gather.
    next: Option<Next>,
    /// Frames since the first packet that gathers.
    gathered: u32,
    /// Frames in a row for which nothing was there.
    empty: u32,
    late: u8,
    /// Which of the 64 packets up to the newest one heard were heard, that one lowest.
    heard: u64,
    newest: u16,
    /// A packet came too late: wait once more.
    wait: bool,
    least: u32,
    looked: u32,
    /// Packets that came too late to be heard, or twice.
    useless: u64,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    timestamp: u32,
    /// Of the last packet heard.
    sequence: u16,
}

impl JitterBuffer {
    /// `clock_rate` of the timestamps in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            frame: (clock_rate / 50).max(1),
            ssrc: None,
            packets: VecDeque::new(),
            next: None,
            gathered: 0,
            empty: 0,
            late: 0,
            heard: 0,
            newest: 0,
            wait: false,
            least: u32::MAX,
            looked: 0,
            useless: 0,
        }
    }

    /// Takes a packet of the sender `ssrc`. Another sender, and a clock that jumps, start anew.
    pub fn insert(&mut self, ssrc: u32, packet: Buffered) {
        if self.ssrc != Some(ssrc) || self.is_far(packet.timestamp) {
            self.restart();
            self.ssrc = Some(ssrc);
        }
        if self.next.is_some_and(|next| is_before(&packet, next.timestamp)) {
            self.useless += 1;
            if self.was_heard(packet.sequence) {
                return;
            }
            self.late += 1;
            self.wait = true;
            if self.late < RESTART {
                return;
            }
            self.restart();
        }
        self.late = 0;
        let place = self
            .packets
            .partition_point(|other| timestamp_distance(other.timestamp, packet.timestamp) < 0);
        match self.packets.get(place) {
            Some(other) if other.timestamp == packet.timestamp => self.useless += 1,
            _ => self.packets.insert(place, packet),
        }
        self.stay_short();
    }

    /// Milliseconds of audio that wait.
    pub fn delay(&self) -> u32 {
        self.span() * 20 / self.frame
    }

    /// Packets that waited for nothing: too late, or there already.
    pub const fn useless(&self) -> u64 {
        self.useless
    }

    /// Begins the next 20 ms; `ahead` ticks were taken and not heard yet. True when one frame more than enough waits
    /// and is to be left out.
    pub fn begin(&mut self, ahead: u32) -> bool {
        if self.next.is_none() {
            self.gathered += u32::from(!self.packets.is_empty());
            return false;
        }
        self.least = self.least.min(self.span() + ahead);
        self.looked += 1;
        if self.looked < WINDOW {
            return false;
        }
        let spare = self.least >= self.frame * SPARE / 20;
        (self.looked, self.least) = (0, u32::MAX);
        spare
    }

    /// What is heard next.
    pub fn take(&mut self) -> Taken {
        let Some(next) = self.next.or_else(|| self.first()) else {
            return Taken::Pause;
        };
        if std::mem::take(&mut self.wait) && self.span() + self.frame <= self.longest() {
            return Taken::Missing(self.frame);
        }
        let Some(front) = self.packets.front() else {
            return self.starve();
        };
        let gap = timestamp_distance(front.timestamp, next.timestamp).max(0) as u32;
        // What was filled in while nothing was there is not filled in twice.
        let gap = gap.saturating_sub(self.empty * self.frame);
        let silent = sequence_distance(front.sequence, next.sequence) == 1;
        self.empty = 0;
        if gap > 0 {
            let part = gap.min(self.frame);
            let timestamp = front.timestamp.wrapping_sub(gap).wrapping_add(part);
            self.next = Some(Next { timestamp, ..next });
            return if silent && part == self.frame {
                Taken::Pause
            } else {
                Taken::Missing(part)
            };
        }
        match self.packets.pop_front() {
            Some(packet) => {
                self.next = Some(Next {
                    timestamp: packet.timestamp.wrapping_add(packet.ticks),
                    sequence: packet.sequence,
                });
                self.mark_heard(packet.sequence);
                Taken::Packet(packet)
            }
            None => Taken::Pause,
        }
    }

    /// Nothing is there: time is filled without going on, until the sender is believed to be silent.
    fn starve(&mut self) -> Taken {
        self.empty += 1;
        if self.empty * 20 > MAX_DELAY {
            self.restart();
            return Taken::Pause;
        }
        Taken::Missing(self.frame)
    }

    /// Where to begin, once enough has gathered.
    fn first(&mut self) -> Option<Next> {
        let front = self.packets.front()?;
        let enough = self.span() * 20 >= FIRST_DELAY * self.frame || self.gathered * 20 > FIRST_DELAY;
        if !enough {
            return None;
        }
        self.next = Some(Next {
            timestamp: front.timestamp,
            sequence: front.sequence.wrapping_sub(1),
        });
        self.next
    }

    /// Ticks from what is heard next to the end of what waits.
    fn span(&self) -> u32 {
        let (Some(first), Some(last)) = (self.packets.front(), self.packets.back()) else {
            return 0;
        };
        let start = self.next.map_or(first.timestamp, |next| next.timestamp);
        let end = last.timestamp.wrapping_add(last.ticks);
        timestamp_distance(end, start).max(0) as u32
    }

    const fn longest(&self) -> u32 {
        self.frame * MAX_DELAY / 20
    }

    /// Drops the oldest until no more waits than may.
    fn stay_short(&mut self) {
        if self.span() <= self.longest() && self.packets.len() <= MAX_PACKETS {
            return;
        }
        // A pause of the sender is no delay: it goes on with what came after it.
        while self.packets.len() > 1
            && (self.span() > self.frame * SPARE / 20 || self.packets.len() > MAX_PACKETS / 2)
        {
            if let Some(old) = self.packets.pop_front()
                && let Some(front) = self.packets.front()
            {
                self.next = self.next.map(|_| Next {
                    timestamp: front.timestamp,
                    sequence: old.sequence,
                });
            }
        }
        if let (Some(next), Some(front)) = (&mut self.next, self.packets.front()) {
            next.timestamp = front.timestamp;
        }
    }

    fn mark_heard(&mut self, sequence: u16) {
        match sequence_distance(sequence, self.newest) {
            ahead @ 1..64 => (self.heard, self.newest) = (self.heard << ahead | 1, sequence),
            behind @ -63..1 => self.heard |= 1 << -behind,
            _ => (self.heard, self.newest) = (1, sequence),
        }
    }

    fn was_heard(&self, sequence: u16) -> bool {
        match sequence_distance(self.newest, sequence) {
            behind @ 0..64 => self.heard & 1 << behind != 0,
            _ => false,
        }
    }

    fn is_far(&self, timestamp: u32) -> bool {
        let known = self
            .next
            .map(|next| next.timestamp)
            .or_else(|| self.packets.back().map(|packet| packet.timestamp));
        known.is_some_and(|known| {
            i64::from(timestamp_distance(timestamp, known)).abs() > i64::from(self.frame) * 50 * JUMP
        })
    }

    /// Begins anew. What waited is dropped.
    fn restart(&mut self) {
        self.packets.clear();
        self.heard = 0;
        self.next = None;
        (self.gathered, self.empty, self.late, self.wait) = (0, 0, 0, false);
        (self.looked, self.least) = (0, u32::MAX);
    }
}

/// Whether nothing of a packet is to be heard any more.
fn is_before(packet: &Buffered, timestamp: u32) -> bool {
    let end = packet.timestamp.wrapping_add(packet.ticks.max(1));
    timestamp_distance(end, timestamp) <= 0
}
