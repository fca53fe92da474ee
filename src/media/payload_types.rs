//! Which RTP payload types a peer may send us, and what they carry.

use crate::codec::Codec;

/// Comfort noise (RFC 3389), the static payload type; understood without having been agreed.
pub const COMFORT_NOISE: u8 = 13;
/// Payload types told apart on one stream: what we offer of four codecs and two clocks of events, and what
/// an answer renumbers of it.
const ENTRIES: usize = 10;

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Audio(Codec),
    /// Telephone events whose durations count in ticks of this clock.
    Event {
        kilohertz: u8,
    },
    ComfortNoise,
}

impl Content {
    /// Telephone events at a clock rate in Hz. None for rates at which nobody sends them.
    pub fn event(clock_rate: u32) -> Option<Self> {
        let kilohertz = u8::try_from(clock_rate / 1000).ok()?;
        matches!(clock_rate, 8000 | 16_000 | 32_000 | 48_000).then_some(Self::Event { kilohertz })
    }
}

/// Which payload types a peer may send us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadTypes {
    entries: [Option<(u8, Content)>; ENTRIES],
}

impl PayloadTypes {
    /// The one codec under its usual number, with events of its clock under `event`: what a plain peer sends.
    pub fn plain(codec: Codec, event: Option<u8>) -> Self {
        let mut types = Self::default();
        types.allow(codec.payload_type(), Content::Audio(codec));
        if let (Some(number), Some(content)) = (event, Content::event(codec.clock_rate())) {
            types.allow(number, content);
        }
        types
    }

    /// Adds a payload type. What was added earlier goes first: our own numbers before the peer's. Past the room for
    /// them they are left out.
    pub fn allow(&mut self, number: u8, content: Content) {
        if self
            .content(number)
            .is_none_or(|known| known == Content::ComfortNoise)
            && let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_none())
        {
            *entry = Some((number, content));
        }
    }

    /// What a payload type carries; None for one that was not agreed.
    pub fn content(&self, number: u8) -> Option<Content> {
        for entry in &self.entries {
            match entry {
                Some((known, content)) if *known == number => return Some(*content),
                Some(_) => {}
                None => break,
            }
        }
        (number == COMFORT_NOISE).then_some(Content::ComfortNoise)
    }

    /// The payload types of telephone events.
    pub fn events(&self) -> impl Iterator<Item = u8> + '_ {
        let is_event = |content| matches!(content, Content::Event { .. });
        self.entries
            .iter()
            .flatten()
            .filter(move |(_, content)| is_event(*content))
            .map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Law;

    #[test]
    fn what_was_allowed_first_goes_before_what_comes_later() {
        let mut types = PayloadTypes::plain(Codec::G711(Law::Mu), Some(101));
        types.allow(0, Content::Audio(Codec::G722));
        types.allow(9, Content::Audio(Codec::G722));
        assert_eq!(types.content(0), Some(Content::Audio(Codec::G711(Law::Mu))));
        assert_eq!(types.content(9), Some(Content::Audio(Codec::G722)));
        assert_eq!(types.content(101), Content::event(8000));
        assert_eq!(types.content(13), Some(Content::ComfortNoise));
        assert_eq!((types.content(8), types.events().count()), (None, 1));
    }

    #[test]
    fn more_payload_types_than_there_is_room_for_are_left_out() {
        let mut types = PayloadTypes::default();
        (0..128).for_each(|number| types.allow(number, Content::Audio(Codec::G722)));
        let known = (0..128).filter(|number| *number != 13 && types.content(*number).is_some());
        assert!((ENTRIES - 1..=ENTRIES).contains(&known.count()));
    }
}
