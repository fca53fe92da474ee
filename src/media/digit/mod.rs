//! Key presses as RTP telephone events (RFC 4733).
//!
//! Inputs are event payloads with their RTP header fields and arrival times, outputs digits told once each, and the
//! other way round. Nothing here looks at audio.

mod receiver;
mod sender;

pub use receiver::{Arrival, Receiver};
pub use sender::{Digits, EventPacket, Sender};

use std::fmt;

/// One key of a telephone: `0`–`9`, `*`, `#`, `A`–`D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

impl Digit {
    /// The key with this event code (RFC 4733 §3.2). None for events that are not keys (flash, tones).
    pub const fn from_event(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// The event code, 0 to 15.
    pub const fn event(self) -> u8 {
        self.0
    }
}

impl From<Digit> for char {
    fn from(digit: Digit) -> Self {
        KEYS[usize::from(digit.0 & 15)]
    }
}

/// A character that is no telephone key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a telephone key")]
pub struct NotADigit(pub char);

impl TryFrom<char> for Digit {
    type Error = NotADigit;

    fn try_from(key: char) -> Result<Self, NotADigit> {
        let upper = key.to_ascii_uppercase();
        let code = KEYS
            .iter()
            .position(|known| *known == upper)
            .ok_or(NotADigit(key))?;
        Ok(Self(code as u8))
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", char::from(*self))
    }
}

/// A set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigitSet(u16);

impl DigitSet {
    /// No key.
    pub const NONE: Self = Self(0);
    /// Every key.
    pub const ALL: Self = Self(u16::MAX);

    /// Whether the key is in the set.
    pub const fn contains(self, digit: Digit) -> bool {
        self.0 & (1 << digit.0) != 0
    }
}

impl FromIterator<Digit> for DigitSet {
    fn from_iter<I: IntoIterator<Item = Digit>>(digits: I) -> Self {
        Self(digits.into_iter().fold(0, |set, digit| set | 1 << digit.0))
    }
}

/// The four bytes of a telephone-event payload (RFC 4733 §2.3). The volume is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPayload {
    pub event: u8,
    pub end: bool,
    /// In RTP ticks since the event's timestamp.
    pub duration: u16,
}

impl EventPayload {
    /// Reads a payload; None when it is shorter than four bytes. Redundant events after the first are not read.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[event, flags, high, low] = payload.first_chunk::<4>()?;
        Some(Self {
            event,
            end: flags & 0x80 != 0,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The same in another clock, both in Hz, and its duration in ticks of that clock, which its field cannot always
    /// hold.
    pub fn in_clock(self, from: u32, to: u32) -> (Self, u32) {
        let ticks = u64::from(self.duration) * u64::from(to) / u64::from(from.max(1));
        let duration = ticks.min(u64::from(u16::MAX)) as u16;
        (Self { duration, ..self }, ticks as u32)
    }

    /// Rewrites a payload for another clock in place; all but the duration stays.
    pub fn convert(payload: &mut [u8], from: u32, to: u32) {
        if from != to
            && let Some(event) = Self::parse(payload)
            && let Some(bytes) = payload.get_mut(2..4)
        {
            bytes.copy_from_slice(&event.in_clock(from, to).0.duration.to_be_bytes());
        }
    }

    /// The bytes to send, at −10 dBm0.
    pub const fn bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, if self.end { 0x80 | 10 } else { 10 }, high, low]
    }
}
