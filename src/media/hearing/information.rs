//! Special information tones: three rising tones before an announcement (ITU-T E.180; North American codes by the
//! frequencies and lengths of the first two).

use super::single::Segment;

/// What the tones say of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Information {
    /// The number is not assigned.
    Vacant,
    /// The number was changed or is out of service.
    Intercept,
    /// No circuit was free.
    NoCircuit,
    /// The network could not connect.
    Reorder,
    /// Three tones that carry no known code: the call was not completed.
    Unspecified,
}

/// The pause between two of the tones at most, in frames of 20 ms.
const PAUSE: u32 = 6;
/// Each tone's length in milliseconds; below and above the middle it is short or long.
const LENGTH: std::ops::RangeInclusive<u32> = 200..=460;
const MIDDLE: u32 = 325;

/// Follows single tones and tells when three of them are special information tones.
#[derive(Debug, Default)]
pub(super) struct InformationEar {
    /// The last two tones and the frame in which each ended.
    last: [Option<(Segment, u32)>; 2],
    frame: u32,
}

impl InformationEar {
    /// Takes a frame and the tone that ended before it.
    pub fn hear(&mut self, ended: Option<Segment>) -> Option<Information> {
        self.frame = self.frame.wrapping_add(1);
        let third = ended?;
        let frame = self.frame;
        let [first, second] = self.last;
        self.last = [second, Some((third, frame))];
        let ((first, first_end), (second, second_end)) = (first?, second?);
        let frames = |segment: &Segment| segment.length / super::FRAME_MILLISECONDS;
        let follows =
            |end: u32, next: &Segment, next_end: u32| next_end.wrapping_sub(end) <= frames(next) + PAUSE;
        if !follows(first_end, &second, second_end) || !follows(second_end, &third, frame) {
            return None;
        }
        let found = code(&first, &second, &third)?;
        self.last = [None, None];
        Some(found)
    }
}

/// Frequencies are compared with the third's, which all codes share, so that one that is off does no harm.
fn code(first: &Segment, second: &Segment, third: &Segment) -> Option<Information> {
    let long = |segment: &Segment| segment.length > MIDDLE;
    let all = [first, second, third];
    if !all.iter().all(|segment| LENGTH.contains(&segment.length)) {
        return None;
    }
    let (low, middle) = (
        first.frequency / third.frequency,
        second.frequency / third.frequency,
    );
    let placed = (1720.0..=1860.0).contains(&third.frequency)
        && (0.495..=0.575).contains(&low)
        && (0.75..=0.825).contains(&middle);
    if !placed {
        return None;
    }
    let lows = match low {
        ..0.5215 => Some(false),
        0.541.. => Some(true),
        _ => None,
    };
    Some(match (lows, long(first), middle > 0.788, long(second)) {
        (Some(false), false, false, false) => Information::Intercept,
        (Some(true), true, false, false) => Information::Vacant,
        (Some(false), false, true, true) | (Some(true), false, false, true) => Information::Reorder,
        (Some(true), true, true, true) | (Some(false), true, false, true) => Information::NoCircuit,
        _ => Information::Unspecified,
    })
}
