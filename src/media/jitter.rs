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
        }
    }

    /// Takes a packet of the sender `ssrc`. Another sender, and a clock that jumps, start anew.
    pub fn insert(&mut self, ssrc: u32, packet: Buffered) {
        if self.ssrc != Some(ssrc) || self.is_far(packet.timestamp) {
            self.restart();
            self.ssrc = Some(ssrc);
        }
        if self.next.is_some_and(|next| is_before(&packet, next.timestamp)) {
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
        let known = self.packets.get(place);
        if known.is_none_or(|other| other.timestamp != packet.timestamp) {
            self.packets.insert(place, packet);
        }
        self.stay_short();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(number: u32) -> Buffered {
        Buffered {
            sequence: 65_500u16.wrapping_add(number as u16),
            timestamp: 0xffff_f000u32.wrapping_add(number * 160),
            ticks: 160,
            payload: number.to_be_bytes().to_vec(),
        }
    }

    fn number_of(packet: &Buffered) -> u32 {
        u32::from_be_bytes(packet.payload.as_slice().try_into().unwrap())
    }

    /// What was heard of packets, by their numbers, and how much was missing.
    #[derive(Debug, Default)]
    struct Heard {
        packets: Vec<u32>,
        missing: u32,
        left_out: u32,
        /// The most milliseconds that ever waited.
        longest: u32,
        /// What waits before each frame, in milliseconds.
        delays: Vec<u32>,
    }

    impl Heard {
        /// The most that waits within the second before a frame.
        fn delay(&self, frame: usize) -> u32 {
            self.delays[frame - 50..frame].iter().copied().max().unwrap()
        }
    }

    /// Packets by the microsecond they arrive at; frames are taken each 20 ms from 7 ms on.
    fn play(mut arrivals: Vec<(u64, u32)>) -> Heard {
        arrivals.sort_unstable();
        let mut buffer = JitterBuffer::new(8000);
        let mut heard = Heard::default();
        let end = arrivals.last().map_or(0, |last| last.0) + 300_000;
        // After the last packet that is new nothing is missing.
        let newest = arrivals.iter().map(|arrival| arrival.1).max().unwrap();
        let mut arrivals = arrivals.into_iter().peekable();
        for now in (7000..end).step_by(20_000) {
            while let Some((_, number)) = arrivals.next_if(|(at, _)| *at <= now) {
                buffer.insert(1, packet(number));
                heard.longest = heard.longest.max(buffer.span() / 8);
            }
            heard.delays.push(buffer.span() / 8);
            let frames = 1 + u32::from(buffer.begin(0));
            heard.left_out += frames - 1;
            for _ in 0..frames {
                match buffer.take() {
                    Taken::Packet(packet) => heard.packets.push(number_of(&packet)),
                    Taken::Missing(_) if heard.packets.last() != Some(&newest) => heard.missing += 1,
                    Taken::Missing(_) | Taken::Pause => {}
                }
            }
        }
        heard
    }

    #[test]
    fn steady_packets_are_all_heard_40_to_60_ms_late() {
        let heard = play(
            (0..500)
                .map(|number| (u64::from(number) * 20_000, number))
                .collect(),
        );
        assert!(heard.packets.iter().copied().eq(0..500), "{heard:?}");
        assert_eq!((heard.missing, heard.left_out), (0, 0));
        assert!((20..=60).contains(&heard.delay(500)), "{heard:?}");
    }

    #[test]
    fn lost_packets_are_filled_in_for_where_they_were() {
        let kept = (0..500).filter(|number| number % 10 != 7);
        let heard = play(
            kept.clone()
                .map(|number| (u64::from(number) * 20_000, number))
                .collect(),
        );
        assert!(heard.packets.iter().copied().eq(kept), "{heard:?}");
        assert!((49..=51).contains(&heard.missing), "{heard:?}");
        assert!(heard.delay(450) <= 60, "{heard:?}");
    }

    #[test]
    fn doubled_packets_are_heard_once_and_cost_no_delay() {
        let twice = (0..500).flat_map(|number| {
            let at = u64::from(number) * 20_000;
            [(at, number), (at + 90_000, number)]
        });
        let heard = play(twice.collect());
        assert!(heard.packets.iter().copied().eq(0..500), "{heard:?}");
        assert!(heard.delay(500) <= 60 && heard.missing == 0, "{heard:?}");
    }

    #[test]
    fn the_delay_grows_with_the_jitter_and_shrinks_after_it() {
        let at = |number: u32| {
            let wild = (100..600).contains(&number);
            let late = if wild {
                u64::from(number * 7919 % 100) * 1000
            } else {
                0
            };
            (u64::from(number) * 20_000 + late, number)
        };
        let wild = play((0..600).map(at).collect());
        assert!(wild.delay(590) > 60, "{wild:?}");
        assert!(wild.packets.len() > 585, "{}", wild.packets.len());
        let calm = play((0..2000).map(at).collect());
        assert!(calm.delay(1990) <= 60 && calm.left_out > 0, "{calm:?}");
    }

    #[test]
    fn clocks_that_run_apart_for_ten_minutes_cost_a_frame_now_and_then() {
        for parts_per_million in [-500i64, -100, 100, 500] {
            let step = (20_000 * (1_000_000 + parts_per_million) / 1_000_000) as u64;
            let heard = play(
                (0..30_000)
                    .map(|number| (u64::from(number) * step, number))
                    .collect(),
            );
            // 500 parts per million of ten minutes are 15 frames.
            assert!(
                heard.packets.len() >= 29_980,
                "{parts_per_million}: {}",
                heard.packets.len()
            );
            assert!(
                heard.missing + heard.left_out <= 20,
                "{parts_per_million}: {}",
                heard.missing
            );
            assert!(heard.longest <= 120, "{parts_per_million}: {}", heard.longest);
        }
    }

    #[test]
    fn another_sender_or_clock_is_heard_after_the_first_delay() {
        let jumps: [fn(&mut Buffered) -> u32; 4] = [
            |_| 2,
            |packet| {
                packet.timestamp = packet.timestamp.wrapping_add(1 << 31);
                1
            },
            |packet| {
                packet.timestamp = packet.timestamp.wrapping_sub(160 * 60);
                1
            },
            |packet| {
                packet.timestamp = packet.timestamp.wrapping_add(160 * 3000);
                packet.sequence = packet.sequence.wrapping_add(30_000);
                1
            },
        ];
        for (index, jump) in jumps.into_iter().enumerate() {
            let mut buffer = JitterBuffer::new(8000);
            let mut heard = Vec::new();
            for number in 0..200u32 {
                let mut packet = packet(number);
                let ssrc = if number >= 100 { jump(&mut packet) } else { 1 };
                buffer.insert(ssrc, packet);
                buffer.begin(0);
                if let Taken::Packet(packet) = buffer.take() {
                    heard.push(number_of(&packet));
                }
            }
            let after = heard.iter().filter(|number| **number >= 100).count();
            assert!(after >= 92, "{index}: {after}");
        }
    }

    #[test]
    fn a_pause_of_the_sender_is_no_loss_and_adds_no_delay() {
        let mut arrivals: Vec<_> = (0..100u32)
            .map(|number| (u64::from(number) * 20_000, number))
            .collect();
        arrivals.extend((100..200).map(|number| (u64::from(number) * 20_000 + 5_000_000, number)));
        let heard = play(arrivals);
        assert!(heard.packets.iter().copied().eq(0..200), "{heard:?}");
        assert!(heard.delay(450) <= 60, "{heard:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Each packet is lost, doubled or late by up to 90 ms.
        #[test]
        fn what_the_network_does_is_undone_within_bounds(
            fates in prop::collection::vec((0..100u8, 0..90u64), 500..700),
        ) {
            let mut arrivals = Vec::new();
            for (number, (fate, late)) in fates.iter().enumerate() {
                let at = number as u64 * 20_000 + late * 1000;
                match fate {
                    0..3 => {}
                    3..10 => arrivals.extend([(at, number as u32), (at + 30_000, number as u32)]),
                    _ => arrivals.push((at, number as u32)),
                }
            }
            let heard = play(arrivals);
            prop_assert!(heard.packets.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", heard);
            prop_assert!(heard.longest <= MAX_DELAY + 20, "{:?}", heard);
            let sent = fates.iter().skip(100).filter(|(fate, _)| *fate >= 3).count();
            let got = heard.packets.iter().filter(|number| **number >= 100).count();
            prop_assert!(got * 100 >= sent * 93, "{} of {}: {:?}", got, sent, heard);
        }

        #[test]
        fn whatever_comes_no_more_waits_than_may(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0..6000u32, 0..3u32, 0..4u8), 1..400),
            near in any::<bool>(),
        ) {
            let mut buffer = JitterBuffer::new(8000);
            for (sequence, timestamp, ticks, ssrc, takes) in packets {
                let timestamp = if near { timestamp % 20_000 } else { timestamp };
                buffer.insert(ssrc, Buffered { sequence, timestamp, ticks, payload: Vec::new() });
                prop_assert!(buffer.packets.len() <= MAX_PACKETS);
                for _ in 0..takes {
                    buffer.begin(0);
                    if let Taken::Missing(ticks) = buffer.take() {
                        prop_assert!((1..=160).contains(&ticks));
                    }
                }
            }
        }
    }
}
