//! Sends key presses in the 20 ms beat of a stream.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Digit, EventPayload};

/// Presses that wait at most; more are refused.
const MAX_WAITING: usize = 64;
/// Copies of the first and of the last packet of an event, so that a lost one does no harm.
const COPIES: u8 = 3;

/// Presses to send, all equally long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    pub keys: Vec<Digit>,
    /// How long each key is down: 100 ms to 8 s, rounded up to 20 ms.
    pub on: Duration,
    /// The pause after each key: at least 60 ms, rounded up to 20 ms.
    pub gap: Duration,
    /// Whether they go as tones in the audio in place of telephone events.
    pub inband: bool,
}

impl Digits {
    /// Presses as short as every office's equipment understands.
    pub fn new(keys: Vec<Digit>) -> Self {
        Self {
            keys,
            on: Duration::from_millis(100),
            gap: Duration::from_millis(60),
            inband: false,
        }
    }
}

/// One packet to send, `copies` times with rising sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// The RTP timestamp: that of the start of the press in all its packets.
    pub timestamp: u32,
    pub marker: bool,
    pub payload: EventPayload,
    pub copies: u8,
    /// The frame of the press, counted from 0, to be sent as a tone in the audio in place of all this.
    pub tone: Option<(Digit, u16)>,
}

/// The presses one stream has still to send.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    waiting: VecDeque<Press>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    digit: Digit,
    on: u16,
    gap: u16,
    inband: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    Down {
        press: Press,
        timestamp: u32,
        frames: u16,
    },
    Gap {
        frames: u16,
    },
}

impl Sender {
    /// Queues presses; returns how many had no room.
    pub fn push(&mut self, digits: &Digits) -> usize {
        let frames = |duration: Duration, least: u128, most: u128| {
            duration.as_millis().div_ceil(20).clamp(least, most) as u16
        };
        let (on, gap) = (frames(digits.on, 5, 400), frames(digits.gap, 3, 500));
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting
            .extend(digits.keys.iter().take(room).map(|digit| Press {
                digit: *digit,
                on,
                gap,
                inband: digits.inband,
            }));
        digits.keys.len().saturating_sub(room)
    }

    /// Whether presses wait or are under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle) || !self.waiting.is_empty()
    }

    /// Whether a key is down: no audio is sent meanwhile.
    pub fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// The next 20 ms. `timestamp` is that of the stream's frame now, `clock_rate` in Hz that of the durations (at
    /// 48,000 their field holds no more than 1.3 s; a longer press stays at that). None when this frame belongs to audio.
    pub fn frame(&mut self, timestamp: u32, clock_rate: u32) -> Option<EventPacket> {
        let (press, started, frames) = match self.state {
            State::Down {
                press,
                timestamp,
                frames,
            } => (press, timestamp, frames),
            State::Gap { frames: 2.. } => return self.wait(),
            State::Gap { .. } | State::Idle => match self.waiting.pop_front() {
                Some(press) => (press, timestamp, 0),
                None => return self.rest(),
            },
        };
        let (first, last) = (frames == 0, frames + 1 == press.on);
        self.state = match last {
            true => State::Gap {
                frames: press.gap + 1,
            },
            false => State::Down {
                press,
                timestamp: started,
                frames: frames + 1,
            },
        };
        Some(EventPacket {
            timestamp: started,
            marker: first,
            payload: EventPayload {
                event: press.digit.event(),
                end: last,
                duration: (frames + 1).saturating_mul((clock_rate / 50).min(u32::from(u16::MAX)) as u16),
            },
            copies: if first || last { COPIES } else { 1 },
            tone: press.inband.then_some((press.digit, frames)),
        })
    }

    fn wait(&mut self) -> Option<EventPacket> {
        if let State::Gap { frames } = &mut self.state {
            *frames -= 1;
        }
        None
    }

    fn rest(&mut self) -> Option<EventPacket> {
        self.state = State::Idle;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the sender frame by frame and notes `(frame, packet)`.
    fn run(digits: &Digits) -> Vec<(u32, EventPacket)> {
        let mut sender = Sender::default();
        assert_eq!(sender.push(digits), 0);
        let frames = (0..1000)
            .filter_map(|frame| Some((frame, sender.frame(frame * 160, 8000)?)))
            .collect();
        assert!(!sender.is_busy());
        frames
    }

    fn keys(text: &str) -> Vec<Digit> {
        text.chars().map(|key| Digit::try_from(key).unwrap()).collect()
    }

    #[test]
    fn a_press_starts_and_ends_with_three_packets_and_lasts_100_ms() {
        let packets = run(&Digits::new(keys("5")));
        let copies: Vec<u8> = packets.iter().map(|(_, packet)| packet.copies).collect();
        assert_eq!(copies, [3, 1, 1, 1, 3]);
        for (index, (frame, packet)) in packets.iter().enumerate() {
            assert_eq!((*frame as usize, packet.timestamp), (index, 0));
            assert_eq!(packet.payload.duration as usize, (index + 1) * 160);
            assert_eq!((packet.marker, packet.payload.end), (index == 0, index == 4));
        }
    }

    #[test]
    fn presses_are_at_least_60_ms_apart() {
        let packets = run(&Digits {
            gap: Duration::ZERO,
            on: Duration::ZERO,
            ..Digits::new(keys("12#"))
        });
        let starts: Vec<u32> = packets
            .iter()
            .filter(|(_, packet)| packet.marker)
            .map(|(_, packet)| packet.timestamp)
            .collect();
        assert_eq!(starts, [0, 8 * 160, 16 * 160]);
        let events: Vec<u8> = packets.iter().map(|(_, packet)| packet.payload.event).collect();
        assert_eq!(events, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 11, 11, 11, 11, 11]);
    }

    #[test]
    fn the_longest_press_fits_its_duration_field() {
        let packets = run(&Digits {
            on: Duration::from_secs(60),
            ..Digits::new(keys("0"))
        });
        assert_eq!(packets.last().unwrap().1.payload.duration, 64_000);
    }

    #[test]
    fn presses_without_room_are_refused() {
        let mut sender = Sender::default();
        assert_eq!(sender.push(&Digits::new(keys(&"1".repeat(MAX_WAITING + 3)))), 3);
        assert_eq!(sender.push(&Digits::new(keys("1"))), 1);
    }
}
