//! Whether a machine answers: a long greeting without a pause for an answer, then a beep.

use super::FRAME_MILLISECONDS;
use super::goertzel::level_of;
use super::single::Segment;

/// Speech is so much louder than the quietest moment of the last seconds, and never below the second, in dBm0.
const ABOVE_FLOOR: f32 = 9.0;
const FAINTEST: f32 = -45.0;
/// Frames over which the quietest is looked for; the last two such times count.
const FLOOR_FRAMES: u32 = 75;
/// A silence that ends a greeting: somebody waits to be answered.
const WAITS: u32 = 1600;
/// Speech in one go before a beep that makes it a greeting, and one that no person would give.
const GREETING: u32 = 2500;
const LONG_GREETING: u32 = 6000;
/// A beep: one tone, so long, in this range of Hz, after which it is quiet for some frames.
const BEEP: std::ops::RangeInclusive<u32> = 100..=2500;
const BEEP_FREQUENCY: std::ops::RangeInclusive<f32> = 400.0..=2000.0;
const QUIET_FRAMES: u32 = 6;

/// A greeting that a beep followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Machine {
    /// Speech in milliseconds.
    pub greeting: u32,
    pub beep: Segment,
    /// In percent.
    pub confidence: u8,
}

/// Tells speech from silence, and what follows it.
#[derive(Debug)]
pub(super) struct GreetingEar {
    quietest: [f32; 2],
    floor_frames: u32,
    /// Speech since the last wait, and silence since the last speech, in milliseconds.
    greeting: u32,
    silence: u32,
    /// All speech so far.
    speech: u32,
    /// Waits for an answer so far.
    waits: u32,
    beep: Option<(Segment, u32)>,
}

impl GreetingEar {
    pub fn new() -> Self {
        Self {
            quietest: [0.0; 2],
            floor_frames: 0,
            greeting: 0,
            silence: 0,
            speech: 0,
            waits: 0,
            beep: None,
        }
    }

    /// Speech so far, in milliseconds.
    pub fn speech(&self) -> u32 {
        self.speech
    }

    /// Takes a frame of this power. `tonal` frames are no speech; `ended` is a tone that ended before this frame and is
    /// no call progress tone.
    pub fn hear(&mut self, power: f32, tonal: bool, ended: Option<Segment>) -> Option<Machine> {
        let level = level_of(power);
        let spoken = self.is_speech(level) && !tonal;
        if spoken {
            self.speech += FRAME_MILLISECONDS;
            self.greeting += FRAME_MILLISECONDS;
            self.silence = 0;
        } else if !tonal {
            self.silence += FRAME_MILLISECONDS;
        }
        if self.silence == WAITS {
            self.waits += u32::from(self.greeting > 0);
            self.greeting = 0;
        }
        if let Some(segment) = ended.filter(is_beep) {
            self.beep = Some((segment, 0));
        }
        let (segment, quiet) = self.beep.as_mut()?;
        if spoken || tonal {
            // What goes on is no beep: music, or one of several tones.
            self.beep = None;
            return None;
        }
        *quiet += 1;
        if *quiet < QUIET_FRAMES {
            return None;
        }
        let beep = *segment;
        self.beep = None;
        (self.greeting >= GREETING).then(|| self.machine(beep))
    }

    fn machine(&self, beep: Segment) -> Machine {
        let long = if self.greeting >= LONG_GREETING { 10 } else { 0 };
        let first = if self.waits == 0 { 15 } else { 0 };
        Machine {
            greeting: self.greeting,
            beep,
            confidence: 65 + long + first,
        }
    }

    fn is_speech(&mut self, level: f32) -> bool {
        self.quietest[0] = self.quietest[0].min(level);
        self.floor_frames += 1;
        if self.floor_frames == FLOOR_FRAMES {
            self.quietest = [level, self.quietest[0]];
            self.floor_frames = 0;
        }
        let floor = self.quietest[0].min(self.quietest[1]);
        level > FAINTEST.max(floor + ABOVE_FLOOR)
    }
}

fn is_beep(segment: &Segment) -> bool {
    BEEP.contains(&segment.length) && BEEP_FREQUENCY.contains(&segment.frequency)
}
